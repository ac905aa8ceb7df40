"""Features of clips: a video becomes windows of frames, an encoder turns each into one row. Not here: the encoders
(clips_light.py, clips_model.py).

T steps, D width. Step t looks at frames t * stride … t * stride + window - 1, as far as the video has them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from lib.config.base import ConfigError
from lib.config.embed_common import GridSection
from lib.data.features import Features
from lib.data.time_grid import TimeGrid
from lib.files import DataError
from lib.perception.streaming import progress_bar, rate

Windows = Sequence[tuple[int, int]]
"""First frame of each step, and the one behind its last."""


class ClipEncoder(Protocol):
    """What turns the windows of a video into rows. facts: what meta.json shall tell of it (revision, digest)."""

    width: int
    facts: dict[str, Any]

    def encode(self, video: Any, windows: Windows) -> np.ndarray:
        """A video (MANIFEST row) and its T windows → [T, width] float32."""
        ...


def grid_of(video: Any, settings: GridSection, place: str) -> TimeGrid:
    """The grid of a video (MANIFEST row). DataError, naming `place`, where it has more steps than settings allow."""
    fps = rate(video.fps)
    grid = TimeGrid(settings.stride, settings.window, fps, int(video.frames) / fps)
    if grid.count > settings.max_steps:
        raise DataError(
            f"video {video.original!r}: {grid.count} steps (one every {settings.stride} of {int(video.frames)} frames) are "
            f"more than {place}.max_steps = {settings.max_steps}. Hint: raise {place}.stride, or max_steps."
        )
    return grid


def windows_of(grid: TimeGrid, frames: int) -> Windows:
    """The frames of each step; the one window of a video shorter than that has the frames there are."""
    starts = [int(step * grid.stride) for step in range(grid.count)]
    return [(start, min(start + int(grid.window), frames)) for start in starts if start < frames]


def refuse_blind(video: Any, place: str) -> None:
    """DataError for a video (MANIFEST row) whose source has no pictures."""
    if video.kind == "none":
        raise DataError(
            f"video {video.original!r}: its source has no pictures, and {place} looks at them. "
            "Hint: point the source at the media, or take features that stand as files."
        )


def encode_clips(
    videos: pd.DataFrame, settings: GridSection, encoder: ClipEncoder, place: str, *, progress: bool = True
) -> Features:
    """Features of every video of a chunk (MANIFEST rows). place: the featureset, for messages.

    DataError for a video without pictures, damaged beyond what its manifest says, or with more steps than allowed.
    """
    features, started = Features(), time.perf_counter()
    with progress_bar("embed", int(videos["frames"].sum()), shown=progress) as advance:
        for video in videos.itertuples(index=False):
            refuse_blind(video, place)
            grid = grid_of(video, settings, place)
            values = encoder.encode(video, windows_of(grid, int(video.frames)))
            features.add(video.video, video.video, values, stride=grid.stride, window=grid.window, fps=grid.fps)
            advance(int(video.frames))
    features.notes = {"seconds_encode": round(time.perf_counter() - started, 3), "width": encoder.width, **encoder.facts}
    return features


def refuse_other_width(place: str, promised: int | None, given: int, model: str) -> None:
    """ConfigError where a network gives another width than the settings promise."""
    if promised is not None and promised != given:
        raise ConfigError(
            f"{place}.width: {promised} is promised, but {model!r} gives {given}. Hint: width: {given}, or another model."
        )
