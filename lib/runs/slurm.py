"""What Slurm says of jobs: squeue first, sacct for what squeue has forgotten, or that nobody answers. Loads no torch.

Every call has a time limit: without its controller a Slurm command blocks for ten seconds, and a sick database for longer.
“Nobody answers” (None) and “is not known” (absent) are two things; neither means that a job has ended well.
Not here: submitting jobs, which Snakemake's executor plugin does.
"""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TIMEOUT_S = 10.0
ACTIVE = frozenset(
    [
        "PENDING",
        "RUNNING",
        "CONFIGURING",
        "COMPLETING",
        "SUSPENDED",
        "STOPPED",
        "SIGNALING",
        "STAGE_OUT",
        "RESIZING",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    ]
)
"""States of jobs that run, or will without anybody's doing; a job in any other state has ended."""
NODE_REASONS = frozenset(["JobLaunchFailure", "NodeDown", "SystemFailure"])
"""Reasons of a FAILED job that its node is to blame for: a daemon that died does not always end as NODE_FAIL."""
_RUN_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job as Slurm knows it. state: Slurm's word (RUNNING, CANCELLED …); times in s, None = not told or unlimited."""

    id: str
    state: str
    name: str = ""
    node: str = ""
    reason: str = ""
    comment: str = ""
    elapsed_s: float | None = None
    limit_s: float | None = None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def ended_by(self) -> str:
        """Its state in Slurm's words, NODE_FAIL too where Slurm says FAILED and blames the node."""
        return "NODE_FAIL" if self.state == "FAILED" and self.reason in NODE_REASONS else self.state


def installed() -> bool:
    """Whether this machine can ask Slurm at all."""
    return shutil.which("squeue") is not None


def queued(*, name: str | None = None, timeout_s: float = TIMEOUT_S) -> list[Job] | None:
    """Jobs of this user that the controller remembers, ended ones included; None when it does not answer.

    name: only jobs of that name (all jobs of one run of Snakemake share one).
    """
    return _listed([f"--user={getpass.getuser()}", *([f"--name={name}"] if name else [])], timeout_s)


def _listed(which: Sequence[str], timeout_s: float) -> list[Job] | None:
    """squeue's answer; None also where it knows none of the numbers that it is asked for."""
    rows = _rows(["squeue", "--states=all", "--noheader", "--format=%i|%T|%N|%M|%l|%r|%j|%k", *which], 8, timeout_s)
    if rows is None:
        return None
    found = []
    for number, state, node, elapsed, limit, reason, of_name, comment in rows:
        times = {"elapsed_s": seconds(elapsed), "limit_s": seconds(limit)}
        told = {"reason": _word(reason), "comment": _word(comment)}
        found.append(Job(id=number, state=state, name=of_name, node=node, **told, **times))
    return found


def accounted(ids: Iterable[str], *, timeout_s: float = TIMEOUT_S) -> list[Job] | None:
    """Jobs as the accounting database has them; None where there is none, or it does not answer."""
    wanted = sorted(set(ids))
    if not wanted:
        return []
    columns = "JobIDRaw,State,NodeList,ElapsedRaw,TimelimitRaw,JobName"
    words = ["sacct", "-X", "--parsable2", "--noheader", f"--format={columns}", f"--jobs={','.join(wanted)}"]
    rows = _rows(words, 6, timeout_s)
    if rows is None:
        return None
    found = []
    for number, state, node, elapsed, minutes, name in rows:
        limit = 60.0 * float(minutes) if minutes.isdigit() else None
        ended = state.split()[0] if state else ""  # “CANCELLED by 1000”
        spent = float(elapsed) if elapsed.isdigit() else None
        found.append(Job(id=number, state=ended, name=name, node=node, elapsed_s=spent, limit_s=limit))
    return found


def jobs(ids: Iterable[str], *, timeout_s: float = TIMEOUT_S) -> dict[str, Job] | None:
    """Jobs by their numbers, as far as squeue or sacct knows them; None when squeue does not answer.

    The controller's word counts: sacct is asked only for what it has forgotten, and may answer late.
    """
    wanted = set(ids)
    listed = queued(timeout_s=timeout_s)
    if listed is None:
        return None
    return known_among(listed, wanted, timeout_s=timeout_s)


