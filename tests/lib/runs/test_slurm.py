"""Reference: answers of a real Slurm, given again by programs on PATH that answer, refuse, hang, or are not there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lib.runs import slurm
from lib.runs.slurm import ACTIVE, Job
from tests.lib.slurm_answers import (
    NO_ACCOUNTING,
    NO_CONTROLLER,
    NOT_CONFIGURED,
    SACCT,
    SQUEUE,
    UNKNOWN_NUMBER,
    asked,
    put,
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands first on PATH, before whatever Slurm the machine has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/nowhere")
    return folder


def test_what_squeue_lists(path: Path) -> None:
    put(path, "squeue", says=SQUEUE)
    found = {job.id: job for job in slurm.queued() or ()}
    assert len(found) == 11
    assert found["10"] == Job(
        id="10",
        state="TIMEOUT",
        name="0a6b1f43-77aa-4c1e-93e2-aa51c0de0002",
        node="n1",
        reason="TimeLimit",
        comment="rule_train_wildcards_site_full_0",
        elapsed_s=66.0,
        limit_s=60.0,
    )
    assert found["8"].node == "" and found["8"].reason == "Resources" and found["2"].reason == ""
    assert {one.id for one in found.values() if one.active} == {"5", "8"}
    assert "--states=all" in asked(path, "squeue")[0], "the controller remembers ended jobs for minutes"


def test_a_comment_may_hold_bars_and_a_name_is_asked_for(path: Path) -> None:
    put(path, "squeue", says="7|RUNNING|n1|1-02:03:04|UNLIMITED|None|mine|a|b|c\nnonsense\n")
    (job,) = slurm.queued(name="mine") or ()
    assert job.comment == "a|b|c" and job.elapsed_s == 93_784.0 and job.limit_s is None
    assert "--name=mine" in asked(path, "squeue")[0]


@pytest.mark.parametrize("complaint", [NO_CONTROLLER, NOT_CONFIGURED])
def test_no_controller_is_no_answer(path: Path, complaint: str) -> None:
    put(path, "squeue", complains=complaint, code=1)
    assert slurm.queued() is None and slurm.jobs(["1"]) is None


def test_what_hangs_is_given_up(path: Path) -> None:
    put(path, "squeue", sleep_s=30)
    begun = time.monotonic()
    assert slurm.queued(timeout_s=0.3) is None and time.monotonic() - begun < 5


def test_no_slurm_on_this_machine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(path))
    assert not slurm.installed() and slurm.queued() is None and slurm.accounted(["1"]) is None


def test_what_the_accounting_says(path: Path) -> None:
    put(path, "sacct", says=SACCT)
    found = {job.id: job for job in slurm.accounted(["21", "22", "23"]) or ()}
    assert found["21"].state == "CANCELLED", "by whom is left out"
    assert (found["21"].elapsed_s, found["21"].limit_s) == (754.0, 36_000.0) and found["23"].limit_s is None
    assert found["22"].state == "OUT_OF_MEMORY" and not found["22"].active
    assert "--jobs=21,22,23" in asked(path, "sacct")[0]
    assert slurm.accounted([]) == [] and len(asked(path, "sacct")) == 1, "nothing is asked for no job"


def test_jobs_come_from_squeue_and_only_forgotten_ones_from_sacct(path: Path) -> None:
    put(path, "squeue", says=SQUEUE)
    put(path, "sacct", says=SACCT)
    found = slurm.jobs(["10", "22"])
    assert found is not None and {one: job.state for one, job in found.items()} == {
        "10": "TIMEOUT",
        "22": "OUT_OF_MEMORY",
    } | {other: job.state for other, job in found.items() if other in ("21", "23")}
    assert "--jobs=22" in asked(path, "sacct")[0]
    assert len(asked(path, "squeue")) == 2 and "--jobs=22" in asked(path, "squeue")[1], "it may be another user's"
    assert (slurm.jobs(["10"]) or {})["10"].state == "TIMEOUT" and len(asked(path, "sacct")) == 1


def test_a_job_that_nobody_knows_is_absent_not_ended(path: Path) -> None:
    put(path, "squeue", says=SQUEUE)
    put(path, "sacct", complains=NO_ACCOUNTING, code=1)
    assert slurm.jobs(["999"]) == {}
    put(path, "squeue", complains=UNKNOWN_NUMBER, code=1)
    assert slurm.known_among([], ["999"]) == {}


def test_every_state_of_the_recording_is_ended_or_active() -> None:
    ended = {line.split("|")[1] for line in SQUEUE.splitlines()} - ACTIVE
    assert ended == {"COMPLETED", "TIMEOUT", "PREEMPTED", "CANCELLED", "FAILED", "NODE_FAIL"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:05", 5),
        ("1:02:03", 3723),
        ("2-00:00:01", 172_801),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("", None),
        ("x-1:00", None),
    ],
)
def test_times(text: str, seconds: float | None) -> None:
    assert slurm.seconds(text) == seconds


def test_cancelling(path: Path) -> None:
    put(path, "scancel")
    assert slurm.cancel(["3", "4"]) and asked(path, "scancel") == ["3 4"]
    put(path, "scancel", complains="scancel: error: Kill job error on job id 3: Invalid job id specified", code=1)
    assert not slurm.cancel(["3"]) and slurm.cancel([])
