"""Reading and writing media: videos (PyAV), single images, folders of frames. Not here: image files (images.py), datasets.

Letters: T frames, H height, W width (px). A frame's index counts from 0 in presentation order; its time is
pts x time_base, minus that of the first frame (s). Frames are as people see them: turned by the file's rotation or EXIF.
Only local files in known container formats are opened, never playlists, which can name other files and addresses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from lib.data.images import check_image, image_size, read_image
from lib.data.sources import images_in, media_kind
from lib.files import DataError, atomic

_OPEN_ONLY = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,flv,asf,ogg,m4v,h264,hevc,wav,mp3",
}
_TIMELESS = {"avi", "h264", "hevc", "m4v"}  # formats that store no presentation times: index / stated rate instead


@dataclass(frozen=True)
class Probe:
    """What a media file is. fps is NaN and stream -1 for images and folders of frames.

    width, height (px) as seen, after rotation. `cut`: fewer frames came than the file's header states. `times`: (T,)
    float64, s, of every frame; empty for folders of frames.
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
    times: np.ndarray = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)


@dataclass
class ReadStats:
    """Filled by `read_frames`: how many frames decoded, and why it ended early ("" = it did not)."""

    frames: int = 0
    error: str = ""


def probe(path: str | Path, stream: int | None = None) -> Probe:
    """Look at a video, an image or a folder of frames; packets of videos are counted, one frame only is decoded.

    stream: index of the video stream; None = the one that players choose. DataError: missing, empty, cut before its index,
    no video stream, or nothing that decodes.
    """
    path = Path(path)
    if path.is_dir():
        return _probe_folder(path)
    if not path.is_file():
        raise DataError(f"{path}: file not found.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file.")
    return _probe_image(path) if media_kind(path) == "image" else _probe_video(path, stream)


def _probe_image(path: Path) -> Probe:
    codec, rotated = check_image(path)
    width, height = image_size(path)
    return Probe(1, math.nan, width, height, 0.0, -1, rotated, False, False, codec, times=np.zeros(1))


def _probe_folder(path: Path) -> Probe:
    files = images_in(path)
    if not files:
        raise DataError(f"{path}: holds no images.")
    first = _probe_image(files[0])
    for file in files[1:]:
        if image_size(file) != (first.width, first.height):
            raise DataError(f"{file}: {image_size(file)} px, but the first frame has {(first.width, first.height)}.")
    return Probe(len(files), math.nan, first.width, first.height, 0.0, -1, first.rotated, False, False, first.codec)


def _open(path: Path) -> av.container.InputContainer:
    try:
        return av.open(str(path.absolute()), options=dict(_OPEN_ONLY))
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(
            f"{path}: cannot be opened as a video ({error}). Hint: is it whole? A file that was cut before its index "
            f"cannot be read, nor can a playlist."
        ) from error


def _video_stream(container: av.container.InputContainer, path: Path, stream: int | None) -> av.video.stream.VideoStream:
    still = av.stream.Disposition.attached_pic
    videos = {found.index: found for found in container.streams.video if not found.disposition & still}
    if not videos:
        kinds = ", ".join(found.type for found in container.streams) or "none"
        raise DataError(f"{path}: holds no video stream (streams: {kinds}).")
    best = container.streams.best("video")
    default = best.index if best is not None and best.index in videos else min(videos)
    index = default if stream is None or stream < 0 else stream
    if index not in videos:
        raise DataError(
            f"{path}: stream {index} is no video stream; video streams are {sorted(videos)}. Hint: set `stream`."
        )
    if videos[index].codec_context is None:
        raise DataError(f"{path}: stream {index} has a codec that this build of FFmpeg does not decode.")
    videos[index].thread_type = "AUTO"
    return videos[index]


