"""Boxes of one video become tracks, by boxmot's trackers. Not here: the trackers and their settings (lib/config/track.py).

None of the three reads pixels, so nothing is decoded. Each video gets a tracker object of its own and ids from 1 in the
order of appearance, so ids depend on no other video of the process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import identity
from lib.config.track import Tracker
from lib.deferred import deferred
from lib.perception.streaming import clipped, frame_times
from lib.tables import COLUMNS, TRACK_STATS, TRACKS, empty

CLASSES = {"bytetrack": "ByteTrack", "ocsort": "OcSort", "sfsort": "SFSORT"}


def build_tracker(settings: Tracker, frame_size: tuple[int, int]) -> Any:
    """A fresh boxmot tracker with exactly these settings. frame_size: (width, height) in px."""
    import boxmot

    values = identity(settings)
    with deferred("torch"):  # boxmot loads a tracker's module when it is first named
        make = getattr(boxmot, CLASSES[values.pop("kind")])
    logging.getLogger("boxmot").setLevel(logging.WARNING)  # it announces every object; importing the class sets the level
    values["per_class"] = values.pop("classes_separately")
    if settings.kind == "sfsort":
        values["frame_width"], values["frame_height"] = frame_size
    return make(**values)


def track_chunk(
    videos: pd.DataFrame, detections: pd.DataFrame, settings: Tracker, *, stride: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Track every video of a chunk (MANIFEST rows), each with a tracker of its own, over every `stride`-th frame.

    Returns TRACKS, in the order of the videos, and per video: frames, seconds of tracking. Ids start at 1 in every video.
    """
    build_tracker(settings, (32, 32))  # loads boxmot before the first video's clock runs
    by_video = dict(tuple(detections.groupby("video")))
    tables, stats = [], []
    for video in videos.itertuples(index=False):
        rows = by_video.get(video.video, detections.iloc[:0])
        frames = range(0, int(video.frames), stride)
        started = time.perf_counter()
        size = (int(video.width), int(video.height))
        tables.append(track_video(rows, settings, frame_size=size, frames=frames, fps=video.fps))
        stats.append([video.video, len(frames), time.perf_counter() - started])
    held = [table for table in tables if len(table)]
    summary = pd.DataFrame(stats, columns=list(COLUMNS[TRACK_STATS]))
    return (pd.concat(held, ignore_index=True) if held else empty(TRACKS)), summary


def track_video(
    detections: pd.DataFrame, settings: Tracker, *, frame_size: tuple[int, int], frames: Sequence[int], fps: float
) -> pd.DataFrame:
    """Track one video.

    detections: its DETECTIONS rows. frame_size: (width, height) in px. frames: every frame index that the detector has
    looked at, in order, also those without a box (a tracker ages by them). fps: frames per second, for the times of such
    frames; NaN for images. Returns TRACKS rows: boxes as the tracker sees them (smoothed), cut at the
    frame's edges; class and score of the detection that the track was given in that frame; ids from 1.

    Raises ValueError when a detection lies in none of `frames`, or detections of several videos are given.
    """
    if detections["video"].nunique() > 1:
        raise ValueError("track_video takes the detections of one video")
    detections = detections.sort_values("frame", kind="stable").reset_index(drop=True)
    strangers = sorted(set(detections["frame"]) - set(frames))
    if strangers:
        raise ValueError(f"detections in frames that were not looked at: {strangers[:5]}; `frames` or the stride is wrong")
    if detections.empty:
        return empty(TRACKS)
    tracker = build_tracker(settings, frame_size)
    # dimensions only: a tracker that measures centre distances asks for a frame, and reads its size
    blank = np.zeros((frame_size[1], frame_size[0], 3), np.uint8) if tracker.requirements.frame else None
    times = frame_times(detections, frames, fps=fps) if getattr(settings, "variable_dt", False) else [None] * len(frames)
    given = _array(detections)
    starts = np.searchsorted(detections["frame"], frames, side="left")
    ends = np.searchsorted(detections["frame"], frames, side="right")
    found = []
    for start, end, time_s in zip(starts, ends, times, strict=True):
        out = tracker.update(given[start:end], blank, timestamp_s=time_s)
        out[:, 7] += start  # place of the detection in its frame -> in the table
        found.append(out)
    return _tracks(detections, clipped(np.concatenate(found), width=frame_size[0], height=frame_size[1]))


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
