"""The mapping of steps and seconds: both directions undo each other, and what a grid may not be made of.

Reference: the definition, centre of step t = (t * stride + window / 2) / fps, worked by hand.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.data.time_grid import TimeGrid
from lib.files import DataError

GRIDS = st.builds(
    TimeGrid,
    stride=st.floats(0.5, 64),
    window=st.floats(0.5, 64),
    fps=st.floats(1, 120),
    duration=st.floats(0.1, 7200),
)


@given(grid=GRIDS, steps=st.lists(st.floats(-100, 1e4), min_size=1, max_size=8))
def test_steps_to_seconds_and_back(grid: TimeGrid, steps: list[float]) -> None:
    assert grid.steps(grid.seconds(steps)) == pytest.approx(np.array(steps), rel=1e-9, abs=1e-9)


@given(grid=GRIDS, seconds=st.lists(st.floats(-10, 7200), min_size=1, max_size=8))
def test_seconds_to_steps_and_back(grid: TimeGrid, seconds: list[float]) -> None:
    assert grid.seconds(grid.steps(seconds)) == pytest.approx(np.array(seconds), rel=1e-9, abs=1e-9)


@given(grid=GRIDS)
def test_the_windows_of_all_steps_lie_in_the_clip_and_no_further_one_does(grid: TimeGrid) -> None:
    half = grid.window / 2 / grid.fps
    last, next_one = grid.seconds([grid.count - 1, grid.count])
    slack = 1e-5 / grid.fps
    if grid.count > 1:
        assert last + half <= grid.duration + slack
    assert next_one + half > grid.duration - slack


def test_a_step_stands_for_the_centre_of_its_window() -> None:
    grid = TimeGrid(stride=16, window=32, fps=30, duration=20.0)
    assert grid.seconds([0, 1, 1.5]).tolist() == [16 / 30, 32 / 30, 40 / 30]
    assert grid.steps(0.0) == -1.0  # half a window before step 0
    assert grid.count == 36  # windows begin at 0, 16, … 560; 568 is the last start that fits in 600 frames


def test_seconds_are_cut_to_the_clip_only_where_asked() -> None:
    grid = TimeGrid(stride=8, window=8, fps=8, duration=4.0)
    assert grid.seconds([-2, 0, 9]).tolist() == [-1.5, 0.5, 9.5]
    assert grid.seconds([-2, 0, 9], clip=True).tolist() == [0.0, 0.5, 4.0]


def test_shapes_are_kept_and_whole_numbers_become_floats() -> None:
    grid = TimeGrid(stride=2, window=2, fps=1, duration=10)
    found = grid.seconds(np.arange(6, dtype=np.int32).reshape(2, 3))
    assert found.shape == (2, 3)
    assert found.dtype == np.float64


@pytest.mark.parametrize(
    ("duration", "count"),
    [(0.1, 1), (1.0, 1), (1.999, 1), (2.0, 2), (0.1 + 0.2 + 1.7, 2), (10.0, 10)],
    ids=["shorter than a window", "one window", "nearly two", "two", "two, summed in floats", "ten"],
)
def test_count(duration: float, count: int) -> None:
    assert TimeGrid(stride=10, window=10, fps=10, duration=duration).count == count


@pytest.mark.parametrize("field", ["stride", "window", "fps", "duration"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, -math.inf, True, "16", None])
def test_what_is_not_positive_and_finite_is_refused_by_name(field: str, value: object) -> None:
    good = {"stride": 16, "window": 16, "fps": 30, "duration": 20.0}
    with pytest.raises(DataError, match=rf"{field} must be a positive, finite number, got .*Hint: "):
        TimeGrid(**{**good, field: value})


def test_parts_of_a_grid_keep_their_seconds() -> None:
    """Reference: the seconds of the same steps of the whole grid; 10 steps, of which 2, 5 and 8 are a third."""
    whole = TimeGrid(4.0, 8.0, 2.0, 22.0)
    third = whole.part(2, 3)
    assert (whole.count, third.count) == (10, 3) and third.offset == 8.0 and third.stride == 12.0
    assert third.seconds([0, 1, 2]) == pytest.approx(whole.seconds([2, 5, 8]))
    assert third.steps(third.seconds([0.25, 1.75])) == pytest.approx([0.25, 1.75])
    assert third.part(1).seconds(0) == pytest.approx(whole.seconds(5))
    with pytest.raises(DataError, match="offset"):
        TimeGrid(4.0, 8.0, 2.0, 22.0, -1.0)
