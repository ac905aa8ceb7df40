"""Intervals over videos and seeds, paired differences, and correction for many comparisons. Not here: any metric.

Percentile bootstrap (Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13) with videos as units, its levels
widened for few videos (Hesterberg 2015, What Teachers Should Know About the Bootstrap, “expanded percentile”). Videos, not
frames: frames of one video are near-copies of each other and would promise far too narrow an interval. All rows of a board
use the same resamples (the same weights), so that what is hard or easy about a video cancels in a difference. With S ≥ 2
seeds the seeds are resampled too, independently for every variant: a training run of one has no twin in another.

Letters: V videos, D draws, S seeds, M comparisons.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from lib.files import DataError

MINIMUM_VIDEOS = 10
"""With fewer videos a percentile interval is far too narrow, so none is given."""

Score = Callable[[pd.DataFrame, np.ndarray], np.ndarray]
"""(units with V rows, weights D×V) → one score per draw (D float64, NaN where a draw has none)."""


@dataclass(frozen=True)
class Estimate:
    """A score with its interval, in the unit of the score; low and high are None where `reason` says why.

    value: mean over seeds on all videos (None = no score); samples: the D resampled means behind the interval; per_seed:
    the score of each seed; note: what the interval does not cover, or None.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    note: str | None
    videos: int
    per_seed: tuple[float | None, ...]
    samples: np.ndarray | None


@dataclass(frozen=True)
class Difference:
    """a − b in the unit of the score, with its interval; verdict None and a `reason` where there is no interval.

    p: two-sided bootstrap achieved significance level of “no difference”, in (0, 1] (for `holm`).
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: Literal["better", "worse", "tie"] | None
    reason: str | None


def bootstrap_weights(n_units: int, draws: int, seed: int) -> np.ndarray:
    """How often each unit is in each resample: D×V int64, every row sums to V (multinomial, equal chances).

    The same three numbers give the same weights everywhere: rows are paired by sharing them. Raises DataError for n_units
    or draws below 1.
    """
    if n_units < 1 or draws < 1:
        raise DataError(f"a bootstrap needs at least 1 unit and 1 draw, given {n_units} units and {draws} draws.")
    return np.random.default_rng(seed).multinomial(n_units, np.full(n_units, 1.0 / n_units), size=draws)


def interval(samples: np.ndarray, level: float = 0.95, *, units: int | None = None) -> tuple[float, float] | None:
    """Percentile interval: the (1 − level)/2 and (1 + level)/2 quantiles of the D samples.

    With `units` (how many were resampled, V ≥ 2) the quantiles are moved outwards to Φ(± √(V/(V−1)) · t), t the Student-t
    quantile with V − 1 degrees of freedom (Hesterberg 2015, section 5.2): the plain ones are too narrow for few units.
    Draws without a score (NaN) are left out; None when more than half of them have none. Raises DataError for a level
    outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise DataError(f"the confidence level must lie between 0 and 1, given {level}.")
    samples = np.asarray(samples, dtype=np.float64)
    known = samples[np.isfinite(samples)]
    if len(known) == 0 or len(known) < len(samples) / 2:
        return None
    below = (1.0 - level) / 2.0
    if units is not None:
        below = float(ndtr(np.sqrt(units / (units - 1)) * stdtrit(units - 1, below)))
    low, high = np.quantile(known, [below, 1.0 - below])
    return float(low), float(high)


def _significance(samples: np.ndarray, units: int) -> float:
    """Two-sided p of “no difference”: twice the smaller share of draws on one side of 0, narrowed as `interval` widens."""
    known = samples[np.isfinite(samples)]
    tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
    share = min(0.5, (1.0 + tail) / (1.0 + len(known)))
    return float(2.0 * stdtr(units - 1, ndtri(share) / np.sqrt(units / (units - 1))))


