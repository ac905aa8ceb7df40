"""Reading the sound of a video, aligned to its first frame. Not here: how (lib/data/decoding), what is heard in it.

S samples. As pictures, sound is decoded in a child process with limits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.data.decoding.parent import POOL

__all__ = ["read_sound"]


def read_sound(path: str | Path, *, rate: int) -> np.ndarray:
    """(S,) float32 in -1…1: all channels averaged, `rate` samples/s; sample 0 belongs to the first frame.

    Empty where the file has no sound. DataError: missing, damaged, or beyond the limits.
    """
    with POOL.decoder() as decoder:
        return decoder.sound(Path(path), rate)
