"""Small videos with known pictures and sound, and their MANIFEST rows, for tests of features and trackers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd

from lib.data.video import write_video

FPS, SIZE = 10.0, (96, 64)
GREY, RED = (120, 120, 120), (220, 30, 30)


def square(x: float, y: float, colour: tuple[int, int, int] = RED, side: int = 20) -> np.ndarray:
    """(64, 96, 3) uint8: a square of one colour with its upper left corner at x, y on grey."""
    picture = np.full((SIZE[1], SIZE[0], 3), GREY, np.uint8)
    picture[max(0, int(y)) : int(y) + side, max(0, int(x)) : int(x) + side] = colour
    return picture


def moving(dx: float, dy: float, frames: int = 20) -> list[np.ndarray]:
    """A red square that moves by dx, dy px each frame, through the middle half-way."""
    return [square(38 + dx * (n - frames / 2), 22 + dy * (n - frames / 2)) for n in range(frames)]


def manifest(path: Path, frames: int, *, name: str = "v", fps: float = FPS, kind: str = "video") -> pd.DataFrame:
    """The MANIFEST row of one video."""
    row = {
        "video": name, "original": f"{name}.mp4", "split": "test", "path": str(path), "kind": kind, "sha256": "0" * 64,
        "stream": 0, "fps": fps, "frames": frames, "width": SIZE[0], "height": SIZE[1], "duration_s": frames / fps,
    }  # fmt: skip
    return pd.DataFrame([row])


def film(path: Path, pictures: list[np.ndarray], *, name: str = "v") -> pd.DataFrame:
    """Write a silent video; returns its MANIFEST row."""
    write_video(path, iter(pictures), FPS, SIZE)
    return manifest(path, len(pictures), name=name)


def film_with_sound(
    path: Path, pictures: list[np.ndarray], wave: np.ndarray, rate: int, *, late_s: float = 0.0
) -> pd.DataFrame:
    """A video with an uncompressed sound track (S,) float32 that begins late_s after the first frame; its MANIFEST row."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(FPS).limit_denominator())
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, start + round(late_s * rate)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return manifest(path, len(pictures))
