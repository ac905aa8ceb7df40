"""Curves drawn with characters, for terminals: each has 2 × 4 dots (Unicode's Braille patterns).

Not here: pictures in files (lib/reporting/curves.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row from above and column
_LABEL = 9  # characters for the numbers beside the plot


@dataclass(frozen=True)
class Curve:
    """Points (x, y) in the order of x, drawn in one colour; a y that is no number leaves a gap."""

    points: Sequence[tuple[float, float]]
    style: str


def text_plot(curves: Sequence[Curve], *, width: int, height: int) -> Text:
    """All curves on one scale, width × height characters with the numbers of the axes; later ones lie on top.

    Of several points in one column of dots the mean is drawn, so a noisy curve does not become a band.
    """
    across, down = max(2, 2 * (width - _LABEL - 1)), 4 * (height - 1)
    finite = [(x, y) for curve in curves for x, y in curve.points if math.isfinite(y)]
    if not finite:
        return Text("no numbers yet", style="dim")
    left, right = min(x for x, _ in finite), max(x for x, _ in finite)
    drawn = [(curve.style, _columns(curve.points, left, right, across)) for curve in curves]
    means = [mean for _, columns in drawn for mean in columns.values()]
    low, high = min(means), max(means)
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    for style, columns in drawn:
        for row, column in _dots(columns, low, high, down):
            place = (row // 4, column // 2)
            dots, before = cells.get(place, (0, style))
            kept = dots if before == style else 0
            cells[place] = (kept | _DOTS[row % 4][column % 2], style)
    text = Text()
    for line in range(height - 1):
        label = _short(high) if line == 0 else _short(low) if line == height - 2 else ""
        text.append(f"{label:>{_LABEL}}│", style="dim")
        for column in range(across // 2):
            dots, style = cells.get((line, column), (0, ""))
            text.append(chr(_BRAILLE + dots) if dots else " ", style=style)
        text.append("\n")
    ends = f"{left:g}", f"{right:g}"
    text.append(" " * _LABEL + f"└{ends[0]}{ends[1]:>{max(1, across // 2 - len(ends[0]))}}", style="dim")
    return text


def _short(value: float) -> str:
    """A number in at most _LABEL characters."""
    return min((f"{value:.{digits}g}" for digits in (4, 3, 2)), key=lambda text: max(len(text), _LABEL))


def _columns(points: Sequence[tuple[float, float]], left: float, right: float, across: int) -> dict[int, float]:
    """Mean of the points that fall into each column of dots."""
    found: dict[int, list[float]] = {}
    for x, y in points:
        if math.isfinite(y):
            place = round((x - left) / (right - left) * (across - 1)) if right > left else 0
            found.setdefault(place, []).append(y)
    return {place: sum(values) / len(values) for place, values in sorted(found.items())}


def _dots(columns: dict[int, float], low: float, high: float, down: int) -> list[tuple[int, int]]:
    """(row from above, column) of every dot; neighbouring points are joined by a line."""
    span = high - low

    def row(value: float) -> int:
        return round((high - value) / span * (down - 1)) if span > 0 else down // 2

    places = [(column, row(value)) for column, value in columns.items()]
    found = [(at, column) for column, at in places]
    for (first, above), (last, below) in pairwise(places):
        steps = max(last - first, abs(below - above))
        for step in range(1, steps):
            found.append((round(above + (below - above) * step / steps), round(first + (last - first) * step / steps)))
    return found
