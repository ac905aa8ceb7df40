"""One side of loop.py: a tiny training by one library, its seconds written down. Not a benchmark.

python -m tests.benchmarks.loop_sides SIDE STEPS FIGURES.json          CPU µs per step, of one side
python -m tests.benchmarks.loop_sides all STEPS FIGURES.json TURNS     on a GPU: wall µs per step, of all sides in turns

Every side trains the same network on the same batches of one DataLoader with AdamW and clipped gradients; where a side
writes a log, it does so every tenth step. What is counted begins when the trainer is built and ends with its last step.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lib.devices import choose_device

DEVICE = choose_device("auto", 1)
WIDTH, BATCH, EVERY, CLIP, RATE = 32, 16, 10, 1.0, 1e-3


class Samples(Dataset):
    """Seeded vectors and their sums."""

    def __init__(self, count: int) -> None:
        self.x = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"x": self.x[place], "labels": self.x[place].sum(0, keepdim=True)}


class Network(nn.Module):
    """Three layers; called as Hugging Face's Trainer calls its models, it gives the loss too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Any = None, labels: Tensor | None = None) -> Any:
        if isinstance(x, dict):
            return self.layers(x["x"])
        out = self.layers(x)
        return out if labels is None else {"loss": nn.functional.mse_loss(out, labels)}


def batches(steps: int) -> DataLoader:
    return DataLoader(Samples(steps * BATCH), batch_size=BATCH, pin_memory=DEVICE == "cuda")


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=RATE)


def bare(steps: int) -> None:
    """The floor: what a person would write, the loss read at every step."""
    model = Network().to(DEVICE)
    optimizer = adamw(model)
    for batch in batches(steps):
        if DEVICE == "cuda":
            batch = {name: one.to(DEVICE, non_blocking=True) for name, one in batch.items()}
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch["x"]), batch["labels"])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        loss.item()


class Batches:
    """A DataLoader as our trainer takes it."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader, self.epoch = loader, 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def __len__(self) -> int:
        return len(self.loader)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def ours(steps: int, *, averaged: bool = False) -> None:
    """Our loop with its guards and history.csv."""
    from lib.config.train_optim import ScheduleSettings
    from lib.history import HistoryCsv
    from lib.training import processes
    from lib.training.callbacks import Averaging, Callback, Logging, NonFiniteGuard
    from lib.training.ema import Ema
    from lib.training.loggers import Loggers
    from lib.training.memory import Halving
    from lib.training.optim import make_schedule
    from lib.training.preemption import StopRequest
    from lib.training.trainer import Trainer

    model = Network().to(DEVICE)
    optimizer = adamw(model)

    def squared(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        return {"loss": nn.functional.mse_loss(outputs, batch["labels"], reduction="sum")}, len(outputs)

    with tempfile.TemporaryDirectory() as folder, StopRequest() as stop:
        logs = Loggers({"history": HistoryCsv(Path(folder) / "history.csv", total_steps=steps)})
        callbacks: list[Callback] = [NonFiniteGuard(skips=0), Logging(logs, every=EVERY)]
        callbacks += [Averaging(Ema(model, decay=0.999))] if averaged else []
        schedule = make_schedule(optimizer, ScheduleSettings(name="constant"), total_steps=steps, steps_per_epoch=steps)
        Trainer(
            model=model, loss=squared, optimizer=optimizer, schedule=schedule, loader=Batches(batches(steps)),
            total_steps=steps, clip_norm=CLIP, callbacks=callbacks, halving=Halving(), stop=stop,
            fabric=processes.start(device=DEVICE, devices=1, precision="fp32"),
        ).train_loop()  # fmt: skip


def fabric(steps: int) -> None:
    """A loop by hand on Fabric, without a log."""
    from lightning_fabric import Fabric

    accelerator = Fabric(accelerator=DEVICE, devices=1)
    model = accelerator.to_device(Network())
    model, optimizer = accelerator.setup(model, adamw(model))
    for batch in accelerator.setup_dataloaders(batches(steps)):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch["x"]), batch["labels"])
        accelerator.backward(loss)
        accelerator.clip_gradients(model, optimizer, max_norm=CLIP)
        optimizer.step()
        loss.item()


def accelerate(steps: int) -> None:
    """A loop by hand on Accelerate, without a log: it has no CSV tracker."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=DEVICE == "cpu")
    model = Network().to(DEVICE)
    model, optimizer, loader = accelerator.prepare(model, adamw(model), batches(steps))
    for batch in loader:
        with accelerator.accumulate(model):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch["x"]), batch["labels"])
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
        loss.item()


