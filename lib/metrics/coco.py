"""From tables to COCO's evaluator (vernier) and back to flat matches. No evaluator of our own, no scores (detection.py).

vernier gives pycocotools' numbers at a fraction of the time. It is handed whole columns, not a dict per box, and asked for
no more than is read: the per-image results (`eval_imgs`) that the bootstrap's units are made of cost more than the scores
themselves. Image and annotation ids start at 1: COCO's evaluators write 0 for “not matched”, so a box with id 0 would be a
miss even when it is found.

Letters: T = 10 IoU thresholds 0.50, 0.55 … 0.95; R = 101 recall points; C classes; A = 4 areas (all, small, medium, large).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from vernier.instance import (
    Breakdown,
    CocoDataset,
    evaluate_bbox_grid,
    evaluate_segm_grid,
    per_detection_to_arrow_pycapsule,
)

from lib.files import DataError
from lib.metrics.coco_masks import areas, results, run_lengths

N_THRESHOLDS = 10
SIDES = ["height", "width"]
BOX = ["x1", "y1", "x2", "y2"]
AREAS = ("all", "small", "medium", "large")
"""COCO's areas of a true box: small < 32² px, medium 32² to 96² px, large > 96² px of the original frame."""


@dataclass(frozen=True)
class Prepared:
    """Tables restricted to the labelled frames and the wanted classes.

    frames: video, frame, image (int64, 1-based, in the order of video and frame); truth and predictions: their own columns
    plus image and class_index (int64, position in `classes`); elsewhere / unknown: predictions left out because their
    frame is not labelled / their class is not scored. masks: whether masks are compared, not boxes.
    """

    frames: pd.DataFrame
    truth: pd.DataFrame
    predictions: pd.DataFrame
    elsewhere: int
    unknown: int
    masks: bool = False


def prepare(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    frames: pd.DataFrame,
    classes: Sequence[str],
    *,
    max_det: int,
    masks: bool = False,
) -> Prepared:
    """Number the labelled frames from 1 and give every box its image and its class index.

    masks: compare masks, for which both have `mask` (run-length text), and all tables `height`, `width` (px, of a frame).
    Raises DataError for missing columns, a class named twice, no class at all, or max_det below 1.
    """
    if masks:
        for name, table in (("truth", truth), ("predictions", predictions)):
            _require(table, name, ["mask", *SIDES])
        _require(frames, "frames", SIDES)
    _require(truth, "truth", ["video", "frame", "class", *BOX, "ignore"])
    _require(predictions, "predictions", ["video", "frame", "class", *BOX, "score"])
    _require(frames, "frames", ["video", "frame"])
    if not classes or len(set(classes)) != len(classes):
        raise DataError(f"classes must be a list of different names, given {list(classes)!r}.")
    if max_det < 1:
        raise DataError(f"max_det must be at least 1 detection per frame and class, given {max_det}.")
    images = (
        frames[["video", "frame", *(SIDES if masks else [])]]
        .drop_duplicates()
        .sort_values(["video", "frame"], ignore_index=True)
    )
    images["image"] = np.arange(1, len(images) + 1, dtype=np.int64)
    index = pd.MultiIndex.from_frame(images[["video", "frame"]])
    true_boxes, _, _ = _located(truth, index, classes)
    predicted, elsewhere, unknown = _located(predictions, index, classes)
    return Prepared(images, true_boxes, predicted, elsewhere, unknown, masks)


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


def curves(prepared: Prepared, n_classes: int, *, max_det: int) -> tuple[np.ndarray, np.ndarray]:
    """COCO box evaluation: precision (T, R, C, A) and recall (T, C, A); −1 where there is no truth."""
    found = _grid(prepared, n_classes, max_det).accumulate([max_det])
    return np.asarray(found.precision)[..., 0], np.asarray(found.recall)[..., 0]


def matches_at_50(prepared: Prepared, n_classes: int, *, max_det: int) -> pd.DataFrame:
    """One row per scored detection, matched at IoU 0.50.

    Columns: class_index (int64), score (float64), matched and ignored (bool; matched = true positive, ignored = neither
    true nor false positive, neither = false positive). A pass of its own over one area and one IoU: keeping the overlaps,
    which this table needs, in the pass over all of them costs more.
    """
    grid = _grid(prepared, n_classes, max_det, retain_iou=True, iou_thresholds=[0.5], area_ranges=_every_area())
    table = pa.record_batch(per_detection_to_arrow_pycapsule(grid, False))
    status = table["match_status_at_50"]
    code = {name: number for number, name in enumerate(status.dictionary.to_pylist())}
    codes = status.indices.to_numpy()
    matches = pd.DataFrame({"class_index": table["category_id"].to_numpy() - 1, "score": table["score"].to_numpy()})
    matches["matched"], matches["ignored"] = codes == code.get("tp"), codes == code.get("ignored")
    return matches


