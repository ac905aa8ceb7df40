"""RF-DETR through real Snakemake: trained, tested and ranked beside floors, boxes and masks, on the tiny world."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from lib.models.cards import find_model
from tests.workflow.conftest import Tree

pytestmark = pytest.mark.slow
pytest.importorskip("rfdetr")

SMALL: dict[str, Any] = {"num_queries": 10, "group_detr": 1, "batch": 2, "accumulate": 2, "lr": 3e-4, "multi_scale": "off"}
SMALL |= {"scale_jitter": False, "budget": {"iterations": 2, "evaluations": 1}}
PICTURES = ("training_curves", "metrics_bar_comparison", "model_size_comparison")
STUDY: dict[str, Any] = {
    "weights": {"trained": {"variant": "boxes", "dataset": "site"}},
    "detectors": {"own": {"kind": "rfdetr", "weights": "trained", "conf": 0.01, "stride": 8, "splits": ["val"]}},
    "trackers": {},
    "shardsets": {"bare": {"splits": ["train", "val"], "stride": 4}},
    "arms": {"all": {"shardset": "bare", "background": "all"}},
    "trainings": {"rfdetr": SMALL | {"imgsz": 64}, "segmentation": SMALL | {"imgsz": 72}},
    "variants": {
        "boxes": {"arm": "all", "size": "tiny", "training": {"engine": "rfdetr"}},
        "prior": {"kind": "floor", "floor": "prior", "arm": "all", "size": "tiny"},
        "masks": {"task": "segmentation", "arm": "all", "size": "tiny"},
        "filled": {"task": "segmentation", "kind": "floor", "floor": "prior", "arm": "all", "size": "tiny"},
    },
    "tta": {"none": {"views": [{}]}},
    "predict": {"stride": 4, "batch": 4},
    "boards": {
        "by_boxes": {"dataset": "site", "variants": ["boxes", "prior"]},
        "by_masks": {"dataset": "site", "variants": ["masks", "filled"], "compare": True},
    },
}


def test_boxes_and_masks_from_videos_to_boards(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh(STUDY)
    boards = [f"results/leaderboards/site/{name}.csv" for name in ("by_boxes", "by_masks")]
    found = "results/detections/site/own/chunk=0.parquet"
    compared = tree.folder / "results/comparisons/site/by_masks"
    tree.snakemake("--", *boards, found, str(compared.relative_to(tree.folder) / "leaderboard.csv"))
    assert set(pd.read_parquet(tree.folder / found).columns) >= {"video", "frame", "class", "score", "x1"}
    results = tree.folder / "results"
    for name, row, floor in (("by_boxes", "boxes", "prior"), ("by_masks", "masks", "filled")):
        board = pd.read_csv(results / f"leaderboards/site/{name}.csv")
        assert set(board["variant"]) == {row, floor} and board["AP50"].notna().all()
        folder = results / f"train/site/{row}/seed=0"
        card = json.loads((folder / "model.json").read_text())
        assert (card["engine"], card["status"], card["iterations"], card["effective_batch"]) == ("rfdetr", "finished", 2, 4)
        assert card["model"] == {"boxes": "rfdetr-nano", "masks": "rfdetr-seg-nano"}[row]
        assert not (folder / "state").exists() and (folder / "model.pth").resolve().name == "model.weights"
        assert len(pd.read_csv(folder / "history.csv")) == 1
        assert find_model(folder)[1]["format"] == "rfdetr"
    scores = json.loads((results / "metrics/site/filled/seed=0/tta=none.json").read_text())
    assert scores["boxes"]["AP50"] > 0, "the floor's boxes are scored beside its masks"
    (row,) = pd.read_csv(compared / "leaderboard.csv").to_dict("records")
    card, tested = (json.loads((results / path).read_text()) for path in (
        "train/site/masks/seed=0/model.json", "metrics/site/masks/seed=0/tta=none.json",
    ))  # fmt: skip
    assert (row["id"], row["model"], row["status"]) == ("site/masks/seed=0", "rfdetr-seg-nano", "completed")
    assert row["mask_mAP"] == pytest.approx(card["best"]["AP"], abs=1e-6)
    assert row["test_mask_mAP"] == pytest.approx(tested["metrics"]["AP"], abs=1e-6)
    assert all((compared / f"{name}.png").stat().st_size > 5000 for name in PICTURES)
    listed = json.loads((results / "registry.json").read_text())["runs"]
    assert set(listed) == {f"site/{name}/seed=0" for name in ("boxes", "prior", "masks", "filled")}
    assert listed["site/masks/seed=0"]["versions"]["rfdetr"] and listed["site/masks/seed=0"]["study"] == "tiny"
    kept = json.loads((results / "train/site/masks/seed=0/attempts/1.json").read_text())["of"]
    made = json.loads((results / "train/site/masks/seed=0/meta.json").read_text())
    assert kept == {key: made[key] for key in kept}, "an attempt says beforehand what its result will say"
    segments = pd.read_parquet(results / "predictions/site/filled/seed=0/tta=none.parquet")
    assert (segments["mask"] != "").all()
    assert not tree.planned("--", *boards), "nothing is made twice"
