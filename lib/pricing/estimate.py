"""What jobs will take, from what like jobs took: medians and 80 % intervals. Not here: which jobs are alike (sizes.py).

The seconds of a job of amount x (frames, iterations × batch …) are

    t = c · (s + (1 - s) · x / x̄) · exp(noise),    noise ~ Normal(0, σ²),    x̄ = geometric mean of the recorded amounts

that is: a part that every job pays (starting programs, loading models) and a part that grows with the amount. All of c, s
and σ are unknown, with flat priors for log c and s from 0 to 1 and Jeffreys' for σ. For a given s that is the mean of n
log-residuals with Student's t of n - 1 degrees of freedom; s is summed over a grid with its posterior weights. So the
interval of a job of a recorded size is that of the t-quantile, and it widens with the distance from what was recorded.

A run as a whole is faster or slower than others, because its machine is quiet or busy: u, the same for all of its jobs
(`moods`). It is learnt from all rules together and taken out of the records before the above; a further run has its own.

One draw is one possible world: u once for all jobs, c, s and σ once for those that share records, the noise for each job.
Sums, critical paths and makespans are taken within a draw, so what jobs have in common does not average out. Not covered:
that machines are of different kinds (records are taken as they are).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 3
"""Records below this number say nothing: the job's cost is unknown."""
LEVEL = 0.8
REACH = 30.0
"""A job whose amount is more than this many times the largest recorded one is unknown."""
_MOOD = 0.2
"""Before any two runs are seen, one differs from another by about this share."""
_ROUNDS = 5
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

    def draw(self, amounts: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """What jobs of these amounts (J,) may take in a run like any other, (draws, J): one world a row."""
        place = rng.choice(len(_SHARES), size=draws, p=self.weights)
        variance = self.squares[place] / rng.chisquare(self.freedom, size=draws)
        level = self.means[place] + np.sqrt(variance / self.number) * rng.standard_normal(draws)
        share = _SHARES[place][:, None]
        growth = np.log(share + (1 - share) * amounts[None, :] / self.reference)
        noise = np.sqrt(variance)[:, None] * rng.standard_normal((draws, len(amounts)))
        return np.exp(level[:, None] + growth + noise)

    def residuals(self, values: np.ndarray, amounts: np.ndarray) -> np.ndarray:
        """How far the logarithms of records are off, for the likeliest share."""
        best = int(self.weights.argmax())
        share = _SHARES[best]
        return np.log(values) - np.log(share + (1 - share) * amounts / self.reference) - self.means[best]


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


@dataclass(frozen=True)
class Moods:
    """How much slower each past run was than the mean of all (log), and what that says of a further one."""

    by_run: Mapping[str, float]

    def draw(self, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Of a further run (draws,): Student's t around 0, with _MOOD as if two more runs had been seen."""
        found = np.array(list(self.by_run.values()))
        number = max(1, len(found))
        variance = (float((found**2).sum()) + 2 * _MOOD**2) / (number + 1)
        return np.sqrt(variance * (1 + 1 / number)) * rng.standard_t(number + 1, size=draws)


def moods(groups: Sequence[tuple[np.ndarray, np.ndarray, Sequence[str]]]) -> Moods:
    """Learn the moods of runs from the records of all groups: what they took, their amounts, their runs.

    A run's mood is the median over groups of its mean residual; groups are fitted again with it taken out.
    """
    names = sorted({run for _, _, runs in groups for run in runs})
    found = dict.fromkeys(names, 0.0)
    for _ in range(_ROUNDS if len(names) > 1 else 0):
        seen: dict[str, list[float]] = {name: [] for name in names}
        for values, amounts, runs in groups:
            calm = values * np.exp([-found[run] for run in runs])
            learnt = fit(calm, amounts)
            if learnt is None or len(set(runs)) < 2:
                continue
            off = learnt.residuals(calm, amounts)
            for run in set(runs):
                seen[run].append(float(off[[one == run for one in runs]].mean()))
        found = {name: mood + (float(np.median(seen[name])) if seen[name] else 0.0) for name, mood in found.items()}
        middle = float(np.mean(list(found.values())))
        found = {name: mood - middle for name, mood in found.items()}
    return Moods(found)


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
