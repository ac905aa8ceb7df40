"""The rule that compares a board's trainings, in real Snakemake on made trainings. Reference: what was made (folders.py).

That real trainings go the same way is seen by test_rfdetr_study.py.
"""

from __future__ import annotations

import copy
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.config.base import ConfigError
from lib.config.study import Study, load_study
from lib.config.targets import study_targets
from lib.files import write_json
from tests.conftest import PROJECT
from tests.workflow.conftest import Tree

sys.path.insert(0, str(PROJECT / "tests/lib/registry"))

import folders

RATES = {"low": 5e-5, "usual": 1e-4, "high": 3e-4}
STUDY: dict[str, Any] = {
    "seeds": [0, 1],
    "detectors": {"truth": {"kind": "truth"}},
    "weights": {},
    "trackers": {},
    "shardsets": {"bare": {"splits": ["train", "val"], "stride": 4}},
    "arms": {"all": {"shardset": "bare", "background": "all"}},
    "variants": {
        **{
            name: {"task": "segmentation", "arm": "all", "size": "tiny", "training": {"lr": lr}}
            for name, lr in RATES.items()
        },
        "filled": {"task": "segmentation", "kind": "floor", "floor": "prior", "arm": "all", "size": "tiny"},
    },
    "tta": {"none": {"views": [{}]}},
    "boards": {
        "rates": {"dataset": "site", "variants": [*RATES, "filled"], "compare": True},
        "plain": {"dataset": "site", "variants": ["usual", "filled"]},
    },
}
PLACE = "results/comparisons/site/rates"
FILES = {"leaderboard.csv", "training_curves.png", "metrics_bar_comparison.png", "model_size_comparison.png"}


def read(tree: Tree) -> Study:
    tree.settings.write_text(json.dumps(tree.study))
    return load_study([tree.settings])


def test_only_boards_that_ask_for_it_are_compared(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh(copy.deepcopy(STUDY))
    wanted = {path for path in study_targets(read(tree), "figures") if "comparisons" in path}
    assert wanted == {f"{PLACE}/{name}" for name in (*FILES, "hp_lr_scatter.png")}
    tree.study["variants"]["high"]["training"]["lr"] = 1e-4
    wanted = {path for path in study_targets(read(tree), "figures") if "comparisons" in path}
    assert wanted == {f"{PLACE}/{name}" for name in FILES}, "two learning rates"
    tree.study["boards"]["rates"] |= {"kind": "tracks", "detectors": ["truth"], "trackers": ["t"]}
    del tree.study["boards"]["rates"]["variants"]
    with pytest.raises(ConfigError, match="`compare` belongs to kind: scores"):
        read(tree)


@pytest.mark.slow
def test_a_board_is_compared(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh(copy.deepcopy(STUDY))
    for number, (name, rate) in enumerate(RATES.items()):
        for seed in (0, 1):
            folders.training(tree.folder, name, folders.course(0.3 + 0.05 * number, 6), seed=seed, lr=rate)
            scores = tree.folder / f"results/metrics/site/{name}/seed={seed}/tta=none.json"
            write_json(scores, {"metrics": {"AP": 0.1}, "boxes": {}})
    folders.training(tree.folder, "stranger", [0.9])  # of no row of the board
    words = ["--allowed-rules", "compare", "compare_learning_rates", "--", f"{PLACE}/leaderboard.csv"]
    tree.snakemake(*words, f"{PLACE}/hp_lr_scatter.png")
    made = tree.folder / PLACE
    assert {path.name for path in made.iterdir()} == FILES | {"hp_lr_scatter.png"}
    with open(made / "leaderboard.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["runs_alike"]) for row in rows] == [
        (name, "2") for name in ("high", "usual", "low") for _ in "ab"
    ]
    assert [row["test_mask_mAP"] for row in rows] == [""] * 6, "nothing says that those scores are of these models"
    listed = json.loads((tree.folder / "results/registry.json").read_text())["runs"]
    assert len(listed) == 7 and listed["site/high/seed=1"]["status"] == "completed"
    done = tree.snakemake("--", "results/comparisons/site/followed/leaderboard.csv", check=False)
    assert done.returncode and "followed" in done.stderr + done.stdout
    assert Path(made / "leaderboard.csv").is_file()
