"""TACoS as 2D-TAN gives it (one JSON object per split) as a Source. Not here: the original's alignments of descriptions.

{"s30-d52.avi": {"timestamps": [[141, 354], …], "sentences": ["…", …], "fps": 29.4, "num_frames": 7346}}

Timestamps are frames: frame / fps = s. The id of a query is the video's name without suffix, "_", and its place in the
list. Several annotators described each video, so a sentence may occur again with the same window, as a query of its own
(Regneri et al. 2013; Zhang et al. 2020, "2D Temporal Adjacent Networks").
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from lib.config.download_queries import TacosSource
from lib.data.sources import Source
from lib.data.sources.grounding import Gathered, listed, mapping, number, read_object, window
from lib.files import DataError


def read(root: Path, options: TacosSource) -> Source:
    """Read every split's file. DataError names file and video of what is malformed or stated twice."""
    found = Gathered(root, options)
    for split, name in options.annotations.items():
        path = root / name
        for video, entry in mapping(read_object(path), str(path)).items():
            _read_video(found, video, mapping(entry, f"{path}: {video!r}"), split, f"{path}: {video!r}")
    return found.source()


def _read_video(found: Gathered, video: str, entry: dict[str, Any], split: str, where: str) -> None:
    fps = number(entry.get("fps"), "fps", where)
    if not fps > 0:
        raise DataError(f"{where}: fps must exceed 0, got {entry.get('fps')!r}: timestamps are frames.")
    frames = number(entry.get("num_frames"), "num_frames", where)
    found.clip(video, split, frames / fps, where, fps=fps, frames=int(frames) if frames > 0 else None)
    times, sentences = listed(entry, "timestamps", where), listed(entry, "sentences", where)
    if len(times) != len(sentences):
        raise DataError(f"{where}: {len(times)} timestamps, but {len(sentences)} sentences; each sentence has one.")
    for index, (stated, text) in enumerate(zip(times, sentences, strict=True)):
        here = f"{where}: timestamps[{index}]"
        start, end = window(stated, here)
        found.query(video, f"{PurePosixPath(video).stem}_{index}", text, [(start / fps, end / fps)], here)
