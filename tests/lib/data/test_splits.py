"""Splits: exact sizes against hand-worked quotas and the defining properties of largest remainder; leaks; refusals."""

from __future__ import annotations

import random
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.config.base import ConfigError
from lib.data.splits import check_leaks, draw_splits, exact, split_sizes
from lib.files import DataError

NAMES = [f"clip {number}.mp4" for number in range(50)]


def sizes_of(drawn: dict[str, str]) -> dict[str, int]:
    return {split: list(drawn.values()).count(split) for split in set(drawn.values())}


def test_sizes_worked_by_hand():
    assert split_sizes(10, [0.7, 0.2, 0.1]) == [7, 2, 1]
    assert split_sizes(7, [0.5, 0.3, 0.2]) == [4, 2, 1]  # quotas 3.5 2.1 1.4: one seat left, to .5
    assert split_sizes(10, [0.25, 0.25]) == [3, 2]  # quotas 2.5 2.5 and 5 left out: equal remainders, the earlier first
    assert split_sizes(3, [0.3333333333, 0.3333333333, 0.3333333333]) == [1, 1, 1]


@settings(max_examples=300)
@given(st.integers(0, 500), st.lists(st.integers(1, 100), min_size=1, max_size=5))
def test_sizes_keep_quota_and_total(total, weights):
    fractions = [weight / (sum(weights) + 7) for weight in weights]
    sizes = split_sizes(total, fractions)
    for size, fraction in zip(sizes, fractions, strict=True):
        assert abs(size - exact(fraction) * total) < 1
    assert abs(sum(sizes) - sum(map(exact, fractions)) * total) < 1


def test_exact_is_the_written_decimal():
    assert exact(0.3) == Fraction(3, 10) and exact(1e-5) == Fraction(1, 100000) and exact(1) == 1


def test_drawn_by_hash_not_by_order():
    fractions = {"train": 0.7, "val": 0.1, "test": 0.2}
    drawn = draw_splits(NAMES, fractions, 3)
    shuffled = list(NAMES)
    random.Random(0).shuffle(shuffled)
    assert draw_splits(shuffled, dict(reversed(fractions.items())), 3) == drawn
    assert sizes_of(drawn) == {"train": 35, "val": 5, "test": 10}
    assert draw_splits(NAMES, fractions, 4) != drawn
    # pinned: a changed hash would silently move videos between splits of every existing study
    assert sorted(name for name, split in drawn.items() if split == "val") == [
        "clip 1.mp4",
        "clip 20.mp4",
        "clip 29.mp4",
        "clip 30.mp4",
        "clip 36.mp4",
    ]


def test_fractions_below_one_leave_videos_out():
    drawn = draw_splits(NAMES, {"train": 0.5, "test": 0.1})
    assert sizes_of(drawn) == {"train": 25, "test": 5}


def test_empty_split_is_refused():
    with pytest.raises(ConfigError, match=r"splits\.val: 0\.1 of 2 videos is no video"):
        draw_splits(["a", "b"], {"train": 0.9, "val": 0.1})


@pytest.mark.parametrize(
    "fractions", [{"train": 0.0}, {"train": -0.1}, {"train": 1.5}, {"a": 0.8, "b": 0.3}, {"a": float("nan")}]
)
def test_impossible_fractions(fractions):
    with pytest.raises(ConfigError, match="fractions must"):
        draw_splits(NAMES, fractions)


def test_patterns():
    names = ["site1/a.mp4", "site1/b.mp4", "site2/a.mp4", "other.mp4"]
    assert draw_splits(names, {"train": ["site1/*"], "test": ["site2/*"]}) == {
        "site1/a.mp4": "train",
        "site1/b.mp4": "train",
        "site2/a.mp4": "test",
    }
    with pytest.raises(ConfigError, match=r"'site1/a\.mp4' is claimed by 'test' and by 'train'"):
        draw_splits(names, {"train": ["site1/*"], "test": ["*/a.mp4"]})
    with pytest.raises(ConfigError, match=r"splits\.test: pattern 'site3/\*' matches no video"):
        draw_splits(names, {"train": ["site1/*"], "test": ["site3/*"]})
    with pytest.raises(ConfigError, match="not a mixture"):
        draw_splits(names, {"train": ["site1/*"], "test": 0.5})


def manifest(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["original", "split", "sha256"])


def test_leaks():
    check_leaks(manifest([("a", "train", "11"), ("copy of a", "train", "11"), ("b", "test", "22")]))
    check_leaks(manifest([("a", "train", ""), ("b", "test", "")]))
    with pytest.raises(DataError, match=r"'a' \(train\) and 'copy of a' \(test\)"):
        check_leaks(manifest([("a", "train", "11"), ("b", "train", "22"), ("copy of a", "test", "11")]))
