"""Temporal grounding scores against windows worked out by hand, with numbers that floating point holds exactly, and against
a slow reading of the formula."""

from __future__ import annotations

import numpy as np
import pytest

from lib.metrics.temporal import recall, temporal_iou


@pytest.mark.parametrize(
    ("window", "truth", "expected"),
    [
        ([0, 2], [0, 1], 0.5),
        ([0, 2], [1, 3], 1 / 3),
        ([0, 4], [1, 3], 0.5),
        ([1, 3], [1, 3], 1.0),
        ([0, 1], [1, 2], 0.0),
        ([0, 1], [3, 4], 0.0),
        ([2, 2], [2, 2], 0.0),
        ([2, 2], [1, 3], 0.0),
    ],
)
def test_iou_by_hand(window: list[float], truth: list[float], expected: float) -> None:
    assert temporal_iou(np.array([window]), np.array(truth)) == pytest.approx([expected])
    assert temporal_iou(np.array([truth]), np.array(window)) == pytest.approx([expected])


def test_a_hit_is_strictly_above_the_threshold() -> None:
    predictions, truth = [np.array([[0.0, 2.0]])], np.array([[0.0, 1.0]])
    assert recall(predictions, truth, k=1, threshold=0.5) == 0.0
    assert recall(predictions, truth, k=1, threshold=0.4999) == 1.0


def test_only_the_first_k_count_and_an_empty_list_is_a_miss() -> None:
    truth = np.array([[0, 1], [0, 1], [4, 6]])
    predictions = [np.array([[5, 6], [0, 1]]), np.zeros((0, 2)), np.array([[4, 6], [0, 1]])]
    assert recall(predictions, truth, k=1, threshold=0.5) == pytest.approx(1 / 3)
    assert recall(predictions, truth, k=2, threshold=0.5) == pytest.approx(2 / 3)


def test_against_the_formula_read_slowly() -> None:
    rng = np.random.default_rng(0)
    truths = np.sort(rng.integers(0, 16, (200, 2)) / 4, axis=1) + np.array([0, 0.25])
    predictions = [np.sort(rng.integers(0, 16, (int(rng.integers(0, 5)), 2)) / 4, axis=1) for _ in truths]
    for k in (1, 3):
        for threshold in (0.3, 0.5):
            hits = 0
            for windows, (begin, finish) in zip(predictions, truths, strict=True):
                found = False
                for start, end in windows[:k]:
                    inter = max(0.0, min(end, finish) - max(start, begin))
                    found |= inter / (max(end, finish) - min(start, begin)) > threshold
                hits += found
            assert recall(predictions, truths, k=k, threshold=threshold) == pytest.approx(hits / 200)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="1 predictions for 2 queries"):
        recall([np.zeros((0, 2))], np.zeros((2, 2)), k=1, threshold=0.5)
    with pytest.raises(ValueError, match="one at all"):
        recall([], np.zeros((0, 2)), k=1, threshold=0.5)
    with pytest.raises(ValueError, match="k must be at least 1"):
        recall([np.zeros((0, 2))], np.zeros((1, 2)), k=0, threshold=0.5)
    with pytest.raises(ValueError, match="end at least start"):
        temporal_iou(np.array([[2.0, 1.0]]), np.array([0.0, 1.0]))
