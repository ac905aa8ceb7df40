"""What state a training is in, from all that is known of it: one pure function. Not here: finding out (looking.py).

Precedence, strongest first:

1. A process of this host that is there runs, whatever else is said; it stalls when it gives no sign of life.
2. Slurm's word on the attempt's job: one that waits is submitted, one that has ended has ended, with Slurm's cause.
3. A process of this host that is gone has ended, unless its job runs and the heartbeat is fresh (a container).
4. A fresh heartbeat runs. A late one stalls where Slurm says that the job runs, and says nothing where nobody can be asked.
5. A job of this run that is queued for the training (by its comment) comes before an attempt that has ended, and a model.
6. The last attempt, when it ended by anything but success with the settings of now: failed or stopped.
7. model.json: completed, diverged, or outdated when its fingerprint is not that of the settings and inputs of now.
8. Nothing of all this: waiting.

A sign of life in the future is none (two clocks differ). Where nothing can be known, the state is unknown, and says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lib.runs.slurm import Job
from lib.training.console import duration

WAITING, SUBMITTED, RUNNING, STALLED, STOPPED = "waiting", "submitted", "running", "stalled", "stopped"
COMPLETED, DIVERGED, OUTDATED, FAILED, UNKNOWN = "completed", "diverged", "outdated", "failed", "unknown"
STATES = (RUNNING, STALLED, SUBMITTED, WAITING, STOPPED, FAILED, DIVERGED, UNKNOWN, OUTDATED, COMPLETED)
"""Every state, those first that want to be looked at."""
FINISHED = "finished"
BEGINNING_S = 1800.0
"""s that a job may run before its training has written anything (packages load, samples are read)."""
_WILL_START = frozenset(["PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"])
_PAUSED = frozenset(["SUSPENDED", "STOPPED"])
_GOES_ON = {"PREEMPTED": "preempted", "TIMEOUT": "time limit", "DEADLINE": "time limit", "REVOKED": "preempted"}
_ASKED_BY = {**_GOES_ON, "CANCELLED": "cancelled", "NODE_FAIL": "node"}
"""Why Slurm asked a training to leave, which then saved its state."""
_FAILS = {"CANCELLED": "cancelled", "NODE_FAIL": "node", "BOOT_FAIL": "node", "OUT_OF_MEMORY": "memory", "FAILED": "error"}


@dataclass(frozen=True)
class State:
    """One of STATES; why: one line for a person; cause: why a training failed or stopped, in a word or two."""

    name: str
    why: str = ""
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What model.json says: how the training ended, and what it was of (None: an older version wrote it)."""

    status: str
    fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The last attempt's record; `running` may also mean that it was killed. number 0: there is an owner and no record."""

    number: int
    cause: str
    fingerprint: str | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that decides. Times in s.

    wanted: fingerprint of a training with the settings and inputs of now; None = cannot be told. missing: inputs that are
    not made. process: of the owner or the attempt, as seen from this host. quiet_s: since the last usable sign of life.
    patience_s: how long that may be. slurm: none = not on this machine, silent = does not answer. job: number of the job,
    as the records have it; known: that job in Slurm's words. queued: another job for this training, of a run in
    this folder. reported: the last thing that Snakemake said of its job is an error.
    """

    model: Model | None = None
    wanted: str | None = None
    missing: tuple[str, ...] = ()
    attempt: Attempt | None = None
    host: str = ""
    process: Literal["alive", "gone", "elsewhere", "untold"] = "untold"
    quiet_s: float | None = None
    skew: str = ""
    patience_s: float = 120.0
    slurm: Literal["answers", "silent", "none"] = "none"
    job: str | None = None
    known: Job | None = None
    queued: Job | None = None
    reported: bool = False

    @property
    def fresh(self) -> bool:
        """Whether there was a sign of life just now."""
        return self.quiet_s is not None and self.quiet_s <= self.patience_s

    @property
    def of_other_settings(self) -> bool:
        """Whether the attempt was of other settings or inputs than those of now."""
        mine = self.attempt.fingerprint if self.attempt else None
        return None not in (mine, self.wanted) and mine != self.wanted

    def since(self) -> str:
        """How long there has been no sign of life, in words."""
        if self.quiet_s is None:
            return f"no usable sign of life ({self.skew})" if self.skew else "no sign of life at all"
        return f"no sign of life for {duration(self.quiet_s)}"


def state_of(seen: Evidence) -> State:
    """The state of a training (see the precedence above); never raises."""
    attempt = seen.attempt
    if attempt is not None and attempt.cause == RUNNING:
        now = _going(seen)
        if now.name in (RUNNING, STALLED, SUBMITTED):
            return State(now.name, _joined(now.why, "with other settings than those of now"), now.cause) \
                if seen.of_other_settings else now  # fmt: skip
        return _queued(seen) or now
    if waits := _queued(seen):
        return waits
    if attempt is not None and attempt.cause != FINISHED and not seen.of_other_settings:
        return _ended(seen, attempt)
    return _result(seen) or _not_begun(seen)


def _going(seen: Evidence) -> State:
    """Of an attempt that has noted no end: whether it runs."""
    job = seen.known
    if seen.process == "alive":
        why = f"Slurm says {job.state} of job {job.id}, its process is there" if job and not job.active else ""
        return State(RUNNING, why or seen.skew) if seen.fresh or seen.quiet_s is None else State(STALLED, seen.since())
    if job is not None and (said := _said_of(job)):
        return said
    runs = job is not None  # all other states mean that it runs
    if seen.process == "gone" and not (runs and seen.fresh):
        return State(FAILED, "its process ended without a word", "killed")
    if seen.fresh:
        return State(RUNNING)
    if runs and seen.quiet_s is None:
        return State(RUNNING, _joined(f"Slurm says so; {seen.since()}"))
    if runs:
        return State(STALLED, f"Slurm says {job.state if job else ''} of job {job.id if job else ''}, {seen.since()}")
    return State(UNKNOWN, f"{_nobody_to_ask(seen)}; {seen.since()}")


def _said_of(job: Job) -> State | None:
    """What Slurm's word alone decides; None when the job runs."""
    if job.state in _WILL_START:
        return State(SUBMITTED, _joined(f"job {job.id} is queued again", job.reason))
    if job.state in _PAUSED:
        return State(STOPPED, f"Slurm has suspended job {job.id}", "suspended")
    if job.active:
        return None
    if job.state in _GOES_ON:
        return State(STOPPED, _words_on(job), _GOES_ON[job.state])
    if job.state == "COMPLETED":
        return State(UNKNOWN, f"Slurm says COMPLETED of job {job.id}, its attempt has noted no end. Are its files late?")
    return State(FAILED, _words_on(job), _FAILS.get(job.ended_by, "error"))


