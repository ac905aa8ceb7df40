"""Floors of grounding: the ordinal prior by hand, chance within the clip, both blind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.config.base import ConfigError
from lib.files import DataError, write_json
from lib.models.window_floors import WindowFloor, fit, load, ordinal_places


def test_the_prior_by_hand() -> None:
    floor = WindowFloor(fit("prior", [], seed=0))
    found = floor.windows("v", ["a_0", "a_1"], 100.0)
    assert found["a_0"][:, :2].tolist() == [[21, 29], [23, 27], [17, 33], [9, 41], [0, 57]]
    assert found["a_1"][:, :2].tolist() == [[71, 79], [73, 77], [67, 83], [59, 91], [43, 100]]
    assert (np.diff(found["a_0"][:, 2]) < 0).all() and found["a_0"][:, 2].max() <= 1


def test_in_a_short_clip_windows_that_are_cut_to_the_same_are_one() -> None:
    found = WindowFloor(fit("prior", [], seed=0)).windows("v", ["only"], 6.0)["only"]
    assert found[:, :2].tolist() == [[0, 6], [1, 5]]


def test_each_annotation_is_a_list_of_its_own() -> None:
    assert ordinal_places(["x_0", "x_2", "y_0"]) == {"x_0": 0.25, "x_2": 0.75, "y_0": 0.5}
    assert ordinal_places(["video-q0", "video-q1"]) == {"video-q0": 0.25, "video-q1": 0.75}


def test_chance_has_the_lengths_of_the_training_and_depends_on_the_query_alone() -> None:
    floor = WindowFloor(fit("chance", [2.0, 5.0, 90.0], seed=3))
    found = floor.windows("v", ["a", "b"], 30.0)
    lengths = np.concatenate([one[:, 1] - one[:, 0] for one in found.values()])
    assert set(lengths.round(6)) <= {2.0, 5.0, 30.0} and len(set(lengths.round(6))) > 1
    assert all((one[:, 0] >= 0).all() and (one[:, 1] <= 30.0 + 1e-9).all() for one in found.values())
    np.testing.assert_array_equal(floor.windows("v", ["b"], 30.0)["b"], found["b"])
    assert not np.array_equal(found["a"], found["b"])


def test_what_is_no_floor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'piror'. Hint: did you mean 'prior'"):
        fit("piror", [], seed=0)
    with pytest.raises(DataError, match="no training query has a window"):
        fit("chance", [], seed=0)
    write_json(tmp_path / "floor.json", {"format": "vipersight-floor-1"})
    with pytest.raises(DataError, match="not a fitted floor of windows"):
        load(tmp_path / "floor.json")
