"""Orders and ranks, compared with plain counting: every sample of an epoch once, whatever the split and the stops."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lib.config.base import ConfigError
from lib.data.epochs import EpochOrder, Progress, consumed_after, rank_steps
from lib.files import DataError


def names(count: int) -> list[str]:
    return [f"video-{number // 50}-{number % 50:06d}" for number in range(count)]


def test_order_is_pinned():
    """A changed order would silently change every training that goes on from an older state."""
    assert EpochOrder(names(12), seed=3).order(0).tolist() == [9, 0, 4, 5, 1, 2, 11, 6, 7, 10, 8, 3]


def test_order_is_a_permutation_that_depends_on_seed_and_epoch():
    order = EpochOrder(names(500), seed=1)
    orders = [order.order(epoch) for epoch in range(4)] + [EpochOrder(names(500), seed=2).order(0)]
    assert all(sorted(one.tolist()) == list(range(500)) for one in orders)
    for number, one in enumerate(orders):
        for other in orders[:number]:
            assert abs(np.corrcoef(np.argsort(one), np.argsort(other))[0, 1]) < 0.15  # three standard errors: 0.134
    assert (EpochOrder(names(500), seed=1).order(3) == orders[3]).all()
    assert (EpochOrder(names(9), seed=1, shuffle=False).order(5) == np.arange(9)).all()


def test_every_place_is_equally_likely():
    """chi-squared of where each of 20 samples comes in 4,000 epochs: 400 cells, 361 degrees of freedom, 99.9 % at 449."""
    order = EpochOrder(names(20), seed=0)
    cells = np.zeros((20, 20))
    for epoch in range(4000):
        cells[order.order(epoch), np.arange(20)] += 1
    assert ((cells - 200) ** 2 / 200).sum() < 449


def test_order_of_the_keys_and_other_samples_do_not_matter():
    keys = names(300)
    shuffled = np.random.default_rng(0).permutation(keys).tolist()
    first, second = EpochOrder(keys, seed=7), EpochOrder(shuffled, seed=7)
    wanted = [keys[place] for place in first.order(2)]
    assert [shuffled[place] for place in second.order(2)] == wanted and first.digest == second.digest
    some = EpochOrder(keys[::3], seed=7)
    assert [keys[::3][place] for place in some.order(2)] == [key for key in wanted if key in set(keys[::3])]
    assert some.digest != first.digest


def test_a_key_stated_twice_is_seen_twice_at_places_of_its_own():
    order = EpochOrder(["a", "b", "a", "a"], seed=0)
    assert sorted(order.order(0).tolist()) == [0, 1, 2, 3] and len(set(order.draws.tolist())) == 4


def test_blocks_keep_neighbours_near():
    """A window of 8 blocks of 10 is the most that a reader jumps in between; blocks of 1 jump everywhere."""
    order = EpochOrder(names(1000), seed=0, block=10)
    found = order.order(0)
    assert sorted(found.tolist()) == list(range(1000)) and (found != order.order(1)).any()
    for start in range(0, 1000, 80):
        blocks = Counter((found[start : start + 80] // 10).tolist())
        assert set(blocks.values()) == {10} and len(blocks) == min(8, (1000 - start) // 10)
    assert not (np.diff(found[:80]) == 1).all()
    with pytest.raises(ConfigError, match="block must be at least 1"):
        EpochOrder(names(3), seed=0, block=0)


def random_splits(rng: np.random.Generator, tail: str) -> dict[str, int | str]:
    return {"ranks": int(rng.integers(1, 6)), "batch": int(rng.integers(1, 9)), "tail": tail}


def consume(start: int, count: int, stop: int, split: dict) -> tuple[list[int], int]:
    """(positions that all ranks take in `stop` steps at most, how far they have come)."""
    taken: list[int] = []
    ends = consumed_after(start, count, **split)[:stop]
    for rank in range(split["ranks"]):
        steps = list(rank_steps(start, count, rank=rank, **split))
        assert len(steps) <= len(consumed_after(start, count, **split))
        taken += [position for step in steps[:stop] for position in step.tolist()]
    return taken, ends[-1] if ends else start


@pytest.mark.parametrize("tail", ["keep", "drop", "pad"])
def test_2000_epochs_in_pieces_lose_and_repeat_nothing(tail):
    """Each epoch is consumed in up to four pieces, each with other ranks and another batch size."""
    rng = np.random.default_rng(5)
    for _ in range(2000):
        count, done, taken = int(rng.integers(1, 200)), 0, []
        for _ in range(int(rng.integers(0, 4))):
            some, done = consume(done, count, int(rng.integers(0, 6)), random_splits(rng, tail))
            taken += some
        split = random_splits(rng, tail)
        some, done = consume(done, count, count, split)
        taken += some
        seen = Counter(taken)
        if tail == "keep":
            assert seen == Counter(range(count)) and done == count
        elif tail == "drop":
            assert set(seen.values()) <= {1} and count - len(seen) < 5 * 8  # less than the largest step
        else:
            assert set(seen) == set(range(count)) and seen.total() - count < 5  # at most ranks - 1


@pytest.mark.parametrize("tail", ["drop", "pad"])
def test_ranks_have_equally_many_batches_of_equal_size(tail):
    rng = np.random.default_rng(6)
    for _ in range(500):
        count, split = int(rng.integers(1, 300)), random_splits(rng, tail)
        sizes = [[len(step) for step in rank_steps(0, count, rank=rank, **split)] for rank in range(split["ranks"])]
        assert all(one == sizes[0] for one in sizes) and len(sizes[0]) == len(consumed_after(0, count, **split))
        dropped = count % (split["ranks"] * split["batch"])
        assert sum(map(sum, sizes)) == (count - dropped if tail == "drop" else -(-count // split["ranks"]) * split["ranks"])


def test_state_goes_on_and_refuses_another_training():
    order = EpochOrder(names(10), seed=1)
    progress = Progress(order)
    progress.epoch, progress.consumed = 2, 6
    state = progress.state_dict()
    again = Progress(EpochOrder(names(10)[::-1], seed=1))
    again.load_state_dict(state)
    assert (again.epoch, again.consumed) == (2, 6)
    for other, text in [
        (EpochOrder(names(10), seed=2), "seed is 1, here 2"),
        (EpochOrder(names(9), seed=1), "samples is 10, here 9"),
        (EpochOrder([*names(9), "other"], seed=1), "keys is"),
        (EpochOrder(names(10), seed=1, block=2), "block is 1, here 2"),
    ]:
        with pytest.raises(DataError, match=text):
            Progress(other).load_state_dict(state)
    for damage, text in [({"consumed": 11}, "11 of 10"), ({"epoch": None}, "epoch None"), ({"epoch": -1}, "epoch -1")]:
        with pytest.raises(DataError, match=text):
            again.load_state_dict(state | damage)
    assert (again.epoch, again.consumed) == (2, 6)
