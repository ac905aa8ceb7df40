"""QVHighlights' own scores of moments: several true windows per query, average precision and R@1. Not here: its files
(lib/scoring), its highlight scores.

The official rule (Lei, Berg & Bansal 2021, QVHighlights; moment_detr's standalone_eval): a window is a hit at IoU ≥ θ.
R1@θ = share of queries whose first window, as listed, hits its best true window. mAP@θ = mean over queries of the average
precision of their first 10 windows in falling order of score: each takes the free true window of highest IoU, and
AP = Σ over hits of (1/M) × the highest precision at that recall or beyond (ActivityNet detection). mAP = mean over
θ = 0.5, 0.55 … 0.95. In a length class (short ≤ 10 s, middle ≤ 30 s, long ≤ 150 s) only true windows of that length count,
and only queries that have one. All range 0–1, higher is better.

Letters: Q queries, N predicted and M true windows of one query, T = 10 IoU thresholds. Windows are (start, end) in s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib.metrics.temporal import temporal_iou

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RANGES = {"full": (0.0, 150.0), "short": (0.0, 10.0), "middle": (10.0, 30.0), "long": (30.0, 150.0)}
"""Length class → true windows longer than the first and at most as long as the second, s; full: all of them."""
MOST_WINDOWS = 10


def metric_names(name: str = "full") -> list[str]:
    """Columns of `per_query` for one length class: `R1@0.5` … `mAP@0.95`, `mAP`; with `_short` and so on before the `@`."""
    tail = "" if name == "full" else f"_{name}"
    return [*(f"{score}{tail}@{threshold:g}" for score in ("R1", "mAP") for threshold in THRESHOLDS), f"mAP{tail}"]


def per_query(predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> pd.DataFrame:
    """Every score of every query: Q rows, columns `metric_names` of each length class; NaN = the query has no such window.

    predictions: Q arrays (N, 3) start, end, score in the order listed (R1 takes the first one); N = 0 scores 0. truths: Q
    arrays (M, 2), M ≥ 1. ValueError when the lengths differ, a query has no true window, or a value is no number.
    """
    if len(predictions) != len(truths) or not len(truths):
        raise ValueError(
            f"{len(predictions)} predictions for {len(truths)} queries: one for each is needed, and one at all"
        )
    if not all(len(one) for one in truths):
        raise ValueError("a query without a true window cannot be scored")
    found, true = _padded(predictions, 3), _padded(truths, 2)
    if any(not np.isfinite(one).all() for one in (*predictions, *truths)):
        raise ValueError("a window or score is NaN or infinite. Hint: is the model's output NaN?")
    length = true[..., 1] - true[..., 0]
    columns: dict[str, np.ndarray] = {}
    for name, (low, high) in RANGES.items():
        counts = np.isfinite(length) if name == "full" else (length > low) & (length <= high)
        precision = _average_precision(found[:, :MOST_WINDOWS], true, counts)
        values = np.column_stack([_first_hits(found, true, counts), precision, precision.mean(axis=1)])
        values[~counts.any(axis=1)] = np.nan
        columns |= dict(zip(metric_names(name), values.T, strict=True))
    return pd.DataFrame(columns)


def query_rows(truth: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """`per_query` of tables: one row per annotated query in the order of `truth`, with video, query and template.

    truth: QUERIES, one row per true window; predictions: windows (rank 0 is the first listed, with score). The rows make
    units for any resample of videos by `ratio_units`. ValueError as `per_query`.
    """
    truth = truth[truth["start_s"].notna() & truth["end_s"].notna()]
    key = ["video", "query"]
    found = dict(list(predictions.sort_values("rank", kind="stable").groupby(key, sort=False)))
    groups = list(truth.groupby(key, sort=False))
    nothing = predictions.iloc[:0]
    windows = [found.get(name, nothing)[["start_s", "end_s", "score"]].to_numpy(np.float64) for name, _ in groups]
    rows = truth.drop_duplicates(key)[[*key, "template"]].reset_index(drop=True)
    return rows.join(per_query(windows, [part[["start_s", "end_s"]].to_numpy(np.float64) for _, part in groups]))


def _padded(arrays: Sequence[np.ndarray], width: int) -> np.ndarray:
    """(Q, longest, width) float64, NaN where a query has no more rows."""
    filled = np.full((len(arrays), max(map(len, arrays), default=0), width), np.nan)
    for place, rows in enumerate(arrays):
        filled[place, : len(rows)] = np.asarray(rows, np.float64).reshape(-1, width)
    return filled


def _first_hits(found: np.ndarray, true: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(Q, T): whether the first window reaches the threshold with the true window of highest IoU among those that count."""
    if not found.shape[1]:
        return np.zeros((len(found), len(THRESHOLDS)))
    iou = temporal_iou(found[:, :1, :2], true)
    return np.where(counts, iou, -1.0).max(axis=1)[:, None] >= np.array(THRESHOLDS)


def _average_precision(found: np.ndarray, true: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(Q, T): AP of every query at every threshold; counts: (Q, M), which true windows count."""
    order = np.argsort(np.where(np.isnan(found[..., 2]), np.inf, -found[..., 2]), axis=1, kind="stable")
    ranked = np.take_along_axis(found, order[..., None], axis=1)
    hit = _matched(_plain_iou(ranked[:, :, None, :2], true[:, None]), counts)
    precision = np.cumsum(hit, axis=2) / np.arange(1, hit.shape[2] + 1)
    beyond = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    return (beyond * hit).sum(axis=2) / np.maximum(counts.sum(axis=1), 1)[:, None]


def _plain_iou(windows: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Overlap / (sum of both lengths − overlap), as the official AP divides; 0 where a window is NaN."""
    overlap = np.minimum(windows[..., 1], true[..., 1]) - np.maximum(windows[..., 0], true[..., 0])
    overlap = np.maximum(overlap, 0.0)
    union = windows[..., 1] - windows[..., 0] + (true[..., 1] - true[..., 0]) - overlap
    return np.divide(overlap, union, out=np.zeros(overlap.shape), where=union > 0)


def _matched(iou: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Which windows are hits: iou (Q, N, M), best score first → (Q, T, N) bool.

    Each in turn takes the free true window of highest IoU (the last of equal ones, as the official sort does) if that
    reaches the threshold.
    """
    queries, windows, truths = iou.shape
    limits = np.array(THRESHOLDS)
    free = np.repeat(counts[:, None], len(limits), axis=1)
    hit = np.zeros((queries, len(limits), windows), bool)
    for place in range(windows):
        open_iou = np.where(free, iou[:, None, place], -1.0)
        taken = truths - 1 - np.argmax(open_iou[..., ::-1], axis=2)
        reaches = np.take_along_axis(open_iou, taken[..., None], axis=2)[..., 0] >= limits
        hit[..., place] = reaches
        free &= ~(reaches[..., None] & (np.arange(truths) == taken[..., None]))
    return hit
