"""A trained model or a floor over whole videos, with or without test-time augmentation. Not here: loading models
(lib/models) and scoring (lib/metrics)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.config.predict import PredictSettings, Tta, View
from lib.inference.tta import INPUT_STEP, look_in_views
from lib.perception.detectors import Predictor, batch_size, fit_of, shapes_of
from lib.perception.streaming import Frame, look_at


def predict_videos(
    videos: pd.DataFrame,
    predictor: Predictor,
    settings: PredictSettings,
    tta: Tta,
    *,
    imgsz: int,
    progress: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict every `stride`-th frame of the videos (MANIFEST rows; the caller has chosen the splits).

    imgsz: the model's input size, px. A floor that does not look (`blind = True`) is told which frames are asked for
    and has no views: it is run once, whatever `tta` says. Returns DETECTIONS in the model's classes, and per video: frames,
    seconds_decode, seconds_model, detections.
    """
    limits = {"conf": settings.conf, "iou": settings.iou, "max_det": settings.max_det}
    fit = fit_of(predictor, imgsz) if len(tta.views) == 1 and tta.views[0] == View() else None

    def run(images: list[np.ndarray], size: int) -> list[np.ndarray]:
        return predictor.predict(images, imgsz=size, **limits)

    def look(frames: list[Frame]) -> list[np.ndarray]:
        images = [frame.image for frame in frames]
        if fit:
            found = predictor.predict(images, imgsz=imgsz, **limits, **shapes_of(frames, fit))
            return [np.asarray(boxes, dtype=np.float64) for boxes in found]
        if not getattr(predictor, "blind", False):
            found = look_in_views(run, images, tta, imgsz=imgsz, step=getattr(predictor, "step", INPUT_STEP))
            return [_best(boxes, settings.max_det) for boxes in found]
        asked = {"videos": [frame.video for frame in frames], "frame_indices": [frame.index for frame in frames]}
        return predictor.predict(images, imgsz=imgsz, **limits, **asked)

    more = {"stride": settings.stride, "batch": batch_size(predictor, settings.batch), "fit": fit}
    return look_at(videos, look, list(predictor.names), title="predict", progress=progress, **more)


def _best(boxes: np.ndarray, count: int) -> np.ndarray:
    """The `count` rows of highest score (views together may hold more than one view may), in their order."""
    if len(boxes) <= count:
        return boxes
    return boxes[np.sort(np.argsort(-boxes[:, 4], kind="stable")[:count])]
