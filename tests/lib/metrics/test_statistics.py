"""Reference: closed-form binomial and normal theory, worked Holm values, and simulated A/A and A/B boards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lib.files import DataError
from lib.metrics.resampled_ap import ap_from_units
from lib.metrics.statistics import (
    Estimate,
    bootstrap_weights,
    holm,
    interval,
    paired_difference,
    seeds_and_videos_interval,
)


def units(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"video": [f"v{number}" for number in range(len(values))], "value": values})


def mean_score(table: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    return weights @ table["value"].to_numpy() / np.maximum(weights.sum(axis=1), 1)


def estimate(values: list[np.ndarray], weights: np.ndarray, row: str) -> Estimate:
    return seeds_and_videos_interval([units(part) for part in values], mean_score, weights=weights, row=row)


def test_weights_are_repeatable_multinomial_counts() -> None:
    weights = bootstrap_weights(20, 4000, seed=3)
    assert weights.shape == (4000, 20) and weights.dtype == np.int64
    assert (weights.sum(axis=1) == 20).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(20, 4000, seed=3))
    assert not np.array_equal(weights, bootstrap_weights(20, 4000, seed=4))
    assert weights.mean() == 1.0 and weights.var() == pytest.approx(1 - 1 / 20, rel=0.03)  # binomial variance
    with pytest.raises(DataError, match="0 units"):
        bootstrap_weights(0, 10, seed=0)


def test_interval_is_the_percentiles_and_leaves_out_missing_draws() -> None:
    samples = np.arange(101.0)
    assert interval(samples, 0.9) == pytest.approx((5.0, 95.0))
    assert interval(np.append(samples, [np.nan] * 20), 0.9) == pytest.approx((5.0, 95.0))
    assert interval(np.full(10, np.nan)) is None
    assert interval(np.append(np.full(10, np.nan), 1.0)) is None
    normal = np.random.default_rng(0).normal(0, np.sqrt(9 / 10), 200_000)  # a mean of 10 units as the bootstrap sees it
    assert interval(normal, 0.95, units=10) == pytest.approx((-2.262, 2.262), abs=0.03)  # Student t, 9 degrees
    with pytest.raises(DataError, match="confidence level"):
        interval(samples, 1.0)


def test_interval_of_a_mean_is_as_wide_as_normal_theory_says() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 60)
    found = estimate([values], bootstrap_weights(60, 4000, seed=0), "a")
    assert found.value == pytest.approx(values.mean())
    student = 2.0010  # 97.5 % quantile of t with 59 degrees of freedom
    assert found.high - found.low == pytest.approx(2 * student * values.std(ddof=1) / np.sqrt(60), rel=0.06)
    assert found.note is not None and "one seed" in found.note


def test_fewer_than_ten_videos_have_no_interval_and_say_why() -> None:
    found = estimate([np.linspace(0, 1, 9)], bootstrap_weights(9, 100, seed=0), "a")
    assert found.value == pytest.approx(0.5) and found.low is None and found.high is None
    assert found.reason is not None and "9 videos" in found.reason
    difference = paired_difference(found, found)
    assert difference.value == 0.0 and difference.verdict is None and difference.reason == found.reason


def test_a_row_without_score_has_no_difference() -> None:
    weights = bootstrap_weights(12, 100, seed=0)
    missing, present = estimate([np.full(12, np.nan)], weights, "a"), estimate([np.ones(12)], weights, "b")
    assert missing.value is None and missing.reason is not None
    assert paired_difference(missing, present).value is None


def test_seeds_of_other_videos_are_refused() -> None:
    weights = bootstrap_weights(12, 50, seed=0)
    first, second = units(np.ones(12)), units(np.ones(12)).iloc[::-1]
    with pytest.raises(DataError, match="seed number 1"):
        seeds_and_videos_interval([first, second], mean_score, weights=weights, row="a")
    with pytest.raises(DataError, match="12 videos"):
        seeds_and_videos_interval([first], mean_score, weights=weights[:, :5], row="a")


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_seed_spread_has_the_unbiased_variance_of_a_mean(n_seeds: int) -> None:
    """All videos alike: what is left is the seeds' part, which must be s² / S with s² the unbiased variance."""
    levels = np.random.default_rng(1).normal(0.5, 0.1, n_seeds)
    found = estimate([np.full(10, level) for level in levels], bootstrap_weights(10, 20_000, seed=0), "a")
    assert found.samples is not None
    assert found.samples.var() == pytest.approx(levels.var(ddof=1) / n_seeds, rel=0.05)


