"""What the readers of queries with windows share: clips, queries, and files whose faults have a place. Not here: a format.

A query with several windows is several rows of one query id; one without is a row with start_s = end_s = NaN. Where no
query of a split has a window the split is unannotated; where some have, one without is dropped and counted. Windows are
compared with the clip's duration later (lib/data/language.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.config.download_queries import QuerySource
from lib.data.sources import Item, Source, add_item, boxes_table, frames_table, language_table, media_kind
from lib.files import DataError
from lib.tables import QUERIES

Window = tuple[float, float]
"""Start and end in s from the clip's start; NaN where the file states none."""


class Gathered:
    """Clips and queries as a reader finds them, checked as they come; `source()` is what it returns."""

    def __init__(self, root: Path, options: QuerySource) -> None:
        self._videos = None if options.videos is None else root / options.videos
        self._files = {} if self._videos is None else _videos_in(self._videos)
        self._items: dict[str, Item] = {}
        self._refused: dict[str, str] = {}
        self._queries: dict[str, str] = {}
        self._rows: list[dict[str, Any]] = []

    def clip(
        self,
        name: str,
        split: str,
        duration_s: float,
        where: str,
        *,
        fps: float | None = None,
        frames: int | None = None,
        repeats: bool = False,
    ) -> None:
        """Add a clip. duration_s: as stated, NaN = not; without one and without a video the clip cannot be used.

        repeats: the format names a clip once per query; all of them must agree. DataError: two splits, two durations.
        """
        known = self._items.get(name)
        path = self._path(name)
        lasts = math.isfinite(duration_s) and duration_s > 0
        if not lasts and path is None:
            said = "states no duration" if math.isnan(duration_s) else f"has a duration of {duration_s:g} s"
            self._refused.setdefault(name, f"{where}: clip {name!r} {said}, and its video is not at hand")
        if frames is None and lasts and fps:
            frames = round(duration_s * fps)
        item = Item(
            original=name,
            path=path,
            kind="none" if path is None else "video",
            split=split,
            frames=frames,
            fps=fps,
            duration_s=duration_s if lasts else None,
        )
        if known is None or known.split != split or not repeats:
            add_item(self._items, item, where)
        elif known.duration_s != item.duration_s:
            raise DataError(f"{where}: clip {name!r} lasts {item.duration_s} s here, but {known.duration_s} s before.")

    def query(
        self, clip: str, query: str, text: Any, windows: list[Window], where: str, *, template: str | None = None
    ) -> None:
        """Add a query; one without words is dropped and counted later. DataError: its id is taken, or text is no text."""
        first = self._queries.setdefault(query, where)
        if first != where:
            raise DataError(
                f"{where}: query id {query!r} is stated at {first} already. Hint: remove the repeated entry; two "
                "annotations of one clip need ids of their own."
            )
        if text is not None and not isinstance(text, str):
            raise DataError(f"{where}: the query must be a text, got {text!r}.")
        row = {"original": clip, "query": query, "text": text or "", "template": template or ""}
        for start, end in windows or [(math.nan, math.nan)]:
            self._rows.append(row | {"start_s": start, "end_s": end})

    def source(self) -> Source:
        """All of it; media are looked at, and windows compared with durations, by lib/data/ingest.py."""
        split_of = {name: item.split for name, item in self._items.items()}
        annotated = {split_of[row["original"]] for row in self._rows if not _unanswered(row)}
        kept, without = [], []
        for row in self._rows:
            (without if _unanswered(row) and split_of[row["original"]] in annotated else kept).append(row)
        cause = "no window, though others of its split have one, dropped"
        return Source(
            items=list(self._items.values()),
            classes=[],
            frames=frames_table([]),
            boxes=boxes_table([]),
            queries=language_table(QUERIES, kept),
            dropped=[{"original": row["original"], "what": "query", "value": "", "cause": cause} for row in without],
            refused=self._refused,
        )

    def _path(self, name: str) -> Path | None:
        """The clip's video; where the folder lacks it, the place at which it is missed."""
        if self._videos is None:
            return None
        return self._files.get(name) or self._files.get(Path(name).stem) or self._videos / name


def _unanswered(row: dict[str, Any]) -> bool:
    return math.isnan(row["start_s"]) and math.isnan(row["end_s"])


def _videos_in(folder: Path) -> dict[str, Path]:
    """Videos of a folder by name and by name without suffix."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Hint: check `videos` in the dataset's `source:` block.")
    found = [path for path in sorted(folder.iterdir()) if media_kind(path) == "video"]
    return {path.stem: path for path in found} | {path.name: path for path in found}


def read_object(path: Path) -> Any:
    """The contents of a JSON file. DataError names the file, and a key that one object states twice."""
    try:
        return json.loads(text_of_file(path), object_pairs_hook=lambda pairs: _distinct(pairs, path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON ({error}). Hint: a cut copy? Fetch it again.") from error


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, object) of every line of a JSON-lines file that is not blank. DataError names the line."""
    for number, line in enumerate(text_of_file(path).splitlines(), 1):
        where = f"{path}:{number}"
        if line.strip():
            try:
                entry = json.loads(line, object_pairs_hook=lambda pairs, where=where: _distinct(pairs, where))
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: not valid JSON ({error}). Hint: one object per line; a cut copy?") from error
            yield where, mapping(entry, where)


def text_of_file(path: Path) -> str:
    """A text file whole. DataError when it is missing or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: file not found. Hint: check the paths in the dataset's `source:` block.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}). Hint: another kind of file, or a damaged copy?") from error


def _distinct(pairs: list[tuple[str, Any]], where: Path | str) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"{where}: {twice!r} is stated twice in one object. Hint: remove the repeated entry.")
    return values


def mapping(value: Any, where: str) -> dict[str, Any]:
    """`value`, when it is a JSON object."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be an object, got {_shown(value)}.")
    return value


def listed(entry: dict[str, Any], key: str, where: str) -> list[Any]:
    """The list `key` of an entry, which must state it."""
    if not isinstance(entry.get(key), list):
        raise DataError(f"{where}: {key!r} must be a list, got {_shown(entry.get(key))}. Hint: is this the right format?")
    return list(entry[key])


def name_of(entry: dict[str, Any], key: str, where: str) -> str:
    """The text `key` of an entry, which must hold something."""
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {key!r} must be a text that is not empty, got {_shown(value)}.")
    return value


def number(value: Any, what: str, where: str) -> float:
    """A finite number; NaN where none is stated (None)."""
    if value is None:
        return math.nan
    try:
        found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.inf
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise DataError(f"{where}: {what} must be a finite number, got {_shown(value)}.")
    return found


def window(value: Any, where: str) -> Window:
    """A pair [start, end] of finite numbers, in the unit of the file; null stands for what is not stated."""
    if not isinstance(value, list) or len(value) != 2:
        raise DataError(f"{where}: a window must be [start, end], got {_shown(value)}.")
    return number(value[0], "start", where), number(value[1], "end", where)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
