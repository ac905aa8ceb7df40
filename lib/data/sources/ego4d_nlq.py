"""Ego4D natural language queries (train, val and unannotated test JSON) as a Source. Not here: other Ego4D benchmarks.

A clip is the video; windows are s from its start. Its duration is video_end_sec - video_start_sec, never the end of an
answer. The id of a query is annotation_uid + "_" + its index in the file's own list: a query without words is left out and
keeps its index (Grauman et al. 2022, Ego4D; the challenge's submissions count in the same way).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.config.download_queries import Ego4dNlqSource
from lib.data.sources import Source
from lib.data.sources.grounding import Gathered, listed, mapping, name_of, number, read_object


def read(root: Path, options: Ego4dNlqSource) -> Source:
    """Read every split's file. DataError names file and entry of what is malformed or stated twice."""
    found = Gathered(root, options)
    for split, name in options.annotations.items():
        path = root / name
        for place, video in _entries(mapping(read_object(path), str(path)), "videos", f"{path}: "):
            for where, clip in _entries(video, "clips", f"{place}."):
                _read_clip(found, clip, split, options.fps, where)
    return found.source()


def _entries(entry: dict[str, Any], key: str, where: str) -> list[tuple[str, dict[str, Any]]]:
    """(place, object) of every element of the list `key`."""
    elements = listed(entry, key, where.rstrip(".: "))
    return [(f"{where}{key}[{index}]", mapping(one, f"{where}{key}[{index}]")) for index, one in enumerate(elements)]


def _read_clip(found: Gathered, clip: dict[str, Any], split: str, fps: float, where: str) -> None:
    name = name_of(clip, "clip_uid", where)
    start, end = (number(clip.get(key), key, where) for key in ("video_start_sec", "video_end_sec"))
    found.clip(name, split, end - start, where, fps=fps)
    for place, annotation in _entries(clip, "annotations", f"{where}."):
        uid = name_of(annotation, "annotation_uid", place)
        for index, query in enumerate(listed(annotation, "language_queries", place)):
            here = f"{place}.language_queries[{index}]"
            asked = mapping({} if query is None else query, here)
            times = tuple(number(asked.get(key), key, here) for key in ("clip_start_sec", "clip_end_sec"))
            template = asked.get("template")
            found.query(
                name,
                f"{uid}_{index}",
                asked.get("query"),
                [(times[0], times[1])],
                here,
                template=template if isinstance(template, str) else None,
            )