def known_among(listed: Iterable[Job], ids: Iterable[str], *, timeout_s: float = TIMEOUT_S) -> dict[str, Job]:
    """Jobs by their numbers: those that `queued` has listed, others' by squeue, forgotten ones by sacct."""
    wanted = set(ids)
    known = {job.id: job for job in listed}
    if not wanted <= known.keys():  # not this user's: a shared results folder
        others = ",".join(sorted(wanted - known.keys()))
        known |= {job.id: job for job in _listed([f"--jobs={others}"], timeout_s) or ()}
    if not wanted <= known.keys():
        known |= {job.id: job for job in accounted(wanted - known.keys(), timeout_s=timeout_s) or ()}
    return {number: job for number, job in known.items() if number in wanted}


def submitted_in(folder: str, *, timeout_s: float = TIMEOUT_S) -> list[Job] | None:
    """Jobs of this user that Snakemake submitted to work in `folder`, ended ones included; None as in `queued`.

    Its plugin names a run's jobs by a UUID and comments them `rule_…`; a person's own jobs there are none of them.
    """
    words = ["squeue", "--states=all", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%T|%N|%j|%k|%Z"]
    rows = _rows(words, 6, timeout_s)
    if rows is None:
        return None
    return [
        Job(id=number, state=state, name=of_name, node=node, comment=comment)
        for number, state, node, of_name, comment, place in rows
        if place == folder and comment.startswith("rule_") and _RUN_NAME.search(of_name)
    ]


def restarts(job: str, *, timeout_s: float = TIMEOUT_S) -> int | None:
    """How often a job was put back into the queue; None when squeue does not answer or know it."""
    text = (answer(["squeue", "--noheader", f"--jobs={job}", "--Format=RestartCnt"], timeout_s) or "").strip()
    return int(text) if text.isdigit() else None


def preempted(job: str, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether Slurm has taken a job's place for another one; False, too, where squeue does not answer or know it.

    A preempted job that outlives its grace is cancelled in the same words as one that a person cancels.
    """
    words = ["squeue", "--states=all", "--noheader", f"--jobs={job}", "--Format=PreemptTime"]
    return (answer(words, timeout_s) or "").strip()[:4].isdigit()  # a date; N/A or None else


def cancel(ids: Sequence[str], *, pending_only: bool = False, timeout_s: float = TIMEOUT_S) -> bool:
    """Cancel jobs; False when Slurm did not take the order. pending_only: those that have begun by now go on."""
    return not ids or answer(["scancel", *(["--state=PENDING"] if pending_only else []), *ids], timeout_s) is not None


def send(signal: str, job: str, *, to_all: bool, timeout_s: float = TIMEOUT_S) -> bool:
    """Send a signal (INT, TERM …) to a job's batch process, alone or with all that it started; False: not taken."""
    return answer(["scancel", f"--signal={signal}", "--full" if to_all else "--batch", job], timeout_s) is not None


def seconds(text: str) -> float | None:
    """Slurm's times (MM:SS, HH:MM:SS, D-HH:MM:SS) in s; None for UNLIMITED, INVALID and the like."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or (days and not days.isdigit()) or not 2 <= len(parts) <= 3:
        return None
    total = 0.0
    for part in parts:
        total = 60 * total + int(part)
    return total + 86_400 * int(days or 0)


def _rows(words: Sequence[str], columns: int, timeout_s: float) -> list[list[str]] | None:
    """The lines of an answer, cut at `|`; those with fewer columns are none of it. None when nobody answers."""
    text = answer(words, timeout_s)
    if text is None:
        return None
    rows = (line.strip().split("|", columns - 1) for line in text.splitlines())
    return [row for row in rows if len(row) == columns]


def _word(text: str) -> str:
    return "" if text in ("(null)", "None") else text


def answer(words: Sequence[str], timeout_s: float = TIMEOUT_S) -> str | None:
    """What a command printed; None when it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
