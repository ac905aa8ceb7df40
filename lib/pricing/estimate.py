"""What jobs will take, from what like jobs took: medians and 80 % intervals. Not here: which jobs are alike (sizes.py).

The seconds of a job of amount x (frames, iterations × batch …) are

    t = c · (s + (1 - s) · x / x̄) · exp(noise),    noise ~ Normal(0, σ²),    x̄ = geometric mean of the recorded amounts

that is: a part that every job pays (starting programs, loading models) and a part that grows with the amount. All of c, s
and σ are unknown, with flat priors for log c and s from 0 to 1 and Jeffreys' for σ. For a given s that is the mean of n
log-residuals with Student's t of n - 1 degrees of freedom; s is summed over a grid with its posterior weights. So the
interval of a job of a recorded size is that of the t-quantile, and it widens with the distance from what was recorded.

One draw is one possible world: c, s and σ are drawn once for all jobs that share records, the noise for each job. A share ρ
of the noise's variance is common to all jobs of a run, because a machine that is busy is so for all of them; ρ is learnt
from how alike the residuals of each past run are. Sums, critical paths and makespans are taken within a draw; so what jobs
have in common does not average out. Not covered: that machines differ.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 3
"""Records below this number say nothing: the job's cost is unknown."""
LEVEL = 0.8
REACH = 30.0
"""A job whose amount is more than this many times the largest recorded one is unknown."""
UNSURE = 0.5
"""ρ where no two runs were recorded."""
_SHARES = np.linspace(0.0, 1.0, 21)
_LEAST_SIGMA = 0.02
"""Two runs of one job never differ by less than this share; benchmarks of alike seconds would promise too much."""


@dataclass(frozen=True)
class Fit:
    """What n records say: for each share s its weight, the mean log-residual and the sum of squared deviations."""

    reference: float  # x̄
    largest: float
    number: int
    weights: np.ndarray  # (S,)
    means: np.ndarray  # (S,)
    squares: np.ndarray  # (S,)
    freedom: float

    def reaches(self, amount: float) -> bool:
        """Whether an amount is near enough to what was recorded."""
        return amount <= REACH * self.largest

    def draw(self, amounts: np.ndarray, common: np.ndarray, rng: np.random.Generator, likeness: float = 0.0) -> np.ndarray:
        """What jobs of these amounts (J,) may take, (D, J): one world a row.

        common: the run's own noise in each world (D,), standard normal, of which likeness (ρ) is taken.
        """
        draws = len(common)
        place = rng.choice(len(_SHARES), size=draws, p=self.weights)
        variance = self.squares[place] / rng.chisquare(self.freedom, size=draws)
        level = self.means[place] + np.sqrt(variance / self.number) * rng.standard_normal(draws)
        share = _SHARES[place][:, None]
        growth = np.log(share + (1 - share) * amounts[None, :] / self.reference)
        own = rng.standard_normal((draws, len(amounts)))
        noise = np.sqrt(likeness) * common[:, None] + np.sqrt(1 - likeness) * own
        return np.exp(level[:, None] + growth + np.sqrt(variance)[:, None] * noise)

    def residuals(self, values: Sequence[float], amounts: Sequence[float]) -> np.ndarray:
        """How far records are off, in standard deviations, for the likeliest share."""
        best = int(self.weights.argmax())
        share = _SHARES[best]
        growth = np.log(share + (1 - share) * np.asarray(amounts) / self.reference)
        return (np.log(np.asarray(values)) - growth - self.means[best]) / np.sqrt(self.squares[best] / self.freedom)


def fit(values: Sequence[float], amounts: Sequence[float], prior: tuple[float, float] = (0.0, 0.0)) -> Fit | None:
    """Learn from records: what they took (> 0) and their amounts (> 0). None with fewer than FEWEST.

    prior: so many degrees of freedom of other jobs' noise, and its variance (pooled); (0, 0) = only these records count.
    """
    if len(values) < FEWEST:
        return None
    logs, sizes = np.log(np.asarray(values, dtype=float)), np.asarray(amounts, dtype=float)
    reference = float(np.exp(np.log(sizes).mean()))
    growth = np.log(_SHARES[:, None] + (1 - _SHARES[:, None]) * sizes[None, :] / reference)
    residuals = logs[None, :] - growth
    means = residuals.mean(axis=1)
    own = ((residuals - means[:, None]) ** 2).sum(axis=1)
    freedom = len(values) - 1 + prior[0]
    squares = np.maximum(own + prior[0] * prior[1], freedom * _LEAST_SIGMA**2)
    relative = -0.5 * freedom * (np.log(squares) - np.log(squares.min()))
    weights = np.exp(relative)
    return Fit(reference, float(sizes.max()), len(values), weights / weights.sum(), means, squares, freedom)


def pooled(groups: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, float]:
    """The prior of `fit` from the noise of all groups that can be fitted: one degree of freedom, their mean variance.

    Few records of one group may agree by chance; a machine that is shared disturbs all of them. (0, 0) below two groups.
    """
    freedom, squares, number = 0.0, 0.0, 0
    for values, amounts in groups:
        found = fit(values, amounts)
        if found is not None:
            freedom += found.freedom
            squares += float(found.weights @ found.squares)
            number += 1
    return (1.0, squares / freedom) if number > 1 else (0.0, 0.0)


def likeness(residuals: Sequence[float], groups: Sequence[Hashable], runs: Sequence[Hashable]) -> float:
    """ρ: correlation of the residuals of one run's jobs, of different groups; 0 to 1.

    residuals: in standard deviations, each with its group and its run. UNSURE with fewer than two runs.
    """
    values = np.asarray(residuals, dtype=float)
    number = len(set(runs))
    if number < 2:
        return UNSURE
    products, pairs = 0.0, 0.0
    for sign, keys in ((1, list(runs)), (-1, list(zip(runs, groups, strict=True)))):
        members: dict[Hashable, list[int]] = {}
        for place, key in enumerate(keys):
            members.setdefault(key, []).append(place)
        for places in members.values():
            some = values[places]
            products += sign * float(some.sum() ** 2 - (some**2).sum())
            pairs += sign * len(places) * (len(places) - 1)
    if not pairs:
        return UNSURE
    # residuals are taken from means over the same runs, which hides one part in their number
    return float(np.clip(products / pairs / (1 - 1 / number), 0.0, 1.0))


@dataclass(frozen=True)
class Interval:
    """A median with the LEVEL interval around it; nothing is said of what is unknown."""

    low: float
    median: float
    high: float


def interval(draws: np.ndarray) -> Interval:
    """The middle LEVEL of draws (D,)."""
    low, median, high = np.quantile(draws, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    return Interval(float(low), float(median), float(high))
