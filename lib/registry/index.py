"""results/registry.json: every run of a working directory in one file, made again from the runs' own records at any time.

No lock: file servers keep them badly. Nobody adds to the file; everybody looks at all runs and writes the whole of it, then
looks again. Whoever finds that a run has come or has changed its state since it looked writes again. So the process that
writes last has seen, after its last write, all that there was; and whoever records a run later writes later. A process that
is killed between leaves an older file, never half of one, and the next one mends it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.files import DataError, write_text
from lib.registry.entry import Entry
from lib.registry.ours import our_entries

VERSION = 1
"""Of the file's form; raised when a key goes or changes its meaning."""
PLACE = Path("results/registry.json")
_PLACES = ("output", "log")


def rebuild(root: Path) -> list[Entry]:
    """Write root/results/registry.json and return what it holds. DataError when the file there is not one of ours."""
    path = root / PLACE
    _refuse_another(path)
    entries = our_entries(root)
    while True:
        write_text(path, _text(entries, root))
        again = our_entries(root)
        if _standing(again) == _standing(entries):
            return entries
        entries = again


def read_registry(path: Path, values: Any) -> list[Entry]:
    """The entries of a registry.json of ours; folders in it are relative to the working directory of its runs."""
    root = path.absolute().parent.parent
    entries = []
    for told in values["runs"].values():
        one = Entry.of(told)
        entries.append(replace(one, **{key: str(root / place) for key in _PLACES if (place := getattr(one, key))}))
    return entries


def is_ours(values: Any) -> bool:
    """Whether the contents of a registry.json are of this form (of this version or a later one)."""
    return isinstance(values, dict) and isinstance(values.get("version"), int) and isinstance(values.get("runs"), dict)


def _refuse_another(path: Path) -> None:
    """A file of somebody else is not written over; a damaged one is nobody's."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    if not is_ours(values):
        raise DataError(
            f"{path}: is not a registry of this project and is left as it is. Hint: move it; `compare --also` reads it."
        )


def _text(entries: Iterable[Entry], root: Path) -> str:
    values = {"version": VERSION, "runs": {one.id: one.plain() | _from(root, one) for one in entries}}
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _from(root: Path, entry: Entry) -> dict[str, str | None]:
    """Its places as seen from the working directory, so that the folder as a whole may move."""
    return {key: os.path.relpath(place, root) if (place := getattr(entry, key)) else None for key in _PLACES}


def _standing(entries: Iterable[Entry]) -> list[tuple[Any, ...]]:
    """What must not be lost: which runs there are, of what, and how they ended; not how far one is at this moment."""
    return [(one.id, one.status, one.fingerprint, one.restarts, one.finished) for one in entries]
