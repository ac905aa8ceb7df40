"""A network whose activations take the memory, not its weights, and trainings with it, for these tests. No test itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lib.training import processes
from lib.training.callbacks import Callback, Step
from lib.training.contracts import LossSums
from lib.training.trainer import Trainer
from tests.lib.training import toy
from tests.lib.training.pairs import Batches

WIDTH = 64


class Wide(nn.Module):
    """(b, 64) → (b, 1) by way of 8 activations of (b, inner). inner: 2**16 are 256 KiB per sample and activation."""

    def __init__(self, inner: int = 256, depth: int = 8) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(WIDTH, inner), nn.Linear(inner, 1)
        self.scales = nn.Parameter(torch.ones(depth, inner))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        x = self.into(batch["x"])
        for scale in self.scales:
            x = torch.tanh(x * scale)
        return self.out(x).squeeze(-1)


def squared(outputs: Tensor, batch: dict[str, Any]) -> LossSums:
    """Sum of squared errors, and a number of targets that stays on the device."""
    error = ((outputs - batch["y"]) ** 2).sum()
    return {"loss": error, "half": error / 2}, torch.ones_like(batch["y"]).sum()


def batches(count: int, size: int) -> list[dict[str, Tensor]]:
    """Micro-batches of seeded samples: x (size, 64), y (size), the same samples in the same order whatever the size."""
    random = torch.Generator().manual_seed(3)
    x = torch.randn(count * size, WIDTH, generator=random)
    y = x[:, :4].sum(1)
    return [{"x": x[first : first + size], "y": y[first : first + size]} for first in range(0, count * size, size)]


def on_gpu(precision: str = "fp32") -> Any:
    return processes.start(device="cuda", devices=1, precision=precision)


def trainer(given: list[dict[str, Tensor]], *, steps: int, model: nn.Module | None = None, **more: Any) -> Trainer:
    """From seed 0, by SGD on the GPU."""
    torch.manual_seed(0)
    model = model or Wide()
    asked: dict[str, Any] = {"fabric": on_gpu(more.pop("precision", "fp32")), "loss": squared}
    asked["optimizer"] = torch.optim.SGD(model.parameters(), lr=1e-3)
    return Trainer(model=model, schedule=toy.Constant(), loader=Batches(given), total_steps=steps, **asked | more)


class Seen(Callback):
    """All steps, without their batches."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def on_step(self, trainer: Trainer, step: Step) -> None:
        self.steps.append(step)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)


def peak_mib() -> float:
    """Most memory of tensors since it was asked last."""
    torch.cuda.synchronize()
    most = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return most
