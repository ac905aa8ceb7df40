"""Boxes of one video become tracks, by boxmot's trackers. Not here: the trackers and their settings (lib/config/track.py).

Pixels are decoded only for trackers that follow the camera's motion (`cmc`) or compare looks (deepsort.py). Each video gets
a tracker object of its own and ids from 1 in the order of appearance, so ids depend on no other video of the process. The
floor (kind unlinked) has nothing to do with boxmot and never loads it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import identity
from lib.config.track import Tracker, is_floor, needs_pixels, pixels_for, without_pixels
from lib.config.track_appearance import DeepSortTracker
from lib.data.video import read_frames
from lib.deferred import deferred
from lib.files import DataError
from lib.perception.deepsort import deepsort_video
from lib.perception.gaps import filled
from lib.perception.roi import AppearanceEncoder
from lib.perception.streaming import clipped, frame_times, rate
from lib.tables import COLUMNS, TRACK_STATS, TRACKS, empty

CLASSES = {
    "bytetrack": "ByteTrack",
    "ocsort": "OcSort",
    "sfsort": "SFSORT",
    "botsort": "BotSort",
    "boosttrack": "BoostTrack",
    "deepocsort": "DeepOcSort",
    "hybridsort": "HybridSort",
    "occluboost": "OccluBoost",
}
"""Kind -> boxmot's class."""

RENAMED = {
    "classes_separately": "per_class",
    "tcm_byte_step": "TCM_byte_step",
    "tcm_byte_step_weight": "TCM_byte_step_weight",
}
"""Setting -> boxmot's parameter, where they differ; `cmc` becomes several (see _camera)."""


def build_tracker(settings: Tracker, frame_size: tuple[int, int]) -> Any:
    """A fresh boxmot tracker with exactly these settings, of one of its kinds. frame_size: (width, height) in px."""
    import boxmot

    values = identity(settings)
    kind = values.pop("kind")
    values.pop("interpolate", None)
    with deferred("torch"):  # boxmot loads a tracker's module when it is first named
        make = getattr(boxmot, CLASSES[kind])
    logging.getLogger("boxmot").setLevel(logging.WARNING)  # it announces every object; importing the class sets the level
    if "cmc" in values:
        values |= _camera(kind, values.pop("cmc")) | {"use_embeddings": False}
    if kind == "sfsort":
        values["frame_width"], values["frame_height"] = frame_size
    return make(**{RENAMED.get(name, name): value for name, value in values.items()})


def _camera(kind: str, method: str) -> dict[str, Any]:
    """boxmot's parameters for the camera's motion: each class has its own way to switch it off."""
    if kind == "deepocsort":
        return {"cmc_off": method == "off"}
    if kind == "hybridsort":
        return {"cmc_method": None if method == "off" else method}
    return {"use_cmc": False} if method == "off" else {"use_cmc": True, "cmc_method": method}


