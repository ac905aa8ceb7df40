"""fp32, bf16 and fp16 on a GPU: they learn, weights and averages stay fp32, and float16's scale is found and restored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from lib.config.running import Running
from lib.config.train_loop import LoopSettings
from lib.training import run
from lib.training.callbacks import Averaging, Callback, NonFiniteGuard
from lib.training.ema import Ema
from lib.training.state import restore, state_of
from lib.training.trainer import Trainer
from tests.conftest import PROJECT
from tests.gpu import wide
from tests.lib.training import toy

SETTINGS: dict[str, Any] = {
    "budget": {"steps": 24, "evaluate_every_steps": 4},
    "batch": 4,
    "accumulate": 3,
    "ema": {"decay": 0.9},
    "optimizer": {"lr": 3e-3},
}
RUNNING = Running.model_validate({"device": "cuda", "loggers": {"log_every": 1, "tensorboard": False}})
ON_CPU = """
import sys, torch
from pathlib import Path
from lib.config.train_optim import OptimizerSettings
from lib.models.weights import load_weights
from lib.training.checkpoint import CheckpointStore, load_into
from lib.training.optim import make_optimizer
from lib.training.state import restore
from tests.lib.training import toy
assert not torch.cuda.is_available()
manifest, state, weights = map(Path, sys.argv[1:])
load_weights(weights, model := toy.Temporal())
store = CheckpointStore(state, fingerprint="toy", readonly=True)
load_into(model, sorted(state.glob("*-step=*.safetensors"))[-1])
kept = store.load()
optimizer = make_optimizer(model, OptimizerSettings())
restored = toy.trainer(manifest, steps=24, accumulate=3, model=model, optimizer=optimizer)
kept["schedule"], kept["callbacks"] = {}, {}
restore(restored, kept)
restored.total_steps = restored.step + 2
restored.train_loop()
print("went on from", kept["step"], "to", restored.step)
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_learns_and_its_files_need_no_gpu(manifest: Path, tmp_path: Path, precision: str) -> None:
    settings = LoopSettings.model_validate(SETTINGS | {"precision": precision})
    made = run.train(
        settings, toy.parts(manifest, workers=2), state=tmp_path / "state", fingerprint="toy", seed=0, name="toy",
        running=RUNNING,
    )  # fmt: skip
    assert made is not None and made.status == "finished" and made.steps == 24
    assert made.facts["device"] == "cuda" and made.facts["precision"] == precision
    skipped = made.facts["updates"] - 24
    assert skipped == 0 if precision != "fp16" else -12 < skipped <= 0
    losses = pd.read_csv(made.history)["val/loss"].dropna()
    assert len(losses) == 6 and losses.iloc[-1] < 0.8 * losses.iloc[0]
    if precision == "bf16":  # the others would show the same
        words = [sys.executable, "-c", ON_CPU, str(manifest), str(tmp_path / "state"), str(made.weights)]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ":".join([str(PROJECT), *sys.path])}
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "went on from 24 to 26" in done.stdout


def test_without_cudnn_the_same_is_learnt_in_halves(manifest: Path, tmp_path: Path) -> None:
    made = []
    for cudnn in (True, False):
        running = Running.model_validate(RUNNING.model_dump() | {"cudnn": cudnn})
        settings = LoopSettings.model_validate(SETTINGS | {"precision": "fp32"})
        parts = toy.parts(manifest, dropout=0.0)
        folder = tmp_path / str(cudnn)
        made.append(run.train(settings, parts, state=folder, fingerprint="f", seed=0, name="toy", running=running))
    torch.backends.cudnn.enabled = True
    assert [(one.facts["cudnn"], one.facts["micro_batch"]) for one in made] == [(True, 4), (False, 2)]
    scores = [pd.read_csv(one.history)["val/loss"].dropna().tolist() for one in made]
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)


