"""Pictures of compared runs: their courses over each other, and score against learning rate. Not here: bars
(comparison_bars.py), one training alone (curves.py).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from lib.registry.epochs import Row
from lib.reporting.comparison import Comparison, Group, Run
from lib.reporting.style import DARK, LEAST, LINES, MUTED, figure, wrapped

TITLES = {"mask_mAP": "mAP of masks, val", "box_mAP": "mAP of boxes, val"}
MOST = len(LINES)
"""Groups of runs that have a colour of their own; the others, which rank behind them, are grey."""
MARKS = ("o", "s", "^", "D", "v", "P", "X")
_GREY = "#b9b9b9"
_LABEL = 30


def curves_figure(comparison: Comparison, output: Path, *, dpi: int) -> None:
    """Loss and scores over the epochs, a colour for each group of runs that differ in their seed alone.

    Of several seeds the mean is the strong line, the seeds themselves are pale; it ends where the first of them does. A dot
    marks the epoch whose weights were kept. Runs that are not ranked are dotted grey lines.
    """
    rest = [run for run in comparison.runs if not run.ranked and run.epochs]
    everyone = [*comparison.ranked, *rest]
    scores = [name for name in TITLES if any(name in row for run in everyone for row in run.epochs)]
    panels = {"loss": "loss of training"} | {name: TITLES[name] for name in scores}
    with figure(output, width=0.6 + 3.1 * len(panels), height=3.2, dpi=dpi) as drawn:
        axes = list(drawn.subplots(1, len(panels), squeeze=False)[0])
        for ax, (name, title) in zip(axes, panels.items(), strict=True):
            for run in rest:
                _line(ax, run.epochs, name, color=MUTED, linestyle=":", linewidth=1.1, zorder=2)
            for number, group in reversed(list(enumerate(comparison.groups))):
                _group(ax, group, name, number)
            ax.set_title(title)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
            _foot(ax, [row for run in everyone for row in run.epochs], name)
        _legend(drawn, _entries(comparison, rest))


def _group(ax: Axes, group: Group, name: str, number: int) -> None:
    colour, above = (LINES[number], 3.0) if number < MOST else (_GREY, 2.0)
    courses = [run.epochs for run in group.runs if run.epochs]
    if len(courses) == 1:
        _line(ax, courses[0], name, color=colour, zorder=above + 0.5)
    elif courses:
        for course in courses:
            _line(ax, course, name, color=colour, alpha=0.3, linewidth=0.9, zorder=above)
        _line(ax, _mean(courses, name), name, color=colour, linewidth=1.8, zorder=above + 0.5)
    if name == "loss" or number >= MOST:
        return
    for run in group.runs:
        kept = [row for row in run.epochs if row["epoch"] == run.entry.best.get("epoch") and name in row]
        if kept:
            look = {"markersize": 3.6 if len(group.runs) == 1 else 2.4, "zorder": 5, "clip_on": False}
            ax.plot(kept[0]["epoch"], kept[0][name], "o", color=colour, **look)


def _line(ax: Axes, epochs: Sequence[Row], name: str, **look: object) -> None:
    """Where a value is no number the line has a gap; a single epoch is a small dot."""
    points = [(row["epoch"], row[name] if math.isfinite(row[name]) else math.nan) for row in epochs if name in row]
    if points:
        single = {"marker": ".", "linestyle": "none"} if len(points) == 1 else {}
        ax.plot(*zip(*points, strict=True), **{**look, **single})


def _mean(courses: Sequence[Sequence[Row]], name: str) -> list[Row]:
    """Per epoch the mean over the runs; only where all have it, so that no step in it is one run's end."""
    values: dict[float, list[float]] = defaultdict(list)
    for course in courses:
        for row in course:
            if math.isfinite(row.get(name, math.nan)):
                values[row["epoch"]].append(row[name])
    return [{"epoch": epoch, name: fmean(got)} for epoch, got in sorted(values.items()) if len(got) == len(courses)]


def _foot(ax: Axes, rows: Sequence[Row], name: str) -> None:
    """Scores from 0; a panel without any value says so."""
    values = [row[name] for row in rows if math.isfinite(row.get(name, math.nan))]
    if not values:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "nothing recorded", transform=ax.transAxes, ha="center", va="center", color=MUTED, style="italic")
    elif name != "loss":
        ax.set_ylim(0, 1.08 * max(*values, LEAST))


