"""The metrics of a board for any resample of videos, from the units of an evaluation. Not here: intervals (statistics.py).

Letters: V videos, D draws, C classes, N detections of one video, T = 10 IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from lib.config.tasks import Task
from lib.files import DataError
from lib.metrics.coco import N_THRESHOLDS
from lib.metrics.detection import ap_from_units
from lib.metrics.ratio_units import ratio_columns
from lib.metrics.statistics import Score


def class_scores(
    units: pd.DataFrame, classes: list[str], *, weights: np.ndarray, metric: str, f1_threshold: float
) -> np.ndarray:
    """Score of every class for every draw: weights D×V → D×C float64 (0–1, higher is better; NaN = no truth in the draw).

    AP, AP50, AP75: ap_from_units. AR: mean over T of true positives / true boxes. F1 = 2 TP / (kept + true boxes) at
    IoU 0.5 over detections with score ≥ f1_threshold. All equal detection.evaluate on the resampled videos.
    """
    if metric in ("AP", "AP50", "AP75"):
        return ap_from_units(units, classes, weights=weights, metric=metric, per_class=True)
    truth = np.array(units["n_truth"].to_list(), dtype=np.float64).reshape(len(units), len(classes))
    positives = weights @ truth
    if metric == "AR":
        hits = weights @ _count(units, len(classes), lambda row: _bits(row["matched"])) / N_THRESHOLDS
        found, total = hits, positives
    else:
        hits = _count(units, len(classes), lambda row: (row["matched"] & 1) * (row["score"] >= f1_threshold))
        kept = _count(units, len(classes), lambda row: (~row["ignored"] & 1) * (row["score"] >= f1_threshold))
        found, total = 2.0 * (weights @ hits), weights @ kept + positives
    return np.where(positives > 0, found / np.maximum(total, 1.0), np.nan)


def _bits(matched: np.ndarray) -> np.ndarray:
    """How many of the T thresholds each detection is a true positive at (N)."""
    return (matched[:, None] >> np.arange(N_THRESHOLDS) & 1).sum(axis=1)


def _count(units: pd.DataFrame, n_classes: int, value: Callable[[pd.Series], np.ndarray]) -> np.ndarray:
    """Sum of a value of each detection per video and class: V×C float64."""
    sums = np.zeros((len(units), n_classes))
    for number, (_, row) in enumerate(units.iterrows()):
        sums[number] = np.bincount(row["class_index"], weights=value(row), minlength=n_classes)
    return sums


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """D×C → D: mean over the classes that have a score in the draw, NaN where none has (as detection.evaluate does)."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def ratios(units: pd.DataFrame, metric: str, *, weights: np.ndarray, of: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are sums over counts (recalls, accuracies, mean IoU): weights D×V → D×C per class, D in all.

    of: classes = the mean over classes that were counted in the draw; all = all sums over all counts. NaN where nothing was
    counted. DataError when videos have different numbers of classes, or a sum lies outside 0..count.
    """
    parts = []
    for column in ratio_columns(metric):
        lengths = {len(one) for one in units[column]}
        if len(lengths) > 1:
            raise DataError(f"units: column {column!r} has lists of {sorted(lengths)} values; one per class is needed.")
        parts.append(np.array(units[column].to_list(), dtype=np.float64).reshape(len(units), -1))
    if not ((parts[0] >= 0) & (parts[0] <= parts[1] + 1e-9)).all():
        raise DataError(f"units: a sum of {metric!r} is no number from 0 to its count. Hint: evaluate again.")
    found, total = (weights @ part for part in parts)
    per_class = np.where(total > 0, found / np.where(total > 0, total, 1.0), np.nan)
    if of == "classes":
        return per_class, mean_over_classes(per_class)
    every = total.sum(axis=1)
    return per_class, np.where(every > 0, found.sum(axis=1) / np.where(every > 0, every, 1.0), np.nan)


class UnitScores:
    """Scores of one row's seeds, computed once and then read by class or as a whole; for one set of resamples only.

    calculate: (units, weights D×V) → scores D×C of the classes, D of the whole.
    """

    def __init__(self, calculate: Callable[[pd.DataFrame, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        self.calculate = calculate
        self._known: dict[tuple[int, int], tuple[pd.DataFrame, tuple[np.ndarray, np.ndarray]]] = {}

    def _scores(self, units: pd.DataFrame, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = (id(units), len(weights))  # the units are kept beside their scores, so that an id stays theirs
        if key not in self._known:
            self._known[key] = (units, self.calculate(units, weights))
        return self._known[key][1]

    def whole(self) -> Score:
        """The score of the whole as a function of (units, weights)."""
        return lambda units, weights: self._scores(units, weights)[1]

    def of_class(self, number: int) -> Score:
        """One class as a function of (units, weights)."""
        return lambda units, weights: self._scores(units, weights)[0][:, number]


def unit_scores(task: Task, metric: str, classes: list[str], *, f1_threshold: float) -> UnitScores:
    """How a metric of a task is made from its units."""

    def of_boxes(units: pd.DataFrame, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = class_scores(units, classes, weights=weights, metric=metric, f1_threshold=f1_threshold)
        return found, mean_over_classes(found)

    def of_ratios(units: pd.DataFrame, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return ratios(units, metric, weights=weights, of=task.metrics[metric].of)

    return UnitScores({"boxes": of_boxes, "ratios": of_ratios}[task.units])


def unit_columns(task: Task, metric: str) -> tuple[str, ...]:
    """Columns that units need for a metric."""
    boxes = ("n_truth", "class_index", "score", "matched", "ignored")
    return ("video", *(boxes if task.units == "boxes" else ratio_columns(metric)))
