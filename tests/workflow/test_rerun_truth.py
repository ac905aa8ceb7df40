"""What reruns and what does not, on a finished tree made by real Snakemake: the reference is the influence of each key."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.workflow.conftest import Tree

pytestmark = pytest.mark.slow


def test_second_run_has_nothing_to_do(tree: Tree) -> None:
    assert tree.planned() == set()
    assert "Nothing to be done" in tree.snakemake().stderr


def test_editing_one_variant_reruns_its_jobs_and_the_boards_that_list_it(tree: Tree) -> None:
    tree.study["variants"]["less"]["training"] = {"lr0": 0.005}
    assert tree.planned() == cell_outputs("less") | {"leaderboards/site/main.csv"}


def test_editing_the_detector_variant_reruns_all_that_use_its_boxes(tree: Tree) -> None:
    tree.study["variants"]["detector"]["training"] = {"lr0": 0.005}
    planned = tree.planned()
    assert {"train/site/detector/seed=0/model.json", "weights/w/weights.json"} <= planned
    assert {"detections/site/own/chunk=0.parquet", "shards/site/full/manifest.json"} <= planned
    assert cell_outputs("full") | cell_outputs("less") <= planned
    assert not any("/truth/" in output for output in planned), "true boxes do not hang on the detector"
    assert "shards/site/bare/manifest.json" not in planned


def test_adding_a_variant_adds_its_jobs_and_the_boards(tree: Tree) -> None:
    tree.study["variants"]["slow"] = {"arm": "all", "size": "tiny", "training": {"lr0": 0.0005}}
    tree.study["boards"]["main"]["variants"].append("slow")
    assert tree.planned() == cell_outputs("slow") | {"leaderboards/site/main.csv"}


def test_unrelated_keys_resources_and_descriptions_rerun_nothing(tree: Tree) -> None:
    tree.study["description"] = "another sentence"
    tree.study["datasets"]["site"]["description"] = "another sentence"
    tree.study["arms"]["unused"] = {"shardset": "full", "background": "none"}
    tree.study["tta"]["unused"] = {"views": [{"scale": 0.5}]}
    assert tree.planned() == set()
    assert tree.planned("--set-threads", "train=2", "--set-resources", "train:mem_mb=9999") == set()


def test_what_is_for_people_rewrites_a_summary_only(tree: Tree) -> None:
    tree.study["variants"]["full"] |= {"description": "another sentence", "size": "nano"}
    assert tree.planned() == {"summaries/site/full/seed=0/tta=none/summary.json"}


def test_a_comment_reruns_nothing(tree: Tree) -> None:
    tree.comment = "# a comment\n"
    assert tree.planned() == set()


def test_deleting_one_output_and_asking_for_it_rebuilds_exactly_it(tree: Tree) -> None:
    target = "results/tracks/site/truth/bytetrack/chunk=1.parquet"
    before = (tree.folder / target).read_bytes()
    (tree.folder / target).unlink()
    assert tree.planned("--", target) == {target.removeprefix("results/")}
    tree.snakemake("--", target)
    assert (tree.folder / target).read_bytes() == before
    assert tree.planned() == set(), "the rebuilt file has the same content, so nothing that reads it reruns"


def test_touching_inputs_with_the_same_content_reruns_nothing(tree: Tree) -> None:
    for path in tree.folder.glob("results/videos/site/*.parquet"):
        later(path)
    later(tree.folder / "results/shards/site/full/manifest.json")
    assert tree.planned() == set()


def test_touching_a_large_input_reruns_nothing(fresh, tmp_path: Path) -> None:
    """Above 1 MB Snakemake would go by date; the default profile compares content up to 100 MB."""
    root = tmp_path / "coco"
    coco_with_padding(root, megabytes=5)
    tree = fresh(coco_study(root))
    target = "results/videos/flat/manifest.parquet"
    tree.snakemake("--", target)
    assert (root / "all.json").stat().st_size > 5_000_000
    later(root / "all.json")
    assert tree.planned("--", target) == set()
    (root / "all.json").write_text((root / "all.json").read_text().replace('"padding": "x', '"padding": "y'))
    assert tree.planned("--", target) == {target.removeprefix("results/")}


def test_a_changed_label_in_a_folder_reruns_also_one_of_the_same_size(fresh, tmp_path: Path) -> None:
    root = tmp_path / "yolo"
    label = yolo_folder(root)
    study = coco_study(root)
    study["datasets"]["flat"]["source"] = {"format": "yolo", "root": str(root)}
    tree = fresh(study)
    target = "results/videos/flat/manifest.parquet"
    tree.snakemake("--", target)
    assert tree.planned("--", target) == set()
    later(label)
    assert tree.planned("--", target) == set(), "only the date of a label changed"
    text = label.read_text()
    label.write_text(text.replace("0.5", "0.6", 1))
    assert len(label.read_text()) == len(text)
    assert tree.planned("--", target) == {target.removeprefix("results/")}


def test_a_dry_run_holds_no_job_of_another_study(tree: Tree) -> None:
    planned = tree.planned("--forceall")
    assert planned and all("world" not in output for output in planned)


def cell_outputs(variant: str) -> set[str]:
    """What one trained variant is made of, from its training to its scores."""
    cell = f"site/{variant}/seed=0"
    outputs = {f"train/{cell}/model.json", f"figures/{cell}/curves.png", f"predictions/{cell}/tta=none.parquet"}
    outputs |= {f"exports/{cell}/tta=none/index.json", f"metrics/{cell}/tta=none.json"}
    return outputs | {f"summaries/{cell}/tta=none/summary.json"}


def later(path: Path) -> None:
    """Give a file a new date and leave its content alone."""
    now = time.time() + 5
    os.utime(path, (now, now))


def coco_study(root: Path) -> dict:
    source = {"format": "coco", "root": str(root), "annotations": {"test": "all.json"}}
    board = {"kind": "tracks", "dataset": "flat", "detectors": ["truth"], "trackers": ["bytetrack"]}
    return {
        "datasets": {"flat": {"source": source}},
        "weights": {},
        "detectors": {"truth": {"kind": "truth"}},
        "shardsets": {},
        "arms": {},
        "variants": {},
        "boards": {"b": board},
    }


def picture(path: Path) -> None:
    import cv2
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((48, 64, 3), 128, np.uint8))


def coco_with_padding(root: Path, *, megabytes: int) -> None:
    picture(root / "a.png")
    values = {
        "padding": "x" * (megabytes * 1_000_001),
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (root / "all.json").write_text(json.dumps(values))


def yolo_folder(root: Path) -> Path:
    picture(root / "images" / "test" / "a.png")
    label = root / "labels" / "test" / "a.txt"
    label.parent.mkdir(parents=True)
    label.write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("path: .\ntest: images/test\nnames: {0: thing}\n")
    return label
