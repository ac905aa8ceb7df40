"""Critical path and makespan. Reference: every order of a few jobs tried out, bounds that hold for any schedule."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from lib.pricing.schedule import chain, critical_path, makespan


def small_dag(seed: int, jobs: int) -> tuple[list[float], list[tuple[int, ...]], list[dict[str, int]]]:
    """Jobs with seconds of 1 to 9, each waiting for some earlier ones, with one GPU or none and 1 to 3 cores."""
    rng = np.random.default_rng(seed)
    seconds = rng.integers(1, 10, jobs).astype(float).tolist()
    after = [tuple(np.flatnonzero(rng.random(job) < 0.3).tolist()) for job in range(jobs)]
    needs = [{"gpu": int(rng.random() < 0.5), "cores": int(rng.integers(1, 4))} for _ in range(jobs)]
    return seconds, after, needs


def in_order(order, seconds, after, needs, limits) -> float | None:
    """End of a run in which jobs begin in this order, each as early as it can; None when the order is impossible.

    Time is whole seconds; a job begins at the first at which it fits until its end.
    """
    used = {name: np.zeros(int(sum(seconds)) + 1, dtype=int) for name in limits}
    ends: dict[int, int] = {}
    for job in order:
        if any(one not in ends for one in after[job]):
            return None
        begin = max((ends[one] for one in after[job]), default=0)
        length = int(seconds[job])
        need = {name: min(needs[job].get(name, 0), limit) for name, limit in limits.items()}
        while any((used[name][begin : begin + length] + need[name] > limit).any() for name, limit in limits.items()):
            begin += 1
        for name in limits:
            used[name][begin : begin + length] += need[name]
        ends[job] = begin + length
    return float(max(ends.values()))


@pytest.mark.parametrize("seed", range(30))
def test_between_the_best_of_all_orders_and_grahams_bound(seed: int) -> None:
    seconds, after, needs = small_dag(seed, 6)
    limits = {"gpu": 1, "cores": 3}
    every = [in_order(order, seconds, after, needs, limits) for order in permutations(range(6))]
    best = min(one for one in every if one is not None)
    found = makespan(seconds, after, needs, limits)
    length = critical_path(np.array([seconds]), after)[0][0]
    assert best <= found <= sum(seconds)
    assert found >= length
    for name, limit in limits.items():
        assert found >= sum(job * min(need[name], limit) for job, need in zip(seconds, needs, strict=True)) / limit


@pytest.mark.parametrize("seed", range(30))
def test_one_machine_kind_keeps_grahams_bound(seed: int) -> None:
    """List scheduling on m equal machines takes at most 2 - 1/m times the best, however bad its order."""
    seconds, after, _ = small_dag(seed, 6)
    needs, limits = [{"cores": 1}] * 6, {"cores": 2}
    best = min(
        one for order in permutations(range(6)) if (one := in_order(order, seconds, after, needs, limits)) is not None
    )
    assert best <= makespan(seconds, after, needs, limits) <= 1.5 * best


def test_without_limits_it_is_the_critical_path() -> None:
    seconds, after, needs = small_dag(7, 40)
    length = critical_path(np.array([seconds]), after)[0][0]
    assert makespan(seconds, after, needs, {"gpu": None, "cores": None}) == pytest.approx(length)
    assert makespan(seconds, after, needs, {"cores": 1}) == pytest.approx(sum(seconds))


def test_the_chain_is_the_one_that_takes_longest() -> None:
    seconds, after = np.array([1.0, 5.0, 2.0, 1.0, 4.0]), [(), (), (0,), (1, 2), (2,)]
    assert chain(seconds, after) == [0, 2, 4]
    assert critical_path(seconds[None, :], after)[0][0] == 7.0
    assert chain(np.array([]), []) == []
    assert critical_path(np.zeros((3, 0)), [])[0].tolist() == [0.0, 0.0, 0.0]


def test_priority_goes_first_and_a_job_too_large_takes_all_there_is() -> None:
    needs = [{"cores": 1}, {"cores": 1}, {"cores": 8}]
    assert makespan([3.0, 5.0, 1.0], [(), (), ()], needs, {"cores": 2}) == 6.0
    # the last two wait for the first; with priority it is done before the long one begins
    after = [(), (), (1,)]
    single = [{"cores": 1}] * 3
    assert makespan([9.0, 1.0, 9.0], after, single, {"cores": 2}) == 10.0
    assert makespan([9.0, 1.0, 1.0], after, single, {"cores": 1}, [0, 5, 5]) == 11.0


def test_draws_are_worlds_of_their_own() -> None:
    seconds = np.array([[1.0, 2.0], [5.0, 1.0]])
    lengths, ends = critical_path(seconds, [(), (0,)])
    assert lengths.tolist() == [3.0, 6.0] and ends.tolist() == [[1.0, 3.0], [5.0, 6.0]]
