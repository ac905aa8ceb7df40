"""The overview of a study's trainings for a terminal: head line, a row each, the best per size. Not here: the facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lib.status.overview import Overview, Row, best_per_size
from lib.status.progress import Progress
from lib.status.states import WAITING
from lib.training.console import duration, short

_STYLES = {
    "running": "green",
    "completed": "dim",
    "submitted": "cyan",
    "stalled": "bold red",
    "failed": "bold red",
    "diverged": "red",
    "stopped": "yellow",
    "unknown": "yellow",
    "outdated": "yellow",
}


def head(overview: Overview) -> Text:
    """The study, how many are in which state, who runs here, whether Slurm answers."""
    counted = ", ".join(f"{number} {name}" for name, number in overview.counts().items()) or "no training"
    lines = [f"study {overview.study}: {counted}"]
    lines += overview.drivers or ("no run is recorded here",)
    if overview.slurm == "silent":
        lines.append("Slurm does not answer: what only it knows is told as unknown")
    return Text("\n".join(lines))


def table(overview: Overview) -> RenderableType:
    """One row per training; the reason where there is one."""
    many = len({row.cell.dataset for row in overview.rows}) > 1
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("training", "size", "state", "done", "left", "loss", "best on val", "job", "where", "took"):
        shown.add_column(title, no_wrap=title != "training", overflow="fold")
    reasons = []
    for row in overview.rows:
        cell, done = row.cell, row.progress
        name = f"{cell.variant} seed {cell.seed}"
        said = row.state.name + (f": {row.state.cause}" if row.state.cause and row.state.cause != row.state.name else "")
        shown.add_row(
            f"{cell.dataset}/{name}" if many else name,
            cell.size,
            Text(said, style=_STYLES.get(row.state.name, "")),
            far(done),
            duration(done.left_s) if done.left_s is not None else "",
            short(done.loss) if done.loss is not None else "",
            score(row),
            row.job or "",
            Text(row.place),  # gpu[1-2] is no markup
            duration(done.elapsed_s) if done.elapsed_s is not None else "",
        )
        if row.state.why and row.state.name != WAITING:
            reasons.append(f"{name}: {row.state.name}: {row.state.why}")
    waits = Counter(row.state.why.partition(":")[0] for row in overview.rows if row.state.name == WAITING)
    reasons += [f"{number} waiting: {why}" for why, number in waits.items()]
    return Group(shown, Text("\n".join(["", *_gathered(reasons)]))) if reasons else shown


def _gathered(reasons: Sequence[str], most: int = 12) -> list[str]:
    """The first lines of many; how many more there are."""
    more = len(reasons) - most
    return [*reasons[:most], f"… and {more} more (--json has all)"] if more > 0 else list(reasons)


def far(done: Progress) -> str:
    """“step 120/400 (30 %)”."""
    if done.done is None:
        return ""
    if not done.total or done.done >= done.total:
        return f"{done.unit} {done.done:g}"
    return f"{done.unit} {done.done:g}/{done.total:g} ({done.done / done.total:.0%})"


def score(row: Row) -> str:
    """“AP 0.512”."""
    if row.progress.best is None or not row.cell.metric:
        return ""
    return f"{row.cell.metric.removeprefix('val/')} {short(row.progress.best)}"


def leaderboard(overview: Overview) -> RenderableType:
    """The best completed training of each model size, and what it is best by."""
    found = best_per_size(overview.rows)
    if not found:
        return Text("No completed training has a score on val yet.")
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("size", "best on val", "training", "of", "took", "model"):
        shown.add_column(title, no_wrap=True)
    for row, number in found:
        took = row.progress.elapsed_s
        name = f"{row.cell.dataset}/{row.cell.variant} seed {row.cell.seed}"
        shown.add_row(row.cell.size, score(row), name, str(number), duration(took) if took is not None else "",
                      str(row.cell.folder / "model.json"))  # fmt: skip
    note = "Best by the score on val that chose the weights, one seed each; results on test, with intervals, are on boards."
    return Group(shown, Text(f"\n{note}", style="dim"))
