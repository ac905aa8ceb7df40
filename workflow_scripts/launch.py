"""Start a run that outlives this terminal, list the runs of a folder, stop one the gentle way.

python -m workflow_scripts.launch -- -c2                              here, in a session of its own
python -m workflow_scripts.launch --slurm -- --profile slurm          as a small Slurm job, which submits the others
python -m workflow_scripts.launch --list
python -m workflow_scripts.launch --stop [ID]

Words behind `--` go to snakemake. It returns as soon as the run has begun (a Slurm job: or waits in the queue) and prints
its id and its log. A folder in which a run is alive or was killed is refused. --stop interrupts the driver: jobs are
cancelled, trainings save their state where they can, the folder is unlocked; the same words go on from there.
Exit code: 0 begun, listed or stopped, 1 the driver ended by an error at once (the end of its log is printed) or does not
stop, 2 refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lib.files import DataError
from lib.runs import launching, running, slurm
from lib.runs.launching import Small
from lib.runs.running import Run
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument(
        "--directory", type=Path, help="with --list and --stop: the run's folder, when it is not this one"
    )
    arguments.add_argument("--list", action="store_true", help="the runs of this folder, and exit")
    arguments.add_argument("--stop", nargs="?", const="", metavar="ID", help="end a run; without ID the only one there is")
    arguments.add_argument("--slurm", action="store_true", help="the driver itself becomes a Slurm job")
    arguments.add_argument("--minutes", type=_program.positive, default=Small.minutes, help="time limit of that job")
    arguments.add_argument("--mem-mb", type=_program.positive, default=Small.mem_mb, help="memory of that job, MB")
    for name in ("partition", "account", "qos"):
        arguments.add_argument(f"--{name}", help=f"{name} of that job")
    arguments.add_argument("--patience", type=float, default=60.0, help="seconds to wait for its beginning, or its end")
    arguments.add_argument("words", nargs="*", help="after `--`: words for snakemake")
    given = arguments.parse_args()

    folder = (given.directory or running.directory_of(given.words) or Path()).absolute()
    if given.list:
        show(folder)
    elif given.stop is not None:
        sys.exit(stop(folder, given.stop, given.patience))
    elif given.directory is not None:
        raise DataError("--directory: the words for snakemake must name it. Hint: -- --directory DIR …")
    elif given.slurm:
        small = Small(**{name: getattr(given, name) for name in ("minutes", "mem_mb", "partition", "account", "qos")})
        sys.exit(on_slurm(folder, given.words, small, given.patience))
    else:
        sys.exit(here(folder, given.words, given.patience))


def here(folder: Path, words: list[str], patience_s: float) -> int:
    """Start a driver on this host; the exit code."""
    with running.alone(folder, "launch"):
        launching.refuse_taken(folder)
        log = launching.new_log(folder)
        driver = launching.start_here(words, Path.cwd(), log)
        begun = launching.await_begin(folder, lambda run: run.pid == driver.pid, driver.poll, patience_s)
    return tell(begun, log, f"pid {driver.pid}")


def on_slurm(folder: Path, words: list[str], small: Small, patience_s: float) -> int:
    """Start a driver as a Slurm job; the exit code."""
    with running.alone(folder, "launch"):
        launching.refuse_taken(folder)
        log = launching.new_log(folder)
        number = launching.start_on_slurm(words, Path.cwd(), log, folder, small)
        begun = launching.await_begin(folder, lambda run: run.job == number, lambda: ended(number), patience_s)
    return tell(begun, log, f"Slurm job {number}")


def ended(number: str) -> int | None:
    """Exit code of a Slurm job that has ended: 0 or 1; None while it runs or waits, or nothing is known."""
    job = (slurm.jobs([number]) or {}).get(number)
    return None if job is None or job.active else int(job.state != "COMPLETED")


def tell(begun: Run | int | None, log: Path, what: str) -> int:
    """Say how a driver began; the exit code."""
    if isinstance(begun, Run):
        print(f"run {begun.token} has begun ({begun.text()})\nlog: {log}")
        return 0
    if begun is None:
        print(f"{what} has not begun yet; it is reading the study, or waits in the queue\nlog: {log}")
        return 0
    print(launching.last_lines(log), file=sys.stderr)
    print(f"{what} {'ended at once' if begun == 0 else 'did not begin'}\nlog: {log}", file=sys.stderr)
    return int(begun != 0)


def show(folder: Path) -> None:
    """Print the runs of a folder."""
    runs = running.runs(folder / running.RUNS)
    for run in runs:
        told = {"alive": "alive", "gone": "killed; make resume goes on", "elsewhere": "on another host"}[running.state(run)]
        print(f"{run.token}  {told}  ({run.text()}, executor {run.executor})\n  snakemake {' '.join(run.words)}")
        print(f"  log: {run.log or 'its terminal'}")
    known = {run.job for run in runs}
    for job in (one for one in launching.queued_drivers(folder) if one.id not in known):
        print(f"Slurm job {job.id}  {job.state} {job.reason}  has not begun yet")
    if not runs:
        print("no run is recorded here", file=sys.stderr)


def stop(folder: Path, token: str, patience_s: float) -> int:
    """Stop a run; the exit code."""
    runs = [run for run in running.runs(folder / running.RUNS) if run.token.startswith(token)]
    living = [run for run in runs if running.state(run) != "gone"]
    waiting = [job.id for job in launching.queued_drivers(folder) if job.state == "PENDING"] if not token else []
    if not living and waiting:
        slurm.cancel(waiting, pending_only=True)
        print(f"cancelled in the queue: Slurm job {', '.join(waiting)}")
        return 0
    if len(living) != 1:
        known = ", ".join(run.token for run in living) or "none"
        raise DataError(f"{folder}: {len(living)} runs to stop here (alive: {known}). Hint: --list shows all; --stop ID")
    run = living[0]
    launching.ask_to_stop(run)
    if not launching.await_end(run, folder, patience_s):
        print(f"run {run.token} is still ending; --list shows whether it has\nlog: {run.log}", file=sys.stderr)
        return 1
    left = launching.is_locked(folder)
    if not left:  # it kept the record, because its jobs ended after it
        running.forget(run, folder / running.RUNS)
    print(f"run {run.token} has ended" + ("; it left its lock: make resume" if left else ""))
    return int(left)


if __name__ == "__main__":
    _program.run(main)