def _words_on(job: Job) -> str:
    """What Slurm says of a job that has ended, and its reason where its node is to blame."""
    reason = f" ({job.reason})" if job.ended_by != job.state else ""
    return f"Slurm says {job.state}{reason} of job {job.id}"


def _nobody_to_ask(seen: Evidence) -> str:
    """Why it cannot be known whether an attempt runs."""
    if seen.job is None:
        return f"it runs, or ran, on host {seen.host or '?'}, where this one cannot look"
    if seen.slurm == "answers":
        return f"job {seen.job} is known neither to squeue nor to sacct (any more)"
    asked = "does not answer" if seen.slurm == "silent" else "is not on this machine"
    return f"Slurm {asked} and could tell of job {seen.job} on {seen.host or '?'}"


def _queued(seen: Evidence) -> State | None:
    """What a queued job of this folder's runs says; None when there is none that is alive."""
    job = seen.queued
    if job is None or not job.active:
        return None
    if job.state in _WILL_START:
        return State(SUBMITTED, _joined(f"job {job.id} waits", job.reason))
    if job.state in _PAUSED:
        return State(STOPPED, f"Slurm has suspended job {job.id}", "suspended")
    if (job.elapsed_s or 0.0) > BEGINNING_S:
        return State(STALLED, f"job {job.id} runs for {duration(job.elapsed_s or 0.0)} and has written nothing")
    return State(RUNNING, f"job {job.id} is beginning")


def _ended(seen: Evidence, attempt: Attempt) -> State:
    """Of an attempt that noted an end other than success."""
    by = _words_on(seen.known) if seen.known and not seen.known.active else ""
    said = attempt.error.strip().splitlines()[0] if attempt.error.strip() else ""
    if attempt.cause == "preempted":
        cause = _ASKED_BY.get(seen.known.ended_by, "preempted") if seen.known else "preempted"
        return State(STOPPED, _joined(said, by), cause)
    return State(FAILED, _joined(said, by), attempt.cause)


def _result(seen: Evidence) -> State | None:
    """What model.json says, None without one."""
    model, attempt = seen.model, seen.attempt
    ended_just_now = attempt is not None and attempt.cause == FINISHED and (seen.process == "alive" or seen.fresh)
    older = None not in (model, attempt) and model.fingerprint != attempt.fingerprint  # type: ignore[union-attr]
    if (model is None or (older and model.fingerprint is not None)) and ended_just_now:
        return State(RUNNING, "its results are being written")
    if model is None:
        return None
    if None not in (model.fingerprint, seen.wanted) and model.fingerprint != seen.wanted:
        return State(OUTDATED, "its model is of other settings or inputs: the next run trains again")
    return State(COMPLETED) if model.status == FINISHED else State(DIVERGED, model.status)


def _not_begun(seen: Evidence) -> State:
    """Of what has left nothing that counts: a job that ended before it began, or waiting."""
    if seen.queued is not None and not seen.queued.active and seen.attempt is None:
        said = _said_of(seen.queued)
        if said is not None and said.name in (FAILED, STOPPED):
            return State(said.name, f"{said.why}, before the training wrote anything", said.cause)
    if seen.reported and (seen.attempt is None or seen.attempt.cause == FINISHED):
        return State(FAILED, "Snakemake reports an error of its job", "error")
    if seen.missing:
        more = f" and {len(seen.missing) - 1} more" if len(seen.missing) > 1 else ""
        return State(WAITING, f"inputs are not made: {seen.missing[0]}{more}")
    if seen.of_other_settings:
        return State(WAITING, "not begun with the settings of now")
    if seen.attempt is not None:
        return State(WAITING, "its last attempt finished, but the results are gone: it is made again")
    return State(WAITING, "not begun; its inputs are made")


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
