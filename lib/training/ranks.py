"""What the ranks of one training tell each other, and what must be alike on all of them. Not here: starting them
(processes.py), gradients (torch's DistributedDataParallel)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor

from lib.config.base import ConfigError
from lib.files import DataError


def exchanging(fabric: Fabric) -> bool:
    """Whether ranks exchange anything: several always do, one does where its Fabric was made so (strategy ddp)."""
    return fabric.world_size > 1 or isinstance(fabric.strategy, DDPStrategy)


def from_all_ranks(fabric: Fabric, value: Any) -> list[Any]:
    """A value of every rank, in their order; every rank must call it."""
    if not exchanging(fabric):
        return [value]
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, value)
    return gathered


def rows_of_all_ranks(fabric: Fabric, rows: Tensor) -> Tensor:
    """Rows (n, …) of every rank in their order, (Σ n, …); n may differ. Gradients flow to this rank's own rows only."""
    if not exchanging(fabric):
        return rows
    told = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(fabric.world_size)]
    torch.distributed.all_gather(told, torch.full_like(told[0], len(rows)))
    sizes = torch.cat(told).tolist()
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    gathered = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(gathered, padded)
    parts = [one[:size] for one, size in zip(gathered, sizes, strict=True)]
    parts[fabric.global_rank] = rows
    return torch.cat(parts)


def check_lengths(fabric: Fabric, batches: int) -> None:
    """ConfigError: no batch at all, or ranks that would wait for each other for ever."""
    lengths = from_all_ranks(fabric, batches)
    if min(lengths) < 1:
        raise ConfigError("the loader gives no batch. Hint: has the arm any sample, and no fewer than `batch`?")
    if len(set(lengths)) > 1:
        raise ConfigError(f"ranks have {lengths} batches per epoch. Hint: a loader's tail drop or pad makes them equal.")


def check_contents(fabric: Fabric, batch: Any) -> None:
    """DataError where batches of different ranks hold different things: they would train different models."""
    mine = sorted(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
    held = from_all_ranks(fabric, mine)
    if any(one != held[0] for one in held):
        raise DataError(f"ranks have batches of different contents: {held}. Hint: one collate function for all ranks.")
