"""Pairs of numbers, two towers and a contrastive loss with a learned temperature, for the tests of cached_step. Not a test.

As a program it trains in as many ranks as it is told, each with its share of every window, and keeps the weights:
python -m tests.lib.training.pairs OUT --devices N
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from lib.training import processes
from lib.training.cached_step import cached_step
from lib.training.contracts import LossSums
from lib.training.trainer import Trainer
from tests.lib.training import toy
from workflow_scripts import _program

WIDTH, DIM = 10, 8
SIZES = (5, 3, 4, 4, 2, 6, 5, 5, 2)  # micro-batches of three windows
SHARES = ((3, 2), (2, 1), (1, 3), (2, 2), (1, 1), (4, 2), (3, 2), (1, 4), (1, 1))  # of two ranks


def tower(dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Dropout(dropout), nn.Linear(32, DIM))


class Towers(nn.Module):
    """Features of both sides (b, 8) of length 1, the temperature (a number), and which pairs belong together (b)."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.one, self.other, self.scale = tower(dropout), tower(dropout), nn.Parameter(torch.tensor(1.5))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        one, other = (functional.normalize(tower(batch[name]), dim=-1) for tower, name in self.sides())
        return {"one": one, "other": other, "scale": self.scale.exp(), "group": batch["group"]}

    def sides(self) -> tuple[tuple[nn.Module, str], ...]:
        return (self.one, "x"), (self.other, "y")


def contrastive(features: dict[str, Tensor]) -> LossSums:
    """Cross entropy of both directions, summed over N pairs; another pair of the same group is no negative."""
    logits = features["scale"] * features["one"] @ features["other"].T
    same = features["group"][:, None] == features["group"][None, :]
    logits = logits.masked_fill(same & ~torch.eye(len(same), dtype=torch.bool, device=same.device), -1e4)
    labels = torch.arange(len(logits), device=logits.device)
    rows, columns = (functional.cross_entropy(one, labels, reduction="sum") for one in (logits, logits.T))
    return {"loss": (rows + columns) / 2, "rows": rows}, len(logits)


def of_batch(outputs: dict[str, Tensor], batch: Any) -> LossSums:
    """What Trainer asks of a loss."""
    return contrastive(outputs)


def batches(sizes: Sequence[int] = SIZES) -> list[dict[str, Tensor]]:
    """Micro-batches of these sizes, of the same samples in the same order whatever the sizes."""
    random = torch.Generator().manual_seed(7)
    x = torch.randn(sum(sizes), WIDTH, generator=random)
    y, group = x.flip(1) + 0.1 * torch.randn(x.shape, generator=random), torch.arange(len(x)) // 2 * 2
    whole = {"x": x, "y": y, "group": group}
    parts = {name: value.split(list(sizes)) for name, value in whole.items()}
    return [{name: value[place] for name, value in parts.items()} for place in range(len(sizes))]


def share(rank: int) -> list[dict[str, Tensor]]:
    """What one of two ranks sees of each micro-batch."""
    made = []
    for batch, sizes in zip(batches(), SHARES, strict=True):
        made.append({name: value.split(sizes)[rank] for name, value in batch.items()})
    return made


class Batches:
    """A loader that gives the same batches in every epoch."""

    def __init__(self, given: list[dict[str, Tensor]]) -> None:
        self.given, self.epoch = given, 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        yield from self.given
        self.epoch += 1

    def __len__(self) -> int:
        return len(self.given)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]


def trainer(given: list[dict[str, Tensor]], *, dropout: float = 0.0, **more: Any) -> Trainer:
    """From seed 0; a window is three micro-batches."""
    torch.manual_seed(0)
    model = more.pop("model", None) or Towers(dropout)
    asked: dict[str, Any] = {"accumulate": 3, "total_steps": 6, "step": cached_step(contrastive), "loss": of_batch}
    return Trainer(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.3), schedule=toy.Constant(),
        loader=Batches(given), **asked | more,
    )  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--devices", type=int, default=1)
    arguments.add_argument("--compile", action="store_true")
    given = arguments.parse_args()
    fabric = processes.start(device="cpu", devices=given.devices, precision="fp32")
    mine = share(fabric.global_rank) if given.devices > 1 else batches()
    run = trainer(mine, fabric=fabric, clip_norm=0.5, compile_model=given.compile)
    run.train_loop()
    if fabric.is_global_zero:
        save_file(toy.weights(run), given.out)


if __name__ == "__main__":
    _program.run(main)
