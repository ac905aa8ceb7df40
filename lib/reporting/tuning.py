"""The picture of a tuning: every trial's score, in order and against each tuned place. Not here: the trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lib.config.overrides import text_of
from lib.config.search import SearchDimension
from lib.config.train_optim import Mode
from lib.reporting.style import COLOURS, DARK, LINES, MUTED, figure, wrapped

MOST_PANELS, MARGIN = 6, 0.04  # the margin as a share of a range
COLUMN, GOLDEN = 0.4, (math.sqrt(5) - 1) / 2  # width of a choice's column as a share of the way to the next; even spread
_STATES = ("finished", "stopped early", "diverged", "failed")
_WITHOUT_SCORE = ("diverged", "failed")
_LOOKS: dict[str, dict[str, Any]] = {
    "finished": {
        "marker": "o",
        "color": COLOURS["model"],
        "markersize": 6,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    },
    "stopped early": {"marker": "o", "color": COLOURS["model"], "markerfacecolor": "white", "markersize": 4.5},
    "diverged": {"marker": "x", "color": LINES[1], "markersize": 5.5, "markeredgewidth": 1.6},
    "failed": {"marker": "|", "color": MUTED, "markersize": 8, "markeredgewidth": 1.6},
}
_BEST = {"marker": "o", "color": DARK, "markerfacecolor": "none", "markersize": 10, "linestyle": "none"}


def tuning_figure(
    rows: Sequence[Mapping[str, Any]],
    metric: str,
    scored_by: str,
    space: Mapping[str, SearchDimension],
    output: Path,
    *,
    mode: Mode,
    title: str,
    best: int | None,
    dpi: int,
) -> None:
    """Draw the trials: filled = trained at the full budget, open = stopped early (the score is that of the
    budget they reached).

    rows: as trials.csv holds them. metric: their column of scores, `scored_by` in words. space: what was tuned; the first
    MOST_PANELS places get a panel each. mode: max or min, which scores are good. best: number of the best trial. Trials
    without a score, diverged or failed, stand at the foot.
    """
    shown = [row for row in rows if row["state"] in _STATES]
    places = list(space)[:MOST_PANELS]
    with figure(output, width=4.4 + 2.1 * len(places), height=3.1, dpi=dpi) as drawn:
        grid = drawn.subplots(1, 1 + len(places), sharey=True, squeeze=False, width_ratios=[1.9] + [1.0] * len(places))
        axes = list(grid[0])
        _trials(axes[0], shown, metric, mode, best)
        for ax, place in zip(axes[1:], places, strict=True):
            _place(ax, shown, metric, place, space[place], best)
        axes[0].set_ylabel(scored_by)
        drawn.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        found = [state for state in _STATES if any(row["state"] == state for row in shown)]
        entries = [Line2D([], [], linestyle="none", label=state, **_LOOKS[state]) for state in found]
        if best is not None:
            entries += [Line2D([], [], label="best", **_BEST), Line2D([], [], color=MUTED, label="best so far")]
        if entries:
            drawn.legend(handles=entries, loc="outside lower left", ncols=len(entries), frameon=False, handletextpad=0.5)


def _trials(ax: Axes, rows: Sequence[Mapping[str, Any]], metric: str, mode: Mode, best: int | None) -> None:
    if best is not None:
        better, start = (max, -math.inf) if mode == "max" else (min, math.inf)
        so_far, steps = start, []
        for row in rows:
            so_far = better(so_far, row[metric]) if row["state"] == "finished" else so_far
            steps.append(so_far)
        pairs = [(row["trial"], score) for row, score in zip(rows, steps, strict=True) if math.isfinite(score)]
        ax.step(*zip(*pairs, strict=True), where="post", color=MUTED, linewidth=1, zorder=1)
    _dots(ax, [(row["trial"], row) for row in rows], metric, best)
    ax.set_xlabel("trial")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _place(
    ax: Axes, rows: Sequence[Mapping[str, Any]], metric: str, place: str, one: SearchDimension, best: int | None
) -> None:
    """Score against one place, over its whole range; choices stand side by side in the order of their list, the trials of
    each spread over a column, so that equal ones do not hide each other.
    """
    if one.choices is not None:
        texts = [text_of(value) for value in one.choices]
        spread = [COLUMN * (row["trial"] * GOLDEN % 1 - 0.5) for row in rows]
        columns = [texts.index(text_of(row[place])) for row in rows]
        _dots(ax, [(column + off, row) for column, off, row in zip(columns, spread, rows, strict=True)], metric, best)
        ax.set_xticks(range(len(texts)), [wrapped(text, 12) for text in texts])
        ax.set_xlim(-0.5, len(texts) - 0.5)
    else:
        _dots(ax, [(row[place], row) for row in rows], metric, best)
        if one.log:
            ax.set_xscale("log")
            margin = (one.high / one.low) ** MARGIN
            ax.set_xlim(one.low / margin, one.high * margin)
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if one.high < 100 * one.low else (1.0,), numticks=5))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
        else:
            margin = MARGIN * (one.high - one.low)
            ax.set_xlim(one.low - margin, one.high + margin)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=one.kind == "int"))
    ax.set_xlabel(place)


def _dots(ax: Axes, pairs: Sequence[tuple[float, Mapping[str, Any]]], metric: str, best: int | None) -> None:
    for state in _STATES:
        those = [(place, row) for place, row in pairs if row["state"] == state]
        if not those:
            continue
        look = {"linestyle": "none", "zorder": 3, "clip_on": False, **_LOOKS[state]}
        if state in _WITHOUT_SCORE:
            ax.plot([place for place, _ in those], [0] * len(those), transform=ax.get_xaxis_transform(), **look)
        else:
            ax.plot([place for place, _ in those], [row[metric] for _, row in those], **look)
    chosen = [(place, row[metric]) for place, row in pairs if row["trial"] == best]
    if chosen:
        ax.plot(*chosen[0], zorder=4, clip_on=False, **_BEST)
