"""What is known of a media file and of a reading of it. Not here: finding it out (reading.py).

Without FFmpeg and OpenCV, which the child needs and its parent does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Probe:
    """What a media file is. fps is NaN and stream -1 for images and folders of frames.

    width, height (px) as seen, after rotation. `cut`: fewer frames came than the file states or holds; `damage` says why,
    where that is known; `stated`: frames that it states, 0 where it does not. `times`: (T,) float64, s, of every frame;
    empty for folders of frames.
    """

    frames: int
    fps: float
    width: int
    height: int
    duration_s: float
    stream: int
    rotated: bool
    variable_rate: bool
    has_audio: bool
    codec: str
    cut: bool = False
    stated: int = 0
    damage: str = ""
    times: np.ndarray = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)


@dataclass
class ReadStats:
    """Filled by a reading: how many frames the video was found to have, and why it ended early ("" = it did not)."""

    frames: int = 0
    error: str = ""