def _probe_video(path: Path, stream: int | None) -> Probe:
    with _open(path) as container:
        chosen = _video_stream(container, path, stream)
        first, ticks, seen, last = _scan(container, chosen)
        if first is None or not ticks:
            raise DataError(f"{path}: no frame of stream {chosen.index} decodes. Hint: is the file whole?")
        if container.format.name in _TIMELESS:
            ticks = [None] * len(ticks)
        times, fps = _times(ticks, Fraction(chosen.time_base), _rate(chosen))
        steps = np.diff(times)
        typical = float(np.median(steps)) if len(steps) else 0.0
        slack = max(float(chosen.time_base) * 1.01, 0.01 * typical)  # containers in ms round 33.37 to 33 or 34
        quarter = round(first.rotation / 90) % 2 == 1
        return Probe(
            frames=len(ticks),
            fps=fps,
            width=first.height if quarter else first.width,
            height=first.width if quarter else first.height,
            duration_s=float(times[-1]) + (last or 1 / fps),
            stream=chosen.index,
            rotated=round(first.rotation / 90) % 4 != 0,
            variable_rate=bool(len(steps) and np.abs(steps - typical).max() > slack),
            has_audio=bool(container.streams.audio),
            codec=chosen.codec_context.name,
            cut=seen < chosen.frames,
            times=times,
        )


def _scan(container: Any, stream: Any) -> tuple[av.VideoFrame | None, list[int | None], int, float]:
    """(first frame or None, pts of every shown packet, packets seen, duration of the last in s)."""
    first, ticks, seen, last = None, [], 0, 0.0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            if first is None:
                first = next(iter(packet.decode()), None)
        except (av.error.FFmpegError, StopIteration):  # the end, or damage: what came before it counts
            return first, ticks, seen, last
        if packet.size and not packet.is_corrupt:
            seen += 1
            if not packet.is_discard:  # an edit list hides it: the decoder swallows its frame
                ticks.append(packet.pts)
                last = float((packet.duration or 0) * stream.time_base)


def _rate(stream: Any) -> float:
    """The frame rate that the header states, in frames/s; 25 where it states none."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def _times(ticks: Sequence[int | None], time_base: Fraction, rate: float) -> tuple[np.ndarray, float]:
    """((T,) times in s from the first frame, frames/s); by the stated rate where packets carry no presentation time.

    The stated rate is kept where the times agree with it (containers in ms would give 29.976 for 29.97).
    """
    known = sorted(tick for tick in ticks if tick is not None)
    if len(known) < len(ticks) or len(set(known)) < len(known):
        return np.arange(len(ticks)) / rate, rate
    times = np.asarray([tick - known[0] for tick in known]) * float(time_base)
    if len(known) < 2:
        return times, rate
    measured = float((len(known) - 1) / ((known[-1] - known[0]) * time_base))
    return times, rate if abs(rate - measured) <= 0.005 * measured else measured


def read_frames(
    path: str | Path,
    *,
    kind: str,
    indices: Sequence[int] | None = None,
    stride: int = 1,
    stream: int | None = None,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    stats: ReadStats | None = None,
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield (frame index, time s, (H, W, 3) uint8 RGB) in presentation order, of a video, an image or a folder of frames.

    indices: only these frames (any order, repeats count once); else every `stride`-th from frame 0. size: (width, height)
    px to scale to while converting. fps: times of a folder of frames are index / fps (NaN without it). Only wanted frames
    are converted to RGB, and decoding stops after the last wanted one.

    A damaged video yields what decodes; then DataError says how many frames came. With `stats` given, nothing is raised for
    that: the caller reads stats.frames and stats.error.
    """
    if indices is not None and stride != 1:
        raise ValueError("give indices or stride, not both")
    if stride < 1 or (indices is not None and any(index < 0 for index in indices)):
        raise ValueError(f"stride must be at least 1 and indices at least 0, got {stride}, {indices}")
    path, found = Path(path), ReadStats()
    wanted = None if indices is None else {int(index) for index in indices}
    if wanted is not None and not wanted:
        return
    if kind == "video":
        yield from _read_video(path, wanted, stride, stream, size, found)
    elif kind in ("image", "frames"):
        yield from _read_images([path] if kind == "image" else images_in(path), kind, wanted, stride, size, fps, found)
    else:
        raise DataError(f"{path}: kind {kind!r} has no frames to read (allowed: video, image, frames).")
    if wanted is not None and not found.error and max(wanted) >= found.frames:
        found.error = f"frame {max(wanted)} asked for, but there are {found.frames} frames"
    if stats is not None:
        stats.frames, stats.error = found.frames, found.error
    elif found.error:
        raise DataError(f"{path}: {found.error}; {found.frames} frames came. Hint: fetch the file again, or leave it out.")


