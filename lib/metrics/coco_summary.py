"""The twelve official COCO numbers, over all classes and per class, from COCO's own dicts. Not here: reading files.

AP: mean over 101 recall points and IoU 0.50:0.05:0.95 (AP50, AP75: one IoU); AP_small / medium / large count true objects
of that `area` alone (< 32², 32² to 96², > 96² px²). AR_1, AR_10, AR_100: recall, averaged over IoU, that at most 1, 10 or
100 detections per image and class reach; AR_small … as AP_small. All range 0–1, higher is better; None = no true object.
Lin et al. 2014 and pycocotools' `COCOeval.summarize`; computed by vernier, which gives the same numbers much faster.

Letters: T = 10 IoU thresholds, R = 101 recall points, C classes, A = 4 areas, M = 3 limits of detections (1, 10, 100).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from vernier import COCOeval

from lib.metrics.coco import AREAS

Kind = Literal["bbox", "segm"]
NUMBERS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
NUMBERS += ("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")
Numbers = dict[str, float | None]


class CocoDicts:
    """The three members of pycocotools' COCO object that the evaluator reads, over dicts in memory."""

    def __init__(self, dataset: Mapping[str, Any]) -> None:
        self.dataset = dataset

    def getImgIds(self) -> list[int]:
        return [image["id"] for image in self.dataset["images"]]

    def getCatIds(self) -> list[int]:
        return [category["id"] for category in self.dataset["categories"]]


def coco_numbers(
    truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], *, kind: Kind
) -> tuple[Numbers, dict[int, Numbers]]:
    """NUMBERS over all classes, and per category id.

    truth: a COCO dataset whose annotations have id (from 1), image_id, category_id, bbox (x, y, width, height in px), area
    (px²), iscrowd and, for `segm`, segmentation. predictions: results with id, image_id, category_id, score, bbox, area
    (px², of what is matched) and, for `segm`, segmentation.
    """
    evaluator = COCOeval(CocoDicts(truth), CocoDicts({"annotations": predictions}), iouType=kind)
    evaluator.evaluate()
    evaluator.accumulate()
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]  # T×R×C×A×M and T×C×A×M
    everything = slice(None)
    per_class = {int(one): _twelve(precision, recall, [place]) for place, one in enumerate(evaluator.params.catIds)}
    return _twelve(precision, recall, everything), per_class


def _twelve(precision: np.ndarray, recall: np.ndarray, classes: slice | list[int]) -> Numbers:
    """NUMBERS of some classes, from the evaluator's arrays, where −1 marks a class without truth."""
    precision, recall = precision[:, :, classes], recall[:, classes]
    numbers = {"AP": _mean(precision[..., 0, 2]), "AP50": _mean(precision[0, ..., 0, 2])}
    numbers["AP75"] = _mean(precision[5, ..., 0, 2])
    numbers |= {f"AP_{name}": _mean(precision[..., place, 2]) for place, name in enumerate(AREAS) if place}
    numbers |= {f"AR_{limit}": _mean(recall[..., 0, place]) for place, limit in enumerate((1, 10, 100))}
    return numbers | {f"AR_{name}": _mean(recall[..., place, 2]) for place, name in enumerate(AREAS) if place}


def _mean(values: np.ndarray) -> float | None:
    present = values[values > -1]
    return float(present.mean()) if present.size else None
