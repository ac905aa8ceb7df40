"""Pictures of temporal grounding: recall by length of the answer, and predicted beside true windows on a time axis. Not
here: the scores (lib/metrics/grounding.py), boards.

Every function writes one PNG and takes what others computed; `length_estimates` makes the intervals from units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lib.config.report import ReportSettings
from lib.metrics.grounding import LENGTHS
from lib.metrics.ratio_units import ratio_columns
from lib.metrics.statistics import Estimate, bootstrap_weights, seeds_and_videos_interval
from lib.metrics.temporal import temporal_iou
from lib.reporting.style import COLOURS, DARK, LINES, MUTED, figure, wrapped
from lib.reporting.unit_scores import ratios

TRUE, FOUND, MISSED = DARK, LINES[0], LINES[1]
_MARKS = "osD^vPX"
_COLUMNS = 2
_BAR = 0.62
_NARROWEST = 0.004
"""Bars are at least this share of the clip wide: a window of 1 s in a clip of 8 min would not be seen."""

FEW = 10
"""Queries of a length from which its scores are drawn: of one or two they are 0 or 1."""


@dataclass(frozen=True)
class LengthCurve:
    """One row of a board by length of the answer: its name, kind (model, floor) and per metric an Estimate per length."""

    name: str
    estimates: Mapping[str, Sequence[Estimate]]
    floor: bool = False


def length_estimates(
    seeds: Sequence[pd.DataFrame], metric: str, *, row: str, draws: int, seed: int, level: float = 0.95
) -> list[Estimate]:
    """The score and its interval for answers of each length in LENGTHS, over videos and seeds.

    seeds: per seed the units of `length_units`, same videos; row: name of the trained variant (see statistics).
    """
    weights = bootstrap_weights(len(seeds[0]), draws, seed)

    def of(place: int) -> Estimate:
        def score(units: pd.DataFrame, often: np.ndarray) -> np.ndarray:
            return ratios(units, metric, weights=often, of="all")[0][:, place]

        return seeds_and_videos_interval(seeds, score, weights=weights, row=row, level=level)

    return [of(place) for place in range(len(LENGTHS))]


def queries_of_each_length(units: pd.DataFrame, metric: str) -> list[int]:
    """How many queries the units hold of each length in LENGTHS."""
    return np.sum(units[ratio_columns(metric)[1]].to_list(), axis=0).astype(int).tolist()


def length_figure(
    curves: Sequence[LengthCurve],
    counts: Sequence[int],
    output: Path,
    settings: ReportSettings,
    *,
    title: str,
    level: float,
) -> None:
    """Scores of each row against the length of the answer, a panel per metric.

    counts: queries of each of LENGTHS; lengths of fewer than FEW are left out, unless all are.
    """
    metrics = list(dict.fromkeys(metric for curve in curves for metric in curve.estimates))
    looks = _looks(curves)
    asked = [place for place, count in enumerate(counts) if count >= FEW] or [n for n, count in enumerate(counts) if count]
    left_out = f"; fewer than {FEW}: left out" if len(asked) < sum(count > 0 for count in counts) else ""
    apart = min(0.11, 0.8 / len(curves))
    with figure(output, width=max(4.6, 0.5 + 3.1 * len(metrics)), height=3.2, dpi=settings.dpi) as drawn:
        axes = list(drawn.subplots(1, len(metrics), sharey=True, squeeze=False)[0])
        for ax, metric in zip(axes, metrics, strict=True):
            for number, curve in enumerate(curves):
                if metric in curve.estimates:
                    estimates = [curve.estimates[metric][place] for place in asked]
                    _length_curve(ax, estimates, apart * (number - (len(curves) - 1) / 2), looks[curve.name])
            ax.set_xticks(range(len(asked)), [f"{LENGTHS[place]}\nn = {counts[place]:,}" for place in asked])
            ax.set_xlim(-0.5, len(asked) - 0.5)
            ax.grid(axis="x", visible=False)
            ax.set_title(metric_words(metric))
            ax.set_xlabel(f"length of the true window (n queries{left_out})")
        axes[0].set_ylim(bottom=0.0)
        axes[0].set_ylabel("share of queries")
        axes[0].yaxis.set_major_locator(MaxNLocator(nbins=5))
        drawn.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        entries = [Line2D([], [], label=curve.name, **looks[curve.name]) for curve in curves]
        if any(one.low is not None for curve in curves for each in curve.estimates.values() for one in each):
            entries.append(Line2D([], [], color=MUTED, linewidth=1.6, label=f"{100 * level:g} % interval"))
        drawn.legend(handles=entries, loc="outside lower left", ncols=min(len(entries), 4), frameon=False, handlelength=2.8)


def metric_words(metric: str) -> str:
    """`R1@0.3` → `R@1, IoU > 0.3`; others as they are."""
    head, _, threshold = metric.partition("@")
    return f"R@{head[1:]}, IoU > {threshold}" if threshold and head[1:].isdigit() else metric


def _looks(curves: Sequence[LengthCurve]) -> dict[str, dict[str, object]]:
    """How each row is drawn, no two alike: models by colour and mark, floors grey and dashed, by mark."""
    looks: dict[str, dict[str, object]] = {}
    for floor in (False, True):
        for number, curve in enumerate(curve for curve in curves if curve.floor == floor):
            turn, place = divmod(number, len(LINES))
            look: dict[str, object] = {"color": LINES[place], "markersize": 4.5, "linestyle": "-"}
            if floor:
                look = {"color": COLOURS["floor"], "markersize": 3.5, "linestyle": (0, (4, 3)), "linewidth": 1}
            looks[curve.name] = look | {"marker": _MARKS[(number + turn) % len(_MARKS)]}
    return looks


def _length_curve(ax: Axes, estimates: Sequence[Estimate], aside: float, look: Mapping[str, object]) -> None:
    known = [(place + aside, one) for place, one in enumerate(estimates) if one.value is not None]
    for x, one in known:
        if one.low is not None:
            ax.plot([x, x], [one.low, one.high], color=look["color"], linewidth=1.6, solid_capstyle="round", zorder=2)
    ax.plot([x for x, _ in known], [one.value for _, one in known], **look, zorder=3, clip_on=False)


def spread_queries(rows: pd.DataFrame, count: int, *, metric: str, seed: int) -> pd.DataFrame:
    """Up to `count` rows of `per_query` in turn from each length, found and missed ones by turns: a picture shows both."""
    rng = np.random.default_rng(seed)
    shuffled = rows.iloc[rng.permutation(len(rows))]
    turns = shuffled.groupby(["length", metric], sort=False).cumcount()
    order = pd.DataFrame(
        {
            "turn": turns,
            "missed": (shuffled[metric] == 0) ^ (shuffled["length"].map(LENGTHS.index) % 2 == 1),
            "length": shuffled["length"].map(LENGTHS.index),
        }
    )
    chosen = order.sort_values(["turn", "missed", "length"], kind="stable").index[:count]
    return rows.loc[chosen].sort_values("length_s", kind="stable")


def windows_figure(
    queries: pd.DataFrame,
    predictions: pd.DataFrame,
    durations: Mapping[str, float],
    output: Path,
    settings: ReportSettings,
    *,
    title: str,
    threshold: float = 0.5,
    most: int = 5,
) -> None:
    """A panel per query: its true windows above, the first `most` predicted ones below, over the whole clip.

    queries: QUERIES rows (one per true window), in the order shown; predictions: a windows table; durations: video → s.
    Predicted bars are filled as the score falls, blue where IoU > threshold; the number is the IoU.
    """
    keys = list(dict.fromkeys(zip(queries["video"], queries["query"], strict=True)))
    lines = -(-len(keys) // _COLUMNS)
    columns = min(len(keys), _COLUMNS)
    with figure(
        output, width=0.4 + 3.7 * columns, height=0.85 + lines * (0.75 + 0.17 * (most + 1)), dpi=settings.dpi
    ) as drawn:
        grid = drawn.subplots(lines, columns, squeeze=False)
        for ax in grid.flat[len(keys) :]:
            ax.set_visible(False)
        for ax, (video, query) in zip(grid.flat, keys, strict=False):
            truth = queries[(queries["video"] == video) & (queries["query"] == query)]
            found = predictions[(predictions["video"] == video) & (predictions["query"] == query)]
            _window_panel(ax, truth, found.sort_values("rank").head(most), durations[video], threshold, most)
        for ax in grid[-1]:
            ax.set_xlabel("time in the clip (s)")
        drawn.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        entries = [
            Patch(facecolor=TRUE, label="true window"),
            Patch(facecolor=FOUND, label=f"predicted, IoU > {threshold:g}"),
            Patch(facecolor=MISSED, label=f"predicted, IoU ≤ {threshold:g}"),
        ]
        drawn.legend(handles=entries, loc="outside lower left", ncols=3, frameon=False)


def _window_panel(ax: Axes, truth: pd.DataFrame, found: pd.DataFrame, duration: float, threshold: float, most: int) -> None:
    true, windows = (table[["start_s", "end_s"]].to_numpy(np.float64) for table in (truth, found))
    for start, end in true:
        ax.axvspan(start, end, color=TRUE, alpha=0.08, linewidth=0, zorder=0)
        _bar(ax, 0, start, end, duration, TRUE)
    iou = temporal_iou(windows[:, None], true[None]).max(axis=1, initial=0.0)
    for rank, ((start, end), overlap) in enumerate(zip(windows, iou, strict=True), start=1):
        _bar(ax, rank, start, end, duration, FOUND if overlap > threshold else MISSED, strength=1 - 0.12 * (rank - 1))
        look = {"va": "center", "fontsize": 7, "color": FOUND if overlap > threshold else MUTED}
        ax.text(1.01, rank, f"{overlap:.2f}", transform=ax.get_yaxis_transform(), **look)
    ax.text(1.01, 0, "IoU", transform=ax.get_yaxis_transform(), va="center", fontsize=7, color=MUTED)
    if not len(windows):
        ax.text(0.5, most / 2, "no window", transform=ax.get_yaxis_transform(), ha="center", color=MUTED, style="italic")
    ax.set_yticks(range(most + 1), ["true", *(str(rank) for rank in range(1, most + 1))])
    ax.set_ylim(most + 0.6, -0.6)
    ax.set_xlim(0, duration)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 3, 6, 10]))
    ax.set_title(wrapped(f"“{truth['text'].iloc[0]}”", 52), fontsize=8)


def _bar(ax: Axes, place: int, start: float, end: float, duration: float, colour: str, *, strength: float = 1.0) -> None:
    """A window as a bar, never too narrow to be seen."""
    missing = max(0.0, _NARROWEST * duration - (end - start))
    left = min(max(start - missing / 2, 0.0), duration - (end - start) - missing)
    ax.barh(place, end - start + missing, left=left, height=_BAR, color=colour, alpha=strength, linewidth=0, zorder=2)
