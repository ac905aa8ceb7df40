"""Jobs that a killed driver left on Slurm, with pretended squeue and scancel (real ones: tests/slurm/test_resume.py)."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lib.files import DataError
from lib.runs import claims, left_jobs, ownership, running, slurm
from tests.faults.test_driver import dead, recorded
from workflow_scripts import resume

NAME = "21397ae4-6d48-4adf-b123-7049ac0eb8f9"
SQUEUE = """#!{python}
import json, sys
jobs = json.load(open("{state}"))
if jobs is None:
    sys.exit(1)
given = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
keys = {{"%i": "id", "%T": "state", "%N": "node", "%j": "name", "%k": "comment", "%Z": "folder"}}
for job in jobs:
    if given.get("name", job["name"]) == job["name"]:
        print("|".join(job.get(keys.get(key), "") for key in given["format"].split("|")))
"""
SCANCEL = """#!{python}
import json, sys
jobs = json.load(open("{state}"))
wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
for job in jobs:
    if job["id"] in wanted and (job["state"] == "PENDING" or "--state=PENDING" not in sys.argv):
        job["state"] = job.get("after", "CANCELLED")
json.dump(jobs, open("{state}", "w"))
"""


class Pretended:
    """A Slurm that is a file."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "jobs.json"
        for name, text in {"squeue": SQUEUE, "scancel": SCANCEL}.items():
            (folder / name).write_text(text.format(python=sys.executable, state=self.state))
            (folder / name).chmod(0o755)

    def hold(self, *jobs: dict[str, str]) -> None:
        self.state.write_text(json.dumps([{"name": NAME, "comment": "rule_train_wildcards_a", **job} for job in jobs]))

    def states(self) -> dict[str, str]:
        return {job["id"]: job["state"] for job in json.loads(self.state.read_text())}


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(left_jobs, "POLL_S", 0.05)
    return Pretended(folder)


@pytest.fixture
def run(tmp_path: Path) -> running.Run:
    return recorded(tmp_path, token="killed", pid=dead().pid, executor="slurm", jobs_name=NAME)


def test_jobs_are_found_by_name_by_folder_and_by_who_trains(tmp_path: Path, pretended: Pretended, run: running.Run) -> None:
    other = "11111111-6d48-4adf-b123-7049ac0eb8f9"
    here = str(tmp_path)
    pretended.hold(
        {"id": "1", "state": "RUNNING", "folder": "/elsewhere"},
        {"id": "2", "state": "COMPLETED", "folder": here},
        {"id": "3", "state": "PENDING", "name": other, "folder": here},
        {"id": "4", "state": "RUNNING", "name": other, "folder": "/elsewhere"},
        {"id": "5", "state": "RUNNING", "name": "bash", "folder": here, "comment": "(null)"},
        {"id": "6", "state": "RUNNING", "name": "mine", "folder": "/elsewhere"},
        {"id": "7", "state": "RUNNING", "name": "mine", "folder": "/elsewhere"},
    )
    for number, token in (("6", "killed"), ("7", "another")):
        cell = tmp_path / "results/train/d/v" / f"seed={number}"
        (cell / claims.PLACE).mkdir(parents=True)
        owner = replace(ownership.me(), host="node7", job=number, token=token)
        (cell / claims.PLACE / "1.json").write_text(json.dumps(asdict(owner)))
    assert [job.id for job in left_jobs.find([run], tmp_path) or ()] == ["1", "3", "6"]


def test_the_job_that_resumes_is_not_ended(tmp_path: Path, pretended: Pretended, run: running.Run, monkeypatch) -> None:
    pretended.hold({"id": "1", "state": "RUNNING"}, {"id": "2", "state": "RUNNING"})
    monkeypatch.setenv("SLURM_JOB_ID", "2")
    left_jobs.settle([run], tmp_path, wait=False)
    assert pretended.states() == {"1": "CANCELLED", "2": "RUNNING"}


def test_jobs_are_cancelled_and_awaited(tmp_path: Path, pretended: Pretended, run: running.Run, capsys) -> None:
    pretended.hold({"id": "1", "state": "RUNNING", "node": "gpu1", "after": "COMPLETING"}, {"id": "2", "state": "PENDING"})
    ended = threading.Timer(1.5, lambda: pretended.hold({"id": "1", "state": "CANCELLED"}))
    ended.start()
    begun = time.monotonic()
    left_jobs.settle([run], tmp_path, wait=False)
    assert time.monotonic() - begun > 1.4 and pretended.states() == {"1": "CANCELLED"}
    assert "it left Slurm job 1 (RUNNING on gpu1) rule_train_wildcards_a" in capsys.readouterr().err


def test_with_wait_running_jobs_finish_and_waiting_ones_go(tmp_path: Path, pretended: Pretended, run: running.Run) -> None:
    pretended.hold({"id": "1", "state": "RUNNING"}, {"id": "2", "state": "PENDING"})
    seen: list[dict[str, str]] = []

    def finish() -> None:
        seen.append(pretended.states())
        pretended.hold({"id": "1", "state": "COMPLETED"})

    threading.Timer(1.5, finish).start()
    left_jobs.settle([run], tmp_path, wait=True)
    assert seen == [{"1": "RUNNING", "2": "CANCELLED"}] and pretended.states() == {"1": "COMPLETED"}


def test_a_job_that_does_not_end_is_named(tmp_path: Path, pretended: Pretended, run: running.Run, monkeypatch) -> None:
    monkeypatch.setattr(left_jobs, "END_S", 0.5)
    pretended.hold({"id": "1", "state": "RUNNING", "after": "COMPLETING"})
    with pytest.raises(DataError, match="Slurm job 1 is COMPLETING and does not end"):
        left_jobs.settle([run], tmp_path, wait=False)


def test_a_mute_slurm_changes_nothing(tmp_path: Path, pretended: Pretended, run: running.Run, monkeypatch) -> None:
    pretended.state.write_text("null")
    with pytest.raises(DataError, match=r"squeue does not answer.*nothing was changed.*--jobs-are-gone"):
        resume.refuse_living([run], tmp_path, owner_is_gone=False, jobs_are_gone=False)
    resume.refuse_living([run], tmp_path, owner_is_gone=False, jobs_are_gone=True)
    monkeypatch.setattr(left_jobs, "UNANSWERED_S", 0.3)
    with pytest.raises(DataError, match="squeue has not answered for"):
        left_jobs.settle([run], tmp_path, wait=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"may have left jobs on Slurm.*--jobs-are-gone"):
        running.refuse_orphans()
    pretended.hold({"id": "1", "state": "RUNNING"})
    with pytest.raises(DataError, match=r"1 processes or jobs of a killed run(.|\n)*Slurm job 1, RUNNING"):
        running.refuse_orphans()
    pretended.hold({"id": "1", "state": "COMPLETED"})
    running.refuse_orphans()
    assert running.runs() == []


def test_a_driver_in_a_job_on_another_host_is_as_alive_as_its_job(tmp_path: Path, pretended: Pretended) -> None:
    run = recorded(tmp_path, host="node7", job="8")
    for state, says in {"RUNNING": "alive", "CANCELLED": "gone"}.items():
        pretended.hold({"id": "8", "state": state})
        assert running.state(run) == says
    pretended.state.write_text("null")
    assert running.state(run) == "elsewhere" and slurm.jobs(["8"]) is None
