"""Frames of many videos in batches, decoded in a thread while the model works. Not here: decoding itself
(lib/data/video.py) and what is done with a frame."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from lib.data.video import read_fitted
from lib.files import DataError
from lib.tables import DETECTIONS, empty

T = TypeVar("T")
STATS = ["video", "frames", "seconds_decode", "seconds_model", "detections"]


@dataclass(frozen=True)
class Frame:
    """One decoded frame: image (h, w, 3) uint8 RGB, (H, W) px of the whole frame, its time in s, seconds of decoding it."""

    video: str
    index: int
    time_s: float
    image: np.ndarray
    shape: tuple[int, int]
    seconds: float


def decode(videos: pd.DataFrame, *, stride: int, fit: tuple[int, int] | None = None) -> Generator[Frame, None, None]:
    """Every `stride`-th frame of each video (MANIFEST rows), in order; large ones made to fit `fit` (height, width) px.

    Raises DataError for a video without media (kind `none`) or with damaged media.
    """
    for video in videos.itertuples(index=False):
        if video.kind == "none":
            raise DataError(
                f"video {video.original!r}: its source has no pictures, so no model can look at it. "
                "Hint: use a detector of kind truth or given, or point the source at the media."
            )
        stream = int(video.stream) if video.kind == "video" else None
        known = {"stream": stream, "fps": rate(video.fps), "frames": int(video.frames)}
        frames = read_fitted(video.path, fit, kind=video.kind, stride=stride, **known)
        started = time.perf_counter()
        for index, time_s, image, shape in frames:
            yield Frame(video.video, int(index), float(time_s), image, shape, time.perf_counter() - started)
            started = time.perf_counter()


def ahead(items: Generator[T, None, None], *, depth: int) -> Generator[T, None, None]:
    """The same items, produced in a background thread at most `depth` in advance.

    An exception of `items` is raised here, after the items before it. The thread ends when the items end, when they
    fail and when the consumer stops early or fails (this generator is then closed).
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, waiting, stopped), name="decode-ahead", daemon=True)
    thread.start()
    try:
        while True:
            what, value = waiting.get()
            if what == "end":
                return
            if what == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()


def _produce(items: Generator[T, None, None], waiting: queue.Queue[tuple[str, Any]], stopped: threading.Event) -> None:
    """The background thread of `ahead`."""
    try:
        with closing(items):  # here, in the thread that runs it: an open media file is let go at once
            for item in items:
                if not _put(waiting, ("item", item), stopped):
                    return
        _put(waiting, ("end", None), stopped)
    except BaseException as error:  # handed over whole: the consumer's thread raises it
        _put(waiting, ("error", error), stopped)


