"""Whether /dev/shm holds what the workers of a loader put there. Not here: the loader itself (loader.py).

PyTorch hands tensors from workers to the trainer through /dev/shm, under both of its sharing strategies. Where it is too
small (containers often have 64 MB) a worker dies of SIGBUS in the middle of a training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.config.base import VipersightError

FOLDER = Path("/dev/shm")
HINT = (
    "Hint: fewer workers (0 uses none of it), smaller batches or images, or more of it: `--shm-size` for Docker, "
    "`--mount type=tmpfs` or a larger bind of /dev/shm for other containers."
)


class LoaderMemoryError(VipersightError, MemoryError):
    """Workers need more memory than there is. Of the class memory, so that a retry may ask for more."""


def tensor_bytes(batch: Any) -> int:
    """Bytes of all tensors in a batch (nested lists, tuples, mappings, plain objects): what goes through /dev/shm."""
    size = getattr(batch, "element_size", None)
    if callable(size):
        return int(batch.numel() * size())
    if isinstance(batch, Mapping):
        return sum(map(tensor_bytes, batch.values()))
    if isinstance(batch, list | tuple):
        return sum(map(tensor_bytes, batch))
    return sum(map(tensor_bytes, vars(batch).values())) if hasattr(batch, "__dict__") else 0


def needed_bytes(batch: Any, *, workers: int, prefetch: int, processes: int = 1) -> int:
    """Bytes in /dev/shm at most: each worker holds `prefetch` batches, and the trainer the one in use and the next.

    processes: how many such loaders run on this machine (ranks of one node).
    """
    return tensor_bytes(batch) * (workers * prefetch + 2) * processes


def check_shared_memory(need: int, *, workers: int, folder: Path = FOLDER) -> None:
    """Raise LoaderMemoryError when `folder` has less room than `need` bytes; where there is no such folder pass."""
    try:
        found = os.statvfs(folder)
    except FileNotFoundError:
        return
    free = found.f_bavail * found.f_frsize
    if need > free:
        raise LoaderMemoryError(
            f"{folder}: {workers} workers need {need:,} bytes of shared memory for their batches, but {free:,} are free. "
            f"{HINT}"
        )
