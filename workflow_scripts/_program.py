"""What all programs share: reading --settings, one-line errors with exit codes, the attempts kept beside long results.

Not here: any stage. Exit codes: 0 done, 1 unexpected error (with traceback), 2 settings or data are wrong (one line, with a
hint), 3 an earlier attempt of this run ended by a cause that a retry cannot heal, 69 somebody else trains there already
(nothing was touched), or took this training over, 70 a training hung and was ended, 75 a training was asked to stop or ran
out of memory on one of its ranks; its state is saved and it goes on when it is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lib.attempts import cancelled_by_a_person
from lib.config.base import ConfigError, VipersightError, explain
from lib.files import DataError, read_json, write_json
from lib.ownership import BUSY, Busy
from lib.provenance import peak_memory_mb
from lib.training.preemption import PREEMPTED, Preempted

WRONG_INPUT = 2
NOT_AGAIN = 3
FINAL_CAUSES = ("config", "data", "licence", "cancelled")
"""Causes that a retry of the same run cannot heal."""


class EarlierAttemptFinal(VipersightError):
    """An earlier attempt of this same run ended by a cause that repeats itself."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser whose help is the program's own docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_settings(arguments: argparse.ArgumentParser) -> None:
    """--settings: canonical JSON as the rules pass it, or a JSON file for a run by hand."""
    arguments.add_argument(
        "--settings", required=True, type=read_settings, help="the job's settings: JSON text or a JSON file"
    )


def read_settings(text: str) -> dict[str, Any]:
    """Parse --settings: a JSON object, or the path of a file that holds one."""
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else read_json(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return values


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def run(main: Callable[[], None]) -> None:
    """Run a program's main: a refusal is printed as its text alone, anything else keeps its traceback."""
    try:
        main()
    except EarlierAttemptFinal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        sys.exit(NOT_AGAIN)
    except Busy as taken:
        print(f"error: {taken}", file=sys.stderr)
        sys.exit(BUSY)
    except Preempted as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        sys.exit(PREEMPTED)
    except VipersightError as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        sys.exit(WRONG_INPUT)
    except ValidationError as fault:  # settings typed by hand; those of a rule were checked when the study was loaded
        print(f"error: {explain(fault, '--settings')}", file=sys.stderr)
        sys.exit(WRONG_INPUT)


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
    records = folder / "attempts"
    earlier = sorted(records.glob("*.json"), key=lambda path: int(path.stem)) if records.is_dir() else []
    if number_in_run > 1 and earlier:
        last = read_json(earlier[-1])
        if cancelled_by_a_person(last):
            last |= {"cause": "cancelled", "error": f"somebody cancelled job {last['job']}; the same command goes on"}
        if last.get("cause") in FINAL_CAUSES:
            raise EarlierAttemptFinal(
                f"not tried again: the last attempt ended by {last['cause']}: {last.get('error', '')}"
            )
    number = int(earlier[-1].stem) + 1 if earlier else 1
    this = Attempt(records / f"{number}.json", fingerprint)
    this.keep(cause="running")
    try:
        yield this
        this.keep(cause="finished")
    except BaseException as error:
        this.keep(cause=cause_of(error), error=str(error)[:2000])
        raise


def attempts_so_far(folder: Path, fingerprint: str) -> dict[str, Any]:
    """Number of attempts at this fingerprint, their seconds together and the largest memory.

    A killed attempt counts with what it kept last.
    """
    records = [read_json(path) for path in sorted((folder / "attempts").glob("*.json"))]
    records = [one for one in records if one.get("fingerprint") == fingerprint]
    return {
        "attempts": len(records),
        "seconds": round(sum(float(one.get("seconds", 0.0)) for one in records), 2),
        "peak_memory_mb": max((float(one.get("peak_memory_mb", 0.0)) for one in records), default=0.0),
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
