"""Who runs in a results folder: a record per run, its living driver, the writers that a killed driver left behind.

A run writes results/.runs/TOKEN.json when it begins and removes it when it ends; only a kill leaves it. Its jobs carry the
token in their environment, so they are found whoever their parent is by then. Not here: what to do about them
(workflow_scripts/resume.py), Snakemake's own locks.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lib.files import DataError, disk_errors, read_json, write_json
from lib.runs import slurm

RUNS = Path("results/.runs")
TOKEN = "VIPERSIGHT_RUN_TOKEN"
DRIVER_JOB, DRIVER_LOG = "VIPERSIGHT_DRIVER_JOB", "VIPERSIGHT_DRIVER_LOG"
"""Variables by which `launch` tells a driver which Slurm job it is, and where it writes."""
_SAME_START_S = 5.0
"""Two readings of one process's start may differ by this much (the clock is set); a reused number differs by more."""
LOCAL = ("local", "dryrun", "touch")


@dataclass(frozen=True)
class Run:
    """One run: its driver (host, pid, start in s since 1970), when it began, how it was typed and where, its executor.

    job: the Slurm job that the driver itself is, "" = none. jobs_name: the name of all Slurm jobs that it submits, "" = not
    known. log: where a launched driver writes, "" = to a terminal.
    """

    token: str
    host: str
    pid: int
    started: float
    began: str
    words: list[str]
    folder: str
    executor: str
    job: str = ""
    jobs_name: str = ""
    log: str = ""

    def text(self) -> str:
        """The run for a person."""
        job = f", Slurm job {self.job}" if self.job else ""
        return f"host {self.host}, pid {self.pid}{job}, begun {self.began}"


def token_of(*, main: bool) -> str:
    """The token of this run: a new one for a driver (`main`), its driver's for the Snakemake inside of a job."""
    return secrets.token_hex(8) if main else os.environ.get(TOKEN, "")


def begin(token: str, words: Sequence[str], folder: str, executor: str, jobs_name: str = "") -> Run:
    """Record that this process runs here; the record goes when the process ends, unless it is killed."""
    me = psutil.Process()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    launched = {"job": os.environ.get(DRIVER_JOB, ""), "log": os.environ.get(DRIVER_LOG, "")}
    run = Run(
        token,
        socket.gethostname(),
        me.pid,
        me.create_time(),
        began,
        list(words),
        folder,
        executor,
        jobs_name=jobs_name,
        **launched,
    )
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
    """`alive`, `gone`, or `elsewhere`: on another host, where this one cannot look (Slurm tells of a driver in a job)."""
    if run.host == socket.gethostname():
        return "alive" if lives(run.pid, run.started) else "gone"
    if run.job and (job := (slurm.jobs([run.job]) or {}).get(run.job)):
        return "alive" if job.active else "gone"
    return "elsewhere"


def lives(pid: int, started: float) -> bool:
    """Whether the process with this number and start (s since 1970) still runs on this host."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < _SAME_START_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    return False


def writers(run: Run, *, in_jobs: bool = True) -> list[psutil.Process]:
    """The living processes of this host that work for a run, but not its driver nor this process.

    in_jobs: those inside of Slurm jobs, too.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # ended meanwhile, or someone else's
            if process.pid in (run.pid, os.getpid()) or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
            if environment.get(TOKEN) == run.token and (in_jobs or "SLURM_JOB_ID" not in environment):
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


@contextmanager
def alone(folder: Path, program: str) -> Iterator[None]:
    """Hold the right of a program (resume, launch) to work in this folder; a second one is refused. A kill frees it."""
    place = folder / RUNS / f"{program}.lock"
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(f"{folder}: another `{program}` is at work here. Hint: wait for it.") from error
            yield


def driver_environment() -> dict[str, str]:
    """What a driver is started with: this environment, its programs first, nothing of another run's."""
    theirs = (TOKEN, DRIVER_JOB, DRIVER_LOG)
    environment = {key: value for key, value in os.environ.items() if key not in theirs}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    return environment


def directory_of(words: Sequence[str]) -> Path | None:
    """The folder that `--directory` names among words for snakemake."""
    for place, word in enumerate(words):
        if word in ("--directory", "-d") and place + 1 < len(words):
            return Path(words[place + 1])
        if word.startswith("--directory="):
            return Path(word.partition("=")[2])
    return None


def drivers(folder: Path) -> list[psutil.Process]:
    """Living Snakemake processes of this host that work in `folder`, but not those inside of jobs, which carry a token."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            words = process.cmdline()
            is_snakemake = any(Path(word).name == "snakemake" for word in words[:3]) or words[1:3] == ["-m", "snakemake"]
            if not is_snakemake or process.pid == os.getpid() or process.environ().get(TOKEN):
                continue
            if Path(process.cwd()).resolve() == folder.resolve():
                found.append(process)
    return found


def _left_on_slurm(run: Run) -> list[str]:
    """The Slurm jobs that a killed run left. DataError when squeue does not answer."""
    if run.executor != "slurm" or not run.jobs_name:
        return []
    jobs = slurm.queued(name=run.jobs_name)
    if jobs is None:
        raise DataError(
            f"squeue does not answer, and a killed run ({run.text()}) may have left jobs on Slurm. Hint: try again when it "
            "does; when you know that none is left: make resume WORDS=--jobs-are-gone"
        )
    return [f"Slurm job {job.id}, {job.state}: {job.comment}" for job in jobs if job.active]


def refuse_orphans() -> None:
    """DataError when jobs of a killed run still write here, or may; records of killed runs without any are dropped."""
    for run in runs():
        if state(run) != "gone":
            continue
        left = [describe(process) for process in writers(run)] or _left_on_slurm(run)
        if left:
            listed = "\n  ".join(left[:5])
            raise DataError(
                f"{len(left)} processes or jobs of a killed run ({run.text()}) still write here:\n  {listed}\n"
                "Hint: `make resume` ends them and goes on; two writers would spoil each other's files."
            )
        forget(run)
