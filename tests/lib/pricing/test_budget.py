"""Budgets of GPU-hours. Reference: worked out by hand."""

from __future__ import annotations

import pytest

from lib.config.base import ConfigError
from lib.pricing.budget import OVER, UNTOLD, WITHIN, hours, verdict
from lib.pricing.estimate import Interval

COST = Interval(8.0, 10.0, 14.0)


@pytest.mark.parametrize(("text", "value"), [("40h", 40.0), ("2d", 48.0), ("90min", 1.5), ("0.5 h", 0.5), (" 1.5d ", 36.0)])
def test_texts(text: str, value: float) -> None:
    assert hours(text) == value


@pytest.mark.parametrize(
    "text", ["", "40", "h", "-3h", "0h", "40 weeks", "1e3h", "nan h", "inf h", "4h30min", "40H", "4,5h"]
)
def test_texts_that_are_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--budget: .* \(d, h, min\)\. Hint: 40h, 2d or 90min\."):
        hours(text)


@pytest.mark.parametrize(
    ("budget", "unknown", "code"),
    [
        (15.0, 0, WITHIN),
        (14.0, 0, WITHIN),
        (13.9, 0, OVER),  # the upper end counts, not the median
        (10.5, 0, OVER),
        (15.0, 1, UNTOLD),
        (9.0, 2, UNTOLD),
        (7.9, 2, OVER),  # what is known is beyond it already
    ],
)
def test_verdict(budget: float, unknown: int, code: int) -> None:
    found, told = verdict(budget, COST, unknown)
    assert found == code
    assert told.startswith(f"budget {budget:.3g} GPU-h: ")
    assert ("cannot be told" in told) == (code == UNTOLD)


def test_nothing_to_do_keeps_any_budget() -> None:
    assert verdict(0.1, Interval(0.0, 0.0, 0.0), 0)[0] == WITHIN
