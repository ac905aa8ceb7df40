"""What all readers of official files share: JSON, what counts as a number, and one form of refusal. Not here: any format.

A refusal names the file, the entry, its value, what is allowed, and a hint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from lib.files import DataError

_LARGEST_ID = 2**53
_SHOWN = 200
_NOT_JSON = "Hint: is the file cut, or another format?"


def read_text(path: Path) -> str:
    """The text of a file (UTF-8). Raises DataError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        refuse(path, "", "absent", "an existing file", "check the path")
    except IsADirectoryError:
        refuse(path, "", "a folder", "one file", "name the file inside it")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file ({error}). Hint: unpack archives first.") from error


def read_json(path: Path, *, distinct: bool = False) -> Any:
    """The values of a JSON file. distinct: refuse an object that states a key twice, of which JSON keeps the last.

    Raises DataError.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=(lambda pairs: _distinct(path, pairs)) if distinct else None)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}). {_NOT_JSON}") from error


def _distinct(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in values if keys.count(key) > 1)
        refuse(path, twice, "stated twice", "each name once in an object", "is the file joined from two runs?")
    return values


def read_json_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(place, object) of every filled line. Raises DataError."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: not valid JSON ({error}). {_NOT_JSON}") from error
        if not isinstance(value, dict):
            refuse(path, f"line {number}", value, "an object", "JSON lines hold one query each")
        rows.append((f"line {number}", value))
    return rows


def is_whole(value: Any) -> bool:
    """A whole number that a float holds exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_ID


def is_real(value: Any) -> bool:
    """A number that is neither NaN nor infinite, and no integer beyond what a float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def refuse(path: Path, place: str, value: Any, allowed: str, hint: str) -> NoReturn:
    """Raise the DataError of one entry; place: where in the file, "" = the file as a whole."""
    where = f"{path}: {place}: " if place else f"{path}: "
    hint, value = hint.removeprefix("Hint: ").rstrip("."), str(value)
    value = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    end = "" if hint.endswith("?") else "."
    raise DataError(f"{where}{value}; allowed: {allowed}. Hint: {hint}{end}")
