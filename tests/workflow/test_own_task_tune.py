"""Tuning of a task whose model we write: budget, scores and direction are those of our own loop. Reference: the cards."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lib.files import read_json
from tests.workflow.test_own_task import Copy

pytestmark = pytest.mark.slow

SPACE = "training.optimizer.lr={choices: [3e-3, 1e-6, 10]} training.width={choices: [8, 16]}"
BUDGET = {"steps": 60, "evaluate_every_steps": 10}


def tune(tree: Copy, *words: str) -> str:
    line = [sys.executable, "-m", "workflow_scripts.tune", *tree.command()[4:], "-c2", "--variant", "shows", *words]
    done = subprocess.run(line, cwd=tree.folder, env=tree.environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:] + tree.log()
    return done.stdout + done.stderr


def test_a_task_of_our_own_loop_is_tuned_by_what_its_settings_call_best(tmp_path: Path) -> None:
    """val/loss: low is good. A learning rate of 1e-6 learns nothing, one of 10 breaks, so 3e-3 has to win."""
    tree = Copy(tmp_path / "project")
    tree.study["datasets"]["site"]["source"]["videos"] = {"train": 8, "val": 4, "test": 1}
    tree.study["trainings"]["presence"] |= {"budget": BUDGET, "best": {"val/loss": "min", "val/accuracy": "max"}}
    common = ("--space", SPACE, "--parallel", "3", "--trials", "3", "--factor", "2")
    assert "by loss on val, lower is better\nrungs: 30 steps → 60 steps\n" in tune(tree, *common, "-n")
    tune(tree, *common, "--seed", "1")
    folder = tree.folder / "results/tuning/presence/shows"
    with open(folder / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and {"training.optimizer.lr", "training.width", "val/loss at 30 steps"} <= set(rows[0])
    for row in rows:
        card = read_json(tree.folder / f"results/train/site/{row['variant']}/seed=0/model.json")
        assert card["iterations"] == int(row["budget"]), "the score is that of the rung it names"
        assert float(row["val/loss"]) == card["best"]["val/loss"] and card["status"] == "finished"
    whole = [row for row in rows if row["state"] == "finished"]
    best = min(whole, key=lambda row: float(row["val/loss"]))
    stopped = [float(row["val/loss"]) for row in rows if row["state"] == "stopped early"]
    assert float(best["val/loss at 30 steps"]) < min(stopped, default=math.inf)
    assert float(best["training.optimizer.lr"]) == 3e-3
    assert read_json(folder / "tuning.json")["best"]["trial"] == int(best["trial"])
    (name,) = yaml.safe_load((folder / "best.yaml").read_text())["variants"]
    assert name == best["variant"] and (folder / "trials.png").stat().st_size > 10_000

    common = (*common[:-4], "--trials", "1", "--pruner", "none")
    again = tune(tree, *common, "--seed", "1", "--metric", "val/accuracy", "--name", "other")
    assert "trial 0: finished, accuracy on val " in again, "the same trainings, by another score"
