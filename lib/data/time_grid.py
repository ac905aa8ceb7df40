"""Steps of a feature sequence and seconds of its clip, in both directions. Not here: features, windows of answers.

Step t is the mean of the frames from t * stride on, `window` of them; it stands for the centre of that window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_SLACK = 1e-6  # frames; durations are rounded in their sources


@dataclass(frozen=True)
class TimeGrid:
    """stride, window: frames of the source, which runs at `fps` (frames/s); duration: s of the clip."""

    stride: float
    window: float
    fps: float
    duration: float

    def seconds(self, steps: np.ndarray | float) -> np.ndarray:
        """Centre of each step's window, s from the clip's start; not clipped, so that `steps` undoes it."""
        return (np.asarray(steps, dtype=np.float64) * self.stride + self.window / 2) / self.fps

    def steps(self, seconds: np.ndarray | float) -> np.ndarray:
        """The step (with fraction) whose window is centred at each time; not clipped."""
        return (np.asarray(seconds, dtype=np.float64) * self.fps - self.window / 2) / self.stride

    @property
    def count(self) -> int:
        """Steps whose window lies inside the clip; one where the clip is shorter than a window."""
        frames = self.duration * self.fps
        return max(1, math.floor((frames - self.window) / self.stride + _SLACK) + 1)
