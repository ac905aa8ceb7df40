"""Safe ids, against the pattern of the design for any name (hypothesis) and against hand-made collisions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.config.base import NAME_PATTERN
from lib.data.ids import safe_id, unique_ids
from lib.files import DataError


@given(st.lists(st.text(max_size=300), unique=True, max_size=20))
def test_any_names_get_distinct_safe_ids(names):
    ids = unique_ids(names)
    assert list(ids) == names
    assert len(set(ids.values())) == len(names)
    assert all(re.fullmatch(NAME_PATTERN, one) and len(one) <= 140 for one in ids.values())


def test_plain_names_stay_readable():
    assert safe_id("BloodImage_00001") == "bloodimage_00001"
    assert safe_id("train/My clip (1).mp4") == "train-my-clip--1-"
    assert safe_id("--x") == "x"


def test_collisions_do_not_depend_on_order():
    one, other = unique_ids(["a b", "A-B", "c"]), unique_ids(["c", "A-B", "a b"])
    assert one == other
    assert one["c"] == "c" and one["a b"] != one["A-B"] and one["a b"].startswith("a-b-")


def test_a_name_that_spells_out_a_suffix_still_differs():
    first = unique_ids(["a b", "A-B"])["a b"]
    assert len(set(unique_ids(["a b", "A-B", first]).values())) == 3


def test_repeated_names_are_refused():
    with pytest.raises(DataError, match="'x' is listed twice"):
        unique_ids(["x", "y", "x"])
