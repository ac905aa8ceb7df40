"""The picture of a study of arms: each class's score against the frames that it is trained on. Not here: the scores.

Frames are drawn in doublings (log2), because scores of detectors grow by about as much with each; the line is the least
squares of score on log2(frames) over the rows that only differ in their share of frames: without controls and sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lib.config.report import ReportSettings
from lib.reporting.ranking import Ranking
from lib.reporting.style import DARK, LINES, MUTED, figure, wrapped

MARKS = {"share": "o", "control": "s", "sampling": "D"}
WORDS = {
    "share": "share of frames",
    "control": "control of the same size",
    "sampling": "rare classes repeated",
}

SLOPE_HEIGHT = 0.075
"""Of the line that says one model's slope, as a share of the panel."""


def frames_figure(ranking: Ranking, output: Path, settings: ReportSettings) -> bool:
    """Draw it, one panel per class whose frames differ between rows; False, and no file, where there is none."""
    rows = [row for row in ranking.rows.to_dict("records") if row.get("kind") == "model"]
    classes = [name for name in ranking.classes if _shares_differ(rows, ranking, name)][: settings.class_panels]
    if not classes:
        return False
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    colours = dict(zip(models, [LINES[number % len(LINES)] for number in range(len(models))], strict=True))
    width = max(5.4, 0.6 + 2.6 * len(classes))
    with figure(output, width=width, height=3.3, dpi=settings.dpi) as drawn:
        axes = list(drawn.subplots(1, len(classes), sharey=True, squeeze=False)[0])
        for ax, name in zip(axes, classes, strict=True):
            _panel(ax, _known(rows, ranking, name), name, ranking, colours)
        low, high = axes[0].get_ylim()
        axes[0].set_yticks([tick for tick in axes[0].get_yticks() if 0 <= tick <= 1])  # no score lies beyond
        axes[0].set_ylim(low, low + (high - low) / (1 - SLOPE_HEIGHT * len(models)))  # room for what the slopes are
        axes[0].set_ylabel(ranking.metric)
        heading = f"{ranking.metric} against training frames with the class (on {ranking.dataset})"
        drawn.suptitle(heading, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        entries = _legend(rows, colours)
        drawn.legend(handles=entries, loc="outside lower left", ncols=min(len(entries), 3), frameon=False)
    return True


def _shares_differ(rows: Sequence[dict[str, Any]], ranking: Ranking, name: str) -> bool:
    shares = [row for row in _known(rows, ranking, name) if kind_of(row) == "share"]
    return len({row[f"frames: {name}"] for row in shares}) > 1


def _known(rows: Sequence[dict[str, Any]], ranking: Ranking, name: str) -> list[dict[str, Any]]:
    """Rows that have both frames and a score of this class."""
    keys = (f"frames: {name}", f"{ranking.metric}: {name}")
    return [row for row in rows if row.get(keys[0]) and row.get(keys[1]) is not None]


def kind_of(row: dict[str, Any]) -> str:
    """What a row is in such a study: a share of frames, the control of one, or a share with repeated images."""
    if row.get("sampling"):
        return "sampling"
    asked = [value for key, value in row.items() if key.startswith("requested: ")]
    return "share" if any(value is not None for value in asked) else "control"


def slope(frames: Sequence[float], scores: Sequence[float]) -> tuple[float, float] | None:
    """Least squares of score on log2(frames): (score per doubling, score at one frame); None with fewer than two places."""
    x = np.log2(np.asarray(frames, dtype=np.float64))
    if len(np.unique(x)) < 2:
        return None
    found = np.polynomial.Polynomial.fit(x, np.asarray(scores, dtype=np.float64), 1).convert().coef
    return float(found[1]) if len(found) > 1 else 0.0, float(found[0])


def _panel(ax: Axes, rows: list[dict[str, Any]], name: str, ranking: Ranking, colours: dict[str, str]) -> None:
    place, value = f"frames: {name}", f"{ranking.metric}: {name}"
    ends = [f"{ranking.metric}_{end}: {name}" for end in ("low", "high")]
    ticks = sorted({float(row[place]) for row in rows})
    step = 0.012 * np.log2(ticks[-1] / ticks[0])  # equal numbers of frames stand side by side
    for number, (model, colour) in enumerate(colours.items()):
        own = [row for row in rows if str(row["model"]) == model]
        aside = 3 * (number - (len(colours) - 1) / 2)
        for row in own:
            kind = kind_of(row)
            x = row[place] * 2.0 ** (step * (aside + list(MARKS).index(kind) - 1))
            if row[ends[0]] is not None:
                ax.plot([x, x], [row[end] for end in ends], color=colour, linewidth=1.2, alpha=0.75, zorder=2)
            face = colour if kind == "share" else "white"
            ax.plot(x, row[value], MARKS[kind], color=colour, markerfacecolor=face, markersize=5, zorder=3)
        _fit(ax, [(row[place], row[value]) for row in own if kind_of(row) == "share"], colour, number)
    ax.set_xscale("log", base=2)
    ax.set_xticks(_apart(ticks), [f"{tick:,.0f}" for tick in _apart(ticks)])
    ax.minorticks_off()
    ax.margins(x=0.1, y=0.08)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.set_title(wrapped(name, 28))
    ax.set_xlabel("frames")


def _fit(ax: Axes, shares: list[tuple[float, float]], colour: str, number: int) -> None:
    """The line through one model's shares, its slope told in a corner."""
    line = slope(*zip(*shares, strict=True)) if shares else None
    if line is None:
        return
    x = np.array([min(shares)[0], max(shares)[0]])
    ax.plot(x, line[1] + line[0] * np.log2(x), color=colour, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    text, where = f"{line[0]:+.3f} per doubling".replace("-", "−"), {"ha": "right", "va": "top", "fontsize": 7.5}
    ax.text(0.99, 0.99 - SLOPE_HEIGHT * number, text, transform=ax.transAxes, color=colour, **where)


def _apart(ticks: Sequence[float]) -> list[float]:
    """Ticks that do not overlap: each at least a fifth of a doubling from the one before, the last one kept."""
    kept: list[float] = []
    for tick in reversed(ticks):
        if not kept or np.log2(kept[-1] / tick) >= max(0.2, np.log2(ticks[-1] / ticks[0]) / 6):
            kept.append(tick)
    return kept[::-1]


def _legend(rows: Sequence[dict[str, Any]], colours: dict[str, str]) -> list[Line2D]:
    """What colours and marks mean, as far as they are in the picture."""
    entries = [Line2D([], [], color=colour, linewidth=2, label=model) for model, colour in colours.items()]
    kinds = {kind_of(row) for row in rows}
    for kind, mark in MARKS.items():
        if kind in kinds:
            look = {"marker": mark, "linestyle": "none", "markerfacecolor": DARK if kind == "share" else "white"}
            entries.append(Line2D([], [], color=DARK, label=WORDS[kind], **look))
    fit = Line2D([], [], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="fit to shares of frames")
    return [*entries, fit] if "share" in kinds else entries