def transformers(steps: int) -> None:
    """Hugging Face's Trainer, which keeps its log in memory."""
    from transformers import PrinterCallback, ProgressCallback, Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=BATCH, logging_steps=EVERY, report_to=[],
            save_strategy="no", use_cpu=DEVICE == "cpu", max_grad_norm=CLIP, learning_rate=RATE,
            lr_scheduler_type="constant", disable_tqdm=True, dataloader_pin_memory=DEVICE == "cuda",
        )  # fmt: skip
        trainer = Trainer(model=Network(), args=arguments, train_dataset=Samples(steps * BATCH))
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        trainer.train()


def lightning(steps: int) -> None:
    """Lightning's Trainer with its CSV logger."""
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import CSVLogger

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Network()

        def training_step(self, batch: dict[str, Tensor], place: int) -> Tensor:
            loss = nn.functional.mse_loss(self.network(batch["x"]), batch["labels"])
            self.log("train/loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return adamw(self)

    with tempfile.TemporaryDirectory() as folder:
        pl.Trainer(
            max_steps=steps, accelerator=DEVICE, logger=CSVLogger(folder), log_every_n_steps=EVERY, gradient_clip_val=CLIP,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        ).fit(Module(), batches(steps))  # fmt: skip


def ours_averaged(steps: int) -> None:
    ours(steps, averaged=True)


SIDES: dict[str, Callable[[int], None]] = {
    "bare": bare,
    "ours": ours,
    "ours with EMA": ours_averaged,
    "Fabric": fabric,
    "Accelerate": accelerate,
    "HF Trainer": transformers,
    "Lightning Trainer": lightning,
}


def importable() -> list[str]:
    """Sides whose library is here."""
    needed = {"Accelerate": "accelerate", "HF Trainer": "transformers", "Lightning Trainer": "pytorch_lightning"}
    return [side for side in SIDES if importlib.util.find_spec(needed.get(side, "lightning_fabric"))]


def per_step(side: str, steps: int, clock: Callable[[], float]) -> float:
    """µs by a clock; the difference of two lengths: what building and ending cost falls out."""
    spent = []
    for count in (steps // 5, steps):
        started = clock()
        SIDES[side](count)
        spent.append(clock() - started)
    return (spent[1] - spent[0]) / (steps - steps // 5) * 1e6


def wall() -> float:
    """Seconds, when the GPU has done what it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(steps: int, turns: int) -> dict[str, list[float]]:
    """Wall µs per step of all sides, every other turn backwards; in one process, for its start on a GPU takes longest."""
    found: dict[str, list[float]] = {side: [] for side in importable()}
    for side in found:
        SIDES[side](20)  # imports and first calls
    for turn in range(turns):
        for side in list(found)[:: -1 if turn % 2 else 1]:
            found[side].append(per_step(side, steps, wall))
    return found


def main() -> None:
    side, steps, figures = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "transformers", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if side == "all":
        figures.write_text(json.dumps(in_turns(steps, int(sys.argv[4]))))
        return
    SIDES[side](20)  # imports and first calls
    figures.write_text(json.dumps({"per_step": per_step(side, steps, time.process_time)}))


if __name__ == "__main__":
    main()
