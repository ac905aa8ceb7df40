"""The language JSON: queries, relations, captions and questions beside the annotations of videos. Not here: checks against
boxes and durations (lib/data/language.py), other formats of such truths.

    {"videos": [{"file_name": "a.mp4",
                 "queries": [{"query": "a-q0", "text": "…", "start_s": 1.2, "end_s": 3.4, "template": "…", "evidence": ""}],
                 "relations": [{"frame": 0, "subject": 3, "group": "spatial", "predicate": "behind", "object": 5}],
                 "captions": [{"caption": "a-c0", "text": "…", "start_s": 1.2, "end_s": 3.4}],
                 "answers": [{"question": "a-a0", "kind": "…", "text": "…?", "answer": "…", "evidence": "…"}]}]}

Every list may be absent, and so may template, evidence, group, kind, and the times of a caption (then of the whole).
`file_name` is that of the annotations' `videos` (of an image, its path from the root). Frames count from 0, subject and
object are track ids, times are s from the first frame. Other keys are an error.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lib.files import DataError, read_json
from lib.tables import CAPTIONS, COLUMNS, LANGUAGE

OPTIONAL = {"template": "", "evidence": "", "group": "", "kind": ""}
_WHOLE = {"start_s": math.nan, "end_s": math.nan}  # a caption without times is one of the whole

Rows = dict[str, list[dict[str, Any]]]
"""Kind of tables.LANGUAGE -> rows, keyed by `original`."""


def read_language(path: Path, known: Collection[str]) -> Rows:
    """All rows of one file. known: the original names that it may speak of. DataError names file, video and entry."""
    data = read_json(path)
    videos = data.get("videos") if isinstance(data, dict) else None
    if not isinstance(videos, list):
        raise DataError(f"{path}: must be an object with a list `videos`. Hint: is this a language JSON?")
    rows: Rows = {kind: [] for kind in LANGUAGE}
    for place, video in enumerate(videos):
        name = video.get("file_name") if isinstance(video, dict) else None
        if name not in known:
            raise DataError(
                f"{path}: videos[{place}]: file_name {name!r} is no video of the annotations. Hint: use the same names."
            )
        unknown = sorted(set(video) - {"file_name", *LANGUAGE})
        if unknown:
            raise DataError(f"{path}: video {name!r}: unknown key {unknown[0]!r}; allowed: {', '.join(LANGUAGE)}.")
        for kind in LANGUAGE:
            for number, entry in enumerate(_list(video, kind, path)):
                rows[kind].append(_row(entry, kind, f"{path}: video {name!r}: {kind}[{number}]", name))
    return rows


def _list(video: dict[str, Any], kind: str, path: Path) -> list[Any]:
    entries = video.get(kind, [])
    if not isinstance(entries, list):
        raise DataError(f"{path}: video {video['file_name']!r}: {kind!r} must be a list.")
    return entries


def _row(entry: Any, kind: str, where: str, name: str) -> dict[str, Any]:
    columns = {column: type_ for column, type_ in COLUMNS[kind].items() if column != "video"}
    if not isinstance(entry, dict):
        raise DataError(f"{where} must be an object with {', '.join(columns)}.")
    absent = OPTIONAL | (_WHOLE if kind == CAPTIONS else {})
    wrong = sorted(set(entry) - set(columns)) or sorted(set(columns) - set(entry) - set(absent))
    if wrong:
        raise DataError(f"{where}: {wrong[0]!r} is missing or unknown; needed: {', '.join(columns)}.")
    row: dict[str, Any] = {"original": name}
    for column, type_ in columns.items():
        row[column] = entry[column] if column in entry else absent[column]
        if column in entry and not _fits(row[column], type_):
            raise DataError(f"{where}: {column!r} must be {_WORDS[type_]}, got {row[column]!r}.")
    return row


_WORDS = {"string": "a text", "int64": "a whole number", "float64": "a finite number"}


def _fits(value: Any, type_: str) -> bool:
    if type_ == "string":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int if type_ == "int64" else (int, float)):
        return False
    return math.isfinite(value)
