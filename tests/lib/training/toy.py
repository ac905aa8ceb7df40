"""A small training for the tests of the engine: real shards, a real ShardLoader, a model with dropout, ragged targets.

Not a test itself. Run as a program it trains in a process of its own, which tests then kill:
python -m tests.lib.training.toy MANIFEST STATE SETTINGS [--workers N] [--slow S]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.config.train_loop import LoopSettings
from lib.data.loader import ShardLoader
from lib.data.reader import ShardReader
from lib.data.samples import Sample
from lib.files import write_json
from lib.training import run
from lib.training.contracts import LossSums
from lib.training.evaluator import Evaluator
from lib.training.memory import Halving
from lib.training.preemption import StopRequest
from lib.training.randomness import seed_everything
from lib.training.run import Parts
from lib.training.trainer import Trainer
from workflow_scripts import _program

WIDTH, LONGEST = 12, 9


def item(sample: Sample, random: np.random.Generator, noise: float = 0.01) -> dict[str, Any]:
    """A sequence of 1 to 9 steps of bytes of the sample, with a little noise, and a target per step: the mean byte."""
    length = 1 + len(sample.jpg) % LONGEST
    steps = np.frombuffer(sample.jpg, np.uint8)[: WIDTH * length].reshape(length, WIDTH).astype(np.float32) / 255
    return {"key": sample.key, "x": steps + random.normal(0, noise, steps.shape).astype(np.float32), "y": steps.mean(1)}


def plain(sample: Sample, random: np.random.Generator) -> dict[str, Any]:
    """As it is: what val is made of, so that every evaluation sees the same."""
    return item(sample, random, noise=0.0)


def padded(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch: x (B, T, 12), y (B, T), mask (B, T) of what is no padding, keys."""
    x, y = torch.zeros(len(items), LONGEST, WIDTH), torch.zeros(len(items), LONGEST)
    mask = torch.zeros(len(items), LONGEST, dtype=torch.bool)
    for place, one in enumerate(items):
        length = len(one["y"])
        x[place, :length], y[place, :length] = torch.from_numpy(one["x"]), torch.from_numpy(one["y"].copy())
        mask[place, :length] = True
    return {"keys": [one["key"] for one in items], "x": x, "y": y, "mask": mask}


class Temporal(nn.Module):
    """A gated recurrent unit with dropout, so that torch's random numbers count. (B, T, 12) → (B, T)."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.recurrent = nn.GRU(WIDTH, 16, batch_first=True)
        self.dropout, self.out = nn.Dropout(dropout), nn.Linear(16, 1)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.out(self.dropout(self.recurrent(batch["x"])[0])).squeeze(-1)


def squared(outputs: Tensor, batch: dict[str, Any]) -> LossSums:
    """Sum of squared errors over the steps that are no padding, and how many there are."""
    mask = batch["mask"]
    return {"loss": ((outputs - batch["y"])[mask] ** 2).sum()}, mask.sum()


class Constant:
    """A learning rate that stays."""

    def step(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def loader(manifest: Path, *, batch: int = 4, workers: int = 0, **more: Any) -> ShardLoader:
    reader = ShardReader(manifest)
    given: dict[str, Any] = {"transform": item, "collate": padded, "workers": workers} | more
    return ShardLoader(reader, reader.index["key"].tolist(), seed=1, batch=batch, **given)


def trainer(manifest: Path, *, steps: int, batch: int = 4, workers: int = 0, dropout: float = 0.2, **more: Any) -> Trainer:
    """A training from seed 0."""
    seed_everything(0)
    model = Temporal(dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    given: dict[str, Any] = {"loader": loader(manifest, batch=batch, workers=workers), "schedule": Constant()}
    given |= {"model": model, "optimizer": optimizer}
    return Trainer(loss=squared, total_steps=steps, **given | more)


def weights(trained: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in trained.module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Short:
    """A device of one rank that holds `room` samples at once, from its 5th batch of training in a process on."""

    def __init__(self, rank: int, room: int) -> None:
        self.rank, self.room, self.seen = rank, room, 0

    def hold(self, batch: dict[str, Any]) -> None:
        """Torch's own error where there is too much."""
        self.seen += torch.is_grad_enabled()
        mine = int(os.environ.get("LOCAL_RANK", "0")) == self.rank
        if mine and torch.is_grad_enabled() and self.seen > 4 and len(batch["keys"]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def parts(
    manifest: Path,
    *,
    workers: int = 0,
    batch: int = 4,
    slow: float = 0.0,
    dropout: float = 0.2,
    tail: str | None = None,
    short: Short | None = None,
    halving: Callable[[], Halving] = Halving,
) -> Parts:
    """What a task brings (lib/training/run.py): trained and scored on the same samples, for there is but one split.

    slow: seconds that every forward pass takes longer, for tests that kill it. short: whose memory does not suffice.
    """

    def evaluator(ranks: int, rank: int) -> Evaluator:
        return Evaluator(
            loader=loader(manifest, transform=plain, shuffle=False, ranks=ranks, rank=rank, tail="pad"),
            decode=lambda outputs, batch: dict(zip(batch["keys"], outputs.mean(1).tolist(), strict=True)),
            score=lambda found: {"val/spread": max(found.values()) - min(found.values())},
        )

    def delayed(outputs: Tensor, batch: dict[str, Any]) -> LossSums:
        time.sleep(slow)
        if short is not None:
            short.hold(batch)
        return squared(outputs, batch)

    return Parts(
        build=lambda: Temporal(dropout),
        halving=halving,
        loss=delayed,
        loader=lambda ranks, rank: loader(
            manifest, batch=batch, workers=workers, ranks=ranks, rank=rank, tail=tail or ("drop" if ranks > 1 else "keep")
        ),
        evaluator=evaluator,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("manifest", type=Path)
    arguments.add_argument("state", type=Path)
    arguments.add_argument("settings", help="LoopSettings as JSON")
    arguments.add_argument("--workers", type=int, default=0)
    arguments.add_argument("--slow", type=float, default=0.0)
    arguments.add_argument("--dropout", type=float, default=0.2)
    arguments.add_argument("--tail", default=None)
    arguments.add_argument("--short", type=int, nargs=2, default=None, metavar=("RANK", "ROOM"))
    arguments.add_argument("--whole", action="store_true", help="micro-batches must not be split")
    given = arguments.parse_args()
    settings = LoopSettings.model_validate_json(given.settings)
    with StopRequest() as stop:
        brought = parts(
            given.manifest, workers=given.workers, batch=settings.batch, slow=given.slow, dropout=given.dropout,
            tail=given.tail, short=Short(*given.short) if given.short else None,
            halving=lambda: Halving(allowed=not given.whole),
        )  # fmt: skip
        made = run.train(
            settings, brought, state=given.state, fingerprint="toy", seed=0, name="toy", stop=stop,
            on_progress=lambda **facts: write_json(given.state.with_suffix(".told"), facts),
        )  # fmt: skip
    if made is not None:
        print(f"halvings {made.facts['halvings']}, micro-batches of {made.facts['micro_batch']}")
        print(f"{made.status} after {made.steps} steps, from {made.resumed_from}")


if __name__ == "__main__":
    _program.run(main)
