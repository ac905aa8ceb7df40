"""Properties that merging the windows of models must have (hypothesis), values by hand, and ensemble-boxes' golden ones."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.inference.merge_windows import merge, merge_predictions

rows = st.tuples(st.integers(0, 160), st.integers(0, 60), st.integers(0, 32))
models = st.lists(rows, max_size=8).map(
    lambda found: np.array([[start / 4, (start + length) / 4, score / 32] for start, length, score in found]).reshape(-1, 3)
)
many = st.lists(models, min_size=1, max_size=4)


@pytest.mark.parametrize("kind", ["consensus", "wbf"])
@settings(max_examples=60)
@given(found=many, rng=st.randoms())
def test_order_of_models_and_of_windows_does_not_matter(kind: str, found: list[np.ndarray], rng: random.Random) -> None:
    shuffled = [one[rng.sample(range(len(one)), len(one))] for one in rng.sample(found, len(found))]
    assert np.array_equal(merge(found, kind=kind), merge(shuffled, kind=kind))


@pytest.mark.parametrize("kind", ["consensus", "wbf"])
@settings(max_examples=60)
@given(found=models)
def test_one_model_is_itself(kind: str, found: np.ndarray) -> None:
    merged = merge([found], kind=kind)
    assert sorted(merged.tolist()) == sorted(found.tolist()) and (np.diff(merged[:, 2]) <= 0).all()


@given(models, st.integers(2, 4))
def test_a_model_that_comes_again_adds_nothing(found: np.ndarray, times: int) -> None:
    merged = merge([found] * times)
    assert sorted(merged[:, :2].tolist()) == sorted(found[:, :2].tolist()), "bit for bit"
    assert np.allclose(np.sort(merged[:, 2]), np.sort(found[:, 2]), atol=1e-12)


@given(many)
def test_scores_and_windows_stay_within_what_was_seen(found: list[np.ndarray]) -> None:
    everything, merged = np.concatenate(found), merge(found)
    assert len(merged) <= len(everything) and (len(merged) > 0) == (len(everything) > 0)
    if len(everything):
        assert merged[:, 2].max() <= everything[:, 2].max() and merged[:, 2].min() >= 0
        assert merged[:, 0].min() >= everything[:, 0].min() - 1e-9 and merged[:, 1].max() <= everything[:, 1].max() + 1e-9
        assert (merged[:, 1] >= merged[:, 0] - 1e-9).all()


@pytest.mark.parametrize("kind", ["consensus", "wbf"])
@settings(max_examples=60)
@given(found=many, scale=st.sampled_from([0.25, 2.0, 64.0]), shift=st.sampled_from([0.0, 16.0, 512.0]))
def test_other_units_of_time_give_the_same(kind: str, found: list[np.ndarray], scale: float, shift: float) -> None:
    """Powers of two: no rounding in the input."""
    moved = [one * [scale, scale, 1.0] + [shift, shift, 0.0] for one in found]
    merged, expected = merge(moved, kind=kind), merge(found, kind=kind)
    assert len(merged) == len(expected)
    tolerance = 1e-9 if kind == "consensus" else 1e-4 * scale  # the library counts in float32
    assert np.allclose(_plain(merged), _plain(expected * [scale, scale, 1.0] + [shift, shift, 0.0]), atol=tolerance)


def _plain(windows: np.ndarray) -> np.ndarray:
    rounded = windows.round(3)
    return windows[np.lexsort((rounded[:, 1], rounded[:, 0], -rounded[:, 2]))]


def test_by_hand() -> None:
    """Ends weigh by score: (0.9 · 0 + 0.6 · 3) / 1.5 = 1.2; two of three models saw it: (0.9 + 0.6) / 3 = 0.5."""
    one, two = np.array([[0, 10, 0.9], [40, 50, 0.3]]), np.array([[3, 10, 0.6]])
    merged = merge([one, two, np.empty((0, 3))])
    assert merged == pytest.approx(np.array([[1.2, 10, 0.5], [40, 50, 0.1]]))
    assert len(merge([one, two], iou=0.7)) == 3, "IoU 0.7 is not above 0.7"
    apart = np.array([[0, 10, 0.9], [1, 10, 0.8]])
    assert len(merge([apart, two])) == 2, "what a model holds apart stays apart"


def test_the_best_begins_a_group_and_equal_scores_stay_what_they_are() -> None:
    """[5, 15] meets both of the others (IoU 1/3, 3/7), which hardly meet each other: begun by another, it would be two."""
    three = [np.array([row]) for row in ([0, 10, 0.5], [5, 15, 0.9], [9, 19, 0.6])]
    assert len(merge(three, iou=0.3)) == 1
    assert merge([np.array([[0, 1, 0.1]])] * 3)[0, 2] == 0.1, "0.1 + 0.1 + 0.1 is more than 0.3 in binary"
    one, two = np.array([[0, 10, 0.9], [1, 11, 0.5]]), np.array([[1, 11, 0.5]])
    assert np.array_equal(merge([one, two]), merge([two, one])), (
        "the same window of two models, one of which has a better one"
    )


def test_ensemble_boxes_golden_values() -> None:
    one, two, three = np.array([[0, 0.5, 0.9]]), np.array([[0.1, 0.5, 0.6]]), np.array([[0.8, 0.9, 0.3]])
    assert merge([one, two], kind="wbf") == pytest.approx(np.array([[0.04, 0.5, 0.75]]), abs=1e-6)
    assert merge([one, two, three], kind="wbf") == pytest.approx(np.array([[0.04, 0.5, 0.5], [0.8, 0.9, 0.1]]), abs=1e-6)


def test_tables_are_merged_query_by_query() -> None:
    columns = ["video", "query", "rank", "start_s", "end_s", "score"]
    one = pd.DataFrame([["v", "q", 0, 0.0, 10.0, 0.9], ["w", "q", 0, 5.0, 6.0, 0.5]], columns=columns)
    two = pd.DataFrame([["v", "q", 0, 3.0, 10.0, 0.6], ["v", "q", 1, 90.0, 95.0, 0.8]], columns=columns)
    merged = merge_predictions([one, two])
    assert merged["video"].tolist() == ["v", "v", "w"] and merged["rank"].tolist() == [0, 1, 0]
    assert merged["start_s"].tolist() == pytest.approx([1.2, 90.0, 5.0])
    assert merged["score"].tolist() == pytest.approx([0.75, 0.4, 0.25])
    pd.testing.assert_frame_equal(merged, merge_predictions([two, one.iloc[::-1]]))
    assert merge_predictions([one.iloc[:0]]).dtypes["rank"] == "int64"


@pytest.mark.parametrize(
    ("found", "more", "says"),
    [
        ([], {}, "no model"),
        ([[[0, 1, np.nan]]], {}, "NaN"),
        ([[[2, 1, 0.5]]], {}, "end \\(at least start\\)"),
        ([[[0, 1, 1.5]]], {}, "score \\(0–1\\)"),
        ([[[0, 1, 0.5]]], {"kind": "mean"}, "got 'mean'"),
        ([[[0, 1, 0.5]]], {"iou": 1.0}, "got 1.0"),
    ],
)
def test_what_makes_no_sense_is_refused(found: list, more: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        merge([np.array(one, float) for one in found], **more)
