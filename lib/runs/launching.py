"""Drivers that outlive the terminal they were started from: a process of this host in a session of its own, or a small
Slurm job. Started, found again, ended the gentle way. Not here: what a killed driver leaves (workflow_scripts/resume.py).
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lib.files import DataError, disk_errors, sha256_text
from lib.runs import running, slurm
from lib.runs.running import Run

LOGS = Path("results/logs/launch")
LAST_LINES = 30
POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Small:
    """What a driver's Slurm job asks for. minutes: its time limit; partition, account, qos: None = the cluster's own."""

    minutes: int = 1440
    mem_mb: int = 2000
    partition: str | None = None
    account: str | None = None
    qos: str | None = None

    def words(self) -> list[str]:
        """Its words for sbatch. Five minutes before the limit the driver is asked to end its jobs well."""
        words = [f"--time={self.minutes}", f"--mem={self.mem_mb}", "--ntasks=1", "--cpus-per-task=1", "--no-requeue"]
        words += ["--signal=B:INT@300"] if self.minutes > 10 else []
        named = {"partition": self.partition, "account": self.account, "qos": self.qos}
        return words + [f"--{name}={value}" for name, value in named.items() if value]


def refuse_taken(folder: Path) -> None:
    """DataError when a run is alive in the folder, may be, is beginning, waits in Slurm's queue, or was killed there."""
    for run in running.runs(folder / running.RUNS):
        where = running.state(run)
        hints = {
            "alive": f"wait for it, or end it: python -m workflow_scripts.launch --stop {run.token}",
            "elsewhere": f"look there (ssh {run.host} ps -p {run.pid}); when it is dead: make resume WORDS=--owner-is-gone",
            "gone": "it was killed: `make resume` ends what it left and goes on.",
        }
        raise DataError(f"{folder}: {where}, a run ({run.text()}); nothing was started. Hint: {hints[where]}")
    for driver in running.drivers(folder):
        raise DataError(
            f"{folder}: a run is beginning ({running.describe(driver)}); nothing was started. Hint: wait for it."
        )
    for job in queued_drivers(folder):
        raise DataError(
            f"{folder}: a driver is in Slurm's queue (job {job.id}, {job.state}); nothing was started. "
            f"Hint: wait for it, or scancel {job.id}"
        )


def job_name(folder: Path) -> str:
    """What drivers of this folder are called in Slurm's queue."""
    return f"vipersight-{sha256_text(str(folder.resolve()))[:12]}"


def queued_drivers(folder: Path) -> list[slurm.Job]:
    """Drivers of this folder that run or wait in Slurm, as far as it answers."""
    jobs = slurm.queued(name=job_name(folder)) if slurm.installed() else None
    return [job for job in jobs or () if job.active]


def new_log(folder: Path) -> Path:
    """A path for the log of a driver that begins now."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = folder / LOGS / f"{stamp}-{secrets.token_hex(2)}.log"
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return path


def start_here(words: Sequence[str], home: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a driver on this host, in a session of its own, deaf to hang-ups; home: the folder that it is typed in."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # both are handed on; a shell's background job would be deaf to SIGINT
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with open(log, "ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *words],
            cwd=home,
            env=running.driver_environment() | {running.DRIVER_LOG: str(log)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def start_on_slurm(words: Sequence[str], home: Path, log: Path, folder: Path, small: Small) -> str:
    """Submit a driver as a small job; returns its number. DataError when Slurm does not take it."""
    command = shlex.join([sys.executable, "-m", "snakemake", *words])
    script = f"#!/bin/bash\nexport {running.DRIVER_JOB}=$SLURM_JOB_ID\nexec {command}\n"
    order = ["sbatch", "--parsable", f"--job-name={job_name(folder)}", f"--output={log}", "--open-mode=append"]
    order += [f"--chdir={home}", *small.words()]
    environment = running.driver_environment() | {running.DRIVER_LOG: str(log)}
    try:
        done = subprocess.run(order, input=script, capture_output=True, text=True, timeout=60, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(
            f"sbatch: {error}. Hint: is this a machine of the cluster? Without --slurm it runs here."
        ) from error
    if done.returncode:
        raise DataError(
            f"sbatch refused the driver: {done.stderr.strip()}. Hint: --minutes, --mem-mb, --partition, --account"
        )
    return done.stdout.strip().split(";")[0]


def await_begin(
    folder: Path, is_it: Callable[[Run], bool], code: Callable[[], int | None], patience_s: float
) -> Run | int | None:
    """The driver's record when it has begun, its exit code when it ended first, None when neither came in time.

    code: tells the driver's exit code once it has ended, else None.
    """
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        ended = code()
        for run in running.runs(folder / running.RUNS):
            if is_it(run):
                return run
        if ended is not None:
            return ended
        time.sleep(POLL_S)
    return None


def last_lines(log: Path) -> str:
    """The end of a log."""
    with suppress(OSError):
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
    return ""


def ask_to_stop(run: Run) -> None:
    """Interrupt a living driver, as Ctrl-C would; local jobs are asked to save and leave. DataError: it is out of reach."""
    if run.job:
        if not slurm.send("INT", run.job, to_all=False):
            raise DataError(f"Slurm did not take the signal for job {run.job}. Hint: try again; or scancel {run.job}")
        if run.executor in running.LOCAL:
            time.sleep(1.0)  # the driver first: it then starts nothing new
            slurm.send("TERM", run.job, to_all=True)
        return
    if running.state(run) == "elsewhere":
        raise DataError(
            f"the driver runs on {run.host}; only there it can be asked. Hint: ssh {run.host} kill -INT {run.pid}"
        )
    with suppress(ProcessLookupError):
        os.kill(run.pid, signal.SIGINT)
    if run.executor in running.LOCAL:  # else they are Snakemake's own orders to the cluster
        for process in running.writers(run):
            with suppress(psutil.Error):
                process.terminate()


def await_end(run: Run, folder: Path, patience_s: float) -> bool:
    """Whether the driver, and what worked for it on this host, ended in time."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        recorded = (folder / running.RUNS / f"{run.token}.json").exists()
        where = running.state(run)  # its record goes a little before the process does
        if (where == "gone" or (where == "elsewhere" and not recorded)) and not running.writers(run):
            return True
        time.sleep(1.0 if run.job else POLL_S)
    return False


def is_locked(folder: Path) -> bool:
    """Whether a driver left Snakemake's lock."""
    return any((folder / ".snakemake/locks").glob("*.lock"))
