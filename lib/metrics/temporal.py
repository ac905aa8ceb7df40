"""Scores of temporal grounding: windows in time against the true window of each query. Not here: suppression of windows.

IoU of two windows = overlap / (latest end − earliest start), the hull as in Ego4D's evaluator; where the two meet it is
their union. R@K, IoU > θ = share of queries of which one of the first K windows has an IoU strictly above θ. All scores
range 0–1, higher is better. Ego4D NLQ's official evaluator (Grauman et al. 2022, Ego4D, natural language queries).

Letters: Q queries, N windows of one query, ranked. Windows are (start, end) in s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def temporal_iou(windows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU of windows (N, 2) with one true window (2,), in s: (N,) float64. Two windows of no length at one place have 0.

    ValueError for a window that ends before it starts.
    """
    windows, truth = np.asarray(windows, np.float64).reshape(-1, 2), np.asarray(truth, np.float64)
    if truth.shape != (2,) or truth[1] < truth[0] or (windows[:, 1] < windows[:, 0]).any():
        raise ValueError("windows are (start, end) with end at least start; the truth is one window")
    overlap = np.minimum(windows[:, 1], truth[1]) - np.maximum(windows[:, 0], truth[0])
    hull = np.maximum(windows[:, 1], truth[1]) - np.minimum(windows[:, 0], truth[0])
    return np.divide(np.maximum(overlap, 0.0), hull, out=np.zeros(len(windows)), where=hull > 0)


def recall(predictions: Sequence[np.ndarray], truths: np.ndarray, *, k: int, threshold: float) -> float:
    """R@k, IoU > threshold. predictions: Q arrays (N, 2), best window first, N may be 0; truths: (Q, 2).

    Every query counts, also one without a window (a miss). ValueError when the two differ in length, without any query, or
    for k < 1.
    """
    truths = np.asarray(truths, np.float64).reshape(-1, 2)
    if len(predictions) != len(truths) or not len(truths):
        raise ValueError(
            f"{len(predictions)} predictions for {len(truths)} queries: there must be one for each, and one at all"
        )
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    hits = [
        bool((temporal_iou(found[:k], truth) > threshold).any()) for found, truth in zip(predictions, truths, strict=True)
    ]
    return float(np.mean(hits))