class Steep(nn.Module):
    """Its gradient is 30 per target: more than float16 holds under the first scales of a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(wide.WIDTH, 1)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.line(batch["x"]).squeeze(-1)


def steep(outputs: Tensor, batch: dict[str, Any]) -> Any:
    return {"loss": (30 * (outputs - batch["y"]).abs()).sum()}, len(outputs)


def overflowing(steps: int, **more: Any) -> Trainer:
    return wide.trainer(wide.batches(4, 8), steps=steps, model=Steep(), loss=steep, precision="fp16", **more)


class Scales(Callback):
    """Scale of the loss and bits of the weights after every step."""

    def __init__(self) -> None:
        self.found: list[tuple[float, Tensor]] = []

    def on_step(self, trainer: Trainer, step: Any) -> None:
        scale = trainer.fabric.strategy.precision.state_dict()["scale"]
        self.found.append((scale, trainer.module.line.weight.detach().clone()))


def test_steps_that_overflow_are_skipped_and_do_not_count_as_divergence() -> None:
    seen, scales, guard = wide.Seen(), Scales(), NonFiniteGuard(skips=0)
    trained = overflowing(24, callbacks=[seen, scales, guard])
    assert trained.train_loop().status == "finished"
    overflows, before = 0, None
    for step, (scale, weights) in zip(seen, scales.found, strict=True):
        overflows += step.overflow
        assert step.updated != step.overflow and scale == 2.0 ** (16 - overflows)
        assert before is None or torch.equal(weights, before) == step.overflow
        before = weights
    assert 3 < overflows < 12 and trained.updates == 24 - overflows


def test_a_loss_that_is_no_number_diverges_in_float16_too() -> None:
    given = wide.batches(4, 8)
    given[2]["y"][0] = float("nan")
    trained = overflowing(20, callbacks=[NonFiniteGuard(skips=0)])
    trained.loader.given = given
    trained.fabric.strategy.precision.scaler = torch.amp.GradScaler("cuda", init_scale=1.0)
    trained._scaler = trained.fabric.strategy.precision.scaler
    assert trained.train_loop().status == "diverged at step 3"


def test_a_gradient_that_no_scale_makes_finite_diverges() -> None:
    def hopeless(outputs: Tensor, batch: dict[str, Any]) -> Any:
        return {"loss": torch.sqrt((outputs * 0).abs()).sum()}, len(outputs)  # 0, with a gradient that is no number

    trained = wide.trainer(
        wide.batches(4, 8), steps=60, model=Steep(), loss=hopeless, precision="fp16", callbacks=[NonFiniteGuard(skips=0)]
    )
    status = trained.train_loop().status
    assert status.startswith("diverged at step ") and 20 < int(status.rpartition(" ")[2]) < 40


def test_the_scale_goes_on(deterministic: None) -> None:
    whole = overflowing(24)
    whole.train_loop()
    begun = overflowing(24)
    begun.total_steps = 12
    begun.train_loop()
    state = state_of(begun)
    assert state["scaler"]["scale"] < 2.0**16 and state["scaler"]["_growth_tracker"] > 0
    resumed = overflowing(24)
    restore(resumed, state)
    resumed.train_loop()
    assert state_of(resumed)["scaler"] == state_of(whole)["scaler"]
    assert resumed.updates == whole.updates and toy.equal(toy.weights(resumed), toy.weights(whole))


def test_an_average_is_in_fp32_on_the_gpu() -> None:
    """Against the same average in float64 on the CPU."""
    model = wide.Wide()

    class Kept(Callback):
        def __init__(self) -> None:
            self.weights: list[Tensor] = []

        def on_step(self, trainer: Trainer, step: Any) -> None:
            self.weights.append(trainer.module.scales.detach().double().cpu())

    kept, start = Kept(), model.scales.detach().double().clone()
    fabric = wide.on_gpu("bf16")
    ema = Ema(fabric.to_device(model), decay=0.7)
    run = wide.trainer(
        wide.batches(4, 16), steps=12, model=model, fabric=fabric, callbacks=[Averaging(ema), kept],
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3),
    )  # fmt: skip
    run.train_loop()
    average = ema.state_dict()["average"]["scales"]
    wanted = start
    for weights in kept.weights:
        wanted = 0.7 * wanted + 0.3 * weights
    assert average.dtype == torch.float32 and average.is_cuda
    assert (average.double().cpu() - wanted).abs().max() < 1e-6 < (kept.weights[-1] - wanted).abs().max()
