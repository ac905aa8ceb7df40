"""Slurm jobs that a killed run left behind: found by the run's name for its jobs, by their folder, and by who trains where.

Not here: processes of this host (lib/runs/running.py), which must be gone first: one of them may be submitting a job.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lib.files import DataError
from lib.runs import ownership, slurm
from lib.runs.running import Run
from lib.runs.slurm import Job

POLL_S = 2.0
TELL_S = 30.0
END_S = 180.0
"""How long cancelled jobs may take: Slurm kills after its KillWait (30 s as a rule), then a node may clean up."""
UNANSWERED_S = 120.0


def find(runs: Sequence[Run], folder: Path) -> list[Job] | None:
    """Jobs of killed runs that run or wait, by number; None when squeue does not answer. folder: where the runs worked."""
    listed = slurm.submitted_in(str(folder))
    if listed is None:
        return None
    for name in {run.jobs_name for run in runs if run.jobs_name}:
        by_name = slurm.queued(name=name)
        if by_name is None:
            return None
        listed += by_name
    trainers = slurm.jobs(_trainers(runs, folder))
    if trainers is None:
        return None
    found = {job.id: job for job in [*listed, *trainers.values()] if job.active}
    found.pop(os.environ.get("SLURM_JOB_ID", ""), None)  # this very program may be typed inside a job
    return [found[number] for number in sorted(found)]


def _trainers(runs: Sequence[Run], folder: Path) -> list[str]:
    """The jobs that say, by owner.json, that they train for these runs."""
    tokens = {run.token for run in runs}
    claims = [ownership.current(path.parent) for path in folder.glob(f"results/train/*/*/*/{ownership.PLACE}")]
    owners = [claim.owner for claim in claims if claim is not None and claim.owner is not None]
    return [owner.job for owner in owners if owner.job and owner.token in tokens and not owner.released]


def settle(runs: Sequence[Run], folder: Path, *, wait: bool) -> None:
    """Return when no job of the killed runs runs or waits any more: cancelled, or (wait) those that run have finished.

    Jobs that have not begun are cancelled either way: the next driver submits them again. DataError when Slurm stops
    answering, or a cancelled job does not end.
    """
    begun = told = answered = time.monotonic()
    named: set[str] = set()
    while True:
        left, now = find(runs, folder), time.monotonic()
        if left is not None:
            answered = now
            for job in [one for one in left if one.id not in named]:
                where = f" on {job.node}" if job.node else ""
                print(f"  it left Slurm job {job.id} ({job.state}{where}) {job.comment}", file=sys.stderr)
            if not left:
                return
            if new := [job.id for job in left if job.id not in named]:  # a job that was just submitted may show late
                slurm.cancel(new, pending_only=wait)
                named |= set(new)
            if not wait and now - begun > END_S:
                raise DataError(f"Slurm job {left[0].id} is {left[0].state} and does not end. Hint: scancel {left[0].id}")
            if now - told > TELL_S:
                print(f"  waiting for {len(left)} Slurm jobs, {now - begun:.0f} s so far", file=sys.stderr)
                told = now
        elif now - answered > UNANSWERED_S:
            raise DataError(f"squeue has not answered for {now - answered:.0f} s. Hint: the same command again, later.")
        time.sleep(POLL_S)
