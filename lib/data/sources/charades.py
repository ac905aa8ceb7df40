"""Charades-STA (text lines, and tables with the videos' lengths) as a Source. Not here: Charades' action labels.

    AO8RW 0.0 6.9##a person is putting a book on a shelf.

Windows are s. The id of a query is the video's name, "_", and its place among the lines of that video in the file
(Gao et al. 2017, "TALL").
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lib.config.download_queries import CharadesSource
from lib.data.sources import Source
from lib.data.sources.grounding import Gathered, text_of_file
from lib.files import DataError

_LINE = re.compile(r"(?P<video>\S+) +(?P<start>[^\s#]+) +(?P<end>[^\s#]+)##(?P<text>.*)")


def read(root: Path, options: CharadesSource) -> Source:
    """Read every split's lines. DataError names file and line of what is malformed or stated twice."""
    found = Gathered(root, options)
    lengths = _lengths([root / name for name in options.lengths])
    for split, name in options.annotations.items():
        count: Counter[str] = Counter()
        for where, video, start, end, text in _lines(root / name):
            length, fps = lengths.get(video, (math.nan, math.nan))
            rate = options.fps if math.isnan(fps) else fps
            found.clip(video, split, length, where, fps=rate, repeats=True)
            found.query(video, f"{video}_{count[video]}", text, [(start, end)], where)
            count[video] += 1
    return found.source()


def _lines(path: Path) -> Iterator[tuple[str, str, float, float, str]]:
    """(file:line, video, start, end in s, sentence) of every line that is not blank."""
    for place, line in enumerate(text_of_file(path).splitlines(), 1):
        where = f"{path}:{place}"
        if line.strip():
            parts = _LINE.fullmatch(line.strip())
            if parts is None:
                raise DataError(f"{where}: must read `VIDEO start end##sentence`, got {line[:80]!r}.")
            start, end = (_number(parts[key], key, where) for key in ("start", "end"))
            yield where, parts["video"], start, end, parts["text"]


def _lengths(paths: list[Path]) -> dict[str, tuple[float, float]]:
    """Video -> (length in s, frames/s or NaN), of all tables."""
    found: dict[str, tuple[float, float]] = {}
    for path in paths:
        table = csv.DictReader(io.StringIO(text_of_file(path)))
        if not {"id", "length"} <= set(table.fieldnames or ()):
            raise DataError(f"{path}: needs the columns id, length and, where known, fps; got {table.fieldnames}.")
        for row in table:
            where = f"{path}:{table.line_num}"
            values = (_number(row["length"], "length", where), _number(row.get("fps"), "fps", where))
            known = found.setdefault(row["id"], values)
            if known[0] != values[0]:
                raise DataError(f"{where}: {row['id']!r} is {values[0]:g} s long here, but {known[0]:g} s before.")
    return found


def _number(text: str | None, what: str, where: str) -> float:
    """A finite number; NaN where the field is empty or absent."""
    if text is None or not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise DataError(f"{where}: {what} must be a finite number, got {text!r}.")
    return value
