"""Files that are whole or absent: atomic writes, checksums, JSON. Not here: what the files mean (tables.py, provenance.py).

Every writer goes through `atomic`: same-directory temporary file, flush, fsync, rename, fsync of the directory, so that a
killed job or a full disk leaves the old file or the new one, never half of one. What the disk refuses is told in words.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from stat import S_ISREG
from typing import Any

from lib.config.base import VipersightError

WRITING, LINKING, EXTRACTING = ".writing-", ".linking-", ".extracting-"
LEFTOVERS = (WRITING, LINKING, EXTRACTING)
"""How names of what is being written begin; `make check` lists what a killed job left of them, `make resume` removes it."""
PARTIAL = ".partial-"
"""How names of downloads that go on where they stopped begin."""
_FORMULA = ("=", "+", "-", "@", "\t")
FULL = (errno.ENOSPC, errno.EDQUOT)
_LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)
_NEARLY_NOTHING = 64 << 10


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()  # once, while there is one thread: reading it means changing it for a moment


class DataError(VipersightError):
    """A data file is missing, cut, or holds something impossible: the text names the file, the place and the likely fix."""


@contextmanager
def atomic(path: str | Path, *, need: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it becomes `path`, else it is removed.

    The temporary name keeps the suffixes of `path`, because many writers choose their format by it. need: bytes that will
    be written, where known. Raises DataError when the disk is full, read-only or broken, with what is needed and what is
    free; `path` is then as it was before.
    """
    path = Path(path)
    with disk_errors(path, need=need):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=WRITING, suffix="".join(path.suffixes[-2:]), dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            with disk_errors(path, need=need, written=temporary):
                yield temporary
                with open(temporary, "rb+") as written:
                    os.fsync(written.fileno())
                os.chmod(temporary, 0o666 & ~_UMASK)
                os.replace(temporary, path)
                fsync_folder(path.parent)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


@contextmanager
def disk_errors(path: Path, *, need: int | None = None, written: Path | None = None) -> Iterator[None]:
    """Turn what the disk refuses inside the block into a DataError about `path`; other errors pass.

    need: bytes that `path` takes, where known; written: the file that holds what was written of it so far.
    """
    try:
        yield
    except VipersightError:
        raise
    except Exception as error:  # libraries wrap a failed write in errors of their own, so the disk itself is asked too
        told = _disk_trouble(path, error, need, written)
        if told is None:
            raise
        raise DataError(told) from error


def _disk_trouble(path: Path, error: Exception, need: int | None, written: Path | None) -> str | None:
    """What to tell about an error of the disk, None when it is another kind of error."""
    number = error.errno if isinstance(error, OSError) else None
    free = free_bytes(path)
    if number in FULL or (number is None and free is not None and free < _NEARLY_NOTHING):
        so_far = written.stat().st_size if written is not None and written.exists() else 0
        needs = sized(need) if need else f"more than {sized(so_far)}"
        elsewhere = _other_place(error, path)
        return (
            f"{path}: the disk is full{elsewhere}: need {needs}, have {sized(free or 0)} free. The file was not changed. "
            "Hint: free some space (`du -sh results/*` shows what is large), or work on another disk (`--directory DIR`)."
        )
    if number in _LOCKED and not _other_place(error, path):
        return (
            f"{path}: cannot be written ({os.strerror(number or 0)}). Hint: the folder is read-only or someone else's; "
            "choose another one with `--directory DIR`."
        )
    if number == errno.EIO:
        return f"{path}: the disk reports an error while writing ({error}). The file was not changed. Hint: check the disk."
    return None


def _other_place(error: Exception, path: Path) -> str:
    """Where else than in the folder of `path` (or above it) the error happened, "" when it was there or is not known."""
    named = getattr(error, "filename", None)
    if not isinstance(named, str) or not named:
        return ""
    folder = path.parent.absolute()
    place = Path(named).absolute()
    return "" if place.parent == folder or place == folder or place in folder.parents else f" (at {named})"


def free_bytes(path: Path) -> int | None:
    """Bytes free on the disk that holds `path` or its nearest folder that exists; 0 when it can hold no more files."""
    place = next((one for one in (path, *path.absolute().parents) if one.exists()), None)
    if place is None:
        return None
    status = os.statvfs(place)
    return 0 if status.f_files and not status.f_favail else shutil.disk_usage(place).free


def sized(amount: float) -> str:
    """A number of bytes as people say it: 0 bytes, 12.3 MB (powers of 1000)."""
    if amount < 1000:
        return f"{amount:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 1000:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def fsync_folder(folder: Path) -> None:
    """Make what was renamed or removed in a folder outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write text (UTF-8) atomically."""
    content = text.encode("utf-8")
    with atomic(path, need=len(content)) as temporary:
        temporary.write_bytes(content)


def csv_cell(value: Any) -> Any:
    """A cell for a csv table that people open: a text that a spreadsheet would take for a formula gets an apostrophe.

    A carriage return becomes a space: csv writers leave it unquoted, and readers end a row there.
    """
    if not isinstance(value, str):
        return value
    text = value.replace("\r", " ")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def write_link(path: str | Path, target: str | Path) -> None:
    """Make `path` a symbolic link to `target`, atomically: an older file or link of that name stands until then."""
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{LINKING}{os.getpid()}-{sha256_text(path.name)[:8]}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        try:
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


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


def folder_digest(
    folder: str | Path,
    *,
    labels: Collection[str] = (),
    cache: Path | None = None,
    what: str = "`root` in the dataset's `source:` block",
) -> str:
    """One sha256 over everything below a folder, independent of file dates.

    Files whose suffix is in `labels` (such as ".xml") enter by (name, sha256), so that a changed label of the same size
    counts; their sums are cached by (size, modification time) in the JSON file `cache`. All others (media) enter by
    (name, size). what: the setting that names the folder, for the DataError when it is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Hint: check {what}.")
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
        with suppress(DataError):  # read-only results can still be planned; without a cache it is only slow
            write_json(cache, fresh)
    return sha256_text(json.dumps(rows))
