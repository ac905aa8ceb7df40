"""Windows in time: recall of grounding and Soft-NMS against the loops that one would write first; the same numbers.

Recall: `lib.metrics.temporal.recalls` over queries with five windows each, against the official evaluator's shape of loop
(query after query: an array of IoUs, then every threshold and K). Soft-NMS: `lib.inference.suppression.suppress` keeping
five, against ActionFormer's rule as a loop of numpy over all windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.inference.suppression import suppress
from lib.metrics.temporal import recalls
from tests.benchmarks.measure import Result, compared, in_process, interleaved, main

QUERIES = {"tiny": 50, "small": 5000, "full": 5000}
WINDOWS_EACH, KS, THRESHOLDS = 5, (1, 3, 5), (0.3, 0.5, 0.7)
SEGMENTS = {"tiny": 60, "small": 2000, "full": 2000}
REPEATS = {"tiny": 1, "small": 5, "full": 15}
KEPT, SIGMA, FLOOR = 5, 0.75, 0.001
CALLS = {"tiny": 1, "small": 20, "full": 20}
"""Soft-NMS is called on so many queries per turn."""
TIMES = {"tiny": 1, "small": 3, "full": 5}
"""All queries are scored so often per turn: once takes ours two milliseconds."""


def made_queries(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Windows (5, 2) of each query and the true ones (Q, 2): as short as Ego4D's, half of the guesses near."""
    rng = np.random.default_rng(0)
    start, length = rng.uniform(0, 400, count), rng.lognormal(1.4, 1.2, count)
    truths = np.column_stack([start, start + length])
    near = rng.random((count, WINDOWS_EACH, 1)) < 0.5
    guesses = truths[:, None] + np.where(near, 0.3 * length[:, None, None], 100.0) * rng.normal(
        size=(count, WINDOWS_EACH, 2)
    )
    return list(np.sort(guesses, axis=2)), truths


def official_loop(predictions: list[np.ndarray], truths: np.ndarray) -> np.ndarray:
    """Query after query, threshold after threshold, K after K."""
    results: list[list[list[bool]]] = [[[] for _ in KS] for _ in THRESHOLDS]
    for windows, truth in zip(predictions, truths, strict=True):
        overlap = np.minimum(windows[:, 1], truth[1]) - np.maximum(windows[:, 0], truth[0])
        hull = np.maximum(windows[:, 1], truth[1]) - np.minimum(windows[:, 0], truth[0])
        iou = np.maximum(0.0, overlap) / hull
        for row, threshold in zip(results, THRESHOLDS, strict=True):
            for found, k in zip(row, KS, strict=True):
                found.append((iou > threshold)[:k].any())
    return np.array(results).mean(axis=-1).T


def made_segments(count: int, calls: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Windows (N, 2) and scores (N,) as a dense head gives them: many about the same few places."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(calls):
        centre = rng.uniform(0, 480, 12)[rng.integers(12, size=count)] + rng.normal(0, 4, count)
        half = rng.lognormal(1.0, 0.8, count)
        found.append((np.column_stack([centre - half, centre + half]), rng.beta(1, 6, count)))
    return found


def full_loop(windows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ActionFormer's Soft-NMS in numpy: until no window is left, whatever is kept of them afterwards."""
    start, end, left = windows[:, 0].copy(), windows[:, 1].copy(), scores.copy()
    place, order, kept = np.arange(len(left)), [], []
    while len(left):
        best = int(left.argmax())
        order.append(place[best])
        kept.append(left[best])
        overlap = np.maximum(np.minimum(end, end[best]) - np.maximum(start, start[best]), 0.0)
        lengths = (end - start + 1e-6) + (end[best] - start[best] + 1e-6)
        left = left * np.exp(-((overlap / (lengths - overlap)) ** 2) / SIGMA)
        stays = left >= FLOOR
        stays[best] = False
        start, end, left, place = start[stays], end[stays], left[stays], place[stays]
    return np.array(order[:KEPT]), np.array(kept[:KEPT])


def measure(size: str) -> Result:
    predictions, truths = made_queries(QUERIES[size])
    segments = made_segments(SEGMENTS[size], CALLS[size])
    times = range(TIMES[size])
    found: dict[str, Any] = {}

    def keep(name: str, work: Any) -> Any:
        return lambda: in_process(lambda: found.__setitem__(name, work()))

    sides = {
        "ours": keep("ours", lambda: [recalls(predictions, truths, ks=KS, thresholds=THRESHOLDS) for _ in times][-1]),
        "loop": keep("loop", lambda: [official_loop(predictions, truths) for _ in times][-1]),
    }
    more = {
        "ours": keep("few", lambda: [suppress(*one, sigma=SIGMA, floor=FLOOR, keep=KEPT) for one in segments]),
        "loop": keep("all", lambda: [full_loop(*one) for one in segments]),
    }
    title = f"Windows in time: {QUERIES[size]:,} queries with {WINDOWS_EACH}, Soft-NMS of {SEGMENTS[size]:,} keeping {KEPT}"
    result = Result(title)
    sides["ours"]()  # what is imported or compiled at the first call is no part of a score
    tell = size != "tiny"
    both = {"ours": "ours", "peer": "loop", "unit": "1/s"}
    for what, pair, rate, least in (
        (f"queries scored at {len(KS)} K × {len(THRESHOLDS)} IoU", sides, QUERIES[size] * len(times), 50.0),
        (f"Soft-NMS of {SEGMENTS[size]:,} windows keeping {KEPT}", more, CALLS[size], 5.0),
    ):
        runs, target = interleaved(pair, REPEATS[size]), (">=", least) if tell else None
        for figure in ("wall", "cpu"):
            result.rows.append(compared(f"{what}: {figure}", runs, figure, rate=rate, target=target, **both))
    result.facts["largest difference of a recall"] = float(np.abs(found["ours"] - found["loop"]).max())
    pairs = list(zip(found["few"], found["all"], strict=True))
    result.facts["the same windows are kept"] = all(np.array_equal(few[0], full[0]) for few, full in pairs)
    result.facts["largest difference of a kept score"] = float(max(np.abs(few[1] - full[1]).max() for few, full in pairs))
    result.notes.append("Targets: queries scored at 50 times the loop's rate, Soft-NMS at 5 times.")
    return result


if __name__ == "__main__":
    main(measure, "temporal")