def seeds_and_videos_interval(
    seeds: Sequence[pd.DataFrame], score: Score, *, weights: np.ndarray, row: str, level: float = 0.95
) -> Estimate:
    """Mean score over S seeds and its interval over videos and seeds.

    seeds: per seed the units (V rows with a column `video`, the same videos in the same order); weights: D×V of
    `bootstrap_weights`, the same for all rows of a board; row: name of the trained variant, which makes its resampling of
    seeds its own (rows that use the same trained models, say TTA modes of one variant, share the name: their seeds stay
    paired).
    Every draw scores each seed on the same resampled videos and averages S − 1 seeds drawn with replacement (Rao & Wu 1988:
    one fewer than there are makes the bootstrap variance of a mean unbiased for few units); with S = 1 it covers videos
    only and `note` says so. Raises DataError when the seeds hold different videos or the weights do not fit.
    """
    videos = _common_videos(seeds)
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != videos:
        raise DataError(f"weights must be draws × {videos} videos, given shape {weights.shape}.")
    everything = np.ones((1, videos), dtype=np.int64)
    found = [float(score(units, everything)[0]) for units in seeds] if videos else []
    per_seed = tuple(value if np.isfinite(value) else None for value in found)
    known = [value for value in per_seed if value is not None]
    value = float(np.mean(known)) if known and len(known) == len(per_seed) else None
    if value is None:
        return Estimate(None, None, None, "no score: there is no truth to compare with", None, videos, per_seed, None)
    if videos < MINIMUM_VIDEOS:
        reason = f"no interval: {videos} videos, at least {MINIMUM_VIDEOS} are needed"
        return Estimate(value, None, None, reason, None, videos, per_seed, None)
    samples = _seed_means(np.stack([score(units, weights) for units in seeds]), row)
    ends = interval(samples, level, units=videos)
    if ends is None:
        reason = "no interval: more than half of the resamples hold no truth"
        return Estimate(value, None, None, reason, None, videos, per_seed, None)
    return Estimate(value, *ends, None, _seed_note(len(seeds)), videos, per_seed, samples)


def _common_videos(seeds: Sequence[pd.DataFrame]) -> int:
    if not seeds:
        raise DataError("an interval needs the units of at least one seed, given none.")
    first = seeds[0]["video"].tolist()
    for number, units in enumerate(seeds[1:], start=1):
        if units["video"].tolist() != first:
            raise DataError(
                f"seed number {number} was scored on other videos than the first. Hint: evaluate all on one test split."
            )
    return len(first)


def _seed_means(scores: np.ndarray, row: str) -> np.ndarray:
    """Mean over S − 1 resampled seeds of each draw: scores S×D → D (S = 1: that seed)."""
    n_seeds, n_draws = scores.shape
    if n_seeds == 1:
        return scores[0]
    rng = np.random.default_rng([n_seeds, zlib.crc32(row.encode())])
    picked = rng.integers(n_seeds, size=(n_seeds - 1, n_draws))
    return np.take_along_axis(scores, picked, axis=0).mean(axis=0)


def _seed_note(n_seeds: int) -> str | None:
    if n_seeds == 1:
        return "one seed: the interval covers the choice of videos, not the randomness of training"
    return f"{n_seeds} seeds: their spread is known only roughly" if n_seeds < 3 else None


def paired_difference(a: Estimate, b: Estimate, *, level: float = 0.95, higher_is_better: bool = True) -> Difference:
    """Whether row a beats row b, both made with the same weights: a tie where the interval of a − b covers 0.

    The verdict is about a. Raises DataError when the two were made with different numbers of draws or videos.
    """
    if a.value is None or b.value is None:
        return Difference(None, None, None, None, None, "no difference: one of the two has no score")
    value = a.value - b.value
    if a.samples is None or b.samples is None:
        return Difference(value, None, None, None, None, a.reason or b.reason)
    if a.samples.shape != b.samples.shape or a.videos != b.videos:
        raise DataError(
            "a paired difference needs the same videos and the same draws. Hint: use one set of weights per board."
        )
    samples = a.samples - b.samples
    ends = interval(samples, level, units=a.videos)
    if ends is None:
        reason = "no interval: more than half of the resamples hold no truth"
        return Difference(value, None, None, None, None, reason)
    p = _significance(samples, a.videos)
    return Difference(value, *ends, p, _verdict(*ends, higher_is_better), None)


def _verdict(low: float, high: float, higher_is_better: bool) -> Literal["better", "worse", "tie"]:
    if low <= 0.0 <= high:
        return "tie"
    return "better" if (low > 0.0) == higher_is_better else "worse"


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values corrected for M comparisons (Holm 1979, step-down): M float64 in [0, 1], in the order given.

    p'_(i) = max over j ≤ i of min(1, (M − j + 1) · p_(j)); calling p' < α keeps the chance of any false claim below α.
    Raises DataError for a value outside [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.size and not ((values >= 0.0) & (values <= 1.0)).all():
        raise DataError(f"p-values must lie between 0 and 1, given {values.tolist()}.")
    order = np.argsort(values, kind="stable")
    steps = np.minimum(1.0, values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(steps)
    return corrected
