"""Why a job failed, told from the end of its log, its own record and Slurm's word, and what to do. Pure functions.

What is certain comes first: Slurm's own end of a job, then the class that a program gave its failure, refined by the text.
Among lines of a log a statement (“CUDA out of memory”) beats an error line (“error: … is cut”), which beats a trace that
many causes leave (“Terminated”); among equals the last one counts. Warnings are none. Not here: finding jobs and logs
(lib/status/failures.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib.reporting.triage_patterns import (
    CANCELLED,
    CONFIG,
    DATA,
    DISK,
    DIVERGED,
    GPU_MEMORY,
    HOST_MEMORY,
    KILLED,
    LICENCE,
    NETWORK,
    NODE,
    PATTERNS,
    PREEMPTED,
    REFUSED,
    STALL,
    STATEMENT,
    TIME_LIMIT,
    TRACE,
    UNKNOWN,
)

TAIL_BYTES = 65_536
"""Of a log that are read: its end, however long it is."""
_LINE = 200  # letters of a line that are shown
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_HARMLESS = re.compile(
    r"^\s*(\[[^\]]*\]\s*)?(warning\b|\S*Warning:|WARN\b|INFO\b|DEBUG\b|Hint:|File [\x22])", re.IGNORECASE
)
_TOLD = {
    "cancelled": CANCELLED,
    "config": CONFIG,
    "licence": LICENCE,
    "data": DATA,
    "memory": HOST_MEMORY,
    "preempted": PREEMPTED,
    "time limit": TIME_LIMIT,
    "node": NODE,
    "suspended": PREEMPTED,
}
_REFINED = {
    "data": (DISK, NETWORK, LICENCE, DATA),
    "memory": (GPU_MEMORY, HOST_MEMORY),
    "preempted": (TIME_LIMIT, PREEMPTED),
    "cancelled": (CANCELLED, TIME_LIMIT, PREEMPTED, NODE),
}
"""Causes that the text may make of a program's own class; any, for a class that is not here and not final."""
_BY_SLURM = {
    "OUT_OF_MEMORY": HOST_MEMORY,
    "TIMEOUT": TIME_LIMIT,
    "DEADLINE": TIME_LIMIT,
    "PREEMPTED": PREEMPTED,
    "NODE_FAIL": NODE,
    "BOOT_FAIL": NODE,
}
ADVICE: dict[str, tuple[bool, str]] = {
    GPU_MEMORY: (False, "lower training.batch or imgsz, or ask for a larger GPU; the same again fails again"),
    HOST_MEMORY: (False, "ask for more memory (rules/resources.smk, mem_mb), or lower workers and batch"),
    TIME_LIMIT: (True, "the same command goes on from the last state; ask for more minutes where that happens often"),
    NODE: (True, "the node is to blame; the same command goes on, elsewhere if it happens again (--exclude)"),
    DIVERGED: (False, "lower lr0, raise warmup or clip_norm: the same settings diverge again"),
    DATA: (False, "mend or fetch the file that is named; `make check` lists holes"),
    CONFIG: (False, "correct the setting that is named"),
    LICENCE: (
        False,
        "accept the licence or log in there, or name a folder with the files (VIPERSIGHT_MIRROR)",
    ),
    NETWORK: (True, "try again; downloads go on where they stopped"),
    DISK: (False, "free space, or another disk (--directory); nothing was half-written"),
    STALL: (True, "end it where it still hangs (scancel, kill): it goes on from its last state; its log may say what hung"),
    CANCELLED: (True, "somebody ended it; the same command goes on"),
    PREEMPTED: (True, "the same command goes on from the last state"),
    KILLED: (True, "by hand (kill -9), or for want of memory on the host: the same command goes on from the last state"),
    REFUSED: (
        False,
        "put right what sbatch names (your profile, rules/resources.smk); wait where it is a limit or a closed partition",
    ),
    UNKNOWN: (False, "read the log"),
}
"""Cause → whether the same command may go well, and what to do."""


@dataclass(frozen=True)
class Verdict:
    """cause: one of ADVICE; line: what says so."""

    cause: str
    line: str

    @property
    def retry(self) -> bool:
        """Whether the same command may go well."""
        return ADVICE[self.cause][0]

    @property
    def advice(self) -> str:
        return ADVICE[self.cause][1]


def classify(*, told: str | None = None, error: str = "", slurm: str | None = None, log: str = "") -> Verdict:
    """told: the cause in the attempt's record; error: its text; slurm: the job's state in Slurm's words; log: its end.

    None and "" mean that there is none.
    """
    if slurm in _BY_SLURM and told not in ("config", "data", "licence"):
        cause = _BY_SLURM[slurm]
        return Verdict(cause, _line_of(cause, log) or f"Slurm says {slurm}")
    found = _found(error) or _found(log)
    if told in _TOLD:
        said, allowed = _first(error), _REFINED.get(told, ())
        least = STATEMENT if told == "cancelled" else TRACE  # what a training says that is asked to leave tells not why
        refined = next((one for text in (error, log) if (one := _found(text, least)) and one.cause in allowed), None)
        return refined or Verdict(_TOLD[told], said or f"its record says {told}")
    if found is not None and found.cause != CANCELLED:
        return found
    if slurm == "CANCELLED" or found is not None:
        return found or Verdict(CANCELLED, "Slurm says CANCELLED")
    if told in ("killed", "running"):
        return Verdict(KILLED, "ended without a word")
    return Verdict(UNKNOWN, _first(error) or _last(log) or "its log is empty")


def _found(text: str, least: int = TRACE) -> Verdict | None:
    """The strongest and last match of a text, of rank `least` at the least."""
    best: tuple[int, int] | None = None
    verdict = None
    for number, line in enumerate(_lines(text)):
        match = next(((cause, rank) for pattern, cause, rank in PATTERNS if pattern.search(line)), None)
        if match is not None and match[1] >= least and (best is None or (match[1], number) >= best):
            best, verdict = (match[1], number), Verdict(match[0], _short(line))
    return verdict


def _line_of(cause: str, log: str) -> str:
    """The last line of a log that speaks of a cause."""
    told = [line for line in _lines(log) for pattern, of, _ in PATTERNS if of == cause and pattern.search(line)]
    return _short(told[-1]) if told else ""


def _lines(text: str) -> Iterator[str]:
    """Lines that may tell: without colours, progress bars, warnings and places in code."""
    for line in _ANSI.sub("", text).replace("\r", "\n").splitlines():
        if line.strip() and not _HARMLESS.match(line):
            yield line.strip()


def _first(text: str) -> str:
    return _short(next(_lines(text), ""))


def _last(text: str) -> str:
    lines = list(_lines(text))
    return _short(lines[-1]) if lines else ""


def _short(line: str) -> str:
    return line if len(line) <= _LINE else f"{line[: _LINE - 1]}…"


def tail_of(path: Path, size: int = TAIL_BYTES) -> str:
    """The last `size` bytes of a log as text, "" when it cannot be read; half a line at their beginning is left out."""
    try:
        with open(path, "rb") as file:
            length = file.seek(0, 2)
            file.seek(max(0, length - size))
            text = file.read(size).decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if length > size and "\n" in text else text