def _read_video(
    path: Path, wanted: set[int] | None, stride: int, stream: int | None, size: tuple[int, int] | None, stats: ReadStats
) -> Iterator[tuple[int, float, np.ndarray]]:
    last = max(wanted) if wanted is not None else None
    with _open(path) as container:
        chosen = _video_stream(container, path, stream)
        rate, timeless = _rate(chosen), container.format.name in _TIMELESS
        start: int | None = None
        for frame in _decoded(container, chosen, stats):
            start = frame.pts if start is None else start
            index = stats.frames
            stats.frames += 1
            if (index in wanted) if wanted is not None else index % stride == 0:
                known = frame.pts is not None and start is not None and not timeless
                time_s = float((frame.pts - start) * chosen.time_base) if known else index / rate
                yield index, time_s, _rgb(frame, size)
            if index == last:
                return
    if not stats.frames and not stats.error:
        stats.error = "no frame decodes"


def _decoded(container: Any, stream: Any, stats: ReadStats) -> Iterator[av.VideoFrame]:
    """Frames until the end or the first damage, which is noted: going on behind it would shift all later indices."""
    try:
        for packet in container.demux(stream):
            if not packet.is_corrupt:  # the half packet at a cut; probe leaves it out as well
                yield from packet.decode()
    except av.error.FFmpegError as error:
        stats.error = f"damaged ({error})"


def _rgb(frame: av.VideoFrame, size: tuple[int, int] | None) -> np.ndarray:
    """(H, W, 3) uint8 RGB, scaled in the same pass as converted, then turned as the file says."""
    turns = round(frame.rotation / 90) % 4
    width, height = size or ((frame.height, frame.width) if turns % 2 else (frame.width, frame.height))
    if turns % 2:
        width, height = height, width
    picture = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _read_images(
    files: list[Path],
    kind: str,
    wanted: set[int] | None,
    stride: int,
    size: tuple[int, int] | None,
    fps: float | None,
    stats: ReadStats,
) -> Iterator[tuple[int, float, np.ndarray]]:
    stats.frames = len(files)
    for index in range(0, len(files), stride) if wanted is None else sorted(wanted):
        if index >= len(files):
            return
        try:
            picture = read_image(files[index], size)
        except DataError as error:
            stats.frames, stats.error = index, str(error)
            return
        yield index, 0.0 if kind == "image" else (index / fps if fps else math.nan), picture


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, size: tuple[int, int]) -> int:
    """Write (H, W, 3) uint8 RGB frames as H.264 (yuv420p), atomically; returns how many.

    size: (width, height) px of the frames; odd sizes get one more column or row (a copy of the edge), because yuv420p needs
    even ones. DataError: no frames, or a frame of another size.
    """
    width, height = size
    pad = ((0, height % 2), (0, width % 2), (0, 0))
    count = 0
    with atomic(path) as temporary:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(65535))
            stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
            stream.options = {"crf": "20", "preset": "veryfast"}
            for picture in frames:
                if picture.shape != (height, width, 3):
                    raise DataError(f"{path}: frame {count} is {picture.shape}, expected {(height, width, 3)}.")
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.pad(picture, pad, mode="edge")), format="rgb24")
                container.mux(stream.encode(frame))
                count += 1
            container.mux(stream.encode(None))
        if not count:
            raise DataError(f"{path}: no frames to write.")
    return count
