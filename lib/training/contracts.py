"""What the training loop asks of the parts that it is given: losses, loaders, stores. Not here: the loop (trainer.py), and
the parts themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

LossSums = tuple[dict[str, Tensor], float | Tensor]
"""What a loss gives: sums over the targets of a micro-batch (`loss` is minimised, others are shown), and how many targets
there are: a number, or a tensor without dimensions (`mask.sum()`), which does not make the CPU wait for a GPU. Sums and not
means, so that a step over ragged micro-batches and ranks is the step over all targets at once."""


class Loader(Protocol):
    """Batches of the rest of an epoch; iterating again gives the next epoch (lib/data/loader.ShardLoader)."""

    epoch: int

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Store(Protocol):
    """Where states are kept (checkpoint.CheckpointStore)."""

    def save(self, state: Mapping[str, Any], *, step: int, scores: Mapping[str, float] | None = None) -> None: ...

    def load(self) -> dict[str, Any] | None: ...

    def wait(self) -> None: ...


class Elsewhere:
    """The store of all ranks but the first: they take part in making a state, and rank 0 keeps it."""

    def save(self, state: Mapping[str, Any], *, step: int, scores: Mapping[str, float] | None = None) -> None: ...

    def load(self) -> dict[str, Any] | None:
        return None

    def wait(self) -> None: ...


def as_float32(outputs: Any) -> Any:
    """Outputs with every bfloat16 or float16 tensor in float32; mappings, lists and tuples are looked into."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
    if isinstance(outputs, Mapping):
        return {key: as_float32(value) for key, value in outputs.items()}
    if isinstance(outputs, list | tuple) and not hasattr(outputs, "_fields"):
        return type(outputs)(as_float32(value) for value in outputs)
    return outputs
