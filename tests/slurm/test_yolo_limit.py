"""A real YOLO whose jobs on a real Slurm are shorter than its training: each leaves in time and is submitted again."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.runs import slurm
from tests.workflow import test_yolo_budget as budget

pytestmark = pytest.mark.slow

reference = budget.reference
"""The same training on this machine, without a limit."""


def test_a_training_longer_than_its_jobs_is_submitted_until_it_is_done(
    profiles: Path, reference: budget.Limited, tmp_path: Path
) -> None:
    """Two minutes per job, of which the last is kept free; 60 iterations of a second and more, so at least two jobs."""
    tree = budget.Limited(tmp_path / "project")
    with open(tree.folder / "rules/resources.smk", "a") as file:
        file.write('\n\nSIZES["tiny"] = {"threads": 1, "mem_mb": 4000, "runtime": 2}\n')
    slow = "        super().optimizer_step()\n        self.step += 1\n"
    tree.replace("lib/training/yolo_trainer.py", slow, f"        time.sleep(1)\n{slow}")
    done = tree.run("--profile", "slurm", XDG_CONFIG_HOME=str(profiles), VIPERSIGHT_DEVICE="cpu")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    budget.check(tree, reference)
    jobs = [one["job"] for one in tree.attempts]
    assert None not in jobs and len(set(jobs)) == len(jobs) >= 2, "every attempt was a job of its own"
    states = [one.state for one in (slurm.jobs(jobs) or {}).values()]
    assert "TIMEOUT" not in states, "none was ended by Slurm"
