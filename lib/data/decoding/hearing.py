"""The sound of a video, decoded in this process: what the child runs. Not here: the child itself (child.py)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from lib.config.limits import Limits
from lib.data.decoding.containers import TooMuchMemory, open_video
from lib.data.decoding.frameindex import Beat
from lib.files import DataError


def sound(path: Path, rate: int, limits: Limits, beat: Beat) -> Iterator[np.ndarray]:
    """Blocks of (n,) float32 samples, mono, `rate` a second, from the time of the first frame on; none = no sound.

    Sound before the first frame is left out, a late beginning is filled with 0. DataError where it does not decode.
    """
    try:
        with open_video(path, limits) as container:
            if not len(container.streams):
                raise DataError(f"{path}: holds neither pictures nor sound. Hint: is it cut? Fetch the file again.")
            stream = container.streams.best("audio")
            if stream is None:
                return
            yield from _blocks(container, stream, rate, beat)
    except MemoryError as error:
        raise TooMuchMemory(path, limits) from error
    except av.error.FFmpegError as error:
        raise DataError(
            f"{path}: its sound does not decode ({getattr(error, 'strerror', None) or error}). "
            "Hint: fetch the file again, or set sound: false."
        ) from error


def _blocks(container: Any, stream: Any, rate: int, beat: Beat) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    skip: int | None = None  # samples before the first frame of pictures; below 0: late by so many
    for frame in container.decode(stream):
        beat()
        if skip is None:
            skip = round((_start_of_pictures(container) - (frame.time or 0.0)) * rate)
            if skip < 0:
                yield np.zeros(-skip, np.float32)
        for part in resampler.resample(frame):
            samples = part.to_ndarray()[0]
            yield samples[max(skip, 0) :]
            skip = max(skip - len(samples), 0)
    for part in resampler.resample(None):
        yield part.to_ndarray()[0][max(skip or 0, 0) :]


def _start_of_pictures(container: Any) -> float:
    """Time of the first frame, s, on the container's clock."""
    stream = container.streams.best("video")
    if stream is None or stream.start_time is None:
        return 0.0
    return float(stream.start_time * (stream.time_base or Fraction(1)))
