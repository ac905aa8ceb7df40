"""Pictures of the report: a board, the frames of sampling arms. Not here: the curves of a training (curves.py), style.

Every function writes one PNG and takes what others computed: a picture never changes a figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lib.config.report import ReportSettings
from lib.reporting.ranking import Ranking
from lib.reporting.style import COLOURS, DARK, LINES, MUTED, figure, wrapped

ROW_HEIGHT, LEGEND_LINE, LABEL_WIDTH = 0.3, 0.17, 34  # inches, inches, characters
_TEMPLATES = 10  # panels of templates at most
PLAIN = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}


def board_figure(ranking: Ranking, output: Path, settings: ReportSettings) -> None:
    """Dot and interval per row, best on top; floors grey with a line at the best one; a panel per class beside it.

    Filled dots tie with the best row (or are it, or have no interval to tell); open ones are clearly below it. Rows without
    a score say why in their place. A board without any score (tracks without truth) shows its counts instead.
    """
    rows = ranking.rows.to_dict("records")
    labels = [wrapped(_row_name(row, ranking), LABEL_WIDTH) for row in rows]
    if ranking.kind == "tracks" and not ranking.ranked:
        _count_panels(ranking, rows, labels, output, settings)
        return
    known = [name for name in ranking.classes if f"{ranking.metric}: {name}" in ranking.rows]
    panels = ["", *known[: settings.class_panels]]
    lines = sum(max(1.0, 0.62 * (1 + label.count("\n"))) for label in labels)
    height = 1.25 + ROW_HEIGHT * max(lines, 2)
    width = 4.6 + _label_inches(labels) + 1.75 * (len(panels) - 1)
    with figure(output, width=width, height=height, dpi=settings.dpi) as drawn:
        ratios = [2.2] + [1.0] * (len(panels) - 1)
        grid = drawn.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False, width_ratios=ratios)
        axes = list(grid[0])
        for ax, name in zip(axes, panels, strict=True):
            _score_panel(ax, ranking, rows, name)
        axes[0].set_yticks(range(len(rows)), labels)
        axes[0].set_ylim(len(rows) - 0.4, -0.6)
        _limit_scores(axes[0], ranking, rows, panels)
        drawn.suptitle(f"{ranking.heading} (on {ranking.dataset})", x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        _legend_under(drawn, _legend(rows, ranking))


def _row_name(row: dict[str, Any], ranking: Ranking) -> str:
    if ranking.kind == "tracks":
        mark = " (floor)" if row["kind"] == "floor" and not ranking.ranked else ""  # elsewhere the legend says it
        return f"{row['detector']} + {row['tracker']}{mark}"
    views = "" if ranking.rows["tta"].nunique() == 1 else f", {row['tta']}"
    return f"{row['variant']}{views}"


def _label_inches(labels: Sequence[str]) -> float:
    return 0.075 * max(len(line) for label in labels for line in label.split("\n"))


def _columns(metric: str, name: str) -> tuple[str, str, str]:
    tail = f": {name}" if name else ""
    return f"{metric}{tail}", f"{metric}_low{tail}", f"{metric}_high{tail}"


def _score_panel(ax: Axes, ranking: Ranking, rows: list[dict[str, Any]], name: str) -> None:
    value, low, high = _columns(ranking.metric, name)
    if not name and ranking.floor is not None:
        ax.axvline(ranking.floor, color=COLOURS["floor"], linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    for place, row in enumerate(rows):
        colour = COLOURS[row["kind"]]
        if row[value] is None:
            if not name:
                text = row["status"].replace("; ", "\n") if row["status"] != "finished" else "no score"
                ax.text(
                    0.02,
                    place,
                    text,
                    transform=ax.get_yaxis_transform(),
                    va="center",
                    color=MUTED,
                    style="italic",
                    bbox=PLAIN,
                )
            continue
        if row[low] is not None:
            ax.plot([row[low], row[high]], [place, place], color=colour, linewidth=1.6, solid_capstyle="round", zorder=2)
        face = "white" if row["standing"] == "worse" else colour
        ax.plot(row[value], place, "o", color=colour, markerfacecolor=face, markersize=5.5, zorder=3, clip_on=False)
    ax.set_title(wrapped(name, 20) if name else f"{ranking.metric}, mean over classes" if ranking.mean else ranking.metric)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4 if name else 6, steps=[1, 2, 2.5, 5, 10]))


def _limit_scores(ax: Axes, ranking: Ranking, rows: list[dict[str, Any]], panels: Sequence[str]) -> None:
    """One scale for all panels: what is drawn and a margin, inside 0–1 (MOTA may be below 0)."""
    keys = [key for name in panels for key in _columns(ranking.metric, name)]
    shown = [row[key] for row in rows for key in keys if row[key] is not None]
    if not shown:
        ax.set_xlim(0.0, 1.0)
        return
    margin = max(0.02, 0.06 * (max(shown) - min(shown)))
    low = min(shown) - margin
    ax.set_xlim(low if min(shown) < 0 else max(low, -0.03), min(max(shown) + margin, 1.02))


def _legend(rows: list[dict[str, Any]], ranking: Ranking) -> list[Line2D]:
    """Entries for what is in the picture, and for nothing else."""
    kinds = [
        kind
        for kind in ("model", "pretrained", "ensemble", "tracker", "floor")
        if any(row["kind"] == kind and row[ranking.metric] is not None for row in rows)
    ]
    kinds = [] if kinds == ["tracker"] else kinds  # a colour that all rows have tells nothing
    entries = [Line2D([], [], color=COLOURS[kind], marker="o", linestyle="none", label=kind) for kind in kinds]
    if any(row[f"{ranking.metric}_low"] is not None for row in rows):
        entries.append(Line2D([], [], color=MUTED, label=f"{100 * ranking.level:g} % interval"))
    standing = {row["standing"] for row in rows}
    if standing & {"tie", "worse"}:
        entries.append(Line2D([], [], color=DARK, marker="o", linestyle="none", label="best, or ties with it"))
    if "worse" in standing:
        look = {"marker": "o", "linestyle": "none", "markerfacecolor": "white"}
        entries.append(Line2D([], [], color=DARK, label="clearly below the best", **look))
    if ranking.floor is not None:
        entries.append(Line2D([], [], color=COLOURS["floor"], linestyle=(0, (4, 3)), linewidth=1, label="best floor"))
    return entries


def _legend_under(drawn: Figure, entries: list[Line2D]) -> None:
    """A legend below all panels, in as many lines as its width asks for; each further one makes the picture higher."""
    for columns in range(len(entries), 0, -1):
        look = {"ncols": columns, "frameon": False, "handletextpad": 0.5}
        legend = drawn.legend(handles=entries, loc="outside lower left", **look)
        if columns == 1 or legend.get_window_extent().width <= drawn.bbox.width:
            drawn.set_figheight(drawn.get_figheight() + LEGEND_LINE * (-(-len(entries) // columns) - 1))
            return
        legend.remove()


def _count_panels(
    ranking: Ranking, rows: list[dict[str, Any]], labels: list[str], output: Path, settings: ReportSettings
) -> None:
    """Tracks, their length and the tracker's speed as bars: nothing here is better or worse in itself.

    The scale is the trackers': a floor has as many tracks as boxes, so that its grey bar runs out of the picture, with an
    arrow behind its figure.
    """
    panels = {"tracks": "tracks", "mean_track_length_s": "mean track length (s)", "frames_per_s_track": "tracker, frames/s"}
    width, height = 5.6 + _label_inches(labels), 0.95 + ROW_HEIGHT * max(len(rows), 2)
    with figure(output, width=width, height=height, dpi=settings.dpi) as drawn:
        axes = list(drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0])
        for ax, (key, title) in zip(axes, panels.items(), strict=True):
            _count_bars(ax, rows, key)
            ax.set_title(title)
            ax.grid(axis="y", visible=False)
            ax.tick_params(axis="y", length=0)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=3))
        axes[0].set_yticks(range(len(rows)), labels)
        axes[0].set_ylim(len(rows) - 0.4, -0.6)
        drawn.suptitle(f"{ranking.heading} (on {ranking.dataset})", x=0.01, ha="left", fontsize=10.5, fontweight="bold")


def _count_bars(ax: Axes, rows: list[dict[str, Any]], key: str) -> None:
    known = {place: float(row[key]) for place, row in enumerate(rows) if row[key] is not None}
    scale = [value for place, value in known.items() if rows[place]["kind"] != "floor"] or list(known.values())
    edge = 1.28 * (max(scale, default=0.0) or 1.0)  # room for the figure behind the longest bar
    ax.set_xlim(0, edge)
    for place, row in enumerate(rows):
        if place not in known:
            missing = " n/a" if row["status"] == "finished" else f" {row['status'].split(':')[0]}"
            ax.text(0, place, missing, va="center", color=DARK)
            continue
        value = known[place]
        text = f"{value:,.0f}" if value >= 100 or key == "tracks" else f"{value:,.1f}"
        ax.barh(place, min(value, edge), height=0.6, color=COLOURS[row["kind"]])
        if value > edge:
            ax.text(edge, place, f"{text} → ", va="center", ha="right", color="white")
        else:
            ax.text(value, place, f" {text}", va="center", color=DARK)


def counts_figure(counts: Sequence[dict[str, Any]], output: Path, settings: ReportSettings) -> None:
    """Requested and achieved share of frames and instances per class and arm, one panel per class.

    Of arms over clips: share of clips, of queries, and of the queries of the commonest templates.

    counts: contents of seed=…counts.json, one per arm in the order shown. The outline is what was asked for, the bars are
    what came out; the figures are frames, clips or queries.
    """
    panels = [clip_shares(one) if "clips" in one else one["classes"] for one in counts]
    classes = list(dict.fromkeys(name for one in panels for name in one))
    what = "clips" if any("clips" in one for one in counts) else "frames"
    labels = [wrapped(str(one["arm"]), 24) for one in counts]
    columns = min(len(classes), 4)
    lines = -(-len(classes) // columns)
    width, height = 1.2 + _label_inches(labels) + 2.1 * columns, 0.9 + lines * (0.55 + 0.48 * len(counts))
    with figure(output, width=width, height=height, dpi=settings.dpi) as drawn:
        grid = drawn.subplots(lines, columns, sharey=True, sharex=True, squeeze=False)
        for ax in grid.flat[len(classes) :]:
            ax.set_visible(False)
        for ax in grid.flat[max(0, len(classes) - columns) : len(classes)]:
            ax.tick_params(axis="x", labelbottom=True)  # also above a place that is left empty
            ax.set_xlabel("share of the pool")
        for ax, name in zip(grid.flat, classes, strict=False):
            _share_bars(ax, [one.get(name) for one in panels])
            ax.set_title(wrapped(name, 28))
        grid[0][0].set_yticks(range(len(counts)), labels)
        grid[0][0].set_ylim(len(counts) - 0.4, -0.6)
        grid[0][0].set_xlim(0, 1.45)
        entries = [
            Patch(facecolor="none", edgecolor=DARK, label=f"{what} asked for"),
            Patch(facecolor=LINES[0], label=f"{what if what == 'frames' else 'clips, queries'} kept (and their number)"),
        ]
        entries += [Patch(facecolor=LINES[1], label="instances kept")] if what == "frames" else []
        drawn.legend(handles=entries, loc="outside lower left", ncols=3, frameon=False)


def clip_shares(counted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the panels of an arm over clips show: of clips, queries and the commonest templates the share and the number."""
    background = counted["background"]
    found = {"clips": _share_of(counted["clips"], counted["pool_clips"])}
    if background["requested"] is not None and background["pool"]:
        found["clips"]["fraction"] = background["requested"] / background["pool"]
    found["queries"] = _share_of(counted["queries"], counted["pool_queries"])
    named = [(one["pool_queries"], name) for name, one in counted["templates"].items() if name]
    for _, name in sorted(named, key=lambda pair: (-pair[0], pair[1]))[:_TEMPLATES]:
        one = counted["templates"][name]
        found[name] = _share_of(one["queries"], one["pool_queries"])
    return found


def _share_of(number: int, pool: int) -> dict[str, Any]:
    return {"achieved_fraction": number / pool if pool else 0.0, "frames": number}


def _share_bars(ax: Axes, per_arm: Sequence[dict[str, Any] | None]) -> None:
    higher = 0.17 if any(one and one.get("pool_instances") for one in per_arm) else 0.0  # room for the bar of instances
    for place, one in enumerate(per_arm):
        if one is None:
            continue
        asked, came = one.get("fraction"), one["achieved_fraction"]  # a control of another arm's size asks for no fraction
        ax.barh(place - higher, came, height=0.3, color=LINES[0])
        if one.get("pool_instances"):
            ax.barh(place + higher, one["instances"] / one["pool_instances"], height=0.3, color=LINES[1])
        if asked is not None:
            ax.barh(place - higher, asked, height=0.3, facecolor="none", edgecolor=DARK, linewidth=1)
        end = max(came, asked or 0.0)
        ax.text(end + 0.03, place - higher, f"{one['frames']:,}", va="center", fontsize=7.5, color=DARK)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([0, 0.5, 1.0], ["0", "50 %", "100 %"])
