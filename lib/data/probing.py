"""Looking at many media files at once, remembering what was seen. Not here: how one file is looked at (video.py).

What was seen of a file is kept by (path, stream, size, modification time) in a file of JSON lines that is only appended to:
a killed job goes on where it stopped, and a torn last line costs one file. Broken files are not kept.
Decoding happens in children with limits, one per worker, so a file that crashes or stalls the decoder costs only itself.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.decoding.kinds import check_regular
from lib.data.progress import track
from lib.data.sources import Item, images_in
from lib.data.video import Probe, probe
from lib.files import DataError, sha256_file, sha256_text


@dataclass(frozen=True)
class Media:
    """One file as found: what it is and its sha256, or `cause`, why it cannot be used."""

    probe: Probe | None
    sha256: str = ""
    cause: str = ""


def look(items: list[Item], *, stream: int | None, cache: Path, workers: int, check: bool = True) -> dict[str, Media]:
    """Original name -> Media for every item with a path, by `workers` threads, with a progress bar on stderr.

    check: decode everything, which finds damage inside files.
    """
    known = _load(cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()
    with open(cache, "a", encoding="utf-8") as log, ThreadPoolExecutor(max_workers=max(1, workers)) as pool:

        def one(item: Item) -> Media:
            """What is known of a file, or found out and kept; a file that cannot be read is told as such."""
            try:
                key = _key(item, stream, check)
                if key in known:
                    return known[key]
                media = _look(item, stream, check)
            except (DataError, OSError) as error:
                return Media(None, cause=str(error))
            line = json.dumps({"key": key, **_pack(media)}) + "\n"
            with lock:
                log.write(line)
                log.flush()
            return media

        log.write("\n")  # closes a line that a killed job left torn
        wanted = [item for item in items if item.path is not None]
        found = track(pool.map(one, wanted), total=len(wanted), label="looking at media")
        return {item.original: media for item, media in zip(wanted, found, strict=True)}


def _look(item: Item, stream: int | None, check: bool) -> Media:
    path = Path(item.path or "")
    seen = probe(path, stream if item.kind == "video" else None, check=check)
    digest = _folder_sha256(path) if item.kind == "frames" else sha256_file(path)
    return Media(seen, digest)


def _folder_sha256(folder: Path) -> str:
    """One sha256 over the names and contents of a folder's frames."""
    return sha256_text(json.dumps([[file.name, sha256_file(file)] for file in images_in(folder)]))


def _key(item: Item, stream: int | None, check: bool) -> str:
    """What must be unchanged for a remembered look to hold; DataError when the file is not there, or no regular file."""
    path = Path(item.path or "").absolute()
    files = images_in(path) if item.kind == "frames" else [path]
    if not files:
        raise DataError(f"{item.path}: holds no images. Hint: frames are files such as 000001.jpg, directly in the folder.")
    for file in files:
        check_regular(file)
    stats = [file.stat() for file in files]
    stamp = [len(stats), sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)]
    return json.dumps([str(path), item.kind, stream, check, *stamp])


def _pack(media: Media) -> dict[str, Any]:
    """Media as JSON values; evenly spaced times are kept as their end only."""
    if media.probe is None:
        raise ValueError("a broken file is not kept")
    values = asdict(media.probe)
    times = values.pop("times")
    end = float(times[-1]) if len(times) else None
    even = end is not None and np.allclose(times, np.linspace(0.0, end, len(times)), rtol=0, atol=1e-9)
    values["fps"] = None if np.isnan(values["fps"]) else values["fps"]
    return {"probe": values, "sha256": media.sha256, "end": end, "times": None if even or end is None else times.tolist()}


def _unpack(line: dict[str, Any]) -> Media:
    values = line["probe"]
    if set(values) != {field.name for field in fields(Probe)} - {"times"}:
        raise KeyError("written by another version")
    if line["times"] is not None:
        times = np.asarray(line["times"], dtype=np.float64)
    else:
        times = np.zeros(0) if line["end"] is None else np.linspace(0.0, line["end"], values["frames"])
    fps = float("nan") if values["fps"] is None else values["fps"]
    return Media(Probe(**(values | {"fps": fps}), times=times), line["sha256"])


def _load(cache: Path) -> dict[str, Media]:
    known: dict[str, Media] = {}
    if cache.exists():
        for text in cache.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(json.JSONDecodeError, KeyError, TypeError):  # a torn or old line: that file is looked at again
                line = json.loads(text)
                known[line["key"]] = _unpack(line)
    return known
