"""Repeat-factor sampling: its numbers by hand and by detectron2's rule, its draws, and what a stream makes of them."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lib.config.base import identity
from lib.config.train import TrainingSettings
from lib.config.train_rfdetr import RfdetrSettings
from lib.config.train_sampling import Sampling
from lib.files import DataError
from lib.training.repeat_factor import class_factors, counted, frequencies, image_factors, without_effect
from lib.training.sampling import StreamSampler, in_order

NAMES = ["person", "crane hook", "vehicle"]
BOXES = np.array([[3, 0, 0]] * 6 + [[1, 1, 0]] + [[0, 1, 0]] + [[0, 0, 0]] * 2)
"""Ten images: person in 7 (19 boxes), crane hook in 2 (2 boxes), vehicle in none; two are background."""


def rule(threshold: float, kind: str = "repeat_factor") -> Sampling:
    return Sampling(kind=kind, threshold=threshold)


def stream(factors: list[float], per_round: int, rounds: range, seed: int = 0) -> list[int]:
    sampler = StreamSampler(len(factors), per_round=per_round, seed=seed, factors=factors)
    order: list[int] = []
    for sampler.round in rounds:
        order += list(sampler)
    return order


def test_factors_by_hand() -> None:
    assert frequencies(BOXES, "repeat_factor").tolist() == [0.7, 0.2, 0.0]
    of_class = class_factors(BOXES, rule(0.8))
    assert of_class.tolist() == pytest.approx([math.sqrt(0.8 / 0.7), 2.0, 1.0])
    expected = [math.sqrt(0.8 / 0.7)] * 6 + [2.0, 2.0, 1.0, 1.0]
    assert image_factors(BOXES, of_class).tolist() == pytest.approx(expected), "of several classes the rarest one counts"


def test_instance_aware_factors_by_hand() -> None:
    assert frequencies(BOXES, "instance_aware").tolist() == pytest.approx(
        [math.sqrt(0.7 * 19 / 21), math.sqrt(0.2 * 2 / 21), 0.0]
    )
    plain, aware = (class_factors(BOXES, rule(0.5, kind))[1] for kind in ("repeat_factor", "instance_aware"))
    assert plain == pytest.approx(math.sqrt(0.5 / 0.2)) and aware > plain, "its boxes are rarer than its images"


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=12), st.floats(0.01, 1))
def test_factors_as_detectron2_calculates_them(rows: list[list[int]], threshold: float) -> None:
    """The steps of RepeatFactorTrainingSampler.repeat_factors_from_category_frequency, written in its own way."""
    frequency = {category: sum(row[category] > 0 for row in rows) / len(rows) for category in range(3)}
    repeat = {c: max(1.0, math.sqrt(threshold / f)) for c, f in frequency.items() if f > 0}
    expected = [max({repeat[c] for c in range(3) if row[c]}, default=1.0) for row in rows]
    boxes = np.array(rows)
    assert image_factors(boxes, class_factors(boxes, rule(threshold))).tolist() == pytest.approx(expected)


def test_the_lists_of_an_index_become_counts() -> None:
    assert counted([["person", "vehicle"], []], [[2, 1], []], NAMES).tolist() == [[2, 0, 1], [0, 0, 0]]
    assert counted([], [], NAMES).shape == (0, 3)


def test_a_threshold_without_effect_is_told_with_the_rarest_class() -> None:
    assert without_effect(BOXES, rule(0.21), NAMES) is None
    said = without_effect(BOXES, rule(0.2), NAMES)
    assert said is not None and "crane hook (0.2)" in said and "0.2 is not above" in said
    assert "no image of the arm shows a class" in str(without_effect(np.zeros((3, 2), int), rule(1.0), ["a", "b"]))


def test_images_come_as_often_as_their_factors_say() -> None:
    factors = [1.0, 1.25, 2.5, 3.0]
    passes, sampler = 2000, StreamSampler(4, per_round=4, seed=5, factors=factors)
    seen = [Counter(sampler.permutation(number)) for number in range(passes)]
    for image, factor in enumerate(factors):
        counts = [one[image] for one in seen]
        assert set(counts) <= {math.floor(factor), math.ceil(factor)}, "rounded down or up"
        error = math.sqrt((factor % 1) * (1 - factor % 1) / passes)
        assert np.mean(counts) == pytest.approx(factor, abs=5 * error + 1e-12)


@given(st.lists(st.floats(1, 4), min_size=1, max_size=20), st.integers(1, 50), st.integers(0, 3))
def test_a_round_is_the_same_without_the_ones_before(factors: list[float], per_round: int, seed: int) -> None:
    whole = stream(factors, per_round, range(5), seed)
    assert stream(factors, per_round, range(3, 5), seed) == whole[3 * per_round :]
    assert len(whole) == 5 * per_round


def test_the_stream_is_the_passes_one_after_another() -> None:
    factors = [1.0, 1.5, 2.3]
    sampler = StreamSampler(3, per_round=7, seed=1, factors=factors)
    passes = [image for number in range(20) for image in sampler.permutation(number)]
    assert stream(factors, 7, range(6), seed=1) == passes[:42]
    assert stream(factors, 7, range(6), seed=2) != passes[:42]


@given(st.integers(1, 30), st.integers(1, 70))
def test_without_factors_the_order_is_what_it_was(images: int, per_round: int) -> None:
    import torch

    sampler = StreamSampler(images, per_round=per_round, seed=3)
    sampler.round = 2
    passes = []
    for number in range(3 * per_round // images + 1):
        generator = torch.Generator().manual_seed(3 * 1_000_003 + number)
        passes += torch.randperm(images, generator=generator).tolist()
    assert list(sampler) == passes[2 * per_round : 3 * per_round]


def test_factors_follow_the_files_and_a_strange_file_is_refused() -> None:
    factors = {"b": 2.0, "a.1": 1.0}
    assert in_order(None, ["x.jpg"]) is None
    assert in_order(factors, [Path("/somewhere/a.1.jpg"), "b.jpg"]) == [1.0, 2.0]
    with pytest.raises(DataError, match="image 'c' has no repeat factor"):
        in_order(factors, ["c.jpg"])


@pytest.mark.parametrize("settings", [TrainingSettings, RfdetrSettings])
def test_trainings_without_sampling_are_told_what_they_were_told_before(settings: type) -> None:
    assert "sampling" not in identity(settings())
    asked = {"kind": "instance_aware", "threshold": 0.5}
    assert identity(settings.model_validate({"sampling": asked}))["sampling"] == asked


@pytest.mark.parametrize("wrong", [{"kind": "rfs", "threshold": 0.5}, {"kind": "repeat_factor"}, {"threshold": 0.1}])
@pytest.mark.parametrize("settings", [TrainingSettings, RfdetrSettings])
def test_other_kinds_and_missing_thresholds_are_refused(settings: type, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="sampling"):
        settings.model_validate({"sampling": wrong})
    for threshold in (0, 1.5):
        with pytest.raises(ValidationError, match="threshold"):
            settings.model_validate({"sampling": {"kind": "repeat_factor", "threshold": threshold}})
