"""The task segmentation: masks of named classes per frame, by RF-DETR. Trains as detection does, with a mask for every box.

Not here: the training (detection.py, lib/training/rfdetr.py), masks of videos (lib/inference/predict_masks.py), scores
(lib/metrics/detection.py).
"""

from __future__ import annotations

import pandas as pd

from lib.config.evaluate import EvaluateSettings
from lib.config.predict import PredictSettings
from lib.files import DataError
from lib.metrics import detection as metrics
from lib.tables import SEGMENTS, empty
from lib.tasks import PredictJob, Scored, ScoreJob
from lib.tasks.detection import MEANS, labelled, train

__all__ = ["predict", "score", "train"]


def predict(job: PredictJob) -> pd.DataFrame:
    """SEGMENTS of the dataset's classes on the chosen splits; a diverged model predicts nothing."""
    if job.card["status"] != "finished":
        return empty(SEGMENTS)
    from lib.inference.predict_masks import predict_masks
    from lib.models import load_predictor

    settings = PredictSettings.model_validate(job.settings["predict"])
    videos = job.manifest[job.manifest["split"].isin(settings.splits)].reset_index(drop=True)
    if videos.empty:
        raise DataError(f"no video in splits {settings.splits}. Hint: `predict.splits` must name splits of the dataset.")
    found = predict_masks(videos, load_predictor(job.model, job.card), settings, imgsz=job.card["input_size"])
    return found[found["class"].isin(job.classes)].reset_index(drop=True)


def score(job: ScoreJob) -> Scored:
    """COCO scores of masks on the labelled frames that were predicted, of their boxes beside, and the units of masks."""
    settings = EvaluateSettings.model_validate(job.settings["evaluate"])
    frames, boxes = labelled(job)
    sizes = job.manifest[["video", "height", "width"]]
    frames, truth, found = (table.merge(sizes, on="video", how="left") for table in (frames, boxes, job.predictions))
    given = (truth, found, frames, job.classes)
    of_masks, of_boxes = (
        metrics.evaluate(*given, f1_threshold=settings.f1_threshold, max_det=settings.max_det, masks=masks)
        for masks in (True, False)
    )
    scores = {
        "metrics": {key: of_masks[key] for key in MEANS},
        "classes": job.classes,
        "per_class": of_masks["per_class"],
        "counts": {key: value for key, value in of_masks.items() if key.startswith("n_")},
        "boxes": {key: of_boxes[key] for key in MEANS},
        "warnings": of_masks["warnings"],
    }
    units = metrics.match_units(*given, max_det=settings.max_det, masks=True)
    return Scored(scores=scores, units=units)
