"""A driver that is killed while its jobs run on a real Slurm: `resume` ends or awaits them, no cell is trained twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from lib.files import read_json
from lib.runs import running, slurm
from lib.runs.attempts import records
from tests.lib.training.toy import equal
from tests.slurm.cases import folder_of, has_step, model, on_slurm, wait_until
from tests.workflow.test_own_task import CELL, Copy, laid

pytestmark = pytest.mark.slow

CELLS = {"one": "small", "two": "small"}


def program(tree: Copy, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One of our programs, run in the tree."""
    command = [sys.executable, "-m", *words]
    environment = tree.environment() | more
    return subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def reference(trained_once: Path) -> dict[str, Any]:
    """The weights of a training on this machine that nothing interrupted."""
    return load_file(trained_once / "results" / CELL / "model.weights")


@pytest.fixture
def killed(profiles: Path, trained_once: Path, tmp_path: Path) -> tuple[Copy, list[str]]:
    """A tree whose driver was killed while two cells are trained, and the numbers of their jobs."""
    tree = laid(on_slurm(tmp_path / "project", profiles, CELLS, pause_s=0.05), trained_once)
    driver = tree.start("--", *map(model, CELLS))
    for cell in CELLS:
        wait_until(lambda cell=cell: has_step(tree, cell, 50), f"step 50 of {cell}")
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    return tree, [read_json(folder_of(tree, cell) / "owner.json")["job"] for cell in CELLS]


def check(tree: Copy, reference: dict[str, Any], attempts: int) -> None:
    for cell in CELLS:
        assert equal(load_file(folder_of(tree, cell) / "model.weights"), reference), cell
        tries = records(folder_of(tree, cell))
        assert len(tries) == read_json(folder_of(tree, cell) / "model.json")["attempts"] == attempts, tries
        assert all(before["end"] <= after["start"] for before, after in pairwise(tries)), f"{cell}: twice"
    assert running.runs(tree.folder / running.RUNS) == []


def test_jobs_are_ended_and_the_run_goes_on(killed: Any, reference: dict[str, Any]) -> None:
    tree, jobs = killed
    (run,) = running.runs(tree.folder / running.RUNS)
    assert {job.id for job in slurm.queued(name=run.jobs_name) or ()} >= set(jobs)
    mute = tree.folder / "mute"
    mute.mkdir()
    (mute / "squeue").write_text("#!/bin/sh\nexit 1\n")
    (mute / "squeue").chmod(0o755)
    before = sorted((tree.folder / ".snakemake/locks").iterdir())
    done = program(tree, "workflow_scripts.resume", PATH=f"{mute}:{tree.environment()['PATH']}")
    assert done.returncode == 2 and "squeue does not answer" in done.stderr and "nothing was changed" in done.stderr
    assert sorted((tree.folder / ".snakemake/locks").iterdir()) == before and running.runs(tree.folder / running.RUNS)
    assert all(job.active for job in slurm.jobs(jobs).values())

    done = program(tree, "workflow_scripts.resume")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert all(f"it left Slurm job {number} (RUNNING" in done.stderr for number in jobs), done.stderr
    assert {job.state for job in slurm.jobs(jobs).values()} == {"CANCELLED"}
    check(tree, reference, attempts=2)
    assert all(read_json(folder_of(tree, cell) / "model.json")["resumed_from_step"] >= 50 for cell in CELLS)


def test_jobs_may_finish_and_what_they_made_is_taken(killed: Any, reference: dict[str, Any]) -> None:
    tree, jobs = killed
    done = program(tree, "workflow_scripts.resume", "--wait")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert {job.state for job in slurm.jobs(jobs).values()} == {"COMPLETED"}
    check(tree, reference, attempts=1)


def test_a_plain_run_is_refused_while_jobs_of_a_killed_one_live(killed: Any) -> None:
    tree, jobs = killed
    tree.run("--unlock")
    done = tree.run("--", *map(model, CELLS), check=False)
    assert done.returncode != 0 and "make resume" in done.stderr, done.stderr[-3000:]
    assert all(job.active for job in slurm.jobs(jobs).values())
    slurm.cancel(jobs)
