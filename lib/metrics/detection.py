"""COCO box scores of a detector and the per-video units of its bootstrap. Not an evaluator: coco.py runs vernier.

AP = mean over 101 recall points 0, 0.01 … 1 of the highest precision at that recall or beyond (COCO detection evaluation,
Lin et al. 2014), per class; “AP” averages IoU 0.50:0.05:0.95, AP50 and AP75 take one IoU. All scores range 0–1, higher is
better. A class without a true box has no score (None or NaN, never 0) and is left out of every mean over classes.

Letters: C classes, N detections of one video, T = 10 IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TypedDict

import numpy as np
import pandas as pd

from lib.metrics.coco import AREAS, Prepared, curves, flat_matches, matches_at_50, prepare
from lib.metrics.resampled_ap import ap_from_units

__all__ = ["ClassScores", "DetectionScores", "ap_from_units", "evaluate", "match_units"]


class ClassScores(TypedDict):
    """Scores of one class (0–1, higher is better; None = the class has no true box on the labelled frames).

    AR: mean over T of the recall reached by at most max_det detections per frame. precision, recall, F1 = 2PR/(P+R): at
    IoU 0.5, detections with score ≥ f1_threshold; without any such detection precision is 0. best_F1: highest F1 of any
    threshold, reached at best_F1_threshold (None without detections). Counts: n_truth and n_ignored boxes, n_predictions,
    n_frames that hold a true box of the class.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    AR: float | None
    F1: float | None
    precision: float | None
    recall: float | None
    best_F1: float | None
    best_F1_threshold: float | None
    n_truth: int
    n_ignored: int
    n_predictions: int
    n_frames: int


class DetectionScores(TypedDict):
    """Means over the classes that have truth (same names and ranges as ClassScores), JSON-safe: no NaN.

    AP_small, AP_medium, AP_large: AP over true boxes of that area (coco.AREAS); None where there is none.
    n_predictions_elsewhere: on frames that nobody labelled; n_predictions_other_classes: of classes not scored; both kinds
    are left out of every score.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    AR: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    F1: float | None
    precision: float | None
    recall: float | None
    best_F1: float | None
    f1_threshold: float
    max_det: int
    per_class: dict[str, ClassScores]
    n_videos: int
    n_frames: int
    n_truth: int
    n_ignored: int
    n_predictions: int
    n_predictions_elsewhere: int
    n_predictions_other_classes: int
    warnings: list[str]


def evaluate(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    frames: pd.DataFrame,
    classes: list[str],
    *,
    f1_threshold: float,
    max_det: int = 100,
    masks: bool = False,
) -> DetectionScores:
    """Score predicted boxes (DETECTIONS) against true boxes (BOXES) on the labelled frames (FRAMES), or masks by theirs.

    `ignore` boxes are COCO crowds: never a miss, and what they cover is never a false alarm. At most `max_det` detections
    per frame and class are scored, the highest scores first. With truth and no predictions every score is 0.0 and a warning
    says so; without truth every score is None and a warning says so. Raises DataError (see coco.prepare).
    """
    data = prepare(truth, predictions, frames, classes, max_det=max_det, masks=masks)
    precision, recall = curves(data, len(classes), max_det=max_det)
    tables = (matches_at_50(data, len(classes), max_det=max_det), data.truth, data.predictions)
    of_class = [_by_class(table, len(classes)) for table in tables]
    per_class = {
        name: _class_scores(*parts, precision[:, :, number, 0], recall[:, number, 0], f1_threshold)
        for number, (name, *parts) in enumerate(zip(classes, *of_class, strict=True))
    }
    mean = {key: _mean(scores[key] for scores in per_class.values()) for key in ("F1", "precision", "recall", "best_F1")}
    return {
        "AP": _valid_mean(precision[..., 0]),
        "AP50": _valid_mean(precision[0, ..., 0]),
        "AP75": _valid_mean(precision[5, ..., 0]),
        "AR": _valid_mean(recall[..., 0]),
        **{f"AP_{area}": _valid_mean(precision[..., AREAS.index(area)]) for area in AREAS[1:]},
        **mean,
        "f1_threshold": float(f1_threshold),
        "max_det": int(max_det),
        "per_class": per_class,
        "n_videos": int(data.frames["video"].nunique()),
        "n_frames": len(data.frames),
        "n_truth": sum(scores["n_truth"] for scores in per_class.values()),
        "n_ignored": sum(scores["n_ignored"] for scores in per_class.values()),
        "n_predictions": len(data.predictions),
        "n_predictions_elsewhere": data.elsewhere,
        "n_predictions_other_classes": data.unknown,
        "warnings": _warnings(data, per_class),
    }


def _by_class(table: pd.DataFrame, n_classes: int) -> list[pd.DataFrame]:
    """The rows of each class, in their order."""
    order = np.argsort(table["class_index"].to_numpy(), kind="stable")
    cuts = np.searchsorted(table["class_index"].to_numpy()[order], np.arange(n_classes + 1))
    ordered = table.take(order)
    return [ordered.iloc[start:end] for start, end in pairwise(cuts)]


def _class_scores(
    matches: pd.DataFrame,
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    precision: np.ndarray,
    recall: np.ndarray,
    f1_threshold: float,
) -> ClassScores:
    """Of one class: its matches, boxes, precision (T, R) and recall (T,)."""
    ignored = truth["ignore"].to_numpy(bool)
    n_truth = int((~ignored).sum())
    return {
        "AP": _valid_mean(precision),
        "AP50": _valid_mean(precision[0]),
        "AP75": _valid_mean(precision[5]),
        "AR": _valid_mean(recall),
        **_f1_scores(matches, n_truth, f1_threshold),
        "n_truth": n_truth,
        "n_ignored": int(ignored.sum()),
        "n_predictions": len(predictions),
        "n_frames": int(truth["image"][~ignored].nunique()),
    }


def _f1_scores(matches: pd.DataFrame, n_truth: int, threshold: float) -> dict[str, float | None]:
    """F1, precision and recall at the fixed score threshold, and the best F1 of all thresholds (IoU 0.5)."""
    if n_truth == 0:
        return dict.fromkeys(("F1", "precision", "recall", "best_F1", "best_F1_threshold"))
    counts = ~matches["ignored"].to_numpy()
    score, matched = matches["score"].to_numpy()[counts], matches["matched"].to_numpy()[counts]
    order = np.argsort(-score, kind="stable")
    score, true_positives = score[order], np.cumsum(matched[order], dtype=np.int64)
    kept = np.arange(1, len(score) + 1)
    # one F1 per distinct score, taken after the last detection that has it: no threshold separates equal scores
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else np.empty(0, np.int64)
    f1 = 2.0 * true_positives[last] / (kept[last] + n_truth)
    best = int(np.argmax(f1)) if len(f1) else None
    n_kept = int((score >= threshold).sum())
    hits = int(true_positives[n_kept - 1]) if n_kept else 0
    return {
        "F1": 2.0 * hits / (n_kept + n_truth),
        "precision": hits / n_kept if n_kept else 0.0,
        "recall": hits / n_truth,
        "best_F1": 0.0 if best is None else float(f1[best]),
        "best_F1_threshold": None if best is None else float(score[last[best]]),
    }


def _valid_mean(values: np.ndarray) -> float | None:
    """Mean of the entries that exist: COCO's evaluators write −1 where a class has no truth."""
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else None


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def _warnings(data: Prepared, per_class: dict[str, ClassScores]) -> list[str]:
    texts = []
    if not any(scores["n_truth"] for scores in per_class.values()):
        texts.append(f"no true box of any scored class on {len(data.frames)} labelled frames: every score is n/a")
    else:
        absent = [name for name, scores in per_class.items() if not scores["n_truth"]]
        if absent:
            texts.append(f"no true box of {', '.join(absent)}: left out of the means")
        if data.predictions.empty:
            texts.append("no prediction on any labelled frame: every score is 0")
    if data.elsewhere:
        texts.append(f"{data.elsewhere} predictions on unlabelled frames are not scored")
    if data.unknown:
        texts.append(f"{data.unknown} predictions of other classes are not scored")
    return texts