def _entries(comparison: Comparison, rest: Sequence[Run]) -> list[Line2D]:
    entries = []
    for number, group in enumerate(comparison.groups[:MOST]):
        seeds = f" ({len(group.runs)} seeds)" if len(group.runs) > 1 else ""
        entries.append(Line2D([], [], color=LINES[number], linewidth=1.8, label=wrapped(group.label + seeds, _LABEL)))
    more = len(comparison.groups) - MOST
    if more > 0:
        entries.append(Line2D([], [], color=_GREY, label=f"{more} ranked behind them"))
    if rest:
        states = ", ".join(dict.fromkeys(run.entry.status for run in rest))
        entries.append(Line2D([], [], color=MUTED, linestyle=":", label=f"not ranked: {states}"))
    if any("epoch" in run.entry.best and run.epochs for run in comparison.ranked):
        entries.append(Line2D([], [], color=DARK, marker="o", linestyle="none", markersize=3.6, label="weights kept"))
    return entries


def _legend(drawn: Figure, entries: Sequence[Line2D]) -> None:
    """Below the panels, in as many columns as fit; every line of it makes the picture higher."""
    if not entries:
        return
    for columns in range(min(len(entries), 5), 0, -1):
        legend = drawn.legend(handles=list(entries), loc="outside lower left", ncols=columns, frameon=False)
        box = legend.get_window_extent()
        if columns == 1 or box.width <= drawn.bbox.width:
            drawn.set_figheight(drawn.get_figheight() + box.height / drawn.dpi - 0.2)
            return
        legend.remove()


def rates_figure(comparison: Comparison, output: Path, *, dpi: int) -> None:
    """mAP on val of every ranked run against its learning rate; colour = model, mark = schedule.

    A line joins the means of a model's learning rates where all else that is drawn is the same. Masks where there are any.
    """
    runs = [run for run in comparison.ranked if run.entry.learning_rate is not None]
    name = "mask_mAP" if any(run.entry.value("mask_mAP") is not None for run in runs) else "box_mAP"
    known = [run for run in runs if run.entry.value(name) is not None]
    models = list(dict.fromkeys(_model(run) for run in known))
    schedules = sorted({run.entry.schedule or "not known" for run in known})
    with figure(output, width=5.0, height=3.4, dpi=dpi) as drawn:
        ax = drawn.subplots()
        for model in models:
            colour = LINES[models.index(model) % len(LINES)]
            for schedule in schedules:
                those = [run for run in known if (_model(run), run.entry.schedule or "not known") == (model, schedule)]
                _rates(ax, those, name, colour, MARKS[schedules.index(schedule) % len(MARKS)])
        _rate_axis(ax, [run.entry.learning_rate or 0.0 for run in known])
        ax.set(xlabel="learning rate", ylabel=TITLES[name])
        colours = [LINES[number % len(LINES)] for number in range(len(models))]
        entries = [Line2D([], [], color=one, linewidth=3, label=model) for one, model in zip(colours, models, strict=True)]
        if len(schedules) > 1:
            marks = [
                {"marker": MARKS[number % len(MARKS)], "label": f"schedule: {one}"} for number, one in enumerate(schedules)
            ]
            entries += [Line2D([], [], color=DARK, linestyle="none", markersize=5, **mark) for mark in marks]
        _legend(drawn, entries)


def _model(run: Run) -> str:
    return run.entry.model or run.entry.size or "model not known"


def _rates(ax: Axes, runs: Sequence[Run], name: str, colour: str, mark: str) -> None:
    values: dict[float, list[float]] = defaultdict(list)
    for run in runs:
        values[run.entry.learning_rate or 0.0].append(run.entry.value(name) or 0.0)
    means = [(rate, fmean(got)) for rate, got in sorted(values.items())]
    if len(means) > 1:
        ax.plot(*zip(*means, strict=True), color=colour, linewidth=1, alpha=0.5, zorder=2)
    for rate, got in values.items():
        look = {"marker": mark, "color": colour, "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.5}
        ax.plot([rate] * len(got), got, linestyle="none", zorder=3, clip_on=False, **look)


def _rate_axis(ax: Axes, rates: Sequence[float]) -> None:
    """Logarithmic, a tick at each of the rates as far as there is room for its figure."""
    low, high = (min(rates), max(rates)) if rates else (1e-4, 1e-4)
    ax.set_xscale("log")
    ax.set_xlim(low / 1.3, high * 1.3)
    apart, ticks = max(1.2, (high / low) ** (1 / 9)), [low]
    for rate in sorted(set(rates)):
        if rate >= ticks[-1] * apart:
            ticks.append(rate)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(y=0.08)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -0.04 * LEAST), max(high, LEAST))


def _power(value: float) -> str:
    """0.00015 as 1.5e-4."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
