"""The metrics of a board for any resample of videos, from the units of an evaluation. Not here: intervals (statistics.py).

Letters: V videos, D draws, C classes, N detections of one video, T = 10 IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from lib.metrics.coco import N_THRESHOLDS
from lib.metrics.detection import ap_from_units
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


class UnitScores:
    """Scores of one row's seeds, computed once and then read by class or as their mean; for one set of resamples only."""

    def __init__(self, classes: list[str], metric: str, f1_threshold: float) -> None:
        self.classes, self.metric, self.f1_threshold = classes, metric, f1_threshold
        self._known: dict[tuple[int, int], tuple[pd.DataFrame, np.ndarray]] = {}

    def _scores(self, units: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
        key = (id(units), len(weights))  # the units are kept beside their scores, so that an id stays theirs
        if key not in self._known:
            found = class_scores(units, self.classes, weights=weights, metric=self.metric, f1_threshold=self.f1_threshold)
            self._known[key] = (units, found)
        return self._known[key][1]

    def mean(self) -> Score:
        """The mean over classes as a function of (units, weights)."""
        return lambda units, weights: mean_over_classes(self._scores(units, weights))

    def of_class(self, number: int) -> Score:
        """One class as a function of (units, weights)."""
        return lambda units, weights: self._scores(units, weights)[:, number]
