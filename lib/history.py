"""history.csv, the course of a training row by row: written so that a kill costs nothing, read while it is written.

Not here: other loggers (lib/training/loggers.py), pictures of it (lib/reporting/plots.py). An empty cell was not recorded;
`nan` was, and is no number. Beside it lies history.json: how many steps there will be, whether a score is good when high or
when low, and how the training ended.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.files import DataError, atomic, disk_errors, write_json

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, float]
STEPS = ("step", "iteration", "epoch")
"""Columns that may count the way of a training, the finest first; our loop's rows have `step`."""
FIRST = ("step", "seconds")


class HistoryCsv:
    """The writer: one row per logged step, on disk when `log` returns.

    Columns are step, seconds (of training, over all attempts) and what is logged, in the order of their first appearance;
    they may grow. What is logged for the last row's step again joins that row. Steps never fall: logging an earlier step,
    or a resume at step k, drops the rows that the training has gone back over. A row is one write, so a killed process
    leaves it whole or not at all; half a line (a full disk, a power cut) is taken off at the next start.
    """

    def __init__(self, path: Path, *, total_steps: int | None = None, best: Mapping[str, str] | None = None) -> None:
        """For those who watch it: optimizer steps of the whole training, and scores → whether low (min) or high (max) is
        good. DataError for a file of others.
        """
        self.path = Path(path)
        self.columns: list[str] = []
        self.rows = 0
        self._last: Row = {}
        self._place = self._size = 0  # bytes before the last row, bytes of the file
        self._facts: dict[str, Any] = {"total_steps": total_steps, "status": "running"}
        self._facts |= {"best": dict(best)} if best else {}
        self._heal()
        self._before, self._since = float(self._last.get("seconds", 0.0)), time.monotonic()
        write_json(side_file(self.path), self._facts)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the row of a step. ValueError for a name that cannot head a column, DataError when the disk refuses."""
        if self._size != _size(self.path):  # somebody has removed or changed the file meanwhile
            self._heal()
        if self.rows and step < self._last["step"]:
            self._drop_beyond(step - 1)
        row = dict(self._last) if self.rows and step == self._last["step"] else {}
        again = bool(row)
        row |= {"step": step, "seconds": round(self._seconds(), 2)} | {name: float(value) for name, value in values.items()}
        self._grow(row)
        line = (",".join(_cell(row.get(name)) for name in self.columns) + "\n").encode()
        place = self._place if again else self._size
        with disk_errors(self.path):
            handle = os.open(self.path, os.O_WRONLY)
            try:
                done = os.pwrite(handle, line, place)
                if done < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.ftruncate(handle, place + len(line))
            finally:
                os.close(handle)
        self.rows += 0 if again else 1
        self._last, self._place, self._size = row, place, place + len(line)

    def state_dict(self) -> dict[str, Any]:
        """The last row's step, the number of rows and the seconds so far."""
        return {"step": int(self._last.get("step", -1)), "rows": self.rows, "seconds": self._seconds()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on behind the row that was last when `state` was taken; {} drops every row (a fresh start)."""
        self._drop_beyond(int(state.get("step", -1)))
        self._before, self._since = float(state.get("seconds", 0.0)), time.monotonic()

    def close(self, status: str) -> None:
        """Note how the training ended; whoever watches it ends by that too."""
        write_json(side_file(self.path), self._facts | {"status": status})

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._since

    def _heal(self) -> None:
        """Learn what the file holds and take off what was half-written at its end."""
        text = self.path.read_bytes() if self.path.exists() else b""
        lines = text.splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        self.columns = _header(lines[0]) if lines else []
        if lines and self.columns[:1] != ["step"]:
            raise DataError(
                f"{self.path}: begins with {lines[0][:40]!r}, not with the column `step`. Hint: another program's?"
            )
        while len(lines) > 1 and _parsed(lines[-1], self.columns) is None:
            lines.pop()
        self.rows = max(0, len(lines) - 1)
        self._size = sum(map(len, lines))
        self._place = self._size - len(lines[-1]) if self.rows else self._size
        self._last = (_parsed(lines[-1], self.columns) or {}) if self.rows else {}
        if self._size != len(text):
            with disk_errors(self.path):
                os.truncate(self.path, self._size)

    def _drop_beyond(self, step: int) -> None:
        if not self.rows or self._last["step"] <= step:
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = [lines[0]]
        for number, line in enumerate(lines[1:], start=2):
            row = _parsed(line, self.columns)
            if row is None:
                raise DataError(
                    f"{self.path}, line {number}: not a row of {len(self.columns)} numbers. Hint: remove the line."
                )
            if row["step"] > step:
                break
            kept.append(line)
        with disk_errors(self.path):
            os.truncate(self.path, sum(map(len, kept)))
        self._heal()

    def _grow(self, row: Mapping[str, float]) -> None:
        """Make place for new columns: the whole file anew, atomically, as its first line changes. Rare by nature."""
        new = [name for name in dict.fromkeys([*FIRST, *row]) if name not in self.columns]
        if not new:
            return
        odd = next((name for name in new if not name or any(ord(letter) < 32 for letter in name)), None)
        if odd is not None:
            raise ValueError(f"{odd!r} cannot head a column: empty, or with a control character")
        lines = self.path.read_bytes().splitlines() if self.rows else [b""]
        columns = [*self.columns, *new]
        head = io.StringIO()
        csv.writer(head, lineterminator="").writerow(columns)
        text = b"".join(line + b"\n" for line in [head.getvalue().encode(), *(one + b"," * len(new) for one in lines[1:])])
        with atomic(self.path, need=len(text)) as temporary:
            temporary.write_bytes(text)
        self.columns, self._size = columns, len(text)
        self._place = self._size - (len(lines[-1]) + len(new) + 1) if self.rows else self._size


class HistoryReader:
    """The reader that keeps up with a file being written: `refresh` reads only what is new.

    Half a line at the end is left until it is whole. It reads histories of all engines: any numbers below a header.
    A writer may lengthen the last row meanwhile: only bytes that were there at the start are read, by one call, so what
    it adds cannot follow what it replaced; the row may be missing until the next refresh.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.columns: list[str] = []
        self.rows: list[Row] = []
        self._file: tuple[int, int, int] | None = None  # inode, bytes and date when read last
        self._place = self._lines = 0  # where the last row begins (it may still grow), lines before it
        self._head = b""  # the first line: new columns come with a new file, whose inode may bear the old one's number
        self._begins = b""  # the last row's first cell: still there unless rows were dropped and others written

    def refresh(self) -> bool:
        """Read on; True when something changed. FileNotFoundError while there is none, DataError for damage inside."""
        with open(self.path, "rb") as file:
            facts = os.fstat(file.fileno())
            now = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
            if now == self._file:
                return False
            text = os.pread(file.fileno(), max(0, now[1] - self._place), self._place)
            same = self._file is not None and now[0] == self._file[0] and now[1] >= self._file[1]
            head = os.pread(file.fileno(), len(self._head), 0)
            if not same or head != self._head or not text.startswith(self._begins):
                self.columns, self.rows, self._place, self._lines, self._begins = [], [], 0, 0, b""
                text = os.pread(file.fileno(), now[1], 0)
        self._file = now
        lines = text.splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        if lines and not self.columns:
            first = lines.pop(0)
            self.columns, self._head, self._place, self._lines = _header(first), first, len(first), 1
        elif self.rows and lines:
            self.rows.pop()
        self._take(lines)
        return True

    def _take(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines):
            row = _parsed(line, self.columns)
            last = number == len(lines) - 1
            if row is None and not last:
                raise DataError(
                    f"{self.path}, line {self._lines + number + 1}: not a row of {len(self.columns)} numbers. Hint: was it "
                    "edited by hand? Remove the line."
                )
            if row is not None:
                self.rows.append(row)
        if lines:
            self._begins = lines[-1].split(b",")[0]
        if len(lines) > 1:
            self._place += sum(map(len, lines[:-1]))
            self._lines += len(lines) - 1


def read_rows(path: Path) -> list[Row]:
    """All whole rows of a history; a cell that was not recorded is absent from its row. DataError without such a file."""
    return _read(path).rows


def history_frame(path: Path) -> pd.DataFrame:
    """The same as a table of objects: None where nothing was recorded, NaN where it was and is no number."""
    import pandas as pd

    reader = _read(path)
    columns = {name: [row.get(name) for row in reader.rows] for name in reader.columns}
    return pd.DataFrame(columns, columns=reader.columns, dtype=object)


def no_history() -> pd.DataFrame:
    """The history of what was not trained: no row."""
    import pandas as pd

    return pd.DataFrame({"epoch": [], "iteration": [], "seconds": []})


def _read(path: Path) -> HistoryReader:
    reader = HistoryReader(path)
    try:
        reader.refresh()
    except FileNotFoundError as error:
        raise DataError(f"{path}: file not found. Hint: it appears with the first logged step of a training.") from error
    return reader


def step_column(columns: Iterable[str]) -> str:
    """Which column counts the way of a training: step, iteration or epoch."""
    known = set(columns)
    return next((name for name in STEPS if name in known), STEPS[0])


def side_file(history: Path) -> Path:
    """history.json beside a history.csv."""
    return Path(history).with_suffix(".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    whole = float(value).is_integer() and abs(value) < 1e15
    return str(int(value)) if whole else repr(float(value))


def _header(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8", errors="replace").rstrip("\r\n")]), [])


def _parsed(line: bytes, columns: list[str]) -> Row | None:
    """The recorded cells of a line, None when it is not one number (or nothing) per column."""
    cells = line.rstrip(b"\r\n").split(b",")
    if len(cells) != len(columns):
        return None
    try:
        return {name: float(cell) for name, cell in zip(columns, cells, strict=True) if cell}
    except ValueError:
        return None
