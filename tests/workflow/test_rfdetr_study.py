"""RF-DETR through real Snakemake: trained, tested and ranked beside floors, boxes and masks, on the tiny world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lib.models.cards import find_model
from tests.conftest import PROJECT
from tests.workflow.conftest import Tree

pytestmark = pytest.mark.slow
pytest.importorskip("rfdetr")

SMALL: dict[str, Any] = {"num_queries": 10, "group_detr": 1, "batch": 2, "accumulate": 2, "lr": 3e-4, "multi_scale": "off"}
SMALL |= {"scale_jitter": False, "budget": {"iterations": 2, "evaluations": 1}}
RARE = {"kind": "repeat_factor", "threshold": 0.99}
PICTURES = ("training_curves", "metrics_bar_comparison", "model_size_comparison")
STUDY: dict[str, Any] = {
    "weights": {"trained": {"variant": "boxes", "dataset": "site"}},
    "detectors": {"own": {"kind": "rfdetr", "weights": "trained", "conf": 0.01, "stride": 8, "splits": ["val"]}},
    "trackers": {},
    "shardsets": {"bare": {"splits": ["train", "val"], "stride": 4}},
    "arms": {"all": {"shardset": "bare", "background": "all"}},
    "trainings": {"rfdetr": SMALL | {"imgsz": 64}, "segmentation": SMALL | {"imgsz": 72}},
    "variants": {
        "boxes": {"arm": "all", "size": "tiny", "training": {"engine": "rfdetr", "sampling": RARE}},
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
    runs = [f"results/summaries/site/{row}/seed=0/tta=none/summary.json" for row in ("boxes", "masks", "filled")]
    compared = tree.folder / "results/comparisons/site/by_masks"
    tree.snakemake("--", *boards, *runs, found, str(compared.relative_to(tree.folder) / "leaderboard.csv"))
    assert set(pd.read_parquet(tree.folder / found).columns) >= {"video", "frame", "class", "score", "x1"}
    results = tree.folder / "results"
    for name, row, floor in (("by_boxes", "boxes", "prior"), ("by_masks", "masks", "filled")):
        board = pd.read_csv(results / f"leaderboards/site/{name}.csv")
        assert set(board["variant"]) == {row, floor} and board["AP50"].notna().all()
        folder = results / f"train/site/{row}/seed=0"
        card = json.loads((folder / "model.json").read_text())
        assert (card["engine"], card["status"], card["iterations"], card["effective_batch"]) == ("rfdetr", "finished", 2, 4)
        assert card["model"] == {"boxes": "rfdetr-nano", "masks": "rfdetr-seg-nano"}[row]
        assert ("sampling" in card) == (row == "boxes")
        assert (folder / "tensorboard").is_dir() and not (folder / "state").exists()
        assert (folder / "model.pth").resolve().name == "model.weights"
        assert len(pd.read_csv(folder / "history.csv")) == 1
        assert find_model(folder)[1]["format"] == "rfdetr"
    for row in ("boxes", "masks"):
        drawn = tree.folder / f"results/exports/site/{row}/seed=0/tta=none"
        summary = json.loads((results / f"summaries/site/{row}/seed=0/tta=none/summary.json").read_text())
        assert summary["engine"] == "rfdetr" and (summary["micro_batch"], summary["effective_batch"]) == (2, 4)
        assert summary["inference"] and (tree.folder / summary["inference"][0]["media"]).is_file()
        found = json.loads(next(drawn.glob("*_detections.json")).read_text())["annotations"]
        assert found and all(("segmentation" in one) == (row == "masks") for one in found)
    predicted_by_hand(tree, results)
    scores = json.loads((results / "metrics/site/filled/seed=0/tta=none.json").read_text())
    assert scores["boxes"]["AP50"] > 0, "the floor's boxes are scored beside its masks"
    compared_and_listed(results, compared)
    segments = pd.read_parquet(results / "predictions/site/filled/seed=0/tta=none.parquet")
    assert (segments["mask"] != "").all()
    assert not tree.planned("--", *boards), "nothing is made twice"
    trained_by_hand(tree)


def compared_and_listed(results: Path, compared: Path) -> None:
    """The comparison of a board's trainings and the registry say what the runs' own files say."""
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


def trained_by_hand(tree: Tree) -> None:
    """The same training of another size, typed by hand with the settings that a result names."""
    results = tree.folder / "results"
    words = (
        f"--settings {results}/train/site/masks/seed=0/meta.json --seed 0 --model-size small --output by-hand/model.json"
    )
    words += " --subset results/subsets/site/all/seed=0.parquet --shards results/shards/site/bare/manifest.json"
    command = [sys.executable, "-m", "workflow_scripts.train", *words.split()]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    card = json.loads((tree.folder / "by-hand/model.json").read_text())
    assert (card["model"], card["input_size"]) == ("rfdetr-seg-small", 72)
    recorded = json.loads((tree.folder / "by-hand/meta.json").read_text())["settings"]
    assert recorded["training"]["model"] == "small"


def predicted_by_hand(tree: Tree, results: Path) -> None:
    """A model with masks on a video of one's own."""
    video = next((results / "videos/site/raw/videos").glob("*test*.mp4"))
    model, out = results / "train/site/masks/seed=0/model.json", tree.folder / "found"
    words = ["--model", str(model), "--video", str(video), "--out", str(out), "--conf", "0.001", "--stride", "4"]
    subprocess.run([sys.executable, "-m", "workflow_scripts.predict", *words], check=True, cwd=PROJECT, capture_output=True)
    (file,) = out.glob("*_detections.json")
    found = json.loads(file.read_text())["annotations"]
    assert found and all(one["segmentation"]["counts"] for one in found)
