"""What `status` says of a training on a real Slurm while it runs, and when somebody has cancelled it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.cases import has_step, model, on_slurm, wait_until
from tests.workflow.test_own_task import Copy, untrained

pytestmark = pytest.mark.slow


def told(tree: Copy, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "workflow_scripts.status", "--configfile", "study.yaml", "--json", *words]
    done = subprocess.run(command, cwd=tree.folder, env=tree.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_training_that_runs_and_is_cancelled(profiles: Path, trained_once: Path, tmp_path: Path) -> None:
    tree = untrained(on_slurm(tmp_path / "project", profiles, {"shows": "small"}, pause_s=0.1), trained_once)
    with open(tmp_path / "driver.log", "w") as log:
        driver = subprocess.Popen(
            tree.command("--retries", "1", "--", model("shows")),
            cwd=tree.folder,
            env=tree.environment(),
            stdout=log,
            stderr=log,
        )
    wait_until(lambda: has_step(tree, "shows", 20), "step 20")
    seen = told(tree, "--only", "shows")
    (row,) = seen["cells"]
    assert seen["slurm"] == "answers" and "a run is active" in seen["drivers"][0]
    assert row["state"] == "running" and row["done"] >= 20 and row["job"].isdigit() and row["place"].startswith("gpu")

    subprocess.run(["scancel", row["job"]], check=True)
    driver.wait(timeout=300)
    (row,) = told(tree, "--only", "shows")["cells"]
    assert (row["state"], row["cause"]) == ("stopped", "cancelled") and f"CANCELLED of job {row['job']}" in row["why"]
    (failure,) = told(tree, "--only", "shows", "--failed")["failures"]
    assert (failure["cause"], failure["retry"]) == ("cancelled", True)
