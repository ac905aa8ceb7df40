"""Frames of videos, images and folders of frames, decoded in this process: what the child runs. Not here: the child itself
(child.py) and its other end (parent.py); callers go through lib/data/video.py.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from lib.config.limits import Limits
from lib.data.decoding.containers import TooMuchMemory, open_video, video_stream
from lib.data.decoding.facts import Probe, ReadStats
from lib.data.decoding.frameindex import Beat, FrameIndex, survey
from lib.data.decoding.kinds import images_in, media_kind
from lib.data.decoding.walking import NotAsIndexed, Walk, turned_rgb
from lib.data.images import check_image, read_image, resized
from lib.files import DataError

Picture = tuple[int, float, np.ndarray, tuple[int, int]]
"""(frame number, time s, (h, w, 3) uint8 RGB that may be a view of the decoder's memory, (H, W) px of the whole frame)."""


@dataclass
class Wanted:
    """Which frames are asked for, and how: indices, or every `stride`-th of the first `frames` (None = of all that come);
    size = (width, height) px to scale to, with `fit` only as far as the whole frame fits into it.
    """

    indices: Sequence[int] | None = None
    stride: int = 1
    frames: int | None = None
    size: tuple[int, int] | None = None
    fit: bool = False
    fps: float | None = None

    def of(self, frames: int) -> list[int]:
        """Their numbers in a video of so many frames, sorted; those beyond the end are left out."""
        if self.indices is None:
            return list(range(0, frames if self.frames is None else min(frames, self.frames), self.stride))
        return sorted({int(index) for index in self.indices if index < frames})

    @property
    def furthest(self) -> int | None:
        """The last frame asked for; None = whatever is the last of the video."""
        if self.indices is not None:
            return max(self.indices)
        return None if self.frames is None else (self.frames - 1) // self.stride * self.stride


def look(path: Path, stream: int | None, *, everything: bool, limits: Limits, beat: Beat) -> Probe:
    """A video, an image or a folder of frames; everything: decode all of it, which finds damage inside."""
    if path.is_dir():
        return _look_at_folder(path, everything=everything, limits=limits, beat=beat)
    if media_kind(path) == "image":
        return _look_at_image(path, everything=everything, limits=limits)
    return _look_at_video(path, stream, everything=everything, limits=limits, beat=beat)


def _look_at_image(path: Path, *, everything: bool, limits: Limits) -> Probe:
    found = check_image(path, limits, decode=everything)
    return Probe(
        1, math.nan, found.width, found.height, 0.0, -1, found.rotated, False, False, found.codec, times=np.zeros(1)
    )


def _look_at_folder(path: Path, *, everything: bool, limits: Limits, beat: Beat) -> Probe:
    files = images_in(path)
    if not files:
        raise DataError(f"{path}: holds no images. Hint: frames are files such as 000001.jpg, directly in the folder.")
    first = _look_at_image(files[0], everything=everything, limits=limits)
    for file in files[1:]:
        beat()
        size = (first.width, first.height)
        found = check_image(file, limits, decode=everything)
        if (found.width, found.height) != size:
            raise DataError(
                f"{file}: {found.width}x{found.height} px, but the first frame has {size[0]}x{size[1]}. "
                "Hint: the frames of one video have one size."
            )
    return Probe(len(files), math.nan, first.width, first.height, 0.0, -1, first.rotated, False, False, first.codec)


def _look_at_video(path: Path, stream: int | None, *, everything: bool, limits: Limits, beat: Beat) -> Probe:
    index, facts = survey(path, stream, everything=everything, limits=limits, beat=beat)
    steps = np.diff(index.times)
    typical = float(np.median(steps)) if len(steps) else 0.0
    slack = max(index.tick_s * 1.01, 0.01 * typical)  # containers in ms round 33.37 to 33 or 34
    turns, count = index.first["turns"], len(index.times)
    width, height = index.first["width"], index.first["height"]
    return Probe(
        frames=count,
        fps=index.fps,
        width=height if turns % 2 else width,
        height=width if turns % 2 else height,
        duration_s=float(index.times[-1]) + (index.last_s or 1 / index.fps),
        stream=facts["stream"],
        rotated=turns != 0,
        variable_rate=bool(len(steps) and np.abs(steps - typical).max() > slack),
        has_audio=facts["has_audio"],
        codec=facts["codec"],
        cut=bool(index.damage),
        stated=max(index.stated, index.packets) if index.damage else count,
        damage=index.damage,
        times=index.times,
    )


def pictures(
    path: Path, kind: str, stream: int | None, wanted: Wanted, limits: Limits, stats: ReadStats, beat: Beat
) -> Iterator[Picture]:
    """Frames in presentation order; damage ends them and is noted in `stats`."""
    if kind == "video":
        yield from _video(path, stream, wanted, limits, stats, beat)
    elif kind in ("image", "frames"):
        files = [path] if kind == "image" else images_in(path)
        yield from _images(files, kind, wanted, limits, stats, beat)
    else:
        raise DataError(f"{path}: kind {kind!r} has no frames to read (allowed: video, image, frames).")
    last = wanted.furthest
    if last is not None and not stats.error and last >= stats.frames:
        stats.error = f"frame {last} asked for, but there are {stats.frames} frames"


def _video(
    path: Path, stream: int | None, wanted: Wanted, limits: Limits, stats: ReadStats, beat: Beat
) -> Iterator[Picture]:
    index = _by_packets(path, stream, _stamp(path), limits, beat)
    walk = Walk(index, deque(wanted.of(len(index.times))), shortcuts=True)
    try:
        yield from _walked(path, stream, walk, wanted, limits, beat)
    except NotAsIndexed as contradiction:
        decoded, _ = survey(path, stream, everything=True, limits=limits, beat=beat)
        left = walk.pending[0] if walk.pending else len(index.times)
        begun = left > min(wanted.of(len(index.times)))
        if begun and (decoded.counted != index.counted or decoded.ticks[:1] != index.ticks[:1]):
            stats.frames, stats.error = left, f"frames cannot be numbered ({contradiction})"
            return
        index = decoded
        walk = Walk(index, deque(one for one in wanted.of(len(index.times)) if one >= left or not begun), shortcuts=False)
        try:
            yield from _walked(path, stream, walk, wanted, limits, beat)
        except NotAsIndexed as again:
            walk.errors.append(str(again))
    stats.frames = len(index.times)
    beyond = wanted.furthest is None or wanted.furthest >= len(index.times)
    if walk.pending:
        stats.frames = walk.pending[0]
        stats.error = f"frame {walk.pending[0]} does not decode ({walk.errors[0] if walk.errors else 'it is missing'})"
    elif index.damage and beyond:
        stats.error = f"damaged ({index.damage})"


def _walked(path: Path, stream: int | None, walk: Walk, wanted: Wanted, limits: Limits, beat: Beat) -> Iterator[Picture]:
    if not walk.pending:
        return
    try:
        with open_video(path, limits) as container:
            careful = not walk.shortcuts or (walk.index.counted and bool(walk.index.damage))
            chosen = video_stream(container, path, stream, limits, careful=careful)
            for number, frame in walk.frames(container, chosen, beat):
                yield number, float(walk.index.times[number]), *turned_rgb(frame, wanted.size, fit=wanted.fit)
    except MemoryError as error:
        raise TooMuchMemory(path, limits) from error


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does."""
    if not path.exists():
        return ()
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


@lru_cache(maxsize=2)
def _by_packets(path: Path, stream: int | None, _stamp: tuple[int, ...], limits: Limits, beat: Beat) -> FrameIndex:
    """The index without decoding, remembered for the next reading of the same file."""
    return survey(path, stream, everything=False, limits=limits, beat=beat)[0]


def _images(
    files: list[Path], kind: str, wanted: Wanted, limits: Limits, stats: ReadStats, beat: Beat
) -> Iterator[Picture]:
    stats.frames = len(files)
    for index in wanted.of(len(files)):
        beat()
        try:
            picture = read_image(files[index], limits)
        except DataError as error:
            stats.frames, stats.error = index, str(error)
            return
        time_s = 0.0 if kind == "image" else (index / wanted.fps if wanted.fps else math.nan)
        yield index, time_s, resized(picture, wanted.size, fit=wanted.fit), picture.shape[:2]
