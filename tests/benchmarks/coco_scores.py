"""COCO box scores of a made set against pycocotools: the same numbers, how much sooner.

Tables to scores: `lib.metrics.detection.evaluate`, with its F1 and its scores per class, against pycocotools from its own
dicts in memory to its twelve numbers. Files to scores: the `score` program against pycocotools over the same two files,
whole processes; ours checks every entry of them first.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lib.metrics.detection import evaluate
from tests.benchmarks.measure import Result, compared, in_process, interleaved, main, python

IMAGES = {"tiny": 50, "small": 1250, "full": 5000}
TRUTH_EACH, FOUND_EACH, CLASSES = 7.36, 40, 80
REPEATS = {"tiny": 1, "small": 2, "full": 3}
WIDTH, HEIGHT, LONG = 640, 480, 50
NAMES = {"AP": 0, "AP50": 1, "AP75": 2, "AP_small": 3, "AP_medium": 4, "AP_large": 5, "AR": 8}
"""Our names and the places of pycocotools' numbers."""
LEAST = 1 / 20


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """(N, 4) corners in px, sizes spread from small to large."""
    size = rng.lognormal(4, 1, (count, 2)).clip(4, (WIDTH - 4, HEIGHT - 4))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array([WIDTH, HEIGHT]) - size)
    return np.hstack([corner, corner + size])


def made(images: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[str]]:
    """Truth, predictions, frames and classes: classes as unlike in number as COCO's, half of the predictions near truth."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, CLASSES + 1)
    share /= share.sum()
    n_true, n_found = round(images * TRUTH_EACH), images * FOUND_EACH
    where, kind, true_boxes = rng.integers(0, images, n_true), rng.choice(CLASSES, n_true, p=share), boxes(rng, n_true)
    near, of = rng.random(n_found) < 0.5, rng.integers(0, n_true, n_found)
    shaken = true_boxes[of] + rng.normal(0, 0.08, (n_found, 4)) * np.tile(true_boxes[of, 2:] - true_boxes[of, :2], 2)
    shaken[:, :2] = np.minimum(shaken[:, :2], shaken[:, 2:] - 1)
    found = np.where(near[:, None], shaken, boxes(rng, n_found))
    score = np.where(near, rng.beta(4, 2, n_found), rng.beta(1, 5, n_found)).round(4)
    truth = _table(where, kind, true_boxes).assign(ignore=rng.random(n_true) < 0.01)
    places = np.where(near, where[of], rng.integers(0, images, n_found))
    predictions = _table(places, np.where(near, kind[of], rng.choice(CLASSES, n_found, p=share)), found)
    frames = _table(np.arange(images), np.zeros(images, int), np.zeros((images, 4)))[["video", "frame"]]
    return truth, predictions.assign(score=score), frames, [f"class {number:02d}" for number in range(CLASSES)]


def _table(image: np.ndarray, kind: np.ndarray, corners: np.ndarray) -> pd.DataFrame:
    video = np.array([f"v{number:04d}" for number in range(int(image.max()) // LONG + 1)], dtype=object)
    names = np.array([f"class {number:02d}" for number in range(CLASSES)], dtype=object)
    table = pd.DataFrame({"video": video[image // LONG], "frame": image % LONG, "class": names[kind]})
    table[["x1", "y1", "x2", "y2"]] = corners
    return table


def as_coco(truth: pd.DataFrame, predictions: pd.DataFrame, images: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same as COCO's truth and results; ids from 1."""

    def entries(table: pd.DataFrame, key: str, values: pd.Series) -> list[dict[str, Any]]:
        corners = table[["x1", "y1", "x2", "y2"]].to_numpy()
        size = corners[:, 2:] - corners[:, :2]
        image = table["video"].str[1:].astype(int) * LONG + table["frame"] + 1
        kind = table["class"].str[-2:].astype(int) + 1
        rows = zip(image.tolist(), kind.tolist(), np.hstack([corners[:, :2], size]).tolist(), values.tolist(), strict=True)
        return [
            {"id": number, "image_id": i, "category_id": c, "bbox": box, "area": box[2] * box[3], key: value}
            for number, (i, c, box, value) in enumerate(rows, start=1)
        ]

    pictures = [{"id": one + 1, "file_name": f"{one}.jpg", "width": WIDTH, "height": HEIGHT} for one in range(images)]
    categories = [{"id": one + 1, "name": f"class {one:02d}"} for one in range(CLASSES)]
    annotations = entries(truth, "iscrowd", truth["ignore"].astype(int))
    results = entries(predictions, "score", predictions["score"])
    return {"images": pictures, "categories": categories, "annotations": annotations}, results


def pycocotools(ground: dict[str, Any], results: list[dict[str, Any]]) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


def measure(size: str) -> Result:
    images, repeats = IMAGES[size], REPEATS[size]
    tables = made(images)
    ground, results = as_coco(*tables[:2], images)
    result = Result(f"COCO box scores of {images:,} images, {len(results):,} detections, {CLASSES} classes")
    found: dict[str, Any] = {}

    def ours() -> None:
        found["ours"] = evaluate(*tables, f1_threshold=0.5)

    def peer() -> None:
        found["peer"] = pycocotools(ground, [dict(entry) for entry in results])

    evaluate(*made(2), f1_threshold=0.5)  # what is imported at the first call is no part of an evaluation
    runs = interleaved({"ours": lambda: in_process(ours), "pycocotools": lambda: in_process(peer)}, repeats)
    sides = {"ours": "ours", "peer": "pycocotools"}
    for figure in ("wall", "cpu"):
        target = ("<=", LEAST) if size == "full" else None
        result.rows.append(compared(f"tables to scores: {figure}", runs, figure, target=target, **sides))
    apart = {name: abs(found["ours"][name] - found["peer"][place]) for name, place in NAMES.items()}
    result.facts["largest difference of a number, tables"] = float(max(apart.values()))
    result.notes.append("Target: a ratio of at most 1 / 20 at the full size, 5,000 images and 200,000 detections.")
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        from_files(result, Path(name), ground, results, repeats)
    return result


def from_files(result: Result, folder: Path, ground: dict[str, Any], results: list[dict[str, Any]], repeats: int) -> None:
    """The `score` program and pycocotools over two JSON files."""
    (folder / "truth.json").write_text(json.dumps(ground))
    plain = [{key: entry[key] for key in ("image_id", "category_id", "bbox", "score")} for entry in results]
    (folder / "results.json").write_text(json.dumps(plain))
    files = ["--truth", folder / "truth.json", "--predictions", folder / "results.json", "--out", folder / "ours.json"]
    peer = [folder / "truth.json", folder / "results.json", folder / "peer.json"]
    runs = interleaved(
        {
            "ours": lambda: python("workflow_scripts.score", "detection", *files),
            "pycocotools": lambda: python("tests.benchmarks.coco_peer", *peer),
        },
        repeats,
    )
    for figure in ("wall", "cpu"):
        what = f"files to scores, whole processes: {figure}"
        result.rows.append(compared(what, runs, figure, ours="ours", peer="pycocotools"))
    mine = json.loads((folder / "ours.json").read_text())["bbox"]["overall"]
    theirs = json.loads((folder / "peer.json").read_text())
    result.facts["largest difference of a number, files"] = max(
        abs(mine[name if name != "AR" else "AR_100"] - theirs[place]) for name, place in NAMES.items()
    )


if __name__ == "__main__":
    main(measure, "coco_scores")
