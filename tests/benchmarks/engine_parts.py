"""Parts of the training engine beside torch's: averaged weights, learning rates, rows of history. Peers in the same run:
AveragedModel, AdamW's own step, SequentialLR, SummaryWriter.

Work is counted in steps of a training: what a part adds to each of them is what it costs.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lib.config.train_optim import OptimizerSettings, ScheduleSettings
from lib.history import HistoryCsv, read_rows
from lib.training.ema import Ema
from lib.training.loggers import TensorBoardLogger
from lib.training.optim import make_optimizer, make_schedule
from tests.benchmarks.measure import Result, Run, compared, in_process, interleaved, main

STEPS = {"tiny": 3, "small": 20, "full": 100}
REPEATS = {"tiny": 1, "small": 5, "full": 9}
VALUES = {"train/loss": 1.25, "train/loss_cls": 0.5, "train/loss_box": 0.75, "lr": 1e-3, "grad_norm": 0.3}


def models() -> dict[str, nn.Module]:
    """Few large tensors, and many small ones: arithmetic, and the cost of looking at each."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True)
    small = [nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32)) for _ in range(150)]
    return {"transformer, 6 M weights": nn.TransformerEncoder(layer, 8), "600 small tensors": nn.Sequential(*small)}


def repeated(work: Callable[[], object], times: int) -> Run:
    return lambda: in_process(lambda: [work() for _ in range(times)])


def averaging(result: Result, size: str) -> None:
    steps = STEPS[size]
    for name, model in models().items():
        ema, peer = Ema(model, decay=0.99), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
        peer.update_parameters(model)  # its first call copies
        optimizer = make_optimizer(model, OptimizerSettings())
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        optimizer.step()
        sides = {
            "ours": repeated(lambda ema=ema, model=model: ema.update(model), steps),
            "AveragedModel": repeated(lambda peer=peer, model=model: peer.update_parameters(model), steps),
            "AdamW.step": repeated(optimizer.step, steps),
        }
        runs = interleaved(sides, REPEATS[size])
        what = f"average of the weights ({name})"
        row = compared(what, runs, "cpu", ours="ours", peer="AveragedModel", target=("<=", 1.2))
        result.rows += [row, compared(f"{what}, beside the step", runs, "cpu", ours="ours", peer="AdamW.step")]
        same = Ema(model, decay=0.5)
        again = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
        again.update_parameters(model)
        optimizer.step()
        same.update(model)
        again.update_parameters(model)
        with same.averaged(model):
            pairs = zip(model.parameters(), again.module.parameters(), strict=True)
            result.facts[f"same average ({name})"] = all(torch.allclose(a, b, atol=1e-7) for a, b in pairs)


def rates(result: Result, size: str) -> None:
    steps = 50 * STEPS[size]

    def made() -> torch.optim.Optimizer:
        return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)

    def ours() -> list[float]:
        optimizer = made()
        schedule = make_schedule(optimizer, ScheduleSettings(warmup_steps=10), total_steps=steps, steps_per_epoch=steps)
        found = []
        for _ in range(steps):
            found.append(schedule.lr)
            schedule.step()
        return found

    def theirs() -> list[float]:
        optimizer = made()
        parts = [LinearLR(optimizer, 1 / 10, total_iters=9), CosineAnnealingLR(optimizer, steps - 10)]
        schedule = SequentialLR(optimizer, parts, milestones=[10])
        optimizer.step()
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            schedule.step()
        return found

    runs = interleaved({"ours": repeated(ours, 1), "SequentialLR": repeated(theirs, 1)}, REPEATS[size])
    result.rows.append(
        compared(f"{steps} learning rates", runs, "cpu", ours="ours", peer="SequentialLR", target=("<=", 1.0))
    )
    result.facts["same rates to 1e-12"] = max(abs(a - b) for a, b in zip(ours(), theirs(), strict=True)) <= 1e-12


def rows(result: Result, size: str, folder: Path) -> None:
    steps = 50 * STEPS[size]
    history, board = HistoryCsv(folder / "history.csv"), TensorBoardLogger(folder / "tensorboard")
    ours, theirs = itertools.count(1), itertools.count(1)
    sides = {
        "ours": repeated(lambda: history.log(next(ours), VALUES), steps),
        "SummaryWriter": repeated(lambda: board.log(next(theirs), VALUES), steps),
    }
    runs = interleaved(sides, REPEATS[size])
    row = compared(f"{steps} rows of history", runs, "cpu", ours="ours", peer="SummaryWriter", target=("<=", 0.5))
    result.rows.append(row)
    result.facts["rows on disk"] = len(read_rows(folder / "history.csv"))
    board.close("finished")


def measure(size: str) -> Result:
    torch.set_num_threads(1)
    result = Result("Parts of the training engine, per step of a training")
    averaging(result, size)
    rates(result, size)
    with tempfile.TemporaryDirectory() as folder:
        rows(result, size, Path(folder))
    return result


if __name__ == "__main__":
    main(measure, "engine_parts")
