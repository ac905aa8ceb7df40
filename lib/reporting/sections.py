"""What stands under a board's table for people: every score of every class, and the frames that its arms hold.

Not here: the board's own table, its files (page.py), and the picture of scores against frames (frames_figure.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lib.reporting.ranking import Ranking


@dataclass(frozen=True)
class Section:
    """A table under a heading. text: how many of the first columns are text (the others are figures)."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    text: int


def sections(ranking: Ranking) -> list[Section]:
    """The sections that this board has something to say in."""
    if ranking.kind != "scores":
        return []
    return [one for one in (per_class(ranking), arms(ranking)) if one.rows]


def per_class(ranking: Ranking) -> Section:
    """A row per variant and class: every metric with its interval, over seeds and videos."""
    metrics = [ranking.metric, *(key for key in ranking.metrics if key != ranking.metric)]
    rows = []
    for row in ranking.rows.to_dict("records"):
        for name in ranking.classes if row[ranking.metric] is not None else ():
            rows.append([_variant(row, ranking), name, *(_with_interval(row, key, name) for key in metrics)])
    return Section(f"Per class, with {100 * ranking.level:g} % intervals", ["variant", "class", *metrics], rows, 2)


def _with_interval(row: dict[str, Any], metric: str, name: str) -> str:
    value, low, high = (row.get(f"{metric}{end}: {name}") for end in ("", "_low", "_high"))
    if value is None:
        return ""
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def arms(ranking: Ranking) -> Section:
    """A row per variant: frames of its arm, per class the frames asked for and achieved and its instances, and the ratio.

    Variants that differ in something else than frames have a row each all the same: a reader looks for their names.
    """
    classes = ranking.classes
    columns = ["variant", "frames"]
    columns += [f"{name}: {title}" for name in classes for title in ("asked for", "frames", "instances")]
    columns += [" : ".join(classes)] if len(classes) > 1 else []
    rows = []
    for row in ranking.rows.to_dict("records"):
        found = [row.get(f"frames: {name}") for name in classes]
        if row.get("frames") is None or all(one is None for one in found):
            continue
        cells = [_variant(row, ranking), _whole(row["frames"])]
        for name in classes:
            cells += [_whole(row.get(f"{key}: {name}")) for key in ("requested", "frames", "instances")]
        rows.append(cells + ([ratio(found)] if len(classes) > 1 else []))
    return Section("Training frames and instances, asked for and achieved (means over seeds)", columns, rows, 1)


def ratio(frames: Sequence[float | None]) -> str:
    """Frames with each class against the class that has fewest: “1 : 4”; a class without frames is 0."""
    known = [one for one in frames if one]
    if not known:
        return ""
    return " : ".join(f"{round((one or 0) / min(known), 1):g}" for one in frames)


def _variant(row: dict[str, Any], ranking: Ranking) -> str:
    return row["variant"] if ranking.rows["tta"].nunique() == 1 else f"{row['variant']}, {row['tta']}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