def track_chunk(
    videos: pd.DataFrame,
    detections: pd.DataFrame,
    settings: Tracker,
    *,
    stride: int,
    looked_at: Mapping[str, Sequence[int]] | None = None,
    clip: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Track every video of a chunk (MANIFEST rows), each with a tracker of its own.

    looked_at: the frames of each video that the detector has looked at; None = every `stride`-th. clip: boxes are cut at
    the frame's edges. Returns TRACKS, in the
    order of the videos, and per video: frames, seconds of tracking (decoding included where a tracker needs pixels). Ids
    start at 1 in every video. Raises DataError where it needs pixels and a video has none.
    """
    if needs_pixels(settings):
        refuse_without_pictures(videos, settings)
    looks = None
    if isinstance(settings, DeepSortTracker):
        looks = _looks_of(settings)
    elif not is_floor(settings):
        build_tracker(settings, (32, 32))  # loads boxmot before the first video's clock runs
    by_video = dict(tuple(detections.groupby("video")))
    tables, stats = [], []
    for video in videos.itertuples(index=False):
        rows = by_video.get(video.video, detections.iloc[:0])
        frames = range(0, int(video.frames), stride) if looked_at is None else looked_at.get(video.video, ())
        pictures = _pictures(video, frames) if needs_pixels(settings) and len(rows) else None
        started = time.perf_counter()
        size = (int(video.width), int(video.height))
        more = {"frame_size": size, "frames": frames, "fps": video.fps, "pictures": pictures, "clip": clip}
        more["looks"] = looks
        tables.append(track_video(rows, settings, **more))
        stats.append([video.video, len(frames), time.perf_counter() - started])
    held = [table for table in tables if len(table)]
    summary = pd.DataFrame(stats, columns=list(COLUMNS[TRACK_STATS]))
    return (pd.concat(held, ignore_index=True) if held else empty(TRACKS)), summary


def refuse_without_pictures(videos: pd.DataFrame, settings: Tracker) -> None:
    """DataError that names the first video without pictures, and the tracker that would look at them."""
    blind = videos[videos["kind"] == "none"]
    if len(blind):
        raise DataError(
            f"video {blind.iloc[0]['original']!r}: its source has no pictures, and a tracker of kind {settings.kind} with "
            f"{pixels_for(settings)} looks at them. Hint: {without_pixels(settings)}, or point the source at the media."
        )


def _pictures(video: Any, frames: Sequence[int]) -> Iterator[np.ndarray]:
    """The wanted frames of a video (MANIFEST row), (H, W, 3) uint8 BGR as boxmot wants them."""
    stream = int(video.stream) if video.kind == "video" else None
    for _, _, image in read_frames(video.path, kind=video.kind, indices=frames, stream=stream, fps=rate(video.fps)):
        yield np.ascontiguousarray(image[..., ::-1])


def track_video(
    detections: pd.DataFrame,
    settings: Tracker,
    *,
    frame_size: tuple[int, int],
    frames: Sequence[int],
    fps: float,
    pictures: Iterable[np.ndarray] | None = None,
    clip: bool = True,
    looks: AppearanceEncoder | None = None,
) -> pd.DataFrame:
    """Track one video.

    detections: its DETECTIONS rows. frame_size: (width, height) in px; (0, 0) where nobody knows it: nothing is cut
    then, and a tracker that asks for a size is told how far the boxes reach. frames: every frame index that the detector
    has looked at, in order, also those without a box (a tracker ages by them). fps: frames per second, for the times of
    such frames; NaN for images. pictures: those frames' pixels, (H, W, 3) uint8 BGR, for trackers that need them
    (track.needs_pixels). clip: boxes are cut at the frame's edges. looks: the encoder of a tracker that compares looks,
    where it is loaded already. Returns TRACKS rows: boxes as the tracker sees them (smoothed; the floor's as they were
    detected); class and score of the detection that the track was given in that frame;
    ids from 1. With `interpolate` also the filled gaps (gaps.py).

    Raises ValueError when a detection lies in none of `frames`, or detections of several videos are given.
    """
    if detections["video"].nunique() > 1:
        raise ValueError("track_video takes the detections of one video")
    if needs_pixels(settings) and pictures is None and len(detections):
        raise ValueError(f"{settings.kind} with {pixels_for(settings)} needs the frames' pictures")
    detections = detections.sort_values("frame", kind="stable").reset_index(drop=True)
    strangers = sorted(set(detections["frame"]) - set(frames))
    if strangers:
        raise ValueError(f"detections in frames that were not looked at: {strangers[:5]}; `frames` or the stride is wrong")
    if detections.empty:
        return empty(TRACKS)
    known = min(frame_size) > 0
    width, height = frame_size if known else (math.ceil(max(detections[edge].max(), 1)) for edge in ("x2", "y2"))
    if is_floor(settings):
        rows = _unlinked(detections)
    elif isinstance(settings, DeepSortTracker):
        rows = deepsort_video(detections, settings, frames, pictures or (), looks or _looks_of(settings))
    else:
        rows = _linked(detections, settings, (width, height), frames, fps, pictures)
    has_area = (rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])
    tracks = _tracks(detections, clipped(rows, width=width, height=height) if known and clip else rows[has_area])
    if most := getattr(settings, "interpolate", 0):
        return filled(tracks, frames, frame_times(detections, frames, fps=fps), most)
    return tracks


def _looks_of(settings: DeepSortTracker) -> AppearanceEncoder:
    """The encoder of a tracker's looks, with the libraries that it needs."""
    from lib.perception.roi import build_appearance

    return build_appearance(settings.appearance)


def _unlinked(detections: pd.DataFrame) -> np.ndarray:
    """Every box a track of its own, in boxmot's form (N, 8) float64; detections: N rows sorted by frame."""
    places = np.arange(len(detections), dtype=np.float64)
    boxes = detections[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    score, index = detections["score"].to_numpy(np.float64), np.zeros(len(detections))
    return np.column_stack([boxes, places, score, index, places])


def _linked(
    detections: pd.DataFrame,
    settings: Tracker,
    frame_size: tuple[int, int],
    frames: Sequence[int],
    fps: float,
    pictures: Iterable[np.ndarray] | None,
) -> np.ndarray:
    """What a boxmot tracker makes of a video, frame after frame: (M, 8) as `_tracks` takes it; arguments of track_video."""
    width, height = frame_size
    tracker = build_tracker(settings, frame_size)
    if pictures is None:
        # dimensions only: a tracker that measures centre distances asks for a frame, and reads its size
        pictures = repeat(np.zeros((height, width, 3), np.uint8) if tracker.requirements.frame else None, len(frames))
    times = frame_times(detections, frames, fps=fps) if getattr(settings, "variable_dt", False) else [None] * len(frames)
    given = _array(detections)
    starts = np.searchsorted(detections["frame"], frames, side="left")
    ends = np.searchsorted(detections["frame"], frames, side="right")
    found = []
    for start, end, time_s, picture in zip(starts, ends, times, pictures, strict=True):
        out = tracker.update(given[start:end], picture, timestamp_s=time_s)
        out[:, 7] += start  # place of the detection in its frame -> in the table
        found.append(out)
    return np.concatenate(found)


def _array(detections: pd.DataFrame) -> np.ndarray:
    """boxmot's input (N, 6) float32: x1, y1, x2, y2, score, class index."""
    index = pd.factorize(detections["class"], sort=True)[0]
    return np.column_stack([detections[["x1", "y1", "x2", "y2", "score"]].to_numpy(), index]).astype(np.float32)


def _tracks(detections: pd.DataFrame, out: np.ndarray) -> pd.DataFrame:
    """TRACKS rows from boxmot's output (M, 8): x1, y1, x2, y2, id, score, class, detection row; ids become 1, 2, …"""
    table = detections.iloc[out[:, 7].astype(np.int64)].reset_index(drop=True)
    table[["x1", "y1", "x2", "y2"]] = out[:, :4]
    table["track"] = out[:, 4].astype(np.int64)
    table = table.sort_values(["frame", "track"], kind="stable").reset_index(drop=True)
    table["track"] = pd.factorize(table["track"])[0].astype(np.int64) + 1
    return table[list(COLUMNS[TRACKS])]
