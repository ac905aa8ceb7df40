"""Reading and writing media: videos (PyAV), single images, folders of frames. Not here: how (lib/data/decoding), datasets.

Letters: T frames, H height, W width (px). A frame's index counts from 0 in presentation order; its time is
pts x time_base, minus that of the first frame (s). Frames are as people see them: turned by the file's rotation or EXIF.
Everything is decoded in a child process with limits (`limits:`), from local files in known container formats; playlists,
which can name other files and addresses, are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.decoding.facts import Probe, ReadStats
from lib.data.decoding.parent import POOL, as_list
from lib.files import DataError, atomic

__all__ = ["Probe", "ReadStats", "probe", "read_fitted", "read_frames", "write_video"]


def probe(path: str | Path, stream: int | None = None, *, check: bool = False) -> Probe:
    """Look at a video, an image or a folder of frames: packets of videos are counted, headers of images read.

    stream: index of the video stream; None = the one that players choose. check: decode everything, which also finds damage
    inside; then `frames` is exactly what `read_frames` gives. DataError: missing, empty, cut before its index, no video
    stream, nothing that decodes, or beyond the limits.
    """
    with POOL.decoder() as decoder:
        return decoder.look(Path(path), stream, everything=check)


def read_frames(
    path: str | Path,
    *,
    kind: str,
    indices: Sequence[int] | None = None,
    stride: int = 1,
    frames: int | None = None,
    stream: int | None = None,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    stats: ReadStats | None = None,
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield (frame index, time s, (H, W, 3) uint8 RGB) in presentation order, of a video, an image or a folder of frames.

    indices: only these frames (any order, repeats count once); else every `stride`-th from frame 0, of the first `frames`
    where that is given (what a manifest says: it ends before damage, and fewer are an error). size: (width, height) px to
    scale to while converting. fps: times of a folder of frames are index / fps (NaN without it). Only wanted frames
    are converted to RGB; far ones are reached by leaps to key frames, and decoding stops after the last wanted one.

    A damaged video yields what comes before the damage; then DataError says how many frames came. With `stats` given,
    nothing is raised for that: the caller reads stats.frames and stats.error.
    """
    request = {"indices": indices, "stride": stride, "frames": frames, "stream": stream, "fps": fps}
    for index, time_s, image, _ in _read(Path(path), stats, kind=kind, size=size, fit=False, **request):
        yield index, time_s, image


def read_fitted(
    path: str | Path, fit: tuple[int, int] | None, *, kind: str, stride: int, frames: int, stream: int | None, fps: float
) -> Iterator[tuple[int, float, np.ndarray, tuple[int, int]]]:
    """As read_frames, with every frame scaled to fit into `fit` (height, width) px, null = whole; and its own (H, W) px.

    What a detector does to a frame first, done where it was decoded: whole frames need not come out of that process.
    """
    size = None if fit is None else fit[::-1]
    request = {"indices": None, "stride": stride, "frames": frames, "stream": stream, "fps": fps}
    yield from _read(Path(path), None, kind=kind, size=size, fit=True, **request)


def _read(
    path: Path,
    stats: ReadStats | None,
    *,
    kind: str,
    indices: Sequence[int] | None,
    stride: int,
    frames: int | None,
    stream: int | None,
    size: tuple[int, int] | None,
    fit: bool,
    fps: float | None,
) -> Iterator[tuple[int, float, np.ndarray, tuple[int, int]]]:
    """(frame index, time s, image, (height, width) px before resizing); arguments are those of read_frames, checked."""
    if indices is not None and stride != 1:
        raise ValueError("give indices or stride, not both")
    if stride < 1 or (indices is not None and any(index < 0 for index in indices)):
        raise ValueError(f"stride must be at least 1 and indices at least 0, got {stride}, {indices}")
    found = ReadStats()
    if indices is not None and not len(indices):
        return
    request: dict[str, Any] = {
        "kind": kind,
        "indices": as_list(indices),
        "stride": int(stride),
        "stream": stream,
        "fps": fps,
    }
    request["fit"] = fit
    request["size"] = None if size is None else [int(size[0]), int(size[1])]
    request["frames"] = None if frames is None else int(frames)
    with POOL.decoder() as decoder:
        yield from decoder.pictures(path, found, **request)
    if stats is not None:
        stats.frames, stats.error = found.frames, found.error
    elif found.error:
        raise DataError(f"{path}: {found.error}; {found.frames} frames came. Hint: fetch the file again, or leave it out.")


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, size: tuple[int, int]) -> int:
    """Write (H, W, 3) uint8 RGB frames as H.264 (yuv420p), atomically; returns how many.

    size: (width, height) px of the frames; odd sizes get one more column or row (a copy of the edge), because yuv420p needs
    even ones. DataError: no frames, or a frame of another size.
    """
    import av

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