def match_units(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    frames: pd.DataFrame,
    classes: list[str],
    *,
    max_det: int = 100,
    masks: bool = False,
) -> pd.DataFrame:
    """What the bootstrap resamples: one row per labelled video, enough to recompute AP for any multiplicity of videos.

    Columns: video (str, sorted), frames (int64), n_truth (list of C int64), class_index (list of N int64, position in
    `classes`), score (list of N float64), matched and ignored (lists of N uint16, coco.flat_matches), AP50 (float64 of this
    video alone, NaN without truth; for plots: the mean of these is not the AP50 of the set). Raises DataError.
    """
    data = prepare(truth, predictions, frames, classes, max_det=max_det, masks=masks)
    matches = flat_matches(data, len(classes), max_det=max_det)
    image_video, videos = pd.factorize(data.frames["video"])  # frames are sorted, so videos are numbered in order
    count = np.zeros((len(videos), len(classes)), dtype=np.int64)
    counted = data.truth[~data.truth["ignore"].to_numpy(bool)]
    np.add.at(count, (image_video[counted["image"] - 1], counted["class_index"]), 1)
    video_of = image_video[matches["image"] - 1]
    order = np.argsort(video_of, kind="stable")  # keeps the evaluator's order inside a video: ties rank as it ranks them
    cuts = np.searchsorted(video_of[order], np.arange(1, len(videos)))
    columns = ("class_index", "score", "matched", "ignored")
    lists = {key: np.split(matches[key].to_numpy()[order], cuts) if len(videos) else [] for key in columns}
    units = pd.DataFrame({"video": np.asarray(videos, dtype=object)})
    units["frames"] = np.bincount(image_video, minlength=len(videos)).astype(np.int64)
    units["n_truth"] = pd.Series(list(count), dtype=object)
    for key in columns:
        units[key] = pd.Series(lists[key], dtype=object)
    alone = [float(ap_from_units(units.iloc[[row]], classes, weights=np.ones(1))) for row in range(len(units))]
    units["AP50"] = np.array(alone, dtype=np.float64)
    return units
