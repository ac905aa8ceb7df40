"""Files that are whole or absent: atomic writes, checksums, JSON. Not here: what the files mean (tables.py, provenance.py).

Every writer goes through `atomic`: same-directory temporary file, flush, fsync, rename, fsync of the directory, so that a
killed job or a full disk leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from stat import S_ISREG
from typing import Any

from lib.config.base import VipersightError


class DataError(VipersightError):
    """A data file is missing, cut, or holds something impossible: the text names the file, the place and the likely fix."""


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it becomes `path`, else it is removed.

    The temporary name keeps the suffixes of `path`, because many writers choose their format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix="".join(path.suffixes[-2:]), dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _fsync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write text (UTF-8) atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, values: Any) -> None:
    """Write values as readable JSON, keys sorted; NaN is refused (it is not JSON)."""
    text = json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or damaged file is a DataError that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: file not found. Hint: was the stage that writes it run?") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}). Hint: delete it and let its rule write it again.") from error


def sha256_file(path: str | Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """sha256 of a text (UTF-8), in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _files_below(folder: Path) -> list[tuple[tuple[str, ...], os.stat_result]]:
    """(names on the way, facts) of every file below a folder, in order; linked folders are not entered.

    Plain strings, because every plan looks at every file: with Path objects ten thousand files cost it half a second.
    """
    found = []
    for here, _, names in os.walk(folder):
        way = Path(here).relative_to(folder).parts
        for name in names:
            with suppress(FileNotFoundError):  # a link to nowhere
                stat = os.stat(os.path.join(here, name))
                if S_ISREG(stat.st_mode):
                    found.append(((*way, name), stat))
    return sorted(found, key=itemgetter(0))


def folder_digest(folder: str | Path, *, labels: Collection[str] = (), cache: Path | None = None) -> str:
    """One sha256 over everything below a folder, independent of file dates.

    Files whose suffix is in `labels` (such as ".xml") enter by (name, sha256), so that a changed label of the same size
    counts; their sums are cached by (size, modification time) in the JSON file `cache`. All others (media) enter by
    (name, size).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Hint: check `root` in the dataset's `source:` block.")
    known: dict[str, list[Any]] = {}
    if cache is not None and cache.exists():
        with suppress(json.JSONDecodeError):  # a damaged cache is only slow, never wrong
            known = json.loads(cache.read_text(encoding="utf-8"))
    rows: list[list[Any]] = []
    fresh: dict[str, list[Any]] = {}
    for parts, stat in _files_below(folder):
        name = "/".join(parts)
        if os.path.splitext(name)[1].lower() not in labels:
            rows.append([name, stat.st_size])
            continue
        stamp = [stat.st_size, stat.st_mtime_ns]
        digest = known[name][2] if name in known and known[name][:2] == stamp else sha256_file(folder / name)
        fresh[name] = [*stamp, digest]
        rows.append([name, digest])
    if cache is not None and fresh != known:
        write_json(cache, fresh)
    return sha256_text(json.dumps(rows))
