"""What the records of earlier attempts mean for the next one: who ended them, and whether they lacked memory.

The records are results/train/…/attempts/{n}.json, written by workflow_scripts/_program.py. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib import slurm
from lib.files import read_json

KILLED = "running"
"""Cause in the record of an attempt that was killed without a word: what it said of itself last."""


def records(folder: Path) -> list[dict[str, Any]]:
    """Records of a training's attempts, oldest first. folder: of the training."""
    found = sorted((folder / "attempts").glob("*.json"), key=lambda path: int(path.stem))
    return [read_json(path) for path in found]


def cancelled_by_a_person(record: Mapping[str, Any]) -> bool:
    """Whether somebody cancelled the Slurm job of an attempt; False where Slurm does not say so."""
    return _slurm_state(record) == "CANCELLED"


def memory_factor(folder: Path, attempt: int, step: float = 0.5) -> float:
    """By how much more memory the next try of a run gets: 1 + `step` for every try of this run that lacked memory.

    attempt: number of the next try within its run, from 1 on; tries of earlier runs do not count. A try lacked memory when
    its record says so, or when Slurm ended it for that; without cgroups Slurm only says FAILED of a job that was killed.
    """
    if attempt < 2:
        return 1.0
    tries = records(folder)[-(attempt - 1) :]
    return 1.0 + step * sum(_lacked_memory(one) for one in tries)


def _lacked_memory(record: Mapping[str, Any]) -> bool:
    if record.get("cause") == "memory":
        return True
    return record.get("cause") == KILLED and _slurm_state(record) in ("OUT_OF_MEMORY", "FAILED")


def _slurm_state(record: Mapping[str, Any]) -> str:
    """Slurm's word for how the job of an attempt ended; "" = it was none, or nobody answers."""
    job = record.get("job")
    known = slurm.jobs([job]) if job and slurm.installed() else None
    return known[job].state if known and job in known else ""
