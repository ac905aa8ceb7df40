"""A model with masks, or a floor, over whole videos. Not here: boxes alone (predict.py), scoring (lib/metrics)."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd

from lib.config.predict import PredictSettings
from lib.perception.streaming import Frame, ahead, batches, clipped, decode, progress_bar
from lib.tables import COLUMNS, SEGMENTS, empty


def predict_masks(
    videos: pd.DataFrame, predictor: Any, settings: PredictSettings, *, imgsz: int, progress: bool = True
) -> pd.DataFrame:
    """SEGMENTS of every `stride`-th frame of the videos (MANIFEST rows), in the model's classes.

    predictor: with `predict_masks` (lib/models/rfdetr.py), or a floor that finds boxes: its masks are these boxes, filled.
    imgsz: the model's input size, px.
    """
    rows: list[dict[str, Any]] = []
    total = int(np.ceil(videos["frames"] / settings.stride).sum())
    frames = ahead(decode(videos, stride=settings.stride), depth=2 * settings.batch)
    with closing(frames), progress_bar("predict", total, shown=progress) as advance:
        for group in batches(frames, size=settings.batch):
            for frame, (boxes, masks) in zip(group, _found(predictor, group, settings, imgsz), strict=True):
                rows += _rows(frame, boxes, masks, predictor.names)
            advance(len(group))
    return pd.DataFrame(rows)[list(COLUMNS[SEGMENTS])] if rows else empty(SEGMENTS)


def _found(
    predictor: Any, group: list[Frame], settings: PredictSettings, imgsz: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each frame: boxes (N, 6), masks (N, H, W) bool."""
    images = [frame.image for frame in group]
    limits = {"conf": settings.conf, "max_det": settings.max_det, "imgsz": imgsz}
    if hasattr(predictor, "predict_masks"):
        return predictor.predict_masks(images, **limits)
    asked = {"videos": [frame.video for frame in group], "frame_indices": [frame.index for frame in group]}
    found = predictor.predict(images, iou=settings.iou, **limits, **asked)
    shapes = [frame.shape for frame in group]
    whole = [clipped(boxes, width=shape[1], height=shape[0]) for boxes, shape in zip(found, shapes, strict=True)]
    return [(boxes, _filled(boxes, shape)) for boxes, shape in zip(whole, shapes, strict=True)]


def _filled(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Masks (N, H, W) bool of boxes: the pixels whose centre is inside."""
    columns, rows = np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5
    inside = (columns >= boxes[:, 0:1]) & (columns < boxes[:, 2:3])
    return inside[:, None, :] & ((rows >= boxes[:, 1:2]) & (rows < boxes[:, 3:4]))[:, :, None]


def _rows(frame: Frame, boxes: np.ndarray, masks: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """SEGMENTS rows of one frame; masks without a pixel are no object."""
    from pycocotools import mask

    if not len(masks):
        return []
    coded = mask.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    found = []
    for box, run, filled in zip(boxes.astype(np.float64).tolist(), coded, masks.any((1, 2)), strict=True):
        if filled:
            place = {"video": frame.video, "frame": frame.index, "time_s": frame.time_s, "class": names[int(box[5])]}
            found.append(place | {"score": box[4]} | dict(zip(("x1", "y1", "x2", "y2"), box[:4], strict=True)))
            found[-1]["mask"] = run["counts"].decode("ascii")
    return found
