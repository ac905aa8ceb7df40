"""How figures are written. Reference: by hand."""

from __future__ import annotations

import pytest

from lib.pricing.estimate import Interval
from lib.pricing.show import amount, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ((1.02, 1.46, 2.0), "1.5 s (1–2)"),
        ((90.0, 119.0, 150.0), "119 s (90–150)"),
        ((100.0, 240.0, 600.0), "4 min (1.7–10)"),
        ((3000.0, 9000.0, 36000.0), "2.5 h (0.83–10)"),
        ((86400.0, 864000.0, 1728000.0), "10 d (1–20)"),
    ],
)
def test_durations(seconds: tuple[float, float, float], text: str) -> None:
    assert duration(Interval(*seconds)) == text


def test_small_amounts_are_never_nothing() -> None:
    assert amount(Interval(0.00001, 0.0004, 0.0123)) == "<0.001 (<0.001–0.012)"
    assert amount(Interval(0.0, 0.0, 0.0)) == "0 (0–0)"
    assert amount(Interval(1234.0, 56789.0, 123456.0)) == "56,789 (1,234–123,456)"
