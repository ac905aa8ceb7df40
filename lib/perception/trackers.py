"""Boxes of one video become tracks, by boxmot's trackers. Not here: the trackers and their settings (lib/config/track.py).

None of the three reads pixels, so nothing is decoded. Each video gets a tracker object of its own and ids from 1 in the
order of appearance, so ids depend on no other video of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import identity
from lib.config.track import Tracker
from lib.perception.streaming import clipped, frame_times
from lib.tables import COLUMNS, TRACKS, empty

CLASSES = {"bytetrack": "ByteTrack", "ocsort": "OcSort", "sfsort": "SFSORT"}


def build_tracker(settings: Tracker, frame_size: tuple[int, int]) -> Any:
    """A fresh boxmot tracker with exactly these settings. frame_size: (width, height) in px."""
    import boxmot

    values = identity(settings)
    make = getattr(boxmot, CLASSES[values.pop("kind")])
    logging.getLogger("boxmot").setLevel(logging.WARNING)  # it announces every object; importing the class sets the level
    values["per_class"] = values.pop("classes_separately")
    if settings.kind == "sfsort":
        values["frame_width"], values["frame_height"] = frame_size
    return make(**values)


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
    by_frame = {int(frame): rows for frame, rows in detections.groupby("frame", sort=True)}
    strangers = sorted(set(by_frame) - set(frames))
    if strangers:
        raise ValueError(f"detections in frames that were not looked at: {strangers[:5]}; `frames` or the stride is wrong")
    if not by_frame:
        return _tracks([])
    names = sorted(detections["class"].unique())
    tracker = build_tracker(settings, frame_size)
    # dimensions only: a tracker that measures centre distances asks for a frame, and reads its size
    blank = np.zeros((frame_size[1], frame_size[0], 3), np.uint8) if tracker.requirements.frame else None
    times = frame_times(detections, frames, fps=fps)
    timed = getattr(settings, "variable_dt", False)
    rows: list[pd.DataFrame] = []
    for frame, time_s in zip(frames, times, strict=True):
        found = by_frame.get(frame)
        given = _array(found, names)
        out = tracker.update(given, blank, timestamp_s=float(time_s) if timed else None)
        if len(out):
            rows.append(_rows(found, out, frame_size))
    return _tracks(rows)


def _array(found: pd.DataFrame | None, names: list[str]) -> np.ndarray:
    """boxmot's input (N, 6) float32: x1, y1, x2, y2, score, class index."""
    if found is None:
        return np.empty((0, 6), dtype=np.float32)
    index = found["class"].map({name: place for place, name in enumerate(names)})
    return np.column_stack([found[["x1", "y1", "x2", "y2", "score"]].to_numpy(), index]).astype(np.float32)


def _rows(found: pd.DataFrame | None, out: np.ndarray, frame_size: tuple[int, int]) -> pd.DataFrame:
    """TRACKS rows of one frame from boxmot's output (M, 8): x1, y1, x2, y2, id, score, class, detection index."""
    if found is None:
        raise RuntimeError("the tracker reported a track in a frame without detections")
    out = clipped(out, width=frame_size[0], height=frame_size[1])
    rows = found.iloc[out[:, 7].astype(np.int64)].copy()
    rows[["x1", "y1", "x2", "y2"]] = out[:, :4]
    rows["track"] = out[:, 4].astype(np.int64)
    return rows.sort_values("track")


def _tracks(rows: list[pd.DataFrame]) -> pd.DataFrame:
    """One TRACKS table with ids from 1 in the order of appearance."""
    if not rows:
        return empty(TRACKS)
    table = pd.concat(rows, ignore_index=True)[list(COLUMNS[TRACKS])]
    table["track"] = pd.factorize(table["track"])[0].astype(np.int64) + 1
    return table
