"""Recall of temporal grounding: windows in time against the true windows of each query. Not here: tables (grounding.py),
QVHighlights' average precision (qvhighlights.py), suppression of windows (lib/inference).

IoU of two windows = overlap / (latest end − earliest start), the hull as in Ego4D's evaluator; where the two meet it is
their union. R@K, IoU > θ = share of queries of which one of the first K windows has an IoU strictly above θ with a true
window. All scores range 0–1, higher is better. Ego4D NLQ's official evaluator (Grauman et al. 2022, Ego4D, natural
language queries); 2D-TAN's for TACoS (Zhang et al. 2020) has the same rule, TALL's for Charades-STA (Gao et al. 2017)
counts IoU ≥ θ.

Letters: Q queries, N windows of one query, ranked, M true windows of one query. Windows are (start, end) in s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

KS = (1, 3, 5)
THRESHOLDS = (0.3, 0.5, 0.7)
Rule = Literal[">", ">="]
"""When an IoU is a hit at a threshold: strictly above it (Ego4D NLQ, TACoS), or from it on (Charades-STA, QVHighlights)."""


def temporal_iou(windows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU of windows (…, 2) with true windows (…, 2) in s, shapes broadcast: (…) float64.

    Two windows of no length at one place have 0, and so has a window of NaN. ValueError for one that ends before it starts.
    """
    windows, truth = np.asarray(windows, np.float64), np.asarray(truth, np.float64)
    if windows.shape[-1:] != (2,) or truth.shape[-1:] != (2,):
        raise ValueError(f"windows are (start, end), got shapes {windows.shape} and {truth.shape}")
    if (windows[..., 1] < windows[..., 0]).any() or (truth[..., 1] < truth[..., 0]).any():
        raise ValueError("windows are (start, end) with end at least start")
    overlap = np.minimum(windows[..., 1], truth[..., 1]) - np.maximum(windows[..., 0], truth[..., 0])
    hull = np.maximum(windows[..., 1], truth[..., 1]) - np.minimum(windows[..., 0], truth[..., 0])
    return np.divide(np.maximum(overlap, 0.0), hull, out=np.zeros(overlap.shape), where=hull > 0)


def padded(windows: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Q arrays (N, 2) of different N as one: (Q, largest N, 2) float64, NaN where a query has no more windows.

    ValueError where a window is NaN or infinite itself: it would pass for none.
    """
    if isinstance(windows, np.ndarray) and windows.ndim == 3:
        found = np.asarray(windows, np.float64)
        _refuse_infinite(found)
        return found
    counts = np.fromiter(map(len, windows), np.int64, len(windows))
    most = int(counts.max(initial=0))
    if not most:
        return np.empty((len(counts), 0, 2))
    filled_ones = windows if counts.min() else [one for one in windows if len(one)]
    rows = np.concatenate(filled_ones).astype(np.float64, copy=False)
    _refuse_infinite(rows)
    if counts.min() == most:
        return rows.reshape(len(counts), most, 2)
    filled = np.full((len(counts), most, 2), np.nan)
    filled[np.arange(most) < counts[:, None]] = rows
    return filled


def _refuse_infinite(windows: np.ndarray) -> None:
    if not np.isfinite(windows).all():
        raise ValueError("a window is NaN or infinite. Hint: is the model's output NaN?")


def best_iou(windows: np.ndarray, truths: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Highest IoU of the first k windows with any true window of the query, for every k: (Q, len(ks)) float64, 0 = none.

    windows: (Q, N, 2), best first, padded with NaN; truths: (Q, 2), or (Q, M, 2) padded with NaN. ValueError for k < 1.
    """
    if min(ks, default=1) < 1:
        raise ValueError(f"k must be at least 1, got {min(ks)}")
    if not windows.shape[1]:
        return np.zeros((len(windows), len(ks)))
    windows = windows[:, : max(ks)]
    of_any = temporal_iou(windows, truths[:, None]) if truths.ndim == 2 else _of_any(windows, truths)
    so_far = np.maximum.accumulate(of_any, axis=1)
    return so_far[:, np.minimum(ks, so_far.shape[1]) - 1]


def _of_any(windows: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """(Q, N): IoU with the true window (Q, M, 2) that fits best."""
    return temporal_iou(windows[:, :, None], truths[:, None]).max(axis=2, initial=0.0)


def hits(best: np.ndarray, thresholds: Sequence[float], rule: Rule = ">") -> np.ndarray:
    """Which queries are found: best (Q, K) → bool (Q, K, thresholds). ValueError for a threshold outside (0, 1]."""
    limits = np.asarray(thresholds, np.float64)
    if not ((limits > 0) & (limits <= 1)).all():
        raise ValueError(f"IoU thresholds lie above 0 and up to 1, got {list(thresholds)}")
    return best[..., None] > limits if rule == ">" else best[..., None] >= limits


def recalls(
    predictions: Sequence[np.ndarray] | np.ndarray,
    truths: np.ndarray,
    *,
    ks: Sequence[int] = KS,
    thresholds: Sequence[float] = THRESHOLDS,
    rule: Rule = ">",
) -> np.ndarray:
    """R@k at every threshold: (len(ks), len(thresholds)) float64, 0–1, higher is better.

    predictions: Q arrays (N, 2) or one (Q, N, 2), best window first, N may be 0; truths: (Q, 2) or (Q, M, 2) padded with
    NaN. Every query counts, also one without a window (a miss). ValueError when the two differ in length, or without any
    query.
    """
    truths = np.asarray(truths, np.float64)
    if len(predictions) != len(truths) or not len(truths):
        raise ValueError(
            f"{len(predictions)} predictions for {len(truths)} queries: there must be one for each, and one at all"
        )
    best = np.ascontiguousarray(best_iou(padded(predictions), truths, ks).T)  # K × Q: hits in one row are counted fastest
    counts = [[np.count_nonzero(row) for row in hits(best, (threshold,), rule)] for threshold in thresholds]
    return np.array(counts, np.float64).T / len(truths)


def recall(predictions: Sequence[np.ndarray], truths: np.ndarray, *, k: int, threshold: float) -> float:
    """R@k, IoU > threshold, of one k and one threshold (see `recalls`)."""
    return float(recalls(predictions, truths, ks=(k,), thresholds=(threshold,))[0, 0])
