"""How every picture of the project looks: one seaborn theme, colours with one meaning each. Not here: any picture.

Figures are made without pyplot: no window, no global state, the Agg backend always, no metadata; the same data give the
same bytes with the same versions of matplotlib and fonts (DejaVu Sans comes with matplotlib).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.files import atomic

_PALETTE = sns.color_palette("colorblind").as_hex()
COLOURS = {
    "model": _PALETTE[0],
    "pretrained": _PALETTE[1],
    "floor": "#7f7f7f",
    "tracker": _PALETTE[2],
    "ensemble": _PALETTE[3],
}
LEAST = 0.05
"""Shortest axis of scores (0-1): below it differences are no differences, and their ticks would be long numbers."""
LINES = [_PALETTE[number] for number in (0, 1, 2, 4, 3, 5, 9)]
MUTED, DARK = "#6b6b6b", "#222222"
FONT = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 7.5,
}
LOOK = {
    "axes.edgecolor": "#8c8c8c",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "grid.color": "#ececec",
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "text.parse_math": False,
}


@contextmanager
def figure(path: Path, *, width: float, height: float, dpi: int) -> Iterator[Figure]:
    """A figure of width × height inches in the project's style, written to `path` (PNG, atomically) when the block ends."""
    with mpl.rc_context({**sns.axes_style("whitegrid"), **FONT, **LOOK}):
        drawn = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn
        with atomic(path) as temporary:
            drawn.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


def wrapped(text: str, width: int) -> str:
    """Text over several lines, broken at spaces and hyphens, and inside a word only where there is no other way."""
    return "\n".join(textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=True)) or text