def test_pairing_sees_a_small_constant_gain_that_single_intervals_hide() -> None:
    rng = np.random.default_rng(2)
    easy = rng.uniform(0.1, 0.9, 40)
    weights = bootstrap_weights(40, 1000, seed=0)
    worse, better = estimate([easy], weights, "a"), estimate([easy + 0.03 + rng.normal(0, 0.02, 40)], weights, "b")
    assert better.low < worse.high  # the intervals overlap
    difference = paired_difference(better, worse)
    assert difference.verdict == "better" and difference.low > 0 and difference.p < 0.01
    assert paired_difference(worse, better).verdict == "worse"
    assert paired_difference(worse, better, higher_is_better=False).verdict == "better"
    same = paired_difference(worse, worse)
    assert same.verdict == "tie" and same.p == 1.0


def test_differences_of_other_boards_are_refused() -> None:
    rows = [estimate([np.linspace(0, 1, 12)], bootstrap_weights(12, draws, seed=0), "a") for draws in (100, 200)]
    with pytest.raises(DataError, match="same videos and the same draws"):
        paired_difference(*rows)


def simulate(n_boards: int, n_videos: int, n_seeds: int, gain: float, seed_noise: float) -> tuple[float, float]:
    """Shares of boards on which a is called better than b, and on which a's interval holds its true mean."""
    rng = np.random.default_rng(7)
    better = covered = 0
    for board in range(n_boards):
        weights = bootstrap_weights(n_videos, 400, seed=board)
        easy = rng.normal(0.5, 0.15, n_videos)

        def row(level: float, name: str, easy: np.ndarray = easy, weights: np.ndarray = weights) -> Estimate:
            seeds = [easy + level + rng.normal(0, seed_noise) + rng.normal(0, 0.08, len(easy)) for _ in range(n_seeds)]
            return estimate(seeds, weights, name)

        a, b = row(gain, "a"), row(0.0, "b")
        better += paired_difference(a, b).verdict == "better"
        covered += a.low <= 0.5 + gain <= a.high
    return better / n_boards, covered / n_boards


@pytest.mark.parametrize("n_videos", [10, 40])
def test_a_against_a_is_rarely_called_better_and_intervals_cover(n_videos: int) -> None:
    """Two-sided 95 %: “better” by chance on about 2.5 % of boards; 200 boards leave room for 5 %."""
    better, covered = simulate(200, n_videos, n_seeds=1, gain=0.0, seed_noise=0.0)
    assert better <= 0.05
    assert 0.91 <= covered <= 0.99


def random_units(rng: np.random.Generator, difficulty: np.ndarray) -> pd.DataFrame:
    """Units of a detector on videos of given difficulty: 12 true boxes each, hits and false alarms by chance."""
    rows = []
    for number, hard in enumerate(difficulty):
        hit = rng.random(30) < 0.35 * (1.0 - hard)
        score = np.clip(rng.normal(0.3 + 0.3 * hit, 0.2), 0.0, 1.0)
        order = np.argsort(-score)
        none = np.zeros(30, dtype=np.uint16)
        kept = hit[order] & (np.cumsum(hit[order]) <= 12)
        rows.append((f"v{number:02d}", [12], np.zeros(30, dtype=np.int64), score[order], kept.astype(np.uint16), none))
    return pd.DataFrame(rows, columns=["video", "n_truth", "class_index", "score", "matched", "ignored"])


@pytest.mark.slow
def test_a_against_a_on_ap50() -> None:
    """Two detectors of the same quality on the same 20 videos, 200 boards: a false “better” stays rare for AP50 as well."""
    rng = np.random.default_rng(11)
    better = 0
    for board in range(200):
        weights = bootstrap_weights(20, 300, seed=board)
        hard = rng.uniform(0, 0.9, 20)

        def score(table: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
            return ap_from_units(table, ["person"], weights=rows)

        a, b = (
            seeds_and_videos_interval([random_units(rng, hard)], score, weights=weights, row=name) for name in ("a", "b")
        )
        better += paired_difference(a, b).verdict == "better"
    assert better / 200 <= 0.06


def test_a_against_a_with_seed_noise_and_a_real_gain() -> None:
    better, _ = simulate(200, n_videos=40, n_seeds=5, gain=0.0, seed_noise=0.02)
    assert better <= 0.05
    found, _ = simulate(50, n_videos=40, n_seeds=5, gain=0.1, seed_noise=0.02)
    assert found >= 0.95


def test_holm_on_worked_values() -> None:
    """The textbook case: 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert holm([]).shape == (0,)
    with pytest.raises(DataError, match="between 0 and 1"):
        holm([0.2, 1.2])
