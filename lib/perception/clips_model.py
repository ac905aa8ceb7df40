"""Clip features through a vision network: frames of each window, one row a step. Not here: the network
(pictures_model.py), windows (clips.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lib.config.base import ConfigError
from lib.config.embed import ModelClips
from lib.data.video import read_frames
from lib.perception.clips import Windows
from lib.perception.pictures_model import VisionNetwork
from lib.perception.streaming import rate

_FRAMES = 4


class NetworkClips:
    """The encoder of kind model_clips."""

    def __init__(self, settings: ModelClips) -> None:
        self.network = VisionNetwork(settings)
        self.width, self.facts = self.network.width, self.network.facts
        taken = self.network.length
        if taken > 1 and settings.frames is not None:
            raise ConfigError(
                f"frames: {settings.frames}, but {settings.model!r} takes {taken} frames at once. Hint: leave `frames` out."
            )
        self.frames = taken if taken > 1 else min(settings.frames or _FRAMES, settings.window)

    def encode(self, video: Any, windows: Windows) -> np.ndarray:
        """[T, width] float32: of pictures the mean over a window's frames, of clips what the network gives."""
        places = [spread(start, end, self.frames) for start, end in windows]
        if self.network.length > 1:
            return self._clips(video, places)
        rows = dict(self._rows(video, sorted({frame for step in places for frame in step})))
        return np.stack([np.mean([rows[frame] for frame in step], axis=0) for step in places])

    def _rows(self, video: Any, frames: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(frame, (width,)) of pictures, never more of them in memory than one call takes."""
        waiting: list[tuple[int, np.ndarray]] = []
        for index, image in _pictures(video, frames):
            waiting.append((index, image))
            if len(waiting) == self.network.batch:
                yield from self._flushed(waiting)
                waiting = []
        yield from self._flushed(waiting)

    def _flushed(self, waiting: list[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        rows = self.network.encode([image for _, image in waiting])
        yield from zip([index for index, _ in waiting], rows, strict=True)

    def _clips(self, video: Any, places: list[list[int]]) -> np.ndarray:
        """Frames come in order; each is kept until the last window that wants it is encoded."""
        wanted = sorted({frame for step in places for frame in step})
        coming, held, found = _pictures(video, wanted), {}, []
        for number, step in enumerate(places):
            while max(step) not in held:
                index, image = next(coming)
                held[index] = image
            found.append(self.network.encode([np.stack([held[frame] for frame in step])]))
            first = min((min(later) for later in places[number + 1 :][:1]), default=0)
            held = {index: image for index, image in held.items() if index >= first}
        return np.concatenate(found)


def spread(start: int, end: int, count: int) -> list[int]:
    """`count` frames spread over start … end - 1, each in the middle of its share; some repeat where there are fewer."""
    return [start + int((place + 0.5) * (end - start) / count) for place in range(count)]


def _pictures(video: Any, frames: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    stream = int(video.stream) if video.kind == "video" else None
    for index, _, image in read_frames(video.path, kind=video.kind, indices=frames, stream=stream, fps=rate(video.fps)):
        yield int(index), image
