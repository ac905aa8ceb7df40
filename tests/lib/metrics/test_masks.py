"""Scores of masks, compared with pycocotools' COCOeval: random ellipses with crowds, and the shared COCO sample."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lib.config.download import CocoSource
from lib.data.sources import coco
from lib.files import DataError
from lib.metrics.coco_masks import areas
from lib.metrics.detection import ap_from_units, evaluate, match_units

CLASSES = ["person", "hook"]
BOX = ["x1", "y1", "x2", "y2"]
SCORES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR")


def row(video: str, name: str, whole: np.ndarray, **more: Any) -> dict[str, Any]:
    """A row of a table from a mask (H, W); its box is the mask's."""
    coded = rle.encode(np.asfortranarray(whole.astype(np.uint8)))
    x, y, width, height = rle.toBbox(coded)
    box = dict(zip(BOX, (x, y, x + width, y + height), strict=True))
    sides = {"height": whole.shape[0], "width": whole.shape[1], "mask": coded["counts"].decode()}
    return {"video": video, "frame": 0, "class": name} | box | sides | more


def moved(whole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask as a model might find it: shifted, thinner or thicker."""
    shift = np.float32([[1, 0, rng.integers(-4, 5)], [0, 1, rng.integers(-4, 5)]])
    found = cv2.warpAffine(whole.astype(np.uint8), shift, whole.shape[::-1])
    side = int(rng.integers(1, 6))
    change = cv2.erode if rng.random() < 0.5 else cv2.dilate
    return change(found, np.ones((side, side), np.uint8))


def world(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    truth, found = [], []
    videos = [f"v{number}" for number in range(12)]
    for video in videos:
        for _ in range(int(rng.integers(0, 6))):
            whole = np.zeros((120, 160), np.uint8)
            axes = tuple(int(value) for value in rng.integers(4, 40, 2))
            cv2.ellipse(whole, (int(rng.integers(0, 160)), int(rng.integers(0, 120))), axes, 0, 0, 360, 1, -1)
            name, crowd = str(rng.choice(CLASSES)), bool(rng.random() < 0.2)
            truth.append(row(video, name, whole, ignore=crowd))
            for _ in range(int(rng.integers(0, 3))):
                seen = moved(whole, rng)
                if seen.any():
                    found.append(row(video, name, seen, score=float(rng.uniform(0.05, 1))))
    frames = pd.DataFrame({"video": videos, "frame": 0, "height": 120, "width": 160})
    return pd.DataFrame(truth), pd.DataFrame(found), frames


def pycocotools_scores(
    truth: pd.DataFrame, found: pd.DataFrame, frames: pd.DataFrame, classes: list[str]
) -> dict[str, float]:
    ids = {video: number for number, video in enumerate(frames["video"], start=1)}

    def entry(number: int, one: dict[str, Any]) -> dict[str, Any]:
        mask = {"size": [one["height"], one["width"]], "counts": one["mask"]}
        made = {"id": number, "image_id": ids[one["video"]], "category_id": classes.index(one["class"]) + 1}
        made |= {"segmentation": mask}
        if "score" in one:  # without a box, else its area would count as the mask's
            return made | {"score": one["score"]}
        return made | {"area": float(rle.area(mask)), "bbox": rle.toBbox(mask).tolist(), "iscrowd": int(one["ignore"])}

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        images = [{"id": ids[one.video], "height": one.height, "width": one.width} for one in frames.itertuples()]
        entries = [entry(number, one) for number, one in enumerate(truth.to_dict("records"), start=1)]
        categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
        ground.dataset = {"images": images, "categories": categories, "annotations": entries}
        ground.createIndex()
        results = [entry(number, one) for number, one in enumerate(found.to_dict("records"), start=1)]
        run = COCOeval(ground, ground.loadRes(results), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return dict(zip(SCORES, run.stats[[0, 1, 2, 3, 4, 5, 8]], strict=True))


def compare(truth: pd.DataFrame, found: pd.DataFrame, frames: pd.DataFrame, classes: list[str]) -> None:
    ours = evaluate(truth, found, frames, classes, f1_threshold=0.3, masks=True)
    theirs = pycocotools_scores(truth, found, frames, classes)
    assert {name: ours[name] if ours[name] is not None else -1 for name in SCORES} == pytest.approx(theirs, abs=1e-6)
    units = match_units(truth, found, frames, classes, masks=True)
    assert float(ap_from_units(units, classes, weights=np.ones(len(units)))) == pytest.approx(theirs["AP50"], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_masks_score_as_pycocotools_scores_them(seed: int) -> None:
    truth, found, frames = world(seed)
    assert truth["ignore"].any() and len(found) > 10
    compare(truth, found, frames, CLASSES)


def test_the_truth_itself_scores_one_and_boxes_score_otherwise() -> None:
    truth, found, frames = world(7)
    kept = truth[~truth["ignore"]]
    perfect = evaluate(kept, kept.drop(columns="ignore").assign(score=0.9), frames, CLASSES, f1_threshold=0.3, masks=True)
    assert [perfect[name] for name in ("AP", "AP50", "AR", "F1")] == [1.0] * 4
    masks, boxes = (evaluate(truth, found, frames, CLASSES, f1_threshold=0.3, masks=one)["AP"] for one in (True, False))
    assert masks != pytest.approx(boxes)


@pytest.mark.parametrize("count", [0, 1, 255, 256, 700])
def test_areas_of_any_number_of_masks(count: int) -> None:
    drawn = [np.asfortranarray(np.arange(40).reshape(5, 8) < 1 + number % 40, dtype=np.uint8) for number in range(count)]
    assert areas([rle.encode(one) for one in drawn]).tolist() == [float(one.sum()) for one in drawn]


def test_a_crowd_without_a_mask_is_its_box_and_a_box_without_one_is_refused() -> None:
    truth, found, frames = world(1)
    crowds = truth.assign(mask=truth["mask"].where(~truth["ignore"], ""))
    evaluate(crowds, found, frames, CLASSES, f1_threshold=0.3, masks=True)
    with pytest.raises(DataError, match="masks are compared, but a box has none"):
        evaluate(truth.assign(mask=""), found, frames, CLASSES, f1_threshold=0.3, masks=True)
    with pytest.raises(DataError, match="predictions has no column mask"):
        evaluate(truth, found.drop(columns="mask"), frames, CLASSES, f1_threshold=0.3, masks=True)


@pytest.mark.mirror
def test_the_shared_coco_sample_scores_as_pycocotools_scores_it(mirror: Path) -> None:
    """Real outlines, crowds among them, against the same outlines moved a little."""
    root = mirror / "det" / "coco-mini"
    names = {"annotations": {"val": "annotations/instances_val2017.json"}, "images": {"val": "val2017"}}
    options = CocoSource.model_validate({"format": "coco", "root": str(root)} | names)
    source = coco.read(root, options)
    sides = {item.original: (item.height, item.width) for item in source.items}
    boxes = source.boxes[source.boxes["mask"] != ""].rename(columns={"original": "video"})
    frames = pd.DataFrame([{"video": one, "frame": 0, "height": h, "width": w} for one, (h, w) in sides.items()])
    truth = boxes.merge(frames, on=["video", "frame"])
    assert truth["ignore"].any() and len(truth) > 100
    rng, found = np.random.default_rng(0), []
    for one in truth[~truth["ignore"]].to_dict("records"):
        whole = rle.decode({"size": [one["height"], one["width"]], "counts": one["mask"].encode()})
        seen = moved(whole, rng)
        if seen.any():
            found.append(row(one["video"], one["class"], seen, score=float(rng.random())))
    compare(truth, pd.DataFrame(found), frames, source.classes)
