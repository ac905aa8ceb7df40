"""The random number generators of a process as plain values, so that a training goes on with the numbers it would have had.

Not here: the order of samples and their augmentation, which follow from seed, epoch and key alone (lib/data/epochs.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """States of Python's, NumPy's and torch's generators (CPU and, where used, this process's GPU) as plain values.

    Of other GPUs nothing is asked, for that would open each of them, and the retry may see fewer.
    """
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on with the numbers that `random_state` led to."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_initialized():  # else it goes on without the GPU that it began with
        torch.cuda.set_rng_state(state["cuda"][min(torch.cuda.current_device(), len(state["cuda"]) - 1)])


def numbers_from(device: torch.device) -> tuple[Any, ...]:
    """Where the generators that a forward pass on this device may use stand: `random_state` without other devices."""
    there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), there


@contextmanager
def same_numbers(numbers: tuple[Any, ...], device: torch.device) -> Iterator[None]:
    """Inside, the numbers that followed on `numbers` come again; afterwards, those that would have come without it."""
    outside = numbers_from(device)
    _go_on_from(numbers, device)
    try:
        yield
    finally:
        _go_on_from(outside, device)


def _go_on_from(numbers: tuple[Any, ...], device: torch.device) -> None:
    python, numpy, here, there = numbers
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(here)
    if there is not None:
        torch.cuda.set_rng_state(there, device)
