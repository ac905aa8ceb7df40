"""Steps of a feature grid and seconds of its clip, mapped to each other both ways. Not here: features, windows' IoU.

The only owner of that mapping. Step t (counted from 0; fractions lie between steps) stands for the centre of its window of
frames, (offset + t * stride + window / 2) / fps seconds after the clip's start, on the way there and on the way back. So an
answer that is mapped to steps and back is the same answer: GroundNLQ adds half a window on the way back only, which shifts
every prediction by window / 2 / fps seconds.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields, replace
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from lib.files import DataError

_ROUNDING = 1e-6
"""Frames that a duration in seconds may lack of a whole window because it was rounded."""


@dataclass(frozen=True)
class TimeGrid:
    """stride, window: frames of the source from one step to the next, and that one step looks at; need not be whole.
    fps: frames/s of the source. duration: of the clip, in s. offset: frames before the first window, where steps are a part
    of a clip's. DataError unless the first four are positive and finite, and offset is at least 0.
    """

    stride: float
    window: float
    fps: float
    duration: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        for field, value in zip(fields(self), astuple(self), strict=True):
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value) and (value > 0 or (value == 0 and field.name == "offset"))):
                raise DataError(
                    f"time grid: {field.name} must be a positive, finite number, got {value!r}. Hint: stride and window "
                    "are frames of the source, fps its frames/s, duration the clip's seconds; see the dataset's manifest."
                )

    @property
    def count(self) -> int:
        """Steps in the clip: whole windows that fit in it, and one for a clip that is shorter than a window."""
        frames = self.duration * self.fps - self.window - self.offset
        return max(1, math.floor((frames + _ROUNDING) / self.stride) + 1)

    def seconds(self, steps: ArrayLike, *, clip: bool = False) -> np.ndarray:
        """Steps (any shape) as float64 s from the clip's start; clip: cut to [0, duration]."""
        seconds = (self.offset + np.asarray(steps, np.float64) * self.stride + self.window / 2) / self.fps
        return np.clip(seconds, 0.0, self.duration) if clip else seconds

    def steps(self, seconds: ArrayLike) -> np.ndarray:
        """Seconds (any shape) as float64 steps. 0 s lies half a window before step 0, so steps may be negative."""
        return (np.asarray(seconds, np.float64) * self.fps - self.window / 2 - self.offset) / self.stride

    def part(self, first: int, every: int = 1) -> TimeGrid:
        """The grid of every `every`-th step from step `first` on: the same seconds."""
        return replace(self, stride=self.stride * every, offset=self.offset + first * self.stride)
