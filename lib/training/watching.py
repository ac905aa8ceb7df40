"""What `watch` shows of a training that runs elsewhere, from its history.csv alone. Not here: the program
(workflow_scripts/watch.py), what the training itself prints (console.py).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lib.files import DataError, read_json
from lib.history import HistoryReader, Row, side_file, step_column
from lib.training.console import duration, is_loss, short
from lib.training.textplot import Curve, text_plot

OVER = ("finished", "diverged", "failed")
"""How the status of a training begins that will not go on."""
_RECENT = 20  # rows over which the speed is the mean
_PATIENT = 60.0  # s without a row that are never called a stall, unless asked for
_INTERVALS = 10  # usual intervals between rows after which one is called a stall


class Watched:
    """A training seen from outside: its rows so far, and whether it is over."""

    def __init__(self, given: Path, *, total: int | None = None, stall: float | None = None) -> None:
        """given: history.csv, a folder that holds one (or whose state/ does), or a state/ folder; it may not exist yet.

        total: steps in all where the file beside the history does not say. stall: s without a row that count as a stall;
        None = ten times the usual interval, at least 60 s.
        """
        self._places = history_places(given)
        self._total, self._stall = total, stall
        self._reader = HistoryReader(self._places[0])
        self._facts: dict[str, Any] = {}
        self._written = 0.0

    @property
    def place(self) -> Path:
        """The history that is read, or that is waited for."""
        return self._reader.path

    @property
    def rows(self) -> list[Row]:
        return self._reader.rows

    def refresh(self) -> bool:
        """Read on; True when something changed. A history that was moved (the training ended) is followed."""
        path = next((place for place in self._places if place.is_file()), None)
        if path is None:
            return False
        if path != self._reader.path:
            self._reader = HistoryReader(path)
        try:
            changed = self._reader.refresh()
            self._written = path.stat().st_mtime
        except FileNotFoundError:  # removed just now
            return False
        try:
            self._facts = read_json(side_file(path))
        except DataError:  # none (another engine's history)
            self._facts = {}
        return changed

    def status(self) -> str | None:
        """How the training ended, None while it may go on: by model.json, or by what was noted beside the history."""
        noted = self._facts.get("status")
        model = _training_folder(self.place) / "model.json"
        result = model.parent == self.place.parent and noted is None  # not one that is being written
        if model.is_file() and (result or model.stat().st_mtime >= self._written):  # an older one: an earlier training's
            try:
                return str(read_json(model).get("status", "finished"))
            except (DataError, AttributeError):
                return "finished"
        return noted if noted is not None and noted.startswith(OVER) else None

    def summary(self) -> str:
        """One line: step, share, speed, time left, age of the last row."""
        return " · ".join(self._parts())

    def _parts(self) -> list[str]:
        if not self.rows:
            return [f"waiting for {self.place}: no row yet"]
        step, total = self._step(), self._total or self._facts.get("total_steps")
        counted = step_column(self._reader.columns)
        parts = [f"{counted} {step:g}" + (f"/{total} ({step / total:.0%})" if total else "")]
        rate = self._rate()
        if rate:
            parts.append(f"{rate:.3g} {counted}s/s" if rate < 1000 else f"{rate:.0f} {counted}s/s")
            if total and self.status() is None:
                parts.append(f"{duration(max(0.0, total - step) / rate)} left")
        return [*parts, *self._losses(), self._age()]

    def _losses(self) -> list[str]:
        row = next((row for row in reversed(self.rows) if any(_trained_loss(key) for key in row)), {})
        return [f"{key.removeprefix('train/')} {short(value)}" for key, value in row.items() if _trained_loss(key)]

    def _modes(self) -> dict[str, str]:
        """Scores → min or max, as noted beside the history or, behind the training's end, in its settings."""
        if self._facts:
            return self._facts.get("best", {})
        with suppress(DataError, KeyError, TypeError):  # another engine's
            return dict(read_json(_training_folder(self.place) / "meta.json")["settings"]["training"]["best"])
        return {}

    def _age(self) -> str:
        """How old the last row is, in words that tell a stall; or how the training ended."""
        status = self.status()
        if status is not None:
            return status
        age = max(0.0, time.time() - self._written)
        return f"no row for {duration(age)}" if self.stalls() else f"last row {duration(age)} ago"

    def stalls(self) -> bool:
        """Whether the next row is long overdue."""
        if self.status() is not None or not self.rows:
            return False
        limit = self._stall
        if limit is None:
            times = [row["seconds"] for row in self.rows[-_RECENT:] if "seconds" in row]
            gaps = [later - earlier for earlier, later in pairwise(times)]
            limit = max(_PATIENT, _INTERVALS * statistics.median(gaps)) if gaps else _PATIENT
        return time.time() - self._written > limit

    def _step(self) -> float:
        return self.rows[-1].get(step_column(self._reader.columns), 0.0)

    def _rate(self) -> float:
        """Steps per second over the last rows, 0 when it cannot be told."""
        column = step_column(self._reader.columns)
        timed = [row for row in self.rows[-_RECENT:] if "seconds" in row and column in row]
        if len(timed) < 2 or timed[-1]["seconds"] <= timed[0]["seconds"]:
            return 0.0
        return (timed[-1][column] - timed[0][column]) / (timed[-1]["seconds"] - timed[0]["seconds"])

    def frame(self, width: int, height: int) -> RenderableType:
        """Everything at one look: headline, loss as a plot, a table of validation values."""
        style = "bold red" if self.stalls() else "bold"
        headline = [Text(line, style=style) for line in _lines(self._parts(), width)]
        if not self.rows:
            return Group(*headline)
        parts: list[RenderableType] = [Text(_end_of(str(self.place), width), style="dim"), *headline]
        key, shown = self._plotted()
        broken = sum(not math.isfinite(row[key]) for row in self.rows if key in row)
        if broken:
            told = f"1 value of {key} is" if broken == 1 else f"{broken} values of {key} are"
            parts.append(Text(f"{told} no number", style="bold red"))
        table = self._scores()
        room = height - len(parts) - table.row_count - 3  # the legend, the table's head, and the line of the cursor
        parts += [Text.assemble((key, "cyan"), ("  " + key.replace("train/", "val/"), "yellow") if len(shown) > 1 else "")]
        parts.append(text_plot(shown, width=max(24, min(width, 120)), height=max(4, min(room, 16))))
        return Group(*parts, table) if table.row_count else Group(*parts)

    def _plotted(self) -> tuple[str, list[Curve]]:
        """The whole loss of training (or its first part), and that of validation where there is one."""
        columns = self._reader.columns
        known = [name for name in columns if _trained_loss(name)] or [name for name in columns if is_loss(name)]
        key = "train/loss" if "train/loss" in known else known[0] if known else columns[-1]
        other = key.replace("train/", "val/")
        curves = [Curve(self._points(key), "cyan")]
        return key, [*curves, Curve(self._points(other), "yellow")] if other != key and other in columns else curves

    def _points(self, key: str) -> list[tuple[float, float]]:
        column = step_column(self._reader.columns)
        return [(row[column], row[key]) for row in self.rows if key in row and column in row]

    def _scores(self) -> Table:
        """Last and best of every validation value: by its mode; without one a loss is best when low, others when high."""
        table = Table("validation", "last", "best", f"at {step_column(self._reader.columns)}", box=None, pad_edge=False)
        for name in self._reader.columns:
            points = [(at, value) for at, value in self._points(name) if math.isfinite(value)]
            if name.startswith("val/") and points:
                lowest = self._modes().get(name, "min" if is_loss(name) else "max") == "min"
                best = (min if lowest else max)(points, key=lambda point: point[1])
                table.add_row(name, short(self._points(name)[-1][1]), short(best[1]), f"{best[0]:g}")
        return table


def history_places(given: Path) -> list[Path]:
    """Where the history may lie, in the order in which it is looked for; it moves out of state/ when a training ends."""
    given = Path(given)
    if given.suffix == ".csv" and not given.is_dir():
        folder = given.parent
        return [given, folder.parent / given.name] if folder.name == "state" else [given]
    if given.name == "state":
        return [given / "history.csv", given.parent / "history.csv"]
    return [given / "state" / "history.csv", given / "history.csv"]


def _lines(parts: Sequence[str], width: int) -> list[str]:
    """Parts joined by dots, broken between them."""
    lines = [parts[0]]
    for part in parts[1:]:
        joined = f"{lines[-1]} · {part}"
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def _end_of(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[1 - width :]}"


def _training_folder(history: Path) -> Path:
    return history.parent.parent if history.parent.name == "state" else history.parent


def _trained_loss(key: str) -> bool:
    return is_loss(key) and not key.startswith("val/")
