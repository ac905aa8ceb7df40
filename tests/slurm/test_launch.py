"""A driver that is itself a small Slurm job: it begins, is listed and guarded, is stopped gently, and is started again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.runs import launching, running, slurm
from tests.faults.test_driver import TARGET, Folder, until

pytestmark = pytest.mark.slow

LAUNCH = ["workflow_scripts.launch", "--slurm", "--minutes", "20", "--mem-mb", "3000", "--partition", "cpu", "--"]


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    request.getfixturevalue("slurm")  # the cluster; lib/runs/slurm.py has the same name here
    made = Folder(tmp_path / "work")
    yield made
    slurm.cancel([job.id for job in launching.queued_drivers(made.path)])
    made.end()


def test_a_driver_as_a_job(folder: Folder) -> None:
    code, text = folder.run(*LAUNCH, *folder.words)
    assert code == 0 and "has begun (host " in text and ", Slurm job " in text, text
    (run,) = folder.runs()
    assert run.job and run.token in text and Path(run.log).is_file()
    folder.until_writing()
    code, text = folder.run(*LAUNCH, *folder.words)
    assert code == 2 and "alive, a run" in text and "nothing was started" in text, text
    code, text = folder.run("workflow_scripts.launch", "--list")
    assert code == 0 and f"{run.token}  alive" in text and f"Slurm job {run.job}" in text

    code, text = folder.run("workflow_scripts.launch", "--stop")
    assert code == 0 and f"run {run.token} has ended\n" in text, text + Path(run.log).read_text()
    until(lambda: not slurm.jobs([run.job])[run.job].active, 60)
    assert not list((folder.path / ".snakemake/locks").glob("*.lock")) and folder.runs() == []
    assert running.writers(run) == [] and not (folder.path / TARGET).exists()

    code, text = folder.run(*LAUNCH, *folder.words)
    assert code == 0, text
    until(lambda: not launching.queued_drivers(folder.path), 240)
    assert (folder.path / TARGET).exists() and folder.runs() == []


def test_a_driver_that_cannot_begin(folder: Folder) -> None:
    code, text = folder.run(*LAUNCH, *folder.words[:-1], "results/nothing.txt")
    assert code == 1 and "results/nothing.txt" in text and "did not begin" in text, text
    words = [word if word != "cpu" else "nowhere" for word in LAUNCH]
    code, text = folder.run(*words, *folder.words)
    assert code == 2 and "sbatch refused the driver" in text and "invalid partition" in text, text
