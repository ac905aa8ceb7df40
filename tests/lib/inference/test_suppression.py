"""Suppression against golden values of ActionFormer's nms_1d and a scalar reading of its rule; voting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.inference.suppression import suppress, vote

Found = tuple[list[int], list[float]]
SETS = 10_200


def scalar(windows: list[list[float]], scores: list[float], kind: str, iou: float, sigma: float, floor: float) -> Found:
    """One window after the other, as the rule says: take the best, lower the others, drop those under the floor."""
    left = {number: score for number, score in enumerate(scores) if score >= floor}
    order, kept = [], []
    while left:
        best = min(left, key=lambda number: (-left[number], number))
        order.append(best)
        kept.append(left.pop(best))
        for number in list(left):
            a, b = windows[best], windows[number]
            overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
            shared = overlap / ((a[1] - a[0] + 1e-6) + (b[1] - b[0] + 1e-6) - overlap)
            if kind == "gaussian":
                left[number] *= math.exp(-shared * shared / sigma)
            elif shared >= iou:
                left[number] *= 1 - shared if kind == "linear" else 0.0
            if left[number] < floor or (kind == "hard" and shared >= iou):
                del left[number]
    return order, kept


def test_golden_values() -> None:
    windows, scores = np.array([[0, 10], [2, 12], [20, 30]]), np.array([0.9, 0.8, 0.7])
    order, kept = suppress(windows, scores, kind="gaussian", sigma=0.75)
    assert order.tolist() == [0, 2, 1] and kept == pytest.approx([0.9, 0.7, 0.442314], abs=1e-6)
    ties = np.array([[0, 10], [0, 10], [20, 30], [5, 15]])
    order, kept = suppress(ties, np.array([0.9, 0.9, 0.9, 0.5]), kind="gaussian", sigma=0.5)
    assert order.tolist() == [0, 2, 3, 1] and kept == pytest.approx([0.9, 0.9, 0.400369, 0.0975313], abs=1e-6)


@pytest.mark.parametrize(("iou", "left"), [(0.66666, [0]), (0.66667, [0, 1])])
def test_hard_suppression_at_its_boundary(iou: float, left: list[int]) -> None:
    order, _ = suppress(np.array([[0, 10], [2, 12]]), np.array([0.9, 0.8]), kind="hard", iou=iou)
    assert order.tolist() == left


@pytest.mark.parametrize("kind", ["gaussian", "linear", "hard"])
def test_random_windows_agree_with_the_scalar_rule(kind: str) -> None:
    rng = np.random.default_rng(3)
    for number in range(SETS // 3):
        count = int(rng.integers(0, 40 if number % 16 == 0 else 10))
        ends = np.sort(rng.integers(0, 40, (count, 2)) / 2 if number % 2 else rng.uniform(0, 60, (count, 2)), axis=1)
        scores = rng.integers(0, 8, count) / 8 if number % 4 < 2 else rng.random(count)
        iou, sigma = float(rng.choice([0.1, 0.5, 0.7])), float(rng.choice([0.5, 0.75, 0.9]))
        order, kept = suppress(ends, scores, kind=kind, iou=iou, sigma=sigma, floor=0.05)
        expected = scalar(ends.tolist(), scores.tolist(), kind, iou, sigma, 0.05)
        assert order.tolist() == expected[0] and kept == pytest.approx(expected[1], abs=1e-12)
        few, _ = suppress(ends, scores, kind=kind, iou=iou, sigma=sigma, floor=0.05, keep=5)
        assert few.tolist() == expected[0][:5]


def test_exactly_the_threshold_loses_and_exactly_the_floor_stays() -> None:
    """IoU of [0, 10] and [2, 12], whose lengths count as 10.000001, in the order in which the rule divides."""
    rows, scores = np.array([[0.0, 10.0], [2.0, 12.0]]), np.array([0.9, 0.8])
    shared = 8.0 / ((10.0 + 1e-6) + (10.0 + 1e-6) - 8.0)
    above = float(np.nextafter(shared, 1.0))
    assert suppress(rows, scores, kind="hard", iou=shared)[0].tolist() == [0]
    assert suppress(rows, scores, kind="hard", iou=above)[0].tolist() == [0, 1]
    assert suppress(rows, scores, kind="linear", iou=shared)[1].tolist() == [0.9, 0.8 * (1.0 - shared)]
    assert suppress(rows, scores, kind="linear", iou=above)[1].tolist() == [0.9, 0.8]
    assert vote(rows[:1], rows, scores, iou=shared)[0, 0] > 0.0 and vote(rows[:1], rows, scores, iou=above)[0, 0] == 0.0
    apart = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    kept = suppress(apart, np.array([0.5, 0.25, 0.125]), floor=0.25)
    assert kept[0].tolist() == [0, 1] and kept[1].tolist() == [0.5, 0.25]


windows = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100), st.integers(1, 64)), min_size=1, max_size=20).map(
    lambda rows: np.array([[start / 4, (start + length) / 4, score / 64] for start, length, score in rows])
)


@given(windows)
def test_scores_only_fall_and_no_window_comes_twice(rows: np.ndarray) -> None:
    order, kept = suppress(rows[:, :2], rows[:, 2], floor=0.0)
    assert sorted(order.tolist()) == list(range(len(rows)))
    assert (np.diff(kept) <= 0).all() and (kept <= rows[order, 2]).all() and kept[0] == rows[:, 2].max()


@given(windows)
def test_hard_suppression_leaves_no_two_that_overlap_that_much(rows: np.ndarray) -> None:
    order, _ = suppress(rows[:, :2], rows[:, 2], kind="hard", iou=0.5)
    for place, one in enumerate(order):
        for other in order[:place]:
            a, b = rows[one], rows[other]
            overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
            assert overlap / (a[1] - a[0] + b[1] - b[0] - overlap) < 0.5 + 1e-6


def test_voting_by_hand() -> None:
    """[0, 10] and [2, 10]: IoU 0.8, weights 0.9 and 0.5 · 0.8; the far window has no vote."""
    rows = np.array([[0.0, 10.0], [2.0, 10.0], [50.0, 60.0]])
    scores = np.array([0.9, 0.5, 0.8])
    moved = vote(rows[[0, 2]], rows, scores, iou=0.7)
    assert moved == pytest.approx(np.array([[0.5 * 0.8 * 2 / (0.9 + 0.4), 10.0], [50.0, 60.0]]), abs=1e-6)
    plain = vote(rows[[0]], rows, scores, iou=0.7, weights="score")
    assert plain == pytest.approx(np.array([[0.5 * 2 / 1.4, 10.0]]), abs=1e-6)
    assert vote(np.array([[90.0, 91.0]]), rows, scores, iou=0.7).tolist() == [[90.0, 91.0]], "nobody votes: it stays"


@pytest.mark.parametrize(
    ("rows", "scores", "more", "says"),
    [
        ([[0, 1]], [0.5, 0.5], {}, "got \\(1, 2\\) and \\(2,\\)"),
        ([[0, np.nan]], [0.5], {}, "NaN"),
        ([[0, 1]], [np.inf], {}, "infinite"),
        ([[2, 1]], [0.5], {}, "end at least start"),
        ([[0, 1]], [0.5], {"sigma": 0.0}, "sigma must exceed 0"),
        ([[0, 1]], [0.5], {"keep": 0}, "keep must be at least 1"),
        ([[0, 1]], [0.5], {"kind": "soft"}, "'soft' is none of"),
    ],
)
def test_what_makes_no_sense_is_refused(rows: list, scores: list, more: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        suppress(np.array(rows, float), np.array(scores, float), **more)
