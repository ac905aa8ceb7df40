"""The attempts at one result: a record of each, and what they mean for the next one.

results/train/…/attempts/{n}.json says who tried (host, job), for how long, with how much memory, and how it ended. Loads no
torch. Not here: that only one tries at a time (ownership.py), exit codes (workflow_scripts/_program.py).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.config.base import ConfigError, VipersightError
from lib.files import DataError, read_json, write_json
from lib.provenance import peak_gpu_memory_mb, peak_memory_mb
from lib.runs import slurm
from lib.training.preemption import Preempted

KILLED = "running"
"""Cause in the record of an attempt that was killed without a word: what it said of itself last."""
FINAL_CAUSES = ("config", "data", "licence", "cancelled")
"""Causes that a retry of the same run cannot heal."""


class EarlierAttemptFinal(VipersightError):
    """An earlier attempt of this same run ended by a cause that repeats itself."""


class Attempt:
    """The growing record of one attempt: host, job, start, and what `keep` adds; written whole at each keep."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.begin = time.monotonic()
        self.facts: dict[str, Any] = {
            "attempt": int(path.stem),
            "fingerprint": fingerprint,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "start": _now(),
        }

    def keep(self, **facts: Any) -> None:
        """Add facts and write the record, with the time and memory used so far."""
        self.facts |= facts
        self.facts |= {
            "end": _now(),
            "seconds": round(time.monotonic() - self.begin, 2),
            "peak_memory_mb": peak_memory_mb(),
            "peak_gpu_memory_mb": peak_gpu_memory_mb(),
        }
        write_json(self.path, self.facts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def attempt(folder: Path, fingerprint: str, number_in_run: int = 1) -> Iterator[Attempt]:
    """Keep a record of this attempt in folder/attempts/{n}.json, also when it fails; `keep()` in between for a kill.

    fingerprint: what is being made; only attempts with the same one are summed.
    number_in_run: Snakemake's `attempt` (1 for the first try of a run). A retry whose predecessor ended by a cause that
    cannot heal raises EarlierAttemptFinal at once; a new run always tries again.
    """
    earlier = records(folder)
    if number_in_run > 1 and earlier:
        last = earlier[-1]
        if cancelled_by_a_person(last):
            last |= {"cause": "cancelled", "error": f"somebody cancelled job {last['job']}; the same command goes on"}
        if last.get("cause") in FINAL_CAUSES:
            raise EarlierAttemptFinal(
                f"not tried again: the last attempt ended by {last['cause']}: {last.get('error', '')}"
            )
    number = earlier[-1]["attempt"] + 1 if earlier else 1
    this = Attempt(folder / "attempts" / f"{number}.json", fingerprint)
    this.keep(cause="running")
    try:
        yield this
        this.keep(cause="finished")
    except BaseException as error:
        this.keep(cause=cause_of(error), error=str(error)[:2000])
        raise


def attempts_so_far(folder: Path, fingerprint: str) -> dict[str, Any]:
    """Number of attempts at this fingerprint, their seconds together and the largest memory, of the host and of the GPU.

    A killed attempt counts with what it kept last. Where a training goes on from rounds (YOLO): how many rounds were begun
    in vain, and the iterations of those that were left on request (of a kill nobody knows); all were made again.
    """
    same = [one for one in records(folder) if one.get("fingerprint") == fingerprint]
    ended = [one for one in same if "round" in one and one.get("cause") != "finished"]
    again = {
        "rounds_again": sum(one["round"] > one.get("epoch", 0) for one in ended),
        "iterations_again": sum(int(one.get("lost_iterations", 0)) for one in ended),
    }
    return (again if any("round" in one for one in same) else {}) | {
        "attempts": len(same),
        "seconds": round(sum(float(one.get("seconds", 0.0)) for one in same), 2),
        **{
            name: max((float(one.get(name, 0.0)) for one in same), default=0.0)
            for name in ("peak_memory_mb", "peak_gpu_memory_mb")
        },
    }


def cause_of(error: BaseException) -> str:
    """The class of a failure, as kept in attempts: config, data, cancelled, preempted, memory or error."""
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (ConfigError, "config"),
        (DataError, "data"),
        (KeyboardInterrupt, "cancelled"),
        (MemoryError, "memory"),
        (Preempted, "preempted"),
    )
    return next((name for kind, name in kinds if isinstance(error, kind)), "error")


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
    return known[job].ended_by if known and job in known else ""
