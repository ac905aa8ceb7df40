"""From tables to COCO's evaluator (vernier) and back to flat matches. No evaluator of our own, no scores (detection.py).

vernier's drop-in `COCOeval` is used because it gives pycocotools' numbers at a fraction of the time and exposes the same
per-image results (`evalImgs`), from which the bootstrap's units are built. Image and annotation ids start at 1: COCO's
evaluators write 0 for “not matched”, so a box with id 0 would be a miss even when it is found.

Letters: T = 10 IoU thresholds 0.50, 0.55 … 0.95; R = 101 recall points; C classes; A = 4 areas (all, small, medium, large).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from vernier import COCOeval

from lib.files import DataError

N_THRESHOLDS = 10
BOX = ["x1", "y1", "x2", "y2"]
AREAS = ("all", "small", "medium", "large")
"""COCO's areas of a true box: small < 32² px, medium 32² to 96² px, large > 96² px of the original frame."""


@dataclass(frozen=True)
class Prepared:
    """Tables restricted to the labelled frames and the wanted classes.

    frames: video, frame, image (int64, 1-based, in the order of video and frame); truth and predictions: their own columns
    plus image and class_index (int64, position in `classes`); elsewhere / unknown: predictions left out because their
    frame is not labelled / their class is not scored.
    """

    frames: pd.DataFrame
    truth: pd.DataFrame
    predictions: pd.DataFrame
    elsewhere: int
    unknown: int


def prepare(
    truth: pd.DataFrame, predictions: pd.DataFrame, frames: pd.DataFrame, classes: Sequence[str], *, max_det: int
) -> Prepared:
    """Number the labelled frames from 1 and give every box its image and its class index.

    Raises DataError for missing columns, a class named twice, no class at all, or max_det below 1.
    """
    _require(truth, "truth", ["video", "frame", "class", *BOX, "ignore"])
    _require(predictions, "predictions", ["video", "frame", "class", *BOX, "score"])
    _require(frames, "frames", ["video", "frame"])
    if not classes or len(set(classes)) != len(classes):
        raise DataError(f"classes must be a list of different names, given {list(classes)!r}.")
    if max_det < 1:
        raise DataError(f"max_det must be at least 1 detection per frame and class, given {max_det}.")
    images = frames[["video", "frame"]].drop_duplicates().sort_values(["video", "frame"], ignore_index=True)
    images["image"] = np.arange(1, len(images) + 1, dtype=np.int64)
    index = pd.MultiIndex.from_frame(images[["video", "frame"]])
    true_boxes, _, _ = _located(truth, index, classes)
    predicted, elsewhere, unknown = _located(predictions, index, classes)
    return Prepared(images, true_boxes, predicted, elsewhere, unknown)


def _require(table: pd.DataFrame, name: str, columns: list[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{name} has no column {', '.join(missing)}. Hint: lib/tables.py lists the columns of every table.")


def _located(boxes: pd.DataFrame, index: pd.MultiIndex, classes: Sequence[str]) -> tuple[pd.DataFrame, int, int]:
    """Boxes on labelled frames and of known classes, and how many were left out for either reason."""
    position = np.empty(0, dtype=np.int64)
    if len(boxes):
        position = index.get_indexer(pd.MultiIndex.from_frame(boxes[["video", "frame"]]))
    class_index = pd.Index(list(classes), dtype=object).get_indexer(boxes["class"].astype(object)).astype(np.int64)
    labelled, known = position >= 0, class_index >= 0
    kept = boxes.assign(image=position + 1, class_index=class_index)[labelled & known]
    return kept.reset_index(drop=True), int((~labelled).sum()), int((labelled & ~known).sum())


class _Holder:
    """The three members of pycocotools' COCO object that the evaluator reads."""

    def __init__(self, dataset: Mapping[str, Any]) -> None:
        self.dataset = dataset

    def getImgIds(self) -> list[int]:
        return [image["id"] for image in self.dataset["images"]]

    def getCatIds(self) -> list[int]:
        return [category["id"] for category in self.dataset["categories"]]


def run_evaluator(prepared: Prepared, n_classes: int, *, max_det: int) -> COCOeval:
    """COCO box evaluation of the prepared tables: after it `.eval["precision"]` is T×R×C×A×1, `.eval["recall"]` T×C×A×1."""
    images = [{"id": int(image), "width": 1, "height": 1} for image in prepared.frames["image"]]
    categories = [{"id": number + 1, "name": str(number)} for number in range(n_classes)]
    ground = {"images": images, "categories": categories, "annotations": _annotations(prepared.truth)}
    evaluator = COCOeval(_Holder(ground), _Holder({"annotations": _annotations(prepared.predictions)}), iouType="bbox")
    evaluator.params.maxDets = [max_det]
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator


def _annotations(boxes: pd.DataFrame) -> list[dict[str, Any]]:
    x1, y1, x2, y2 = (boxes[column].to_numpy(np.float64) for column in BOX)
    corner_and_size = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
    image, category = boxes["image"].to_numpy(), boxes["class_index"].to_numpy() + 1
    extra = boxes["score"].to_numpy(np.float64) if "score" in boxes else boxes["ignore"].to_numpy(np.int64)
    key = "score" if "score" in boxes else "iscrowd"
    columns = zip(image.tolist(), category.tolist(), corner_and_size.tolist(), extra.tolist(), strict=True)
    return [
        {"id": number, "image_id": where, "category_id": what, "bbox": box, "area": box[2] * box[3], key: value}
        for number, (where, what, box, value) in enumerate(columns, start=1)
    ]


def flat_matches(evaluator: COCOeval, n_classes: int, n_images: int) -> pd.DataFrame:
    """One row per scored detection, in the evaluator's own order (class, image, falling score).

    Columns: image (int64, 1-based), class_index (int64), score (float64), matched and ignored (uint16 masks: bit k belongs
    to IoU 0.50 + 0.05·k; matched = true positive, ignored = neither true nor false positive, neither = false positive).
    """
    bits = (1 << np.arange(N_THRESHOLDS, dtype=np.uint16))[:, None]
    parts: dict[str, list[np.ndarray]] = {key: [] for key in ("image", "class_index", "score", "matched", "ignored")}
    cells = evaluator.evalImgs
    for number in range(n_classes):
        start = number * len(AREAS) * n_images  # cells are ordered class × area × image; the area “all” comes first
        for cell in cells[start : start + n_images]:
            if cell is None or not cell["dtScores"]:
                continue
            ignored = np.asarray(cell["dtIgnore"], dtype=bool)
            matched = (np.asarray(cell["dtMatches"]) != 0) & ~ignored
            count = matched.shape[1]
            parts["image"].append(np.full(count, cell["image_id"], dtype=np.int64))
            parts["class_index"].append(np.full(count, number, dtype=np.int64))
            parts["score"].append(np.asarray(cell["dtScores"], dtype=np.float64))
            parts["matched"].append((matched * bits).sum(axis=0).astype(np.uint16))
            parts["ignored"].append((ignored * bits).sum(axis=0).astype(np.uint16))
    kinds = {"image": np.int64, "class_index": np.int64, "score": np.float64, "matched": np.uint16, "ignored": np.uint16}
    return pd.DataFrame({key: np.concatenate([np.empty(0, kind), *parts[key]]).astype(kind) for key, kind in kinds.items()})
