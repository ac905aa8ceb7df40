"""Pictures of a training, from its history.csv: losses and scores over the steps, and the parts of the loss.

Not here: style and colours (style.py), the file itself (lib/history.py), boards (plots.py). The table that is drawn may
come from `history_frame`, which tells what was not recorded (None) from what is no number (NaN), or be of plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lib.config.report import ReportSettings
from lib.history import step_column
from lib.reporting.style import DARK, LINES, MUTED, figure, wrapped

MANY = 300  # values of one curve from which on its running median is drawn


def curves_figure(
    history: pd.DataFrame, output: Path, settings: ReportSettings, *, best: Mapping[str, float] | None = None
) -> None:
    """Losses and validation scores over the training, from history.csv (step or iteration or epoch, train/…, val/…).

    Losses of training are solid, of validation dashed in the same colour. Where the whole loss is recorded, its parts are
    left to `components_figure`. best: as model.json has it; a dotted line marks the step whose weights were kept. Values
    that are no number (a diverged training) leave a gap and a cross below it. A history without rows gives a picture that
    says so.
    """
    losses = _losses(history)
    whole = [column for column in losses if column.split("/", 1)[1] == "loss"]
    scores = [column for column in history.columns if column.startswith("val/") and column not in losses]
    with figure(output, width=7.2, height=3.0, dpi=settings.dpi) as drawn:
        left, right = drawn.subplots(1, 2)
        _curves(left, history, whole or losses, "loss")
        _curves(right, history, scores, "score on validation videos")
        _from_zero(right, history, scores)
        kept = (best or {}).get(step_column(history.columns))
        for ax in (left, right):
            if kept is not None and len(history):
                ax.axvline(kept, color=DARK, linestyle=":", linewidth=1, zorder=1, label="weights kept")
            if ax.get_legend_handles_labels()[0]:
                _legend_below(ax)


def components_figure(history: pd.DataFrame, output: Path, settings: ReportSettings) -> None:
    """A panel for the whole loss and for each of its parts: training solid, validation dashed.

    Each panel has a scale of its own, because parts differ by orders of magnitude.
    """
    losses = _losses(history)
    parts = list(dict.fromkeys(column.split("/", 1)[1] for column in losses)) or [""]
    parts.sort(key=lambda part: part != "loss")  # the whole first
    columns = min(len(parts), 3)
    lines = -(-len(parts) // columns)
    with figure(output, width=max(3.6, 2.5 * columns), height=0.5 + 2.1 * lines, dpi=settings.dpi) as drawn:
        grid = drawn.subplots(lines, columns, sharex=True, squeeze=False)
        for ax in grid.flat[len(parts) :]:
            ax.set_visible(False)
        for ax, part in zip(grid.flat, parts, strict=False):
            _curves(
                ax, history, [column for column in losses if column.split("/", 1)[1] == part], wrapped(part or "loss", 30)
            )
        for ax in grid.flat[: len(parts) - columns]:
            ax.set_xlabel("")
        for ax in grid.flat[max(0, len(parts) - columns) : len(parts)]:  # a panel with no other below it
            ax.tick_params(labelbottom=True)
        sides = {column.split("/", 1)[0] for column in losses}
        entries = [Line2D([], [], color=DARK, label="training")] if "train" in sides else []
        entries += [Line2D([], [], color=DARK, linestyle="--", label="validation")] if "val" in sides else []
        if any("not a number" in ax.get_legend_handles_labels()[1] for ax in grid.flat):
            entries.append(Line2D([], [], color=DARK, marker="x", linestyle="none", label="not a number"))
        if entries:
            drawn.legend(handles=entries, loc="outside lower left", ncols=3, frameon=False)


def _from_zero(ax: Axes, history: pd.DataFrame, scores: Sequence[str]) -> None:
    """Scores over 0, with room above the highest; one below 0 is not cut off."""
    values = history[list(scores)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    values = values[np.isfinite(values)]
    if len(values):
        low, high = min(0.0, values.min()), max(0.0, values.max())
        margin = 0.05 * (high - low or 1.0)
        ax.set_ylim(low - margin if low < 0 else 0.0, high + margin)


def _losses(history: pd.DataFrame) -> list[str]:
    """The whole loss and its parts: by their name, or because training and validation both have them."""
    sides = [{name.split("/", 1)[1] for name in history.columns if name.startswith(side)} for side in ("train/", "val/")]
    columns = [column for column in history.columns if column.startswith(("train/", "val/"))]
    return [column for column in columns if "loss" in column or column.split("/", 1)[1] in sides[0] & sides[1]]


def _steps(history: pd.DataFrame) -> pd.Series:
    return history[step_column(history.columns)].astype(float)


def _recorded(history: pd.DataFrame, column: str) -> np.ndarray:
    """Rows in which a cell was recorded. A table of plain numbers does not tell: training always is there."""
    cells = history[column]
    if cells.dtype == object:
        return np.array([one is not None for one in cells], dtype=bool)
    return np.full(len(cells), True) if column.startswith("train/") else cells.notna().to_numpy()


def _curves(ax: Axes, history: pd.DataFrame, columns: Sequence[str], title: str) -> None:
    parts = list(dict.fromkeys(column.split("/", 1)[1] for column in columns))
    steps = _steps(history)
    for column in columns:
        side, part = column.split("/", 1)
        dashed = side == "val" and (f"train/{part}" in columns or part == "loss" or part.startswith("loss_"))
        label = f"{part} (validation)" if dashed else part
        turn, colour = divmod(parts.index(part), len(LINES))
        look = {"linestyle": "--" if dashed else ("-", "-.")[turn % 2], "color": LINES[colour], "label": label}
        recorded, values = _recorded(history, column), pd.to_numeric(history[column], errors="coerce").astype(float)
        values = values.where(np.isfinite(values))
        keep = values.notna() if side == "val" else recorded  # a gap in training means that it diverged
        few = "o" if values.notna().sum() <= 25 else None
        ax.plot(steps[keep], _smoothed(ax, steps[keep], values[keep], look["color"]), marker=few, markersize=2.5, **look)
        _cross_out(ax, steps[recorded & values.isna()])
    ax.set_title(title)
    ax.set_xlabel(step_column(history.columns))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    if not columns or not len(history):
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "nothing recorded", transform=ax.transAxes, ha="center", va="center", color=MUTED, style="italic")


def _smoothed(ax: Axes, steps: pd.Series, values: pd.Series, colour: str) -> pd.Series:
    """What is drawn as the line: of many values their running median, the values themselves pale behind it."""
    if len(values) <= MANY:
        return values
    ax.plot(steps, values, color=colour, alpha=0.25, linewidth=0.6)
    return values.rolling(len(values) // 60, center=True, min_periods=1).median().where(values.notna())


def _cross_out(ax: Axes, steps: pd.Series) -> None:
    """A cross at the foot of the picture for every value that was recorded and is no number."""
    if len(steps):
        known = "not a number" in ax.get_legend_handles_labels()[1]
        label, foot = None if known else "not a number", ax.get_xaxis_transform()
        ax.plot(steps, np.full(len(steps), 0.03), "x", transform=foot, color=DARK, label=label)


def _legend_below(ax: Axes) -> None:
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False, columnspacing=1.2, handlelength=2.2)
