"""A real YOLO that takes longer than its job may: it leaves in time, Snakemake's retries go on, and the work done twice is
counted. Reference: the same training without a limit."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.files import read_json
from lib.models.loading import load_checkpoint
from lib.runs.attempts import records
from tests.lib.training.toy import equal
from tests.workflow.conftest import TINY, copy_project, once

pytestmark = pytest.mark.slow

CELL = "results/train/site/detector/seed=0"
ROUNDS, EACH = 4, 15


class Limited:
    """A copy of the project with one YOLO training, whose rule and steps a test may change; made where none stands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder if folder.exists() else copy_project(folder)
        study = copy.deepcopy(TINY)
        study["training"]["budget"] = {"iterations": ROUNDS * EACH, "evaluations": ROUNDS}
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))

    def replace(self, file: str, old: str, new: str) -> None:
        text = (self.folder / file).read_text()
        assert text.count(old) == 1, f"{file} should hold {old!r} once"
        (self.folder / file).write_text(text.replace(old, new))

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Snakemake on the training."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "VIPERSIGHT_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        command = [sys.executable, "-m", "snakemake", *words, "--configfile", "study.yaml", "--", f"{CELL}/model.json"]
        kept |= {"PATH": path, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"} | more
        return subprocess.run(command, cwd=self.folder, env=kept, capture_output=True, text=True, timeout=1200)

    @property
    def card(self) -> dict[str, Any]:
        return read_json(self.folder / CELL / "model.json")

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return records(self.folder / CELL)

    @property
    def weights(self) -> dict[str, Any]:
        return load_checkpoint(self.folder / CELL / "model.weights")["model"].state_dict()


def check(tree: Limited, reference: Limited) -> None:
    """It ended as if nothing had happened, and what was made twice is counted and said."""
    *left, last = tree.attempts
    assert left and last["cause"] == "finished" and {one["cause"] for one in left} == {"preempted"}, tree.attempts
    lost = [one["lost_iterations"] for one in left]
    assert tree.card["attempts"] == len(left) + 1 and tree.card["iterations_again"] == sum(lost)
    assert tree.card["rounds_again"] == sum(one["round"] > one.get("epoch", 0) for one in left if "round" in one)
    for one in left:
        again = f"{one['lost_iterations']} iterations (" in one["error"]
        assert "the time budget is used up" in one["error"] and (again or "nothing is lost" in one["error"])
        assert 0 <= one["lost_iterations"] <= EACH and one["fingerprint"] == tree.card["fingerprint"]
    assert tree.card["resumed_from_epoch"] == max(one.get("epoch", 0) for one in left)
    assert equal(tree.weights, reference.weights) and tree.card["best"] == reference.card["best"]
    assert (tree.card["iterations"], tree.card["epochs"]) == (ROUNDS * EACH, ROUNDS)
    assert (reference.card["rounds_again"], reference.card["iterations_again"]) == (0, 0)
    assert tree.card["fingerprint"] == reference.card["fingerprint"]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Limited:
    """Without a limit, once for all test processes."""

    def train(folder: Path) -> None:
        done = Limited(folder).run("-c1")
        assert done.returncode == 0, done.stderr[-5000:]

    return Limited(once(tmp_path_factory, worker_id, "unlimited", train))


def test_it_leaves_in_time_and_retries_go_on(reference: Limited, tmp_path: Path) -> None:
    """Each try gets twice the time of the one before, for a machine under load."""
    tree = Limited(tmp_path / "project")
    budget = "budget=lambda wildcards, attempt: str(0.1 * 2 ** (attempt - 1)),"
    tree.replace("rules/train.smk", "        gpu=train_gpus,\n", f"        gpu=train_gpus,\n        {budget}\n")
    tree.replace("rules/train.smk", "--runtime {resources.runtime:q}", "--time-budget {resources.budget:q}")
    slow = "        super().optimizer_step()\n        self.step += 1\n"
    tree.replace("lib/training/yolo_trainer.py", slow, f"        time.sleep(0.2)\n{slow}")
    done = tree.run("-c1", "--retries", "8")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    check(tree, reference)
    log = (tree.folder / "results/logs/train/site/detector/seed=0.log").read_text()
    resumed = tree.card["resumed_from_epoch"]
    assert (f"goes on after round {resumed}/{ROUNDS} (iteration {resumed * EACH}/{ROUNDS * EACH})" in log) == (resumed > 0)