def _every_area() -> Breakdown:
    return Breakdown.from_ranges("area", [("all", 0.0, 1e10)])


def _grid(prepared: Prepared, n_classes: int, max_det: int, **options: Any) -> Any:
    """vernier's evaluation of every class, area and image."""
    images = prepared.frames["image"].to_numpy()
    size = np.ones(len(images), dtype=np.int64)  # boxes are not compared with it
    true_boxes, boxes = _corner_and_size(prepared.truth), _corner_and_size(prepared.predictions)
    annotations = {
        "id": np.arange(1, len(true_boxes) + 1, dtype=np.int64),
        "image_id": prepared.truth["image"].to_numpy(np.int64),
        "category_id": prepared.truth["class_index"].to_numpy(np.int64) + 1,
        "bbox": true_boxes,
        "area": true_boxes[:, 2] * true_boxes[:, 3],
        "iscrowd": prepared.truth["ignore"].to_numpy(bool),
    }
    categories = [{"id": number + 1, "name": str(number)} for number in range(n_classes)]
    strict = {"parity_mode": "strict", "use_cats": True, "num_threads": 1}  # strict: pycocotools' own quirks
    strict |= {"max_dets_per_image": max_det}
    sizes = {"id": images, "width": size, "height": size}
    if prepared.masks:
        sizes |= {side: prepared.frames[side].to_numpy(np.int64) for side in SIDES}
        annotations["segmentation"] = run_lengths(prepared.truth)
        annotations["area"] = areas(annotations["segmentation"])
        truth = CocoDataset.from_arrays(sizes, annotations, categories)
        return evaluate_segm_grid(truth, results(prepared.predictions, boxes), dt_area="mask", **strict, **options)
    truth = CocoDataset.from_arrays(sizes, annotations, categories)
    columns = [prepared.predictions["image"], boxes, prepared.predictions["score"]]
    found = np.column_stack([*columns, prepared.predictions["class_index"] + 1]).astype(np.float64, order="C")
    return evaluate_bbox_grid(truth, found, **strict, **options)


def _corner_and_size(boxes: pd.DataFrame) -> np.ndarray:
    """(N, 4) float64: x, y, width, height in px."""
    rows = boxes[BOX].to_numpy(np.float64, copy=True)
    rows[:, 2:] -= rows[:, :2]
    return np.ascontiguousarray(rows)


def flat_matches(prepared: Prepared, n_classes: int, *, max_det: int) -> pd.DataFrame:
    """One row per scored detection, in the evaluator's own order (class, image, falling score).

    Columns: image (int64, 1-based), class_index (int64), score (float64), matched and ignored (uint16 masks: bit k belongs
    to IoU 0.50 + 0.05·k; matched = true positive, ignored = neither true nor false positive, neither = false positive).
    """
    grid = _grid(prepared, n_classes, max_det, retain_meta=True, area_ranges=_every_area())
    cells = [cell for cell in grid.eval_imgs() if cell is not None and cell["dtScores"]]
    counts = [len(cell["dtScores"]) for cell in cells]
    ignored, matched = (
        np.concatenate([np.empty((N_THRESHOLDS, 0)), *(cell[key] for cell in cells)], axis=1) != 0
        for key in ("dtIgnore", "dtMatches")
    )
    bits = (1 << np.arange(N_THRESHOLDS, dtype=np.uint16))[:, None]
    return pd.DataFrame(
        {
            "image": np.repeat(np.array([cell["image_id"] for cell in cells], dtype=np.int64), counts),
            "class_index": np.repeat(np.array([cell["category_id"] for cell in cells], dtype=np.int64) - 1, counts),
            "score": np.array([score for cell in cells for score in cell["dtScores"]], dtype=np.float64),
            "matched": ((matched & ~ignored) * bits).sum(axis=0).astype(np.uint16),
            "ignored": (ignored * bits).sum(axis=0).astype(np.uint16),
        }
    )
