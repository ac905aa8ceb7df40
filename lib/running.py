"""Who runs in a results folder: a record per run, its living driver, the writers that a killed driver left behind.

A run writes results/.runs/TOKEN.json when it begins and removes it when it ends; only a kill leaves it. Its jobs carry the
token in their environment, so they are found whoever their parent is by then. Not here: what to do about them
(workflow_scripts/resume.py), Snakemake's own locks.
"""

from __future__ import annotations

import atexit
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lib.files import DataError, read_json, write_json

RUNS = Path("results/.runs")
TOKEN = "VIPERSIGHT_RUN_TOKEN"
_SAME_START_S = 5.0
"""Two readings of one process's start may differ by this much (the clock is set); a reused number differs by more."""
LOCAL = ("local", "dryrun", "touch")


@dataclass(frozen=True)
class Run:
    """One run: its driver (host, pid, start in s since 1970), when it began, how it was typed and where, its executor."""

    token: str
    host: str
    pid: int
    started: float
    began: str
    words: list[str]
    folder: str
    executor: str

    def text(self) -> str:
        """The run for a person."""
        return f"host {self.host}, pid {self.pid}, begun {self.began}"


def token_of(*, main: bool) -> str:
    """The token of this run: a new one for a driver (`main`), its driver's for the Snakemake inside of a job."""
    return secrets.token_hex(8) if main else os.environ.get(TOKEN, "")


def begin(token: str, words: Sequence[str], folder: str, executor: str) -> Run:
    """Record that this process runs here; the record goes when the process ends, unless it is killed."""
    me = psutil.Process()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    run = Run(token, socket.gethostname(), me.pid, me.create_time(), began, list(words), folder, executor)
    write_json(RUNS / f"{token}.json", asdict(run))
    atexit.register(_end, run, (RUNS / f"{token}.json").absolute(), me.pid)
    return run


def _end(run: Run, record: Path, pid: int) -> None:
    """Remove the record, unless jobs outlive this process, or this is only a fork of it."""
    if os.getpid() == pid and not writers(run):
        record.unlink(missing_ok=True)


def runs(folder: Path = RUNS) -> list[Run]:
    """The runs that are recorded in a results folder, alive or killed, oldest first."""
    found = []
    for path in folder.glob("*.json"):
        try:
            found.append(Run(**read_json(path)))
        except (DataError, TypeError) as error:
            if path.exists():  # else it ended meanwhile
                raise DataError(f"{path}: no record of a run ({error}). Hint: delete it when no run is active.") from error
    return sorted(found, key=lambda run: run.began)


def forget(run: Run, folder: Path = RUNS) -> None:
    """Remove the record of a run that is gone."""
    (folder / f"{run.token}.json").unlink(missing_ok=True)


def state(run: Run) -> str:
    """`alive`, `gone`, or `elsewhere`: on another host, where this one cannot look."""
    if run.host != socket.gethostname():
        return "elsewhere"
    with suppress(psutil.NoSuchProcess):
        driver = psutil.Process(run.pid)
        same = abs(driver.create_time() - run.started) < _SAME_START_S
        if same and driver.status() != psutil.STATUS_ZOMBIE:
            return "alive"
    return "gone"


def writers(run: Run) -> list[psutil.Process]:
    """The living processes of this host that work for a run, but not its driver nor this process."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # ended meanwhile, or someone else's
            if process.pid in (run.pid, os.getpid()) or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(TOKEN) == run.token:
                found.append(process)
    return found


def describe(process: psutil.Process) -> str:
    """A process for a person: its number and the beginning of its command."""
    with suppress(psutil.Error):
        return f"pid {process.pid}: {' '.join(process.cmdline())[:120]}"
    return f"pid {process.pid}"


def note_others() -> str:
    """What to tell a person who starts here about other runs, "" when there are none."""
    lines = []
    for run in runs():
        where = state(run)
        if where == "alive" and run.pid != os.getpid():
            lines.append(f"note: another run is active in this folder ({run.text()}).")
        elif where == "gone":
            lines.append(f"note: a run in this folder was killed ({run.text()}). Hint: `make resume` goes on from there.")
        elif where == "elsewhere":
            lines.append(f"note: a run of another host is recorded here ({run.text()}); look there whether it is alive.")
    return "\n".join(lines)


def refuse_orphans() -> None:
    """DataError when jobs of a killed run still write here; records of killed runs without any are dropped."""
    for run in runs():
        if state(run) != "gone":
            continue
        left = writers(run)
        if left:
            listed = "\n  ".join(describe(process) for process in left[:5])
            raise DataError(
                f"{len(left)} processes of a killed run ({run.text()}) still write here:\n  {listed}\n"
                "Hint: `make resume` ends them and goes on; two writers would spoil each other's files."
            )
        forget(run)
