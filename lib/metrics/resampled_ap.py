"""AP of any resample of videos, thousands of bootstrap draws at once. Not a matcher: that is detection.match_units.

A resample that holds video v w times ranks the same detections in the same order with w copies each, so that AP needs one
sort per class and, per draw, running sums of the copies. The result equals a re-evaluation of the resampled videos.

Letters: V videos, D draws, C classes, N detections of a class in falling order of score, R = 101 recall points.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from lib.files import DataError
from lib.metrics.coco import N_THRESHOLDS

Metric = Literal["AP", "AP50", "AP75"]
METRIC_THRESHOLDS: dict[str, tuple[int, ...]] = {"AP": tuple(range(N_THRESHOLDS)), "AP50": (0,), "AP75": (5,)}
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
_CELLS_AT_ONCE = 1 << 19
"""Draws × detections held at a time: small enough to stay in the processor's cache."""


def ap_from_units(
    units: pd.DataFrame, classes: list[str], *, weights: np.ndarray, metric: Metric = "AP50", per_class: bool = False
) -> np.ndarray:
    """AP of each draw, video v counted weights[…, v] times (0–1, higher is better; NaN where a draw holds no truth).

    weights: V or D×V whole numbers ≥ 0. Returns a scalar array or D; with `per_class` C or D×C. The mean is over the
    classes that have truth in that draw. Equals a re-evaluation of the resampled videos; only detections of different
    videos with exactly equal scores may rank differently, as they do in COCO when videos are renamed.
    Raises DataError when units, classes and weights do not fit together.
    """
    draws = np.atleast_2d(np.asarray(weights))
    n_truth = np.array(units["n_truth"].to_list(), dtype=np.int64).reshape(len(units), -1) if len(units) else None
    if n_truth is None:
        values = np.full((len(draws), len(classes)), np.nan)
    else:
        _check_fit(n_truth, classes, draws)
        values = np.stack([_class_ap(units, n_truth[:, c], c, draws, metric) for c in range(len(classes))], axis=1)
    if not per_class:
        known = np.isfinite(values)
        total = np.where(known, values, 0.0).sum(axis=1)
        values = np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
    return values if np.ndim(weights) == 2 else values[0]


def _check_fit(n_truth: np.ndarray, classes: list[str], draws: np.ndarray) -> None:
    if n_truth.shape[1] != len(classes):
        raise DataError(f"the units hold {n_truth.shape[1]} classes, {len(classes)} are asked for: {classes}.")
    if draws.shape[1] != len(n_truth):
        raise DataError(f"weights are for {draws.shape[1]} videos, the units hold {len(n_truth)}.")
    if not np.array_equal(draws, np.floor(draws)) or (draws < 0).any():
        raise DataError("weights must be whole numbers ≥ 0: how often each video is counted.")


def _class_ap(units: pd.DataFrame, n_truth: np.ndarray, number: int, draws: np.ndarray, metric: Metric) -> np.ndarray:
    """AP of one class for every draw (D float64, NaN where the draw has no truth of it)."""
    chosen = [np.asarray(values) == number for values in units["class_index"]]
    score, matched, ignored = (
        np.concatenate([np.asarray(values)[keep] for values, keep in zip(units[key], chosen, strict=True)])
        for key in ("score", "matched", "ignored")
    )
    video = np.repeat(np.arange(len(units)), [int(keep.sum()) for keep in chosen])
    order = np.argsort(-score.astype(np.float64), kind="stable")
    video, matched, ignored = video[order], matched[order].astype(np.int64), ignored[order].astype(np.int64)
    draws = draws.astype(np.int64)
    positives = draws @ n_truth
    result = np.full(len(draws), np.nan)
    rows_at_once = max(1, _CELLS_AT_ONCE // max(1, len(video)))
    for start in range(0, len(draws), rows_at_once):
        rows = slice(start, start + rows_at_once)
        result[rows] = _rows_ap(draws[rows], positives[rows], video, matched, ignored, METRIC_THRESHOLDS[metric])
    result[positives == 0] = np.nan
    return result


def _rows_ap(
    draws: np.ndarray,
    positives: np.ndarray,
    video: np.ndarray,
    matched: np.ndarray,
    ignored: np.ndarray,
    thresholds: tuple[int, ...],
) -> np.ndarray:
    """Mean AP over the IoU thresholds for a few draws (D×V) of one class, detections in falling order of score."""
    weight = draws[:, video]
    counted_of: dict[bytes, np.ndarray] = {}  # the running count differs between thresholds only where `ignored` does
    total = np.zeros(len(draws))
    for k in thresholds:
        skip = (ignored >> k & 1).astype(bool)
        hit = np.flatnonzero(matched >> k & 1)
        key = skip.tobytes()
        if key not in counted_of:
            counted_of[key] = np.cumsum(np.where(skip, 0, weight), axis=1)
        total += _interpolated(np.cumsum(weight[:, hit], axis=1), counted_of[key][:, hit], positives)
    return total / len(thresholds)


def _interpolated(hits: np.ndarray, counted: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Mean over R of the highest precision at that recall or beyond; hits, counted: D×(true positives); positives: D.

    Only true positives matter: a false positive lowers precision and leaves recall as it is.
    """
    n_draws, n_hits = hits.shape
    if n_hits == 0:
        return np.zeros(n_draws)
    precision = hits / (counted + np.spacing(1))
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # smallest number of hits that reaches each recall point, compared as COCO does (hits / positives ≥ point in float64)
    safe = np.maximum(positives, 1)[:, None]
    need = np.ceil(RECALL_POINTS * safe).astype(np.int64)
    need = np.where((need - 1) / safe >= RECALL_POINTS, need - 1, need)
    need = np.where(need / safe < RECALL_POINTS, need + 1, need)
    need = np.maximum(need, 0)
    # one search for all draws: rows are shifted apart by more than any count, so that the flat array stays sorted
    shift = np.arange(n_draws)[:, None] * (int(safe.max()) + 2)
    place = np.searchsorted((hits + shift).ravel(), (need + shift).ravel()).reshape(need.shape)
    place -= np.arange(n_draws)[:, None] * n_hits
    found = np.take_along_axis(highest, np.minimum(place, n_hits - 1), axis=1)
    return np.where(place < n_hits, found, 0.0).mean(axis=1)
