"""The order of training images: every image as often as any other, and the same wherever a round is entered."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lib.training.sampling import StreamSampler


def stream(images: int, per_round: int, seed: int, rounds: range) -> list[int]:
    sampler = StreamSampler(images, per_round=per_round, seed=seed)
    order: list[int] = []
    for sampler.round in rounds:
        order += list(sampler)
    return order


@given(st.integers(1, 30), st.integers(1, 70), st.integers(0, 3))
def test_passes_over_all_images_follow_each_other(images: int, per_round: int, seed: int) -> None:
    order = stream(images, per_round, seed, range(4))
    assert len(order) == 4 * per_round
    for start in range(0, len(order) - images + 1, images):
        assert sorted(order[start : start + images]) == list(range(images))
    counts = Counter(order)
    assert max(counts.values()) - min(counts.get(index, 0) for index in range(images)) <= 1


@given(st.integers(1, 30), st.integers(1, 70))
def test_a_round_is_the_same_without_the_ones_before(images: int, per_round: int) -> None:
    assert stream(images, per_round, 0, range(5))[3 * per_round :] == stream(images, per_round, 0, range(3, 5))


def test_seed_and_pass_change_the_order() -> None:
    orders = [stream(50, 50, seed, range(round, round + 1)) for seed in (0, 1) for round in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
