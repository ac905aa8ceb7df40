"""Recall of grounding against an obvious reference, written here from Ego4D NLQ's rules alone and sharing no code with lib:
more than ten thousand sets of windows, many at thresholds that floating point holds exactly. That the comparison can fail
is shown by doing it again with a mutated copy of the code."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.metrics import temporal
from lib.metrics.grounding import metric_names, per_query

SETS = 12_000
KS, THRESHOLDS = (1, 3, 5), (0.25, 0.3, 0.5, 0.7)
Set = tuple[list[list[float]], list[float]]


def sets() -> Iterator[Set]:
    """Ranked windows and the true window: on quarters of a second (IoUs of 1/4, 1/2 exactly), on a coarse grid, or any."""
    rng = np.random.default_rng(7)
    for number in range(SETS):
        count = int(rng.integers(0, 8))
        if number % 3 == 0:  # dyadic: the true window is 4, 8 or 16 s long, so that many IoUs are 0.25 or 0.5 exactly
            start, length = rng.integers(0, 32) / 4, float(rng.choice([4.0, 8.0, 16.0]))
            truth = [start, start + length]
            ends = start + length * rng.choice([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 4.0], (count, 2))
        elif number % 3 == 1:
            truth = sorted(rng.choice(12, 2, replace=False).astype(float).tolist())
            ends = rng.integers(0, 12, (count, 2)).astype(float)
        else:
            truth = sorted(rng.uniform(0, 500, 2).tolist())
            ends = np.array(truth) + rng.normal(0, rng.choice([0.1, 3.0, 50.0]), (count, 2))
        yield [sorted(pair) for pair in ends.tolist()], truth


def reference(windows: list[list[float]], truth: list[float]) -> dict[tuple[int, float], bool]:
    """By the formula, window after window: a hit needs an IoU strictly above the threshold; the IoU divides by the hull."""
    found = {}
    for k in KS:
        for threshold in THRESHOLDS:
            hit = False
            for start, end in windows[:k]:
                overlap = min(end, truth[1]) - max(start, truth[0])
                hull = max(end, truth[1]) - min(start, truth[0])
                if overlap > 0 and overlap / hull > threshold:
                    hit = True
            found[k, threshold] = hit
    return found


def disagreements(code: types.ModuleType) -> int:
    """Sets × K × thresholds on which the code and the reference differ; also the recalls over all sets are compared."""
    every = list(sets())
    truths = np.array([truth for _, truth in every])
    predictions = [np.array(windows).reshape(-1, 2) for windows, _ in every]
    hits = code.hits(code.best_iou(code.padded(predictions), truths, KS), THRESHOLDS)
    expected = np.array([[[one[k, t] for t in THRESHOLDS] for k in KS] for one in (reference(*pair) for pair in every)])
    recalls = code.recalls(predictions, truths, ks=KS, thresholds=THRESHOLDS)
    assert np.allclose(recalls, hits.mean(axis=0), atol=1e-15)
    return int((hits != expected).sum())


def test_twelve_thousand_sets_agree_with_the_formula() -> None:
    assert disagreements(temporal) == 0


MUTATIONS = {
    "≥ for >": ("best[..., None] > limits", "best[..., None] >= limits"),
    "the first window forgotten": ("so_far[:, np.minimum(ks, so_far.shape[1]) - 1]", "of_any[:, [0] * len(ks)]"),
    "one window too many": ("np.minimum(ks, so_far.shape[1]) - 1", "np.minimum(ks, so_far.shape[1] - 1)"),
    "the overlap of windows apart": ("np.maximum(overlap, 0.0)", "np.abs(overlap)"),
    "the wrong hull": ("np.minimum(windows[..., 0], truth[..., 0])\n    return", "truth[..., 0]\n    return"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_copy_disagrees(name: str) -> None:
    before, after = MUTATIONS[name]
    source = Path(temporal.__file__).read_text(encoding="utf-8")
    assert source.count(before) == 1
    mutated = types.ModuleType("mutated")
    exec(compile(source.replace(before, after), "mutated", "exec"), mutated.__dict__)
    assert "mutated" not in sys.modules
    assert disagreements(mutated) > 0


@pytest.mark.parametrize(
    ("window", "threshold", "strict", "from_it_on"),
    [
        ([0.0, 2.0], 0.5, False, True),
        ([0.0, 4.0], 0.25, False, True),
        ([0.0, 1.0], 1.0, False, True),
        ([0.0, 1.75], 0.5, True, True),
        ([0.0, 2.25], 0.5, False, False),
    ],
)
def test_exactly_at_the_threshold(window: list[float], threshold: float, strict: bool, from_it_on: bool) -> None:
    """The true window is [0, 1]: Ego4D NLQ and TACoS want more than the threshold, the others that much."""
    best = temporal.best_iou(np.array([[window]]), np.array([[0.0, 1.0]]), [1])
    assert temporal.hits(best, [threshold], ">").item() is strict
    assert temporal.hits(best, [threshold], ">=").item() is from_it_on


def test_tables_with_several_true_windows_agree_with_the_formula() -> None:
    """Twelve thousand queries of one to three true windows: found by any of them, in the order of the ranks."""
    rng = np.random.default_rng(11)
    queries, found, expected = [], [], []
    for number in range(SETS):
        key = (f"v{number % 97}", f"q{number}")
        truths = [[start, start + length] for start, length in rng.integers(1, 9, (int(rng.integers(1, 4)), 2)) / 2]
        windows = np.sort(rng.integers(0, 20, (int(rng.integers(0, 8)), 2)) / 2, axis=1).tolist()
        queries += [(*key, "t", *truth) for truth in truths]
        found += [(*key, rank, *window) for rank, window in enumerate(windows)]
        hits = [reference(windows, truth) for truth in truths]
        first = [_iou(windows[0], truth) if windows else 0.0 for truth in truths]
        expected.append([*(any(one[k, t] for one in hits) for k in KS for t in THRESHOLDS), max(first)])
    truth = pd.DataFrame(queries, columns=["video", "query", "template", "start_s", "end_s"])
    told = pd.DataFrame(found, columns=["video", "query", "rank", "start_s", "end_s"])
    rows = per_query(truth, told.sample(frac=1.0, random_state=0), ks=KS, thresholds=THRESHOLDS)
    values, wanted = rows[metric_names(KS, THRESHOLDS)].to_numpy(np.float64), np.array(expected, np.float64)
    assert rows["query"].tolist() == [f"q{number}" for number in range(SETS)]
    assert np.array_equal(values[:, :-1], wanted[:, :-1])
    assert np.allclose(values[:, -1], wanted[:, -1], rtol=0, atol=1e-12)


def _iou(window: list[float], truth: list[float]) -> float:
    overlap = max(0.0, min(window[1], truth[1]) - max(window[0], truth[0]))
    return overlap / (max(window[1], truth[1]) - min(window[0], truth[0]))
