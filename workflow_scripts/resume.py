"""Go on after a killed run: end what it left running, unlock when its driver is really gone, run the same command again.

python -m workflow_scripts.resume [--wait] [-- words for snakemake]        (or: make resume)

Without words the killed run's own are taken. Jobs that outlived their driver, on this host or on Slurm, are ended (a
training goes on from its last state); with --wait those that run may finish first. A folder in which a run is alive, here
or on another host, is never unlocked; when squeue does not answer, nothing is changed. Exit code: Snakemake's, or 2 for a
refusal.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from lib.files import LEFTOVERS, DataError
from lib.runs import left_jobs, running
from lib.runs.running import Run
from workflow_scripts import _program

_TELL_S = 30.0
_DIE_S = 60.0


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("--directory", type=Path, help="the working directory of the run, when it is not this one")
    arguments.add_argument("--wait", action="store_true", help="let jobs that outlived their driver finish first")
    arguments.add_argument("--grace", type=float, default=30.0, help="seconds that jobs get to stop by themselves")
    arguments.add_argument("--owner-is-gone", action="store_true", help="you looked: the run of the other host is dead")
    arguments.add_argument(
        "--jobs-are-gone", action="store_true", help="you looked: no cluster job of the run is left; Slurm is not asked"
    )
    arguments.add_argument("words", nargs="*", help="after `--`: words for snakemake; default: those of the killed run")
    given = arguments.parse_args()

    folder = (given.directory or running.directory_of(given.words) or Path()).absolute()
    with running.alone(folder, "resume"):
        killed = running.runs(folder / running.RUNS)
        refuse_living(killed, folder, owner_is_gone=given.owner_is_gone, jobs_are_gone=given.jobs_are_gone)
        for run in killed:
            print(f"a killed run: {run.text()}", file=sys.stderr)
            settle(run, wait=given.wait, grace_s=given.grace)
        if not given.jobs_are_gone:
            settle_slurm(killed, folder, wait=given.wait)
        words = given.words or (killed[-1].words if killed else [])
        if not words and not killed:
            print(
                "nothing to resume: no killed run is recorded here. Hint: snakemake -c2 goes on as always.", file=sys.stderr
            )
            return
        home = killed[-1].folder if killed and not given.words else os.getcwd()
        _place(words, given.directory, home)
        unlock(words, folder, home)
        sweep(folder / "results")
        for run in killed:
            running.forget(run, folder / running.RUNS)
        sys.exit(_snakemake(["--rerun-incomplete", *(word for word in words if word != "--rerun-incomplete")], home))


def _place(words: Sequence[str], directory: Path | None, home: str) -> None:
    """Say what is about to be run, and refuse a --directory that the words do not repeat."""
    if directory is not None and running.directory_of(words) is None and Path(home).resolve() != directory.resolve():
        raise DataError("--directory: the words for snakemake must name it, too. Hint: -- --directory DIR …")
    print(f"going on with: snakemake {' '.join(words)}", file=sys.stderr)


def refuse_living(runs: Sequence[Run], folder: Path, *, owner_is_gone: bool, jobs_are_gone: bool) -> None:
    """DataError when a run is alive here, may be alive on another host, or left cluster jobs that cannot be seen."""
    for run in runs:
        where = running.state(run)
        if where == "alive":
            raise DataError(
                f"{folder}: a run is active ({run.text()}); nothing was changed. Hint: wait for it, or kill {run.pid}"
            )
        if where == "elsewhere" and not owner_is_gone:
            raise DataError(
                f"{folder}: the run belongs to another host ({run.text()}); nothing was changed. Hint: look there "
                f"(ssh {run.host} ps -p {run.pid}); when it is dead, add --owner-is-gone."
            )
        if run.executor in running.LOCAL or jobs_are_gone:
            continue
        if run.executor != "slurm" or left_jobs.find([run], folder) is None:
            mute = ", and squeue does not answer" if run.executor == "slurm" else ""
            raise DataError(
                f"{folder}: the killed run used the executor {run.executor!r}{mute}; its jobs may be alive on other hosts; "
                "nothing was changed. Hint: try again when it answers; or look (squeue --me), cancel or await them, then "
                "add --jobs-are-gone."
            )
    known = {run.pid for run in runs}
    for driver in running.drivers(folder):
        if driver.pid not in known:
            raise DataError(f"{folder}: a run is beginning ({running.describe(driver)}); nothing was changed.")


def settle(run: Run, *, wait: bool, grace_s: float) -> None:
    """Return when no process works for a killed run any more: awaited, or ended (asked first, killed after the grace).

    Those inside of jobs that it submitted to Slurm are Slurm's to end.
    """
    in_jobs = run.executor != "slurm"
    begun = told = time.monotonic()
    left = running.writers(run, in_jobs=in_jobs)
    for process in left:
        print(f"  it left {running.describe(process)}", file=sys.stderr)
    if not wait:
        _signal(left, kill=False)
    while left := running.writers(run, in_jobs=in_jobs):
        now = time.monotonic()
        if not wait and now - begun > grace_s:
            _signal(left, kill=True)
        if not wait and now - begun > grace_s + _DIE_S:
            raise DataError(f"{running.describe(left[0])} does not end. Hint: it hangs on a disk; try again later.")
        if now - told > _TELL_S:
            print(f"  waiting for {len(left)} processes, {now - begun:.0f} s so far", file=sys.stderr)
            told = now
        time.sleep(0.2)


def settle_slurm(runs: Sequence[Run], folder: Path, *, wait: bool) -> None:
    """The same for jobs that killed runs left on Slurm."""
    if on_slurm := [run for run in runs if run.executor == "slurm"]:
        left_jobs.settle(on_slurm, folder, wait=wait)


def _signal(processes: Sequence[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill() if kill else process.terminate()


def unlock(words: Sequence[str], folder: Path, home: str) -> None:
    """Remove Snakemake's locks of the killed run, by Snakemake itself."""
    if any((folder / ".snakemake" / "locks").glob("*.lock")) and _snakemake(["--unlock", *words], home, quiet=True):
        raise DataError(f"{folder}: could not be unlocked (see above).")


def sweep(results: Path) -> None:
    """Remove what killed writers left half-written; cut downloads are none of it: they are gone on from."""
    for folder, folders, files in os.walk(results):
        for name in [one for one in folders if one.startswith(LEFTOVERS)]:
            folders.remove(name)
            shutil.rmtree(Path(folder) / name)
        for name in files:
            if name.startswith(LEFTOVERS):
                (Path(folder) / name).unlink(missing_ok=True)


def _snakemake(words: Sequence[str], home: str, *, quiet: bool = False) -> int:
    command = [sys.executable, "-m", "snakemake", *words]
    environment = running.driver_environment()
    return subprocess.run(command, cwd=home, env=environment, capture_output=quiet, check=False).returncode


if __name__ == "__main__":
    _program.run(main)
