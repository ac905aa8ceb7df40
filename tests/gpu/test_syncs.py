"""The CPU runs ahead of the GPU: it waits once in an optimizer step, where loss and norm are read, and nowhere else."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from lib.history import HistoryCsv
from lib.training import trainer as module
from lib.training.cached_step import cached_step
from lib.training.callbacks import Averaging, Callback, Logging, NonFiniteGuard
from lib.training.ema import Ema
from lib.training.loggers import Loggers
from lib.training.memory import Halving
from lib.training.preemption import StopRequest
from lib.training.trainer import Trainer
from tests.gpu import wide
from tests.lib.training import pairs, toy

FIRST, LAST = 5, 15
TOLD = "called a synchronizing CUDA operation"


class Waits(Callback):
    """Makes torch tell every wait for the GPU from the end of step 5 to the end of step 15. Must be the last callback."""

    def __init__(self, told: list[warnings.WarningMessage]) -> None:
        self.told, self.counted = told, [0, 0]

    def on_step(self, trainer: Trainer, step: Any) -> None:
        if step.step == FIRST:
            self.counted[0] = len(self.told)
            torch.cuda.set_sync_debug_mode("warn")
        if step.step == LAST:
            torch.cuda.set_sync_debug_mode("default")
            self.counted[1] = len(self.told)


def waits_of(make: Any, folder: Path) -> list[str]:
    """Places (`file:line`) of all waits in ten steps. make: takes callbacks and more, gives a Trainer."""
    logs = Loggers({"history": HistoryCsv(folder / "history.csv", total_steps=20)})
    torch.cuda.set_sync_debug_mode("default")
    with warnings.catch_warnings(record=True) as told, StopRequest() as stop:
        warnings.simplefilter("always")
        waits = Waits(told)
        guards = [NonFiniteGuard(skips=0), Logging(logs, every=20), waits]
        make(guards, clip_norm=1.0, halving=Halving(), stop=stop).train_loop()
        found = told[waits.counted[0] : waits.counted[1]]
    return [f"{Path(one.filename).name}:{one.lineno}" for one in found if TOLD in str(one.message)]


def reading_line() -> str:
    lines, start = inspect.getsourcelines(module.numbers)
    place = next(number for number, line in enumerate(lines) if ".tolist()" in line)
    return f"trainer.py:{start + place}"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_one_wait_per_step(tmp_path: Path, precision: str) -> None:
    def make(callbacks: list[Callback], **more: Any) -> Trainer:
        fabric = wide.on_gpu(precision)
        if precision == "fp16":  # a scale that need not be found first: to look for it is a wait more
            fabric.strategy.precision.scaler = torch.amp.GradScaler("cuda", init_scale=8.0)
        model = fabric.to_device(wide.Wide())
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        averaging = [Averaging(Ema(model, decay=0.9))]
        given = [{name: one.pin_memory() for name, one in batch.items()} for batch in wide.batches(6, 16)]
        return wide.trainer(
            given, steps=20, model=model, optimizer=optimizer, fabric=fabric, accumulate=2, evaluate_every=100,
            callbacks=averaging + callbacks, **more,
        )  # fmt: skip

    assert waits_of(make, tmp_path) == [reading_line()] * (LAST - FIRST)


def test_one_wait_per_cached_step(tmp_path: Path) -> None:
    def make(callbacks: list[Callback], **more: Any) -> Trainer:
        given = [{name: one.pin_memory() for name, one in batch.items()} for batch in pairs.batches()]
        step = cached_step(pairs.contrastive)
        return pairs.trainer(
            given, dropout=0.1, total_steps=20, fabric=wide.on_gpu(), step=step, evaluate_every=100, callbacks=callbacks,
            **more,
        )  # fmt: skip

    assert waits_of(make, tmp_path) == [reading_line()] * (LAST - FIRST)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_locked_pages(manifest: Path, workers: int) -> None:
    """Else a copy to the GPU is no part of its queue: the CPU waits for it."""
    torch.cuda.init()
    loader = toy.loader(manifest, workers=workers)
    found = list(loader)
    assert len(found) == 13 and all(batch["x"].is_pinned() and batch["mask"].is_pinned() for batch in found)
    assert isinstance(found[0]["keys"], list) and len(found[-1]["keys"]) == 2
