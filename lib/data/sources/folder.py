"""Videos and images found by glob patterns, without truth, as a Source. Not here: folders of frames (format mot, coco)."""

from __future__ import annotations

from pathlib import Path

from lib.config.download import FolderSource
from lib.data.sources import Item, Source, boxes_table, frames_table, media_kind
from lib.files import DataError


def read(root: Path, options: FolderSource) -> Source:
    """Every file below `root` that a pattern matches and whose suffix is a video's or an image's, sorted by name.

    Links that lead nowhere and things that are no regular files are listed too: ingest refuses or counts them by name.

    Raises DataError when there is none.
    """
    found = {path for pattern in options.patterns for path in root.glob(pattern) if media_kind(path) and not path.is_dir()}
    if not found:
        raise DataError(f"{root}: no video or image matches {options.patterns}. Hint: patterns are relative to the root.")
    items = [Item(path.relative_to(root).as_posix(), path, str(media_kind(path)), options.split) for path in sorted(found)]
    return Source(items=items, classes=[], frames=frames_table([]), boxes=boxes_table([]))