def _put(waiting: queue.Queue[tuple[str, Any]], entry: tuple[str, Any], stopped: threading.Event) -> bool:
    """Wait for room; False when the consumer has stopped and nothing more is wanted."""
    while not stopped.is_set():
        try:
            waiting.put(entry, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


def batches(frames: Iterable[Frame], *, size: int) -> Iterator[list[Frame]]:
    """Runs of at most `size` frames of one shape, across videos.

    Shapes are never mixed: ultralytics pads a mixed batch to a square, so a frame's boxes would depend on its neighbours.
    """
    batch: list[Frame] = []
    for frame in frames:
        if batch and (len(batch) == size or frame.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


Look = Callable[[list[Frame]], list[np.ndarray]]
"""Takes frames of one shape; returns for each (N, 6): x1, y1, x2, y2 in px of the whole frame, score, class index."""


def look_at(
    videos: pd.DataFrame,
    look: Look,
    names: list[str],
    *,
    stride: int,
    batch: int,
    title: str,
    fit: tuple[int, int] | None = None,
    progress: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run `look` over every `stride`-th frame of the videos while the next frames are decoded.

    fit: (height, width) px into which large frames are scaled before `look` sees them. Returns DETECTIONS (boxes cut at the
    whole frame's edges, class indices replaced by `names`) and one row per video: video, frames looked at, seconds_decode,
    seconds_model, detections. Decoding and model overlap, so both sums may exceed the wall clock.
    """
    held: list[tuple[str, int, float, np.ndarray]] = []
    stats = {
        video: {"frames": 0, "seconds_decode": 0.0, "seconds_model": 0.0, "detections": 0} for video in videos["video"]
    }
    total = int(np.ceil(videos["frames"] / stride).sum())
    frames = ahead(decode(videos, stride=stride, fit=fit), depth=2 * batch)
    with progress_bar(title, total, shown=progress) as advance:
        try:
            for group in batches(frames, size=batch):
                started = time.perf_counter()
                found = look(group)
                seconds = (time.perf_counter() - started) / len(group)
                for frame, boxes in zip(group, found, strict=True):
                    height, width = frame.shape
                    kept = clipped(np.asarray(boxes, dtype=np.float64).reshape(-1, 6), width=width, height=height)
                    held.append((frame.video, frame.index, frame.time_s, kept))
                    entry = stats[frame.video]
                    entry["frames"] += 1
                    entry["seconds_decode"] += frame.seconds
                    entry["seconds_model"] += seconds
                    entry["detections"] += len(kept)
                advance(len(group))
        finally:
            frames.close()
    summary = pd.DataFrame([{"video": video} | entry for video, entry in stats.items()], columns=STATS)
    return _table(held, names), summary


def _table(held: list[tuple[str, int, float, np.ndarray]], names: list[str]) -> pd.DataFrame:
    """DETECTIONS rows from (video, frame index, time in s, boxes (N, 6) float64) of each frame."""
    counts = [len(boxes) for *_, boxes in held]
    if not sum(counts):
        return empty(DETECTIONS)
    videos, indices, times, boxes = zip(*held, strict=True)
    rows = np.concatenate(boxes)
    return pd.DataFrame(
        {
            "video": np.repeat(np.array(videos, dtype=object), counts),
            "frame": np.repeat(np.array(indices, dtype=np.int64), counts),
            "time_s": np.repeat(np.array(times, dtype=np.float64), counts),
            "class": np.array(names, dtype=object)[rows[:, 5].astype(np.int64)],
            "score": rows[:, 4],
            **{name: rows[:, column] for column, name in enumerate(("x1", "y1", "x2", "y2"))},
        }
    )


def clipped(boxes: np.ndarray, *, width: float, height: float) -> np.ndarray:
    """Rows (N, 4 + any) with x1, y1, x2, y2 in px cut at the frame's edges; rows without any area left are dropped."""
    boxes = boxes.copy()
    boxes[:, 0:4:2] = boxes[:, 0:4:2].clip(0, width)
    boxes[:, 1:4:2] = boxes[:, 1:4:2].clip(0, height)
    return boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]


@contextmanager
def progress_bar(title: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr (stdout is for results)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task(f"{title} (frames)", total=total)
        yield lambda count: progress.advance(task, count)


def frame_times(rows: pd.DataFrame, frames: Sequence[int], *, fps: float) -> np.ndarray:
    """Times (T,) in s of frames of one video: known where `rows` has a box, in proportion between, by fps beyond.

    rows: any table with `frame` and `time_s`. fps: frames per second.
    """
    step = 1.0 / rate(fps)
    wanted = np.asarray(frames, dtype=np.float64)
    if not len(rows):
        return wanted * step
    known = rows.groupby("frame")["time_s"].first()
    index, seconds = known.index.to_numpy(dtype=np.float64), known.to_numpy(dtype=np.float64)
    beyond = np.minimum(wanted - index[0], 0) + np.maximum(wanted - index[-1], 0)
    return np.maximum(np.interp(wanted, index, seconds) + beyond * step, 0.0)


def rate(fps: float) -> float:
    """Frames per second, or 1 where nobody stated a rate (NaN: images, and folders of frames)."""
    return float(fps) if math.isfinite(fps) and fps > 0 else 1.0
