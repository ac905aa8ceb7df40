"""What the summary of a run says, against files written by hand; and the program that writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import made

from lib.files import read_json, write_json
from lib.reporting.summary import class_info, summary
from tests.conftest import PROJECT

TOLD = {"name": "person-25", "dataset": "world", "seed": 0, "views": "none", "arm": {"name": "p25", "mode": "union"}}
CARD = {
    "status": "finished", "engine": "rfdetr", "model": "rfdetr-nano", "class_names": ["person", "hook"], "seconds": 90.0,
    "attempts": 2, "micro_batch": 4, "effective_batch": 16, "best": {"AP": 0.4, "epoch": 7}, "sha256": "ab",
    "format": "rfdetr",
}  # fmt: skip
META = {"settings": {"training": {"lr": 1e-4}}, "code": {"commit": "c0ffee", "dirty": False}, "finished": "2026-01-30"}
SCORES = {"metrics": {"AP50": 0.5}, "per_class": {"person": {"AP50": 0.4}}, "classes": ["person", "hook"]}
EXPORTED = {"files": [{"video": "v", "original": "v.mp4", "json": "v_detections.json", "media": None, "detections": 3}]}


def counts(results: Path) -> dict[str, Any]:
    made.write_counts(results, "p25", {"person": 25, "hook": 80})
    return read_json(results / "subsets/world/p25/seed=0.counts.json")


def test_a_summary_holds_what_was_asked_trained_scored_taken_and_left(tmp_path: Path) -> None:
    found = summary(
        TOLD, card=CARD, meta=META, scores=SCORES, counts=counts(tmp_path), exported=EXPORTED, model="m", exports="out"
    )
    assert found["name"] == "person-25" and found["arm"]["mode"] == "union" and found["training"] == {"lr": 1e-4}
    assert (
        found["frames"]["classes"]["person"] | {"requested_frames": 25, "instances": 50}
        == found["frames"]["classes"]["person"]
    )
    assert (found["micro_batch"], found["effective_batch"], found["best"]["epoch"]) == (4, 16, 7)
    assert found["test"]["metrics"] == {"AP50": 0.5} and found["cost"] == {"seconds": 90.0, "attempts": 2}
    assert found["model_file"] == {"path": "m", "sha256": "ab", "format": "rfdetr"}
    assert found["inference"] == [{"video": "v", "original": "v.mp4", "detections": 3, "json": "out/v_detections.json"}]
    assert found["code"]["commit"] == "c0ffee" and found["finished"] == "2026-01-30"


def test_what_is_not_there_is_left_empty(tmp_path: Path) -> None:
    found = summary(
        TOLD | {"arm": None}, card=CARD, meta={}, scores=SCORES, counts=None, exported=None, model="m", exports=None
    )
    assert found["frames"] is None and found["training"] is None and found["inference"] == []


def test_classes_are_numbered_from_one(tmp_path: Path) -> None:
    told = {"num_classes": 2, "class_names": ["person", "hook"], "category_ids": {"person": 1, "hook": 2}}
    assert class_info(CARD, None) == told | {"training_frames": None}
    assert class_info(CARD, counts(tmp_path))["training_frames"] == {"person": 25, "hook": 80}


def test_the_program_writes_both_files(tmp_path: Path) -> None:
    counts(tmp_path)
    for name, values in {"model.json": CARD, "meta.json": META, "scores.json": SCORES, "index.json": EXPORTED}.items():
        write_json(tmp_path / name, values)
    words = ["--settings", json.dumps(TOLD), "--card", tmp_path / "model.json", "--scores", tmp_path / "scores.json"]
    words += ["--counts", tmp_path / "subsets/world/p25/seed=0.counts.json", "--exports", tmp_path / "index.json"]
    command = [sys.executable, "-m", "workflow_scripts.report", "summary", *map(str, words)]
    subprocess.run([*command, "--output", str(tmp_path / "out/summary.json")], check=True, cwd=PROJECT)
    assert read_json(tmp_path / "out/summary.json")["inference"][0]["json"] == f"{tmp_path}/v_detections.json"
    assert read_json(tmp_path / "out/class_info.json")["class_names"] == ["person", "hook"]
