"""Suppression of windows in time that say the same: hard NMS, Soft-NMS and voting. Not here: merging models
(merge_windows.py), windows from a model's outputs.

Soft-NMS (Bodla et al. 2017) as ActionFormer's nms_1d has it (Zhang, Wu & Li 2022): again and again the highest score is
kept and the scores of the others fall with their IoU to it. hard: gone from IoU ≥ `iou` on; linear: × (1 − IoU) from there
on; gaussian: × exp(−IoU²/σ) always, whatever `iou` says. What falls below `floor` is gone. Lengths are 1e-6 longer than
they are (as there), so that points have an IoU with themselves.

Letters: N windows of one query, K kept. Windows are (start, end) in s; scores are higher for better ones.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Kind = Literal["gaussian", "linear", "hard"]
Weights = Literal["score_iou", "score"]
_LENGTH_MARGIN = 1e-6


def suppress(
    windows: np.ndarray,
    scores: np.ndarray,
    *,
    kind: Kind = "gaussian",
    iou: float = 0.5,
    sigma: float = 0.75,
    floor: float = 0.001,
    keep: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (K,) int64 of the windows kept, best first, and their scores (K,) float64 after suppression.

    windows: (N, 2), of one kind (class-agnostic); scores: (N,); keep: stop after so many (each costs O(N)), None = all.
    Of equal scores the first in the input is kept first. ValueError for shapes that do not fit, a value that is no number,
    an end before its start, an unknown kind, sigma ≤ 0 or keep < 1.
    """
    start, end, left = _checked(windows, scores)
    if kind not in ("gaussian", "linear", "hard"):
        raise ValueError(f"suppression {kind!r} is none of gaussian, linear, hard")
    if sigma <= 0 or (keep is not None and keep < 1):
        raise ValueError(f"sigma must exceed 0 (got {sigma}) and keep must be at least 1 (got {keep})")
    length = end - start + _LENGTH_MARGIN
    place = np.flatnonzero(left >= floor)
    start, end, length, left = start[place], end[place], length[place], left[place]
    order: list[int] = []
    kept: list[float] = []
    most = len(place) if keep is None else keep
    while len(place) and len(order) < most:
        best = int(np.argmax(left))
        order.append(int(place[best]))
        kept.append(float(left[best]))
        overlap = np.maximum(np.minimum(end, end[best]) - np.maximum(start, start[best]), 0.0)
        shared = overlap / (length + length[best] - overlap)
        left = left * _decay(shared, kind, iou, sigma)
        stays = (left >= floor) & (shared < iou if kind == "hard" else True)
        stays[best] = False
        place, start, end, length, left = place[stays], start[stays], end[stays], length[stays], left[stays]
    return np.array(order, dtype=np.int64), np.array(kept, dtype=np.float64)


def _decay(shared: np.ndarray, kind: Kind, iou: float, sigma: float) -> np.ndarray | float:
    """Factor of each score after a window of that IoU (N,) was kept."""
    if kind == "gaussian":
        return np.exp(-(shared**2) / sigma)
    if kind == "linear":
        return np.where(shared >= iou, 1.0 - shared, 1.0)
    return 1.0


def vote(
    kept: np.ndarray, windows: np.ndarray, scores: np.ndarray, *, iou: float, weights: Weights = "score_iou"
) -> np.ndarray:
    """Kept windows (K, 2), each moved to the weighted mean of all windows (N, 2) with IoU ≥ `iou` to it: (K, 2) float64.

    weights: score × IoU (ActionFormer), or score alone (SnAG). scores: (N,), those before suppression, ≥ 0. A window that
    nobody votes for stays. ValueError as `suppress`, and for a negative score.
    """
    start, end, weight = _checked(windows, scores)
    if (weight < 0).any():
        raise ValueError("voting needs scores of at least 0")
    kept = np.asarray(kept, np.float64).reshape(-1, 2)
    overlap = np.minimum(end, kept[:, 1:]) - np.maximum(start, kept[:, :1])
    overlap = np.maximum(overlap, 0.0)
    length, kept_length = end - start + _LENGTH_MARGIN, kept[:, 1:] - kept[:, :1] + _LENGTH_MARGIN
    shared = overlap / (length + kept_length - overlap)
    votes = np.where(shared >= iou, weight * (shared if weights == "score_iou" else 1.0), 0.0)
    total = votes.sum(axis=1, keepdims=True)
    moved = votes @ np.column_stack([start, end]) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, moved, kept)


def _checked(windows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, ends and scores (N,) as float64."""
    windows, scores = np.asarray(windows, np.float64), np.asarray(scores, np.float64)
    if windows.shape != (len(scores), 2) or scores.ndim != 1:
        raise ValueError(f"windows are (N, 2) and scores (N,), got {windows.shape} and {scores.shape}")
    if not (np.isfinite(windows).all() and np.isfinite(scores).all()):
        raise ValueError("a window or score is NaN or infinite. Hint: is the model's output NaN?")
    if (windows[:, 1] < windows[:, 0]).any():
        raise ValueError("windows are (start, end) with end at least start")
    return windows[:, 0], windows[:, 1], scores
