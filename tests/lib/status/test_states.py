"""Reference: what a person who knows Slurm and files would say of each combination of evidence."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from lib.runs.slurm import ACTIVE, Job
from lib.status.states import STATES, Attempt, Evidence, Model, state_of

RUNS = Attempt(number=2, cause="running", fingerprint="a")
DONE = Attempt(number=2, cause="finished", fingerprint="a")
MODEL = Model(status="finished", fingerprint="a")
FRESH, LATE = {"quiet_s": 8.0}, {"quiet_s": 7200.0}
SKEWED = {"quiet_s": None, "skew": "the clock of gpu1 is 900 s ahead of this one"}
HERE, GONE, FAR = {"process": "alive"}, {"process": "gone"}, {"process": "elsewhere", "host": "gpu1"}


def job(state: str, **more: Any) -> Job:
    return Job(id="41", state=state, **more)


def asked(state: str | None) -> dict[str, Any]:
    """Slurm answers, and knows job 41 in a state, or not at all."""
    return {"slurm": "answers", "job": "41", "known": job(state) if state else None}


SILENT, NO_SLURM = {"slurm": "silent", "job": "41"}, {"slurm": "none", "job": "41"}


def failed(cause: str, **more: Any) -> Attempt:
    return Attempt(number=2, cause=cause, fingerprint="a", **more)


TABLE: list[tuple[str, dict[str, Any], str, str]] = [
    # (what it is, evidence, state, cause)
    # -- nobody has begun
    ("nothing at all", {}, "waiting", ""),
    ("inputs not made", {"missing": ("results/subsets/a",)}, "waiting", ""),
    ("inputs made, Slurm silent", SILENT | {"job": None}, "waiting", ""),
    ("queued, pending", {"slurm": "answers", "queued": job("PENDING", reason="Priority")}, "submitted", ""),
    ("queued, configuring", {"slurm": "answers", "queued": job("CONFIGURING")}, "running", ""),
    ("queued, has begun", {"slurm": "answers", "queued": job("RUNNING", elapsed_s=20.0)}, "running", ""),
    ("queued, runs for long, wrote nothing", {"queued": job("RUNNING", elapsed_s=7200.0)}, "stalled", ""),
    ("queued, suspended", {"queued": job("SUSPENDED")}, "stopped", "suspended"),
    ("its job failed before it wrote anything", {"queued": job("FAILED")}, "failed", "error"),
    ("its job was cancelled while it waited", {"queued": job("CANCELLED")}, "failed", "cancelled"),
    ("its job ended well and left nothing", {"queued": job("COMPLETED")}, "waiting", ""),
    ("Snakemake reports an error, no attempt", {"reported": True}, "failed", "error"),
    # -- an attempt says running: heartbeat, process, Slurm
    ("heartbeat fresh, no job, other host", {"attempt": RUNS, **FRESH, **FAR}, "running", ""),
    ("heartbeat late, no job, other host", {"attempt": RUNS, **LATE, **FAR}, "unknown", ""),
    ("no sign of life at all", {"attempt": RUNS, **FAR}, "unknown", ""),
    ("heartbeat fresh, Slurm silent", {"attempt": RUNS, **FRESH, **FAR, **SILENT}, "running", ""),
    ("heartbeat late, Slurm silent", {"attempt": RUNS, **LATE, **FAR, **SILENT}, "unknown", ""),
    ("heartbeat fresh, no Slurm here", {"attempt": RUNS, **FRESH, **FAR, **NO_SLURM}, "running", ""),
    ("heartbeat late, no Slurm here", {"attempt": RUNS, **LATE, **FAR, **NO_SLURM}, "unknown", ""),
    ("RUNNING, heartbeat fresh", {"attempt": RUNS, **FRESH, **FAR, **asked("RUNNING")}, "running", ""),
    ("RUNNING, heartbeat late", {"attempt": RUNS, **LATE, **FAR, **asked("RUNNING")}, "stalled", ""),
    ("COMPLETING, heartbeat fresh", {"attempt": RUNS, **FRESH, **FAR, **asked("COMPLETING")}, "running", ""),
    ("RUNNING, never a sign of life", {"attempt": RUNS, **FAR, **asked("RUNNING")}, "running", ""),
    ("RUNNING, clocks differ", {"attempt": RUNS, **SKEWED, **FAR, **asked("RUNNING")}, "running", ""),
    ("clocks differ, nobody to ask", {"attempt": RUNS, **SKEWED, **FAR}, "unknown", ""),
    ("clocks differ, Slurm silent", {"attempt": RUNS, **SKEWED, **FAR, **SILENT}, "unknown", ""),
    ("PREEMPTED", {"attempt": RUNS, **FRESH, **FAR, **asked("PREEMPTED")}, "stopped", "preempted"),
    ("TIMEOUT", {"attempt": RUNS, **FRESH, **FAR, **asked("TIMEOUT")}, "stopped", "time limit"),
    ("CANCELLED", {"attempt": RUNS, **LATE, **FAR, **asked("CANCELLED")}, "failed", "cancelled"),
    ("NODE_FAIL", {"attempt": RUNS, **LATE, **FAR, **asked("NODE_FAIL")}, "failed", "node"),
    ("FAILED, for want of the node's daemon",
     {"attempt": RUNS, **LATE, "slurm": "answers", "known": job("FAILED", reason="JobLaunchFailure")}, "failed", "node"),
    ("OUT_OF_MEMORY", {"attempt": RUNS, **LATE, **FAR, **asked("OUT_OF_MEMORY")}, "failed", "memory"),
    ("FAILED", {"attempt": RUNS, **LATE, **FAR, **asked("FAILED")}, "failed", "error"),
    ("a state that we do not know", {"attempt": RUNS, **LATE, **FAR, **asked("EXPIRED")}, "failed", "error"),
    ("COMPLETED, its attempt open", {"attempt": RUNS, **LATE, **FAR, **asked("COMPLETED")}, "unknown", ""),
    ("PENDING again (requeued)", {"attempt": RUNS, **LATE, **FAR, **asked("PENDING")}, "submitted", ""),
    ("REQUEUED", {"attempt": RUNS, **LATE, **FAR, **asked("REQUEUED")}, "submitted", ""),
    ("SUSPENDED", {"attempt": RUNS, **LATE, **FAR, **asked("SUSPENDED")}, "stopped", "suspended"),
    ("vanished, heartbeat fresh", {"attempt": RUNS, **FRESH, **FAR, **asked(None)}, "running", ""),
    ("vanished, heartbeat late", {"attempt": RUNS, **LATE, **FAR, **asked(None)}, "unknown", ""),
    # -- the process is of this host
    ("process there, fresh", {"attempt": RUNS, **FRESH, **HERE}, "running", ""),
    ("process there, silent for long", {"attempt": RUNS, **LATE, **HERE}, "stalled", ""),
    ("process there, clocks differ", {"attempt": RUNS, **SKEWED, **HERE}, "running", ""),
    ("process there, Slurm silent", {"attempt": RUNS, **FRESH, **HERE, **SILENT}, "running", ""),
    ("process there, job CANCELLED", {"attempt": RUNS, **FRESH, **HERE, **asked("CANCELLED")}, "running", ""),
    ("process gone (or its number is another's)", {"attempt": RUNS, **FRESH, **GONE}, "failed", "killed"),
    ("process gone, long ago", {"attempt": RUNS, **LATE, **GONE}, "failed", "killed"),
    ("process gone, job TIMEOUT", {"attempt": RUNS, **FRESH, **GONE, **asked("TIMEOUT")}, "stopped", "time limit"),
    ("process gone, job vanished", {"attempt": RUNS, **LATE, **GONE, **asked(None)}, "failed", "killed"),
    ("not seen from here, but fresh (container)", {"attempt": RUNS, **FRESH, **GONE, **asked("RUNNING")}, "running", ""),
    ("process gone while its job runs", {"attempt": RUNS, **LATE, **GONE, **asked("RUNNING")}, "failed", "killed"),
    # -- killed, and queued anew
    ("killed, a new job waits", {"attempt": RUNS, **LATE, **GONE, "queued": job("PENDING")}, "submitted", ""),
    ("killed, a new job begins", {"attempt": RUNS, **LATE, **GONE, "queued": job("RUNNING", elapsed_s=3.0)}, "running", ""),
    ("runs, and a second job waits", {"attempt": RUNS, **FRESH, **FAR, "queued": job("PENDING")}, "running", ""),
    ("failed, a retry waits", {"attempt": failed("error"), "queued": job("PENDING")}, "submitted", ""),
    ("failed, an older job is known", {"attempt": failed("data"), "queued": job("FAILED")}, "failed", "data"),
    # -- attempts that noted their end
    ("error", {"attempt": failed("error")}, "failed", "error"),
    ("config", {"attempt": failed("config")}, "failed", "config"),
    ("data", {"attempt": failed("data")}, "failed", "data"),
    ("memory", {"attempt": failed("memory")}, "failed", "memory"),
    ("cancelled", {"attempt": failed("cancelled")}, "failed", "cancelled"),
    ("preempted", {"attempt": failed("preempted")}, "stopped", "preempted"),
    ("preempted by the time limit", {"attempt": failed("preempted"), **asked("TIMEOUT")}, "stopped", "time limit"),
    ("asked to stop, job CANCELLED", {"attempt": failed("preempted"), **asked("CANCELLED")}, "stopped", "cancelled"),
    ("its record cannot be read", {"attempt": failed("unreadable")}, "failed", "unreadable"),
    ("failed with other settings", {"attempt": failed("error"), "wanted": "b"}, "waiting", ""),
    # -- results
    ("finished", {"attempt": DONE, "model": MODEL, "wanted": "a"}, "completed", ""),
    ("finished, inputs unknown", {"attempt": DONE, "model": MODEL}, "completed", ""),
    ("finished, no attempts kept", {"model": MODEL, "wanted": "a"}, "completed", ""),
    ("finished, written by an older version", {"model": Model(status="finished"), "wanted": "a"}, "completed", ""),
    ("finished, process not ended yet", {"attempt": DONE, "model": MODEL, "wanted": "a", **HERE}, "completed", ""),
    ("finished, its job still COMPLETING", {"attempt": DONE, "model": MODEL, **asked("COMPLETING")}, "completed", ""),
    ("diverged", {"attempt": DONE, "model": Model(status="diverged at step 3", fingerprint="a")}, "diverged", ""),
    ("of another fingerprint", {"attempt": DONE, "model": MODEL, "wanted": "b"}, "outdated", ""),
    ("outdated, to be made again", {"model": MODEL, "wanted": "b", "queued": job("PENDING")}, "submitted", ""),
    ("an older model, a new attempt runs", {"attempt": RUNS, "model": MODEL, **FRESH, **FAR}, "running", ""),
    ("an older model, the new attempt failed", {"attempt": failed("error"), "model": MODEL}, "failed", "error"),
    ("an older model, the new attempt was killed", {"attempt": RUNS, "model": MODEL, **GONE}, "failed", "killed"),
    ("an older model, nobody knows of the new one", {"attempt": RUNS, "model": MODEL, **LATE, **FAR}, "unknown", ""),
    ("finished just now, no model yet", {"attempt": DONE, **FRESH, **FAR}, "running", ""),
    ("finished just now, the model is an older one",
     {"attempt": DONE, "model": Model(status="finished", fingerprint="z"), **FRESH}, "running", ""),
    ("finished long ago, no model", {"attempt": DONE, **LATE}, "waiting", ""),
    ("finished, no model, Snakemake reports an error", {"attempt": DONE, **LATE, "reported": True}, "failed", "error"),
    ("runs with other settings", {"attempt": RUNS, "wanted": "b", **FRESH, **FAR}, "running", ""),
]  # fmt: skip


@pytest.mark.parametrize(("what", "evidence", "state", "cause"), TABLE, ids=[row[0] for row in TABLE])
def test_the_state_that_follows(what: str, evidence: dict[str, Any], state: str, cause: str) -> None:
    found = state_of(Evidence(**evidence))
    assert (found.name, found.cause) == (state, cause), found.why
    assert "\n" not in found.why


def test_what_is_unknown_stalls_or_failed_says_why() -> None:
    for what, evidence, state, _ in TABLE:
        if state in ("unknown", "stalled", "outdated", "submitted"):
            assert len(state_of(Evidence(**evidence)).why) > 10, what


def test_the_reason_names_job_host_and_time() -> None:
    said = state_of(Evidence(attempt=RUNS, **LATE, **FAR, **SILENT)).why
    assert said == "Slurm does not answer and could tell of job 41 on gpu1; no sign of life for 2 h 00 min"
    said = state_of(Evidence(attempt=RUNS, **SKEWED, **FAR, **NO_SLURM)).why
    assert "is not on this machine" in said and "900 s ahead" in said
    said = state_of(Evidence(attempt=RUNS, wanted="b", **FRESH)).why
    assert "other settings" in said


def test_every_combination_has_a_state_and_none_is_called_running_that_slurm_has_ended() -> None:
    """8,000 of them: none raises; what nobody has seen for long never runs, nor what Slurm has ended elsewhere."""
    attempts = [None, RUNS, DONE, *(failed(cause) for cause in ("error", "preempted"))]
    words = [None, *ACTIVE, "CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "OUT_OF_MEMORY", "FAILED", "COMPLETED", "?"]
    processes, signs = ("alive", "gone", "elsewhere", "untold"), (None, 3.0, 1e6)
    for attempt, state, process, quiet, slurm, model in product(
        attempts, words, processes, signs, ("answers", "silent", "none"), (None, MODEL)
    ):
        known = job(state) if state and slurm == "answers" else None
        found = state_of(
            Evidence(attempt=attempt, known=known, process=process, quiet_s=quiet, slurm=slurm, model=model, job="41")
        )
        assert found.name in STATES
        if found.name == "running" and attempt is RUNS and process != "alive":
            assert known is None or known.active
            assert quiet == 3.0 or (known is not None and quiet is None)
        if found.name == "completed":
            assert model is MODEL and (attempt is None or attempt is DONE)
