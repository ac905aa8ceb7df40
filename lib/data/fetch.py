"""Getting a table of files whole into a folder: kept, linked from a mirror, downloaded. Not here: a transfer (transfer.py).

Every file is judged by its sha256. A mirror is a local folder that may hold the same files under other folders; they are
referenced by a symbolic link, never copied. The status table beside the files is also the memory of what was checked.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import ValidationError

from lib.config.download import Downloads, FileEntry
from lib.data.archives import unpack
from lib.data.partial import drop_partial, partial_path
from lib.data.progress import track
from lib.data.transfer import NotThere, WrongContent, client_of, download
from lib.files import DataError, sha256_file, write_json, write_link

_LISTED = 10


@dataclass
class Status:
    """One row of the status table; status: kept, mirror, downloaded, missing or wrong."""

    path: str
    status: str
    cause: str
    bytes: int
    sha256: str = ""
    mtime_ns: int = 0


def read_file_table(path: Path) -> list[FileEntry]:
    """The csv table path,url,sha256,bytes (bytes may be empty). DataError names file:line of a bad or repeated row."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"path", "url", "sha256"} <= set(reader.fieldnames or []):
                raise DataError(f"{path}: needs the columns path,url,sha256,bytes, got {reader.fieldnames}.")
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError as error:
        raise DataError(f"{path}: file not found. Hint: `files` is relative to config/.") from error
    entries: dict[str, FileEntry] = {}
    for line, row in rows:
        values = {key: value for key, value in row.items() if key in FileEntry.model_fields and value}
        try:
            entry = FileEntry.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(f"{path}:{line}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        if entry.path in entries:
            raise DataError(f"{path}:{line}: {entry.path!r} is listed twice.")
        entries[entry.path] = entry
    return list(entries.values())


def fetch(
    files: Iterable[FileEntry],
    target: Path,
    *,
    mirror: Path | None,
    on_missing: str,
    workers: int,
    status_file: Path,
    limits: Downloads | None = None,
) -> list[Status]:
    """Make every file whole below `target`; returns one Status per file and writes them to `status_file` (JSON).

    mirror: folder looked into first, by the longest common end of the path, then by file name, always by sha256.
    on_missing: "fail" or "skip". workers: downloads at once. limits: those of the run by default. Archives are unpacked
    beside themselves. DataError: a download with another sha256 and an archive that is refused, always; files that cannot
    be had at all, with "fail", naming the first ten.
    """
    limits = limits or Downloads.of_this_run()
    entries = list(files)
    known = _known(status_file)
    by_name = _index(mirror)
    with client_of(limits) as client, ThreadPoolExecutor(max(1, workers)) as pool:

        def one(entry: FileEntry) -> Status:
            status = _one(entry, target, by_name, known.get(entry.path), client, limits)
            if entry.extract and status.sha256:
                unpack(target / entry.path, status.sha256, limits)
            return status

        found = list(track(pool.map(one, entries), total=len(entries), label="fetching files"))
    write_json(status_file, [asdict(status) for status in found])
    wrong = [status for status in found if status.status == "wrong"]
    missing = [status for status in found if status.status == "missing"]
    bad = wrong or (missing if on_missing == "fail" else [])
    if bad:
        listed = "\n  ".join(f"{status.path}: {status.cause}" for status in bad[:_LISTED])
        more = f"\n  ... and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
        hint = (
            "Hint: the address serves other bytes now; correct `sha256` only if you trust them."
            if wrong
            else "Hint: export VIPERSIGHT_MIRROR=DIR with the files, or set `on_missing: skip`."
        )
        raise DataError(f"{len(bad)} of {len(entries)} files could not be had:\n  {listed}{more}\n{hint}")
    return found


def _known(status_file: Path) -> dict[str, dict[str, Any]]:
    if status_file.exists():
        with suppress(json.JSONDecodeError, TypeError, KeyError):  # damaged: every file is checked again
            return {row["path"]: row for row in json.loads(status_file.read_text(encoding="utf-8"))}
    return {}


def _index(mirror: Path | None) -> dict[str, list[Path]]:
    """File name -> places in the mirror."""
    by_name: dict[str, list[Path]] = {}
    if mirror is None:
        return by_name
    if not mirror.is_dir():
        raise DataError(f"VIPERSIGHT_MIRROR: {mirror} is no folder. Hint: export VIPERSIGHT_MIRROR=DIR, or unset it.")
    for folder, _, names in os.walk(mirror):
        for name in names:
            by_name.setdefault(name, []).append(Path(folder) / name)
    return by_name


def _one(
    entry: FileEntry,
    target: Path,
    by_name: dict[str, list[Path]],
    known: dict[str, Any] | None,
    client: httpx.Client,
    limits: Downloads,
) -> Status:
    place = target / entry.path
    if place.is_file() and _is_whole(place, entry, known):
        return _status(entry, place, "kept")
    for candidate in _candidates(entry.path, by_name):
        if (entry.bytes is None or candidate.stat().st_size == entry.bytes) and sha256_file(candidate) == entry.sha256:
            write_link(place, candidate.resolve())
            drop_partial(partial_path(place, entry.path, entry.sha256))
            return _status(entry, place, "mirror")
    try:
        download(entry, place, client, limits)
    except WrongContent as error:
        return Status(entry.path, "wrong", str(error), 0)
    except NotThere as error:
        return Status(entry.path, "missing", str(error), 0)
    return _status(entry, place, "downloaded")


def _is_whole(place: Path, entry: FileEntry, known: dict[str, Any] | None) -> bool:
    stat = place.stat()
    remembered = known is not None and (known.get("sha256"), known.get("bytes"), known.get("mtime_ns")) == (
        entry.sha256,
        stat.st_size,
        stat.st_mtime_ns,
    )
    return remembered or sha256_file(place) == entry.sha256


def _status(entry: FileEntry, place: Path, status: str) -> Status:
    stat = place.stat()
    return Status(entry.path, status, "", stat.st_size, entry.sha256, stat.st_mtime_ns)


def _candidates(path: str, by_name: dict[str, list[Path]]) -> list[Path]:
    """Files of the mirror with that name, those that share the longest end of the path first."""
    parts = Path(path).parts[::-1]

    def common(candidate: Path) -> int:
        pairs = zip(parts, candidate.parts[::-1], strict=False)
        return next((place for place, (one, other) in enumerate(pairs) if one != other), len(parts))

    return sorted(by_name.get(Path(path).name, []), key=lambda candidate: (-common(candidate), str(candidate)))
