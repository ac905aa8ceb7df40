"""What a finished board is: its table, its footnotes, and the order and ties of its rows. Not here: files, pictures, pages.

“Clear” has one meaning on every board: the interval of the paired difference excludes 0, and its t-test is clear at
the same level after Holm's correction for the number of rows that are compared. All else is a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr

from lib.metrics.statistics import Difference, Estimate, holm, paired_difference

TRACK_METRICS = {
    "HOTA": "√(DetA·AssA), mean over IoU 0.05:0.05:0.95 (Luiten et al. 2021); 0–1, higher is better",
    "DetA": "detection accuracy TP/(TP+FN+FP), mean over IoU 0.05:0.05:0.95; 0–1, higher is better",
    "AssA": "association accuracy, mean over IoU 0.05:0.05:0.95 (Luiten et al. 2021); 0–1, higher is better",
    "MOTA": "1 − (FN+FP+IDSW)/true boxes (Bernardin & Stiefelhagen 2008); −∞–1, higher is better",
    "IDF1": "F1 of boxes with the right identity (Ristani et al. 2016); 0–1, higher is better",
}


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """One board, ready to be written.

    rows: one row per pair, in the order shown, plain Python values (None = there is none); the CSV holds exactly this.
    classes: classes that have columns of their own, most truth first. metrics: of the table, the ranking one and others.
    mean: whether the score is a mean over classes. notes: footnotes, one sentence or two each.
    """

    name: str
    dataset: str
    kind: str
    metric: str
    level: float
    rows: pd.DataFrame
    classes: list[str]
    notes: list[str]
    metrics: tuple[str, ...] = ()
    mean: bool = False
    floor: float | None = None
    title: str = ""

    @property
    def heading(self) -> str:
        """The board's title, or its name where it has none."""
        return " ".join(self.title.split()) or self.name

    @property
    def ranked(self) -> bool:
        """Whether any row has a score to be ranked by."""
        return bool(self.rows[self.metric].notna().any())

    @property
    def subject(self) -> str:
        """What the board is about, behind its heading: the dataset and, where rows are ranked, the metric."""
        return f"on {self.dataset}, by {self.metric}" if self.ranked else f"on {self.dataset}"


def order(estimates: Sequence[Estimate | None]) -> list[int]:
    """Positions of rows, best score first; rows without a score last; equals in the order of the board's lists."""

    def place(number: int) -> tuple[bool, float]:
        estimate = estimates[number]
        value = None if estimate is None else estimate.value
        return (value is None, 0.0 if value is None else -value)

    return sorted(range(len(estimates)), key=place)


def ranks(values: Sequence[float | None]) -> list[int | None]:
    """Ranks from 1 of scores, the highest first; equal scores share the better rank; None for rows without a score."""
    known = [value for value in values if value is not None]
    return [None if value is None else 1 + sum(other > value for other in known) for value in values]


Reference = int | Sequence[int | None] | None
"""The number of the row that rows are compared with: one for all, one for each, or None where there is none."""


def _for_each(to: Reference, rows: int) -> list[int | None]:
    return [to] * rows if to is None or isinstance(to, int) else list(to)


def differences(estimates: Sequence[Estimate | None], to: Reference, level: float) -> list[Difference | None]:
    """Paired difference of every row with a score to the row number `to`; None for that row itself and without scores."""
    found: list[Difference | None] = []
    for number, (estimate, other) in enumerate(zip(estimates, _for_each(to, len(estimates)), strict=True)):
        reference = None if other is None else estimates[other]
        if reference is None or estimate is None or estimate.value is None or number == other:
            found.append(None)
        else:
            found.append(paired_difference(estimate, reference, level=level))
    return found


def verdicts(estimates: Sequence[Estimate | None], to: Reference, level: float) -> list[str | None]:
    """Per row “better”, “worse” or “tie” against the row number `to`; None where no interval of the difference exists.

    Holm's correction is for all comparisons of the call, whether with one row or with several.
    """
    found, others = differences(estimates, to, level), _for_each(to, len(estimates))
    tested = [number for number, one in enumerate(found) if one is not None and one.verdict is not None]
    p_values = [_p_value(estimates[number], estimates[others[number]]) for number in tested]
    corrected = dict(zip(tested, holm(p_values), strict=True))
    return [
        None if number not in corrected else one.verdict if corrected[number] < 1.0 - level else "tie"
        for number, one in enumerate(found)
    ]


def _p_value(row: Estimate, other: Estimate) -> float:
    """Two-sided p of “no difference”: Student's t with the bootstrap's standard error and videos − 1 degrees of freedom.

    The share of resamples beyond 0 cannot fall below about 2 / draws, which Holm's correction would multiply into a tie on
    any long board; t has no such floor. The error is widened by √(V/(V−1)), as the intervals are.
    """
    samples = row.samples - other.samples
    error = float(np.nanstd(samples)) * np.sqrt(row.videos / (row.videos - 1))
    difference = abs(row.value - other.value)
    if error <= 1e-12:
        return 1.0 if difference <= 1e-12 else 0.0
    return float(2.0 * stdtr(row.videos - 1, -difference / error))


def difference_columns(name: str, one: Difference | None) -> dict[str, Any]:
    """Columns of one paired difference: `name`, and the ends of its interval."""
    return {
        name: one.value if one else None,
        f"{name}_low": one.low if one else None,
        f"{name}_high": one.high if one else None,
    }


def above_floor(verdict: str | None) -> str | None:
    """A row's verdict against the floor in the words of the boards: yes, or no (ties included); None without a verdict."""
    return {"better": "yes", "tie": "no", "worse": "no"}.get(verdict or "")


def interval_note(estimates: Sequence[Estimate | None], *, level: float, draws: int, trained: bool = True) -> list[str]:
    """How the intervals came about, or why there are none; `trained`: rows are trainings, whose seeds matter."""
    known = [estimate for estimate in estimates if estimate is not None]
    with_interval = [estimate for estimate in known if estimate.low is not None]
    notes = []
    if with_interval:
        several = any(len(estimate.per_seed) > 1 for estimate in with_interval)
        over = f"{with_interval[0].videos} videos{' and over seeds' if several else ''}"
        notes.append(
            f"{100 * level:g} % intervals: bootstrap over {over}, {draws} resamples, the same for all rows (paired), "
            "widened for few videos (Hesterberg 2015)."
        )
    reasons = [text for estimate in known for text in (estimate.reason, estimate.note if trained else None) if text]
    return notes + [f"{text[0].upper()}{text[1:]}." for text in dict.fromkeys(reasons)]


def tie_note(standing: Sequence[str | None], *, level: float) -> list[str]:
    """The rule by which rows tie with the best, when any row was compared; standing: `verdicts` against the best row."""
    compared = sum(one is not None for one in standing)
    if not compared:
        return []
    return [
        f"“tie”: the {100 * level:g} % interval of the paired difference to the best row holds 0, or its t-test is not "
        f"clear at that level after Holm's correction for {compared} comparison{'s' if compared > 1 else ''}. A tie is no "
        "proof of equality."
    ]
