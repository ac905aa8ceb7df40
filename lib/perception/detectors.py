"""Boxes per frame from a model, from the truth, or from the source's own detections. Not here: the models (lib/models) and
decoding ahead of them (streaming.py).

All three give the DETECTIONS table and one row of figures per video, so that what follows needs not know which it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from lib.config.base import ConfigError, nearest
from lib.config.detect import ModelDetector
from lib.perception.streaming import Frame, look_at
from lib.tables import COLUMNS, DETECTIONS


class Predictor(Protocol):
    """What a detector must be able to do (lib/models). One that has `blind = True` also takes videos and frame_indices.

    One with `fit(imgsz)` takes frames that were scaled to fit into that (height, width) px, with their `shapes` before it.
    """

    names: list[str]

    def predict(self, frames: list[np.ndarray], *, conf: float, iou: float, max_det: int, imgsz: int) -> list[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB → per frame (N, 6) float32: x1, y1, x2, y2 in px, score 0..1, class index."""
        ...


def fit_of(predictor: Predictor, imgsz: int) -> tuple[int, int] | None:
    """(height, width) px into which this model's frames may be scaled while they are decoded; null: it wants them whole."""
    return predictor.fit(imgsz) if hasattr(predictor, "fit") else None


def shapes_of(frames: Sequence[Frame], fit: tuple[int, int] | None) -> dict[str, list[tuple[int, int]]]:
    """What `predict` must be told of frames that were scaled."""
    return {} if fit is None else {"shapes": [frame.shape for frame in frames]}


def batch_size(predictor: Predictor, wanted: int) -> int:
    """`wanted`, or what the model file is fixed to (`predictor.fixed_batch`, null when it takes any number)."""
    return getattr(predictor, "fixed_batch", None) or wanted


def detect_chunk(
    videos: pd.DataFrame, predictor: Predictor, settings: ModelDetector, *, progress: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run one loaded model over the videos of a chunk (MANIFEST rows).

    Returns DETECTIONS in dataset classes, and per video: frames, seconds_decode, seconds_model, detections. Raises
    ConfigError when `classes` names a class that the model does not know, DataError for damaged media.
    """
    wanted, mapping = class_mapping(settings.classes, predictor.names)
    fit = fit_of(predictor, settings.imgsz)

    def look(frames: list[Frame]) -> list[np.ndarray]:
        found = predictor.predict(
            [frame.image for frame in frames],
            conf=settings.conf,
            iou=settings.iou,
            max_det=settings.max_det,
            imgsz=settings.imgsz,
            **shapes_of(frames, fit),
        )
        return [map_classes(boxes, mapping, iou=settings.iou) for boxes in found]

    more = {"stride": settings.stride, "batch": batch_size(predictor, settings.batch), "fit": fit}
    return look_at(videos, look, wanted, title="detect", progress=progress, **more)


def class_mapping(classes: dict[str, list[str]] | None, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """How the model's classes become the dataset's.

    Returns the dataset classes and an array (C,) int64 that gives each of the model's C classes its place among them, -1 =
    not wanted. Raises ConfigError with the nearest name when a wanted class is not one of the model's.
    """
    if classes is None:
        return list(names), np.arange(len(names), dtype=np.int64)
    place = {name: index for index, name in enumerate(names)}
    mapping = np.full(len(names), -1, dtype=np.int64)
    for target, (wanted, sources) in enumerate(classes.items()):
        for source in sources:
            if source not in place:
                raise ConfigError(
                    f"classes.{wanted}: the detector's weights know no class {source!r}. {nearest(source, names)}"
                )
            mapping[place[source]] = target
    return list(classes), mapping


def map_classes(boxes: np.ndarray, mapping: np.ndarray, *, iou: float) -> np.ndarray:
    """Rows (N, 6) with their class indices replaced; unwanted ones are dropped.

    Where several of the model's classes become one, the model has suppressed doubles only within each of them (a van is
    found as car and as truck), so doubles of the merged class are suppressed here by the same IoU.
    """
    source = boxes[:, 5].astype(np.int64)
    target = mapping[source]
    keep = target >= 0
    for merged in np.unique(target[keep]):
        rows = np.flatnonzero(target == merged)
        if len(np.unique(source[rows])) > 1:
            keep[rows] = False
            keep[rows[_suppressed(boxes[rows], iou)]] = True
    mapped = boxes[keep].copy()
    mapped[:, 5] = target[keep]
    return mapped


def _suppressed(boxes: np.ndarray, iou: float) -> np.ndarray:
    """Places of the rows that survive non-maximum suppression."""
    import cv2

    corners = boxes[:, :4].astype(np.float64)
    rectangles = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    kept = cv2.dnn.NMSBoxes(rectangles, boxes[:, 4].astype(np.float32), score_threshold=0.0, nms_threshold=iou)
    return np.sort(np.asarray(kept, dtype=np.int64))


def truth_detections(
    boxes: pd.DataFrame, frames: pd.DataFrame, videos: pd.DataFrame, *, stride: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """True boxes (BOXES table) of the videos as detections with score 1.0, regions marked `ignore` left out.

    Returns DETECTIONS and the figures per video, as `detect_chunk` (no second was spent); only labelled frames (FRAMES
    table) count as looked at: of the others the truth says nothing, not that they are empty.
    """
    kept, stats = given_detections(boxes[~boxes["ignore"].astype(bool)].assign(score=1.0), videos, stride=stride)
    labelled = labelled_frames(frames, stride=stride)
    return kept, stats.assign(frames=[len(labelled.get(video, ())) for video in stats["video"]])


def labelled_frames(frames: pd.DataFrame, *, stride: int) -> dict[str, list[int]]:
    """Video -> its labelled frames (FRAMES table) among every `stride`-th, in order."""
    chosen = frames[frames["frame"] % stride == 0].sort_values(["video", "frame"])
    return {str(video): part.to_list() for video, part in chosen.groupby("video")["frame"]}


def given_detections(detections: pd.DataFrame, videos: pd.DataFrame, *, stride: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The source's own detections of the videos, every `stride`-th frame. Returns as `detect_chunk`."""
    chosen = detections["video"].isin(videos["video"]) & (detections["frame"] % stride == 0)
    kept = (
        detections.loc[chosen, list(COLUMNS[DETECTIONS])]
        .sort_values(["video", "frame"], kind="stable")
        .reset_index(drop=True)
    )
    counts = kept.groupby("video").size()
    stats = pd.DataFrame(
        {
            "video": videos["video"].to_numpy(),
            "frames": np.ceil(videos["frames"].to_numpy() / stride).astype(np.int64),
            "seconds_decode": 0.0,
            "seconds_model": 0.0,
            "detections": counts.reindex(videos["video"], fill_value=0).to_numpy(dtype=np.int64),
        }
    )
    return kept, stats
