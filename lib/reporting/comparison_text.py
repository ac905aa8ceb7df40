"""A comparison of runs as text for a terminal or a pipe. Not here: the comparison itself (comparison.py)."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lib.registry.entry import SCORES
from lib.registry.show import batch_text
from lib.reporting.comparison import Comparison, Run, notes
from lib.training.console import duration

_TITLES = dict(zip(SCORES, ("mask mAP", "mask mAP50", "box mAP", "box mAP50"), strict=True))


def comparison_text(comparison: Comparison) -> RenderableType:
    """All runs by rank, groups of seeds, runs that are not ranked and why, and what to know of it."""
    parts: list[RenderableType] = []
    if comparison.ranked:
        parts.append(_ranked(comparison.ranked))
    if any(len(group.runs) > 1 for group in comparison.groups):
        parts += [Text(""), _groups(comparison)]
    rest = [run for run in comparison.runs if not run.ranked]
    if rest:
        parts += [Text("\nnot ranked:" if parts else "No run is ranked:"), *(Text(f"  {_reason(run)}") for run in rest)]
    if not comparison.runs:
        return Text("No run is here.")
    odd = [run for run in comparison.ranked if run.why]
    parts += [Text(""), *(Text(f"{run.entry.id}: {run.why}") for run in odd)] if odd else []
    return Lines(*parts, Text(""), *(Text(line, style="dim") for line in notes(comparison)) if comparison.ranked else ())


def _reason(run: Run) -> str:
    score = run.entry.score
    return f"{run.entry.id}: {run.why}" + (f" (best so far {score:.3f})" if score is not None else "")


def _head(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, no_wrap=title not in ("run", "runs"), overflow="fold")
    return table


def _known(runs: Sequence[Run]) -> list[str]:
    return [name for name in SCORES if any(run.entry.value(name) is not None for run in runs)]


def _ranked(runs: Sequence[Run]) -> Table:
    shown = _known(runs)
    tested = [name for name in ("mask_mAP", "box_mAP") if any(name in run.test for run in runs)]
    titles = [*(_TITLES[name] for name in shown), "epoch", "of", *(f"test {_TITLES[name]}" for name in tested)]
    table = _head("", "run", "model", *titles, "lr", "batch", "took")
    for rank, run in enumerate(runs, start=1):
        entry, epoch = run.entry, run.entry.best.get("epoch")
        table.add_row(
            str(rank),
            Text(entry.id),
            entry.model or entry.size or "",
            *(_score(entry.value(name)) for name in shown),
            f"{epoch:g}" if epoch is not None else "",
            str(entry.best.get("source") or ""),
            *(_score(run.test.get(name)) for name in tested),
            f"{entry.learning_rate:g}" if entry.learning_rate is not None else "",
            batch_text(entry),
            duration(entry.wall_s) if entry.wall_s is not None else "",
        )
    return table


def _groups(comparison: Comparison) -> Table:
    shown = _known(comparison.ranked)
    table = _head("runs alike but for their seed", "runs", *(_TITLES[name] for name in shown))
    for group in comparison.groups:
        cells = []
        for name in shown:
            mean, deviation = group.mean(name), group.deviation(name)
            cells.append("" if mean is None else f"{mean:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else ""))
        table.add_row(Text(group.label), str(len(group.runs)), *cells)
    return table


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
