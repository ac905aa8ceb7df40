"""Clip features without a network: colours, what stands out from the background, motion, edges, and the sound's bands.

Everything is counted per frame on small pictures, by cells of the picture and for the whole of it, and averaged over a
step's window. Not here: windows (clips.py), decoding. h, w: px of the small picture; C: cells and the whole; T: steps.

- Colours: shares of 12 kinds (8 hues, 4 greys) as square roots, of all pixels and of those that stand out from the
  background, which is the median of up to 24 frames of the video (whole changes of light are taken out).
- Motion: right, left, down and up, from optical flow (Farnebäck) of what stands out; in picture widths per second.
- Edges of what stands out: 8 directions in the upper, middle and lower third: how somebody stands and holds the arms.
- Sound: 96 bands on the mel scale to 8 kHz, logarithmic (Stevens et al. 1937), 0 for a video without sound.

No random number, no state: the same file gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from lib.config.embed import CELL_WIDTH, EDGE_WIDTH, SOUND_BANDS, LightClips
from lib.data.sound import read_sound
from lib.data.video import read_frames
from lib.perception.clips import Windows
from lib.perception.streaming import rate

RATE = 16_000
_SPAN, _HOP = 1024, 256  # samples: 64 ms and 16 ms
_HIGHEST_HZ = 8000.0
_QUIET = 1e-6  # energy of a band that counts as silence
_HUES, _GREYS = 8, 4
_KINDS = _HUES + _GREYS
_BACKGROUND_FRAMES = 24
_OUT_FROM, _OUT_OVER = 14.0, 30.0  # of 255: differences from the background that begin to stand out, and do so wholly
_MOTION_FULL = 0.25  # picture widths per second, of a whole cell, that count as 1


class LightEncoder:
    """The encoder of kind light_clips."""

    def __init__(self, settings: LightClips) -> None:
        self.settings, self.width, self.silent = settings, settings.width, []

    @property
    def facts(self) -> dict[str, Any]:
        """Videos without sound, where it was asked for."""
        return {"without_sound": self.silent} if self.settings.sound else {}

    def encode(self, video: Any, windows: Windows) -> np.ndarray:
        """[T, width] float32 of a video (MANIFEST row)."""
        per_frame = self._looks(video)
        sums = np.vstack([np.zeros(per_frame.shape[1]), np.cumsum(per_frame, axis=0, dtype=np.float64)])
        starts, ends = np.array(windows).T
        looks = (sums[ends] - sums[starts]) / (ends - starts)[:, None]
        parts = [looks] + ([self._bands(video, windows)] if self.settings.sound else [])
        return np.hstack(parts).astype(np.float32)

    def _looks(self, video: Any) -> np.ndarray:
        """(frames, cells and edges) float32 of every frame."""
        size = _small(video, self.settings.side)
        background = _background(video, size)
        eye = _Eye(size, self.settings, background, rate(video.fps))
        return np.stack([eye.look(image) for image in _frames(video, size)])

    def _bands(self, video: Any, windows: Windows) -> np.ndarray:
        """(T, 96) of the sound during each window, 0…1; 0 where there is none."""
        wave = read_sound(video.path, rate=RATE) if video.kind == "video" else np.zeros(0, np.float32)
        if not len(wave):
            self.silent.append(str(video.video))
            return np.zeros((len(windows), SOUND_BANDS))
        levels = levels_of(wave)
        spans = np.array(windows) * (RATE / _HOP / rate(video.fps))
        first = np.floor(spans[:, 0]).astype(int)
        behind = np.maximum(np.ceil(spans[:, 1]).astype(int), first + 1)
        silence = np.zeros((max(0, int(behind.max()) - len(levels)), SOUND_BANDS))  # where it ends before the pictures
        sums = np.vstack([np.zeros(SOUND_BANDS), np.cumsum(np.vstack([levels, silence]), axis=0)])
        return (sums[behind] - sums[first]) / (behind - first)[:, None]


class _Eye:
    """Looks at the frames of one video in order, each with the one before it."""

    def __init__(self, size: tuple[int, int], settings: LightClips, background: np.ndarray, fps: float) -> None:
        self.size, self.settings, self.fps = size, settings, fps
        self.background = background.astype(np.float32)
        self.level = self.background.mean(axis=(0, 1))
        width, height = size
        rows = np.arange(height) * settings.rows // height
        columns = np.arange(width) * settings.columns // width
        self.cell = (rows[:, None] * settings.columns + columns[None, :]).ravel()
        self.count = settings.rows * settings.columns
        self.area = np.bincount(self.cell, minlength=self.count).astype(np.float64)
        self.third = np.repeat(np.arange(height) * 3 // height, width)
        self.before: np.ndarray | None = None

    def look(self, image: np.ndarray) -> np.ndarray:
        """(C * 29 + 24,) float32 of one frame, (h, w, 3) uint8 RGB."""
        out = self._standing_out(image)
        kinds = colour_kinds(image)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        parts = [
            np.sqrt(self._by_kind(kinds, None)),
            np.sqrt(self._by_kind(kinds, out)),
            np.sqrt(np.minimum(self._motion(grey, out) / _MOTION_FULL, 1.0)),
            np.sqrt(self._with_whole(np.bincount(self.cell, out, self.count), 1)),
        ]
        self.before = grey
        return np.concatenate([np.hstack(parts).ravel(), self._edges(grey, out)]).astype(np.float32)

    def _standing_out(self, image: np.ndarray) -> np.ndarray:
        """(h * w,) 0…1: how far each pixel differs from the background, changes of the whole light taken out."""
        gain = np.clip(self.level / np.maximum(image.mean(axis=(0, 1)), 1.0), 0.7, 1.4).astype(np.float32)
        difference = np.abs(image * gain - self.background).max(axis=2)
        return np.clip((cv2.blur(difference, (3, 3)) - _OUT_FROM) / _OUT_OVER, 0.0, 1.0).ravel()

    def _with_whole(self, sums: np.ndarray, columns: int) -> np.ndarray:
        """(C, columns) means per pixel from sums per cell: the cells, and the whole picture."""
        table = sums.reshape(self.count, columns)
        return np.vstack([table / self.area[:, None], table.sum(axis=0, keepdims=True) / self.area.sum()])

    def _by_kind(self, kinds: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        places = self.cell * _KINDS + kinds.ravel()
        return self._with_whole(np.bincount(places, weights, self.count * _KINDS), _KINDS)

    def _motion(self, grey: np.ndarray, out: np.ndarray) -> np.ndarray:
        """(C, 4) right, left, down, up, in picture widths per second per pixel."""
        if self.before is None:
            return np.zeros((self.count + 1, 4))
        half = (max(self.size[0] // 2, 16), max(self.size[1] // 2, 16))
        pair = [cv2.resize(one, half, interpolation=cv2.INTER_AREA) for one in (self.before, grey)]
        flow = cv2.calcOpticalFlowFarneback(*pair, None, 0.5, 2, 9, 2, 5, 1.1, 0)
        flow = cv2.resize(flow, self.size, interpolation=cv2.INTER_NEAREST).reshape(-1, 2) * (self.fps / half[0])
        flow = flow * out[:, None]
        ways = (flow[:, 0], -flow[:, 0], flow[:, 1], -flow[:, 1])
        sums = [np.bincount(self.cell, np.maximum(way, 0), self.count) for way in ways]
        return self._with_whole(np.stack(sums, axis=1), 4)

    def _edges(self, grey: np.ndarray, out: np.ndarray) -> np.ndarray:
        """(24,) strength of edges of what stands out: 3 thirds of the picture × 8 directions, as square roots."""
        right, down = cv2.spatialGradient(grey)
        strength, angle = cv2.cartToPolar(right.astype(np.float32), down.astype(np.float32))
        bins = (angle.ravel() * (8 / math.pi)).astype(np.int64) % 8  # opposite directions are one edge
        sums = np.bincount(self.third * 8 + bins, strength.ravel() * out / 255.0, 24)
        return np.sqrt(sums / self.area.sum() * 3)


@lru_cache(maxsize=1)
def _table_of_kinds() -> np.ndarray:
    """(32768,) uint8: kind of a colour by its upper five bits of red, green and blue."""
    steps = (np.arange(32768)[:, None] >> np.array([10, 5, 0]) & 31) * 8 + 4
    hsv = cv2.cvtColor(steps.astype(np.uint8)[None], cv2.COLOR_RGB2HSV)[0].astype(np.int64)
    coloured = (hsv[:, 1] > 70) & (hsv[:, 2] > 45)
    return np.where(coloured, hsv[:, 0] * _HUES // 180, _HUES + hsv[:, 2] * _GREYS // 256).astype(np.uint8)


def colour_kinds(image: np.ndarray) -> np.ndarray:
    """(h, w) uint8 of (h, w, 3) uint8 RGB: 0 to 7 a hue, 8 to 11 a grey from dark to light."""
    upper = (image >> 3).astype(np.int64)
    return _table_of_kinds()[upper[..., 0] << 10 | upper[..., 1] << 5 | upper[..., 2]]


def _small(video: Any, side: int) -> tuple[int, int]:
    """(width, height) px of a video's pictures with the longer side at most `side`, never enlarged."""
    width, height = int(video.width), int(video.height)
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _frames(video: Any, size: tuple[int, int], indices: list[int] | None = None) -> Iterator[np.ndarray]:
    known = {"stream": int(video.stream) if video.kind == "video" else None, "fps": rate(video.fps), "size": size}
    known |= {"frames": int(video.frames)} if indices is None else {"indices": indices}
    for _, _, image in read_frames(video.path, kind=video.kind, **known):
        yield image


