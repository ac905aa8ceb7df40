"""DeepSORT over one video: looks of every box, then deep-sort-realtime's tracker. Not here: looks (roi.py), other trackers
(trackers.py).

N detections, M boxes of tracks. Only boxes of frames in which a track was seen are reported, as by the other trackers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import identity
from lib.config.track_appearance import DeepSortTracker
from lib.perception.roi import AppearanceEncoder, crops_of

NOT_PASSED = ("kind", "appearance", "det_thresh", "classes_separately", "interpolate")
"""Settings that are not parameters of the library's class."""


def build_deepsort(settings: DeepSortTracker) -> Any:
    """A fresh tracker with exactly these settings, that is handed its looks."""
    from deep_sort_realtime.deepsort_tracker import DeepSort

    logging.getLogger("deep_sort_realtime").setLevel(logging.WARNING)  # it announces every object
    values = {name: value for name, value in identity(settings).items() if name not in NOT_PASSED}
    return DeepSort(**values, embedder=None)


def deepsort_video(
    detections: pd.DataFrame,
    settings: DeepSortTracker,
    frames: Sequence[int],
    pictures: Iterable[np.ndarray],
    encoder: AppearanceEncoder,
) -> np.ndarray:
    """(M, 8): x1, y1, x2, y2, id, score, class, row of `detections` (DETECTIONS rows of one video, by frame).

    frames: frame indices that were looked at, in order; pictures: those frames, (H, W, 3) uint8 BGR.
    """
    groups = detections["class"].to_numpy() if settings.classes_separately else np.zeros(len(detections))
    trackers = {group: build_deepsort(settings) for group in sorted(set(groups))}
    boxes = detections[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    scores, number = detections["score"].to_numpy(np.float64), detections["frame"].to_numpy()
    ids: dict[tuple[Any, str], int] = {}
    found = []
    for frame, picture in zip(frames, pictures, strict=True):
        rows = np.flatnonzero((number == frame) & (scores >= settings.det_thresh))
        looks = encoder.encode(crops_of(np.ascontiguousarray(picture[..., ::-1]), boxes[rows]))
        for group, tracker in trackers.items():
            mine = np.flatnonzero(groups[rows] == group)
            for name, box, row in _step(tracker, boxes[rows[mine]], scores[rows[mine]], looks[mine], rows[mine]):
                found.append([*box, ids.setdefault((group, name), len(ids) + 1), scores[row], 0, row])
    return np.array(found, np.float64).reshape(-1, 8)


def _step(
    tracker: Any, boxes: np.ndarray, scores: np.ndarray, looks: np.ndarray, rows: np.ndarray
) -> Iterable[tuple[str, np.ndarray, int]]:
    """(id, box as the filter sees it, row of the detection) of every track that was seen in this frame."""
    given = [([x1, y1, x2 - x1, y2 - y1], score, None) for (x1, y1, x2, y2), score in zip(boxes, scores, strict=True)]
    for track in tracker.update_tracks(given, embeds=list(looks), others=list(rows)):
        if track.is_confirmed() and track.time_since_update == 0:
            yield str(track.track_id), track.to_ltrb(), int(track.get_det_supplementary())
