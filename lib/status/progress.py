"""How far a training is, its speed, time left, last loss and best score: from its history, its attempts, its model.

A history that is written at this moment is read as far as it is whole. Not here: whether it still runs (states.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.files import DataError, read_json
from lib.history import HistoryReader, Row, side_file, step_column
from lib.status.cells import Cell
from lib.status.looking import Facts, Records, moment
from lib.training.console import is_loss

_RECENT = 20  # rows over which the speed is the mean


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far: done of total in unit (step, iteration or epoch); left_s: s at the speed of now; None = not known.

    best: the score on val that chooses the weights, at its best so far (of a result: that of the weights kept).
    """

    done: float | None = None
    total: float | None = None
    unit: str = "step"
    left_s: float | None = None
    loss: float | None = None
    best: float | None = None
    elapsed_s: float | None = None


def progress_of(
    cell: Cell, records: Records, reader: HistoryReader, *, running: bool, result: bool = False, now: float | None = None
) -> Progress:
    """reader: of this training's history; kept between looks, it reads only what is new. running: for time left; result:
    whether model.json is what counts, not the attempts.
    """
    now = time.time() if now is None else now
    if result:
        return _of_result(cell, records.model)
    with suppress(FileNotFoundError, DataError, OSError):  # none yet, or half of it damaged: what was read before counts
        reader.refresh()
    told = records.last
    elapsed = _elapsed(records, running=running, now=now)
    if not reader.rows:
        return _of_notes(cell, told, elapsed)
    rows, column = reader.rows, step_column(reader.columns)
    done = rows[-1].get(column)
    total = _side(reader.path).get("total_steps") or (cell.total if cell.unit == f"{column}s" else None)
    rate = _rate(rows, column)
    left = max(0.0, total - done) / rate if running and rate and total and done is not None else None
    return Progress(
        done=done,
        total=total,
        unit=column,
        left_s=left,
        loss=_last_loss(rows),
        best=_best([row[cell.metric] for row in rows if cell.metric in row], cell.mode) if cell.metric else None,
        elapsed_s=elapsed,
    )


def history_reader(cell: Cell, root: Path) -> HistoryReader:
    """The reader of a training's history while it is not finished."""
    return HistoryReader(root / cell.folder / "state/history.csv")


def _of_result(cell: Cell, card: Facts) -> Progress:
    best = card.get("best") if isinstance(card.get("best"), dict) else {}
    value = best.get(cell.metric) if cell.metric and best else None
    steps = card.get("iterations")
    return Progress(
        done=steps, total=steps, best=_number(value), elapsed_s=_number(card.get("seconds")), unit="step"
    ) if cell.kind == "model" else Progress(elapsed_s=_number(card.get("seconds")))  # fmt: skip


def _of_notes(cell: Cell, told: Facts, elapsed: float | None) -> Progress:
    """From the notes of an attempt: an engine that writes its history at the end keeps steps and scores there."""
    counted = "epoch" if cell.unit == "epochs" and "epoch" in told else "steps"
    done = _number(told.get(counted))
    total = _number(told.get("of_steps")) or cell.total
    score = _number(told.get(f"val_{(cell.metric or '').removeprefix('val/')}"))
    return Progress(done=done, total=total if done is not None else None, unit=cell.unit.removesuffix("s"), best=score,
                    elapsed_s=elapsed)  # fmt: skip


def _elapsed(records: Records, *, running: bool, now: float) -> float | None:
    """s of all attempts at the same making together, the running one up to now."""
    last = records.last
    same = [one for one in records.attempts if one.get("fingerprint") == last.get("fingerprint")]
    if not same:
        return None
    begun = moment(last.get("start"))
    before = sum(_number(one.get("seconds")) or 0.0 for one in same if one is not last)
    if running and begun is not None and begun <= now:
        return before + now - begun
    return before + (_number(last.get("seconds")) or 0.0 if last in same else 0.0)


def _side(history: Path) -> dict[str, Any]:
    try:
        found = read_json(side_file(history))
    except (DataError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _rate(rows: Sequence[Row], column: str) -> float:
    """Steps per second over the last rows; 0 when it cannot be told."""
    timed = [row for row in rows[-_RECENT:] if "seconds" in row and column in row]
    if len(timed) < 2 or timed[-1]["seconds"] <= timed[0]["seconds"]:
        return 0.0
    return (timed[-1][column] - timed[0][column]) / (timed[-1]["seconds"] - timed[0]["seconds"])


def _last_loss(rows: Sequence[Row]) -> float | None:
    """The whole loss of training where it is logged, else its first part."""
    for row in reversed(rows):
        losses = {key: value for key, value in row.items() if is_loss(key) and not key.startswith("val/")}
        if losses:
            return losses.get("train/loss", next(iter(losses.values())))
    return None


def _best(values: Sequence[float], mode: str) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return (min if mode == "min" else max)(finite) if finite else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