def _background(video: Any, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8: the median of frames spread over the video."""
    count = int(video.frames)
    chosen = sorted({int(place) for place in np.linspace(0, count - 1, min(count, _BACKGROUND_FRAMES)).round()})
    return np.median(np.stack(list(_frames(video, size, chosen))), axis=0).astype(np.uint8)


@lru_cache(maxsize=1)
def _filters() -> np.ndarray:
    """(513, 96): triangles of equal width on the mel scale, from 50 Hz to 8 kHz."""

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0)

    edges = np.linspace(mel(50.0), mel(_HIGHEST_HZ), SOUND_BANDS + 2)
    bins = mel(np.arange(_SPAN // 2 + 1) * RATE / _SPAN)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling))


def levels_of(wave: np.ndarray) -> np.ndarray:
    """(spans, 96) of a wave (S,) at 16 kHz: loudness of each band, 0 = silence, 1 = full scale; a span every 16 ms."""
    half = _SPAN // 2
    spans = np.lib.stride_tricks.sliding_window_view(np.pad(wave, (half, _SPAN)), _SPAN)[: len(wave) + 1 : _HOP]
    found = []
    for start in range(0, len(spans), 4096):  # an hour of sound is not one array
        power = np.abs(np.fft.rfft(spans[start : start + 4096] * np.hanning(_SPAN), axis=1)) ** 2 / (_SPAN / 4) ** 2
        found.append(np.log10(power @ _filters() + _QUIET) / -math.log10(_QUIET) + 1.0)
    return np.concatenate(found)


assert CELL_WIDTH == 2 * _KINDS + 4 + 1 and EDGE_WIDTH == 24
