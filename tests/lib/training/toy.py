"""A small training for the tests of the engine: real shards, a real ShardLoader, a model with dropout, ragged targets.

Not a test itself. Run as a program it trains in a process of its own, which tests then kill:
python -m tests.lib.training.toy MANIFEST STATE STEPS [--workers N] [--slow S]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.data.loader import ShardLoader
from lib.data.reader import ShardReader
from lib.data.samples import Sample
from lib.training.randomness import seed_everything
from lib.training.trainer import LossSums, Trainer

WIDTH, LONGEST = 12, 9


def item(sample: Sample, random: np.random.Generator) -> dict[str, Any]:
    """A sequence of 1 to 9 steps of bytes of the sample, with a little noise, and a target per step: the mean byte."""
    length = 1 + len(sample.jpg) % LONGEST
    steps = np.frombuffer(sample.jpg, np.uint8)[: WIDTH * length].reshape(length, WIDTH).astype(np.float32) / 255
    return {"key": sample.key, "x": steps + random.normal(0, 0.01, steps.shape).astype(np.float32), "y": steps.mean(1)}


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
    return {"loss": ((outputs - batch["y"])[mask] ** 2).sum()}, int(mask.sum())


class Constant:
    """A learning rate that stays."""

    def step(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def loader(manifest: Path, *, batch: int = 4, workers: int = 0, **more: Any) -> ShardLoader:
    reader = ShardReader(manifest)
    return ShardLoader(
        reader, reader.index["key"].tolist(), seed=1, batch=batch, transform=item, collate=padded, workers=workers, **more
    )


def trainer(manifest: Path, *, steps: int, batch: int = 4, workers: int = 0, dropout: float = 0.2, **more: Any) -> Trainer:
    """A training from seed 0."""
    seed_everything(0)
    model = Temporal(dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    given: dict[str, Any] = {"loader": loader(manifest, batch=batch, workers=workers), "schedule": Constant()}
    return Trainer(model=model, loss=squared, optimizer=optimizer, total_steps=steps, **given | more)


def weights(trained: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in trained.module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def main() -> None:
    from lib.training.callbacks import Callback, Step
    from lib.training.checkpoint import CheckpointStore, save_weights
    from lib.training.preemption import StopRequest

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("manifest", type=Path)
    arguments.add_argument("state", type=Path)
    arguments.add_argument("steps", type=int)
    arguments.add_argument("--workers", type=int, default=0)
    arguments.add_argument("--slow", type=float, default=0.0)
    given = arguments.parse_args()

    class Told(Callback):
        def on_step(self, trainer: Trainer, step: Step) -> None:
            print(step.step, " ".join(key for batch in step.batches for key in batch["keys"]), flush=True)
            time.sleep(given.slow)

    with CheckpointStore(given.state, fingerprint="toy") as store, StopRequest() as stop:
        run = trainer(
            given.manifest, steps=given.steps, workers=given.workers, accumulate=3, save_every=2, store=store, stop=stop,
            callbacks=[Told()],
        )  # fmt: skip
        run.train_loop()
    save_weights(given.state.parent / "toy.safetensors", run.module.state_dict())


if __name__ == "__main__":
    from workflow_scripts import _program

    _program.run(main)
