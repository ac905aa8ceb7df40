"""Estimates from records. Reference: worlds that are drawn here, whose law is known, and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lib.pricing.estimate import FEWEST, Interval, Moods, fit, interval, moods, pooled

AMOUNTS = np.array([10.0, 20.0, 40.0, 80.0])


def drawn(learnt, amounts, draws: int = 2000, *, seed: int = 0) -> np.ndarray:
    return learnt.draw(np.asarray(amounts, dtype=float), draws, np.random.default_rng(seed))


@pytest.mark.parametrize("number", range(FEWEST))
def test_too_few_records_say_nothing(number: int) -> None:
    assert fit([1.0] * number, [1.0] * number) is None


@pytest.mark.parametrize("number", [3, 5, 12])
@pytest.mark.parametrize("sigma", [0.1, 0.6])
def test_intervals_hold_what_they_promise(number: int, sigma: float) -> None:
    """Alike jobs with log-normal noise: 80 % of further jobs lie in the 80 % interval, however few records there are."""
    rng = np.random.default_rng(1)
    inside = 0
    for turn in range(600):
        *records, further = np.exp(rng.normal(3.0, sigma, number + 1))
        found = interval(drawn(fit(records, [1.0] * number), [1.0], 400, seed=turn)[:, 0])
        inside += found.low <= further <= found.high
    assert 0.75 <= inside / 600 <= 0.85


def test_the_interval_of_three_records_is_the_one_of_students_t() -> None:
    """t(2 degrees, 0.9) = 1.886: mean ± 1.886 · sd · sqrt(1 + 1/3), in logarithms."""
    values = np.exp([0.9, 1.0, 1.2])
    middle, spread = np.log(values).mean(), np.log(values).std(ddof=1)
    found = interval(drawn(fit(values, [1.0] * 3), [1.0], 200_000)[:, 0])
    assert np.log(found.median) == pytest.approx(middle, abs=0.005)
    assert np.log(found.high) - middle == pytest.approx(1.886 * spread * np.sqrt(4 / 3), rel=0.03)
    assert middle - np.log(found.low) == pytest.approx(1.886 * spread * np.sqrt(4 / 3), rel=0.03)


@pytest.mark.parametrize(("start", "each"), [(0.0, 0.5), (30.0, 0.0), (12.0, 0.3)])
def test_scaling_with_the_amount(start: float, each: float) -> None:
    """Seconds of start-up and seconds per frame are told apart, inside what was recorded and up to twice as far."""
    rng = np.random.default_rng(2)
    amounts = np.repeat(AMOUNTS, 4)
    values = (start + each * amounts) * np.exp(rng.normal(0, 0.05, len(amounts)))
    found = np.median(drawn(fit(values, amounts), [15.0, 60.0, 160.0]), axis=0)
    assert found == pytest.approx(start + each * np.array([15.0, 60.0, 160.0]), rel=0.12)


def test_it_is_less_sure_far_from_what_was_recorded() -> None:
    learnt = fit([10.0, 11.0, 10.5], [100.0, 100.0, 100.0])
    near, far = (interval(drawn(learnt, [amount])[:, 0]) for amount in (100.0, 1000.0))
    assert near.high / near.low < 1.5 and far.high / far.low > 4
    assert near.low <= 10.5 <= near.high and far.low < 100 and far.high > 50
    assert learnt.reaches(2000.0) and not learnt.reaches(4000.0)


def test_alike_records_do_not_promise_a_point() -> None:
    found = interval(drawn(fit([5.0] * 4, [1.0] * 4), [1.0])[:, 0])
    assert found.low < 4.95 and found.high > 5.05


def test_what_jobs_learn_from_the_same_records_does_not_average_out() -> None:
    """The level of four records is unsure by σ/2; the mean of 100 jobs would be by σ/10 without that."""
    learnt = fit(np.exp([0.0, 0.3, -0.2, 0.1]), [1.0] * 4)
    sums = np.log(drawn(learnt, [1.0] * 100, 20_000).mean(axis=1))
    spread = np.std([0.0, 0.3, -0.2, 0.1], ddof=1)
    assert (np.quantile(sums, 0.9) - np.quantile(sums, 0.1)) / 2 == pytest.approx(1.638 * spread / 2, rel=0.15)


def runs_of(true: np.ndarray, groups: int, rng: np.random.Generator):
    """Records of so many groups, two of each run, amounts of their own in each run, noise of 0.1."""
    made = []
    for group in range(groups):
        names = [f"r{run}" for run in range(len(true)) for _ in range(2)]
        amounts = rng.uniform(10, 40) * rng.uniform(1, 4, len(names)) if group % 2 else np.ones(len(names))
        mood = np.repeat(true, 2)
        made.append(((1 + 0.1 * amounts) * np.exp(mood + rng.normal(0, 0.1, len(names))), amounts, names))
    return made


def test_moods_of_runs_are_found() -> None:
    """Of five runs of thirty groups, whose machine was up to twice as slow; around their mean."""
    true = np.array([0.0, 0.7, -0.2, 0.1, -0.1])
    found = moods(runs_of(true, 30, np.random.default_rng(5)))
    assert list(found.by_run) == ["r0", "r1", "r2", "r3", "r4"]
    assert np.array(list(found.by_run.values())) == pytest.approx(true - true.mean(), abs=0.08)


def test_a_further_run_may_be_in_any_mood_seen() -> None:
    """Runs drawn from Normal(0, 0.3): four of five further ones lie in the 80 % interval, after four that were seen."""
    rng = np.random.default_rng(6)
    inside = 0
    for _ in range(400):
        *seen, further = rng.normal(0, 0.3, 5)
        middle = np.mean(seen)
        known = Moods({str(place): mood - middle for place, mood in enumerate(seen)})
        found = interval(np.exp(known.draw(400, rng)))
        inside += found.low <= np.exp(further - middle) <= found.high
    assert 0.72 <= inside / 400 <= 0.88


def test_one_run_says_little_of_the_next() -> None:
    only = moods(runs_of(np.array([0.5]), 4, np.random.default_rng(7)))
    assert only.by_run == {"r0": 0.0}
    one, none = (interval(np.exp(each.draw(20_000, np.random.default_rng(8)))) for each in (only, moods([])))
    assert one.high > 1.3 and one == none


def test_a_pooled_prior_steadies_few_records() -> None:
    """Three records that agree by chance, among groups whose noise is 0.3."""
    rng = np.random.default_rng(4)
    groups = [(np.exp(rng.normal(0, 0.3, 6)), np.ones(6)) for _ in range(10)]
    freedom, variance = pooled(groups)
    assert freedom == 1.0 and np.sqrt(variance) == pytest.approx(0.3, rel=0.2)
    alone = interval(drawn(fit([1.0, 1.01, 1.02], [1.0] * 3), [1.0])[:, 0])
    among = interval(drawn(fit([1.0, 1.01, 1.02], [1.0] * 3, (freedom, variance)), [1.0])[:, 0])
    assert among.high / among.low > 1.5 > alone.high / alone.low
    assert pooled(groups[:1]) == (0.0, 0.0)


def test_interval_is_the_middle_eighty_percent() -> None:
    assert interval(np.arange(101.0)) == Interval(pytest.approx(10.0), 50.0, pytest.approx(90.0))
