"""HOTA, CLEAR and identity scores of tracks through trackeval's metric classes. Not a tracker, and no file reading.

trackeval's classes get in-memory sequences (one per video and class) in the form that its own datasets prepare, and combine
them over videos and classes; ids are renumbered inside each video, so that equal ids of two videos never mean one object.

HOTA, DetA, AssA (Luiten et al. 2021, mean over the 19 localisation thresholds 0.05 … 0.95) and IDF1 (Ristani et al. 2016)
range 0–1; MOTA = 1 − (FN + FP + IDSW) / true boxes (Bernardin & Stiefelhagen 2008) ranges −∞–1: higher is better. IDSW, FP,
FN (boxes) and ML (true tracks found in under 20 % of their frames) are counts, lower is better; MT (found in over 80 %),
higher is better.

Letters: V videos, D bootstrap draws, A = 19 localisation thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from trackeval.datasets._base_dataset import _BaseDataset
from trackeval.metrics import CLEAR, HOTA, Identity

from lib.files import DataError

Metric = Literal["HOTA", "DetA", "AssA", "MOTA", "IDF1"]
BOX = ["x1", "y1", "x2", "y2"]
SCORES = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "FP", "FN", "MT", "ML")
COUNTS = ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW", "MT", "PT", "ML", "IDTP", "IDFN", "IDFP")
_EPSILON = float(np.finfo("float").eps)
Results = dict[str, dict[str, Any]]
"""Per metric family (HOTA, CLEAR, Identity) trackeval's result of one sequence or of a combination."""


class TrackingScores(TypedDict):
    """overall: all classes together, weighted by boxes; per_class: the same keys per class (see evaluate).

    units: one row per video for `score_from_units` and plots.
    """

    overall: dict[str, float | int | str | None]
    per_class: dict[str, dict[str, float | int | str | None]]
    units: pd.DataFrame


def evaluate(
    truth: pd.DataFrame,
    tracks: pd.DataFrame,
    frames: pd.DataFrame,
    classes: list[str],
    *,
    iou: float = 0.5,
    inside: float | None = 0.5,
) -> TrackingScores:
    """Compare tracks with true tracks (TRACKS columns; truth may have `ignore`) on the labelled frames (FRAMES columns).

    A track is compared with true tracks of its own class. `iou`: overlap from which a box counts as found in MOTA, IDF1 and
    their counts (HOTA averages over its own thresholds). A box that fits an ignored true box is no false alarm; nor is one
    that lies inside one by more than the share `inside` (trackeval's KITTI rule; None = only matches are forgiven, the
    rule of MOT17). overall and per_class hold SCORES plus n_truth and n_predictions (boxes), n_true_tracks, n_tracks and
    `reason`; the scores are None where there is no true track. Without predictions HOTA, DetA, AssA, MOTA and IDF1 are 0
    and every true box is FN. Raises DataError for missing columns, a class named twice, or one id twice in a frame.
    """
    truth = _checked(truth if "ignore" in truth else truth.assign(ignore=False), "truth")
    tracks = _checked(tracks, "tracks")
    if not classes or len(set(classes)) != len(classes):
        raise DataError(f"classes must be a list of different names, given {list(classes)!r}.")
    metrics = _metrics(iou)
    labelled = {str(video): np.unique(part.to_numpy()) for video, part in frames.groupby("video", sort=True)["frame"]}
    found: dict[str, dict[str, Results]] = {name: {} for name in classes}
    sizes: dict[str, dict[str, dict[str, int]]] = {name: {} for name in classes}
    for name in classes:
        true_parts = dict(iter(truth[truth["class"] == name].groupby("video")))
        track_parts = dict(iter(tracks[tracks["class"] == name].groupby("video")))
        for video, steps in labelled.items():
            part = true_parts.get(video, truth.iloc[:0]), track_parts.get(video, tracks.iloc[:0])
            data = _sequence(*part, steps, (iou, inside), f"video {video}, class {name}")
            found[name][video] = {key: metric.eval_sequence(data) for key, metric in metrics.items()}
            sizes[name][video] = {key: data[key] for key in _SIZES.values()}
    if not labelled:
        empty = {name: _scores(None, []) for name in classes}
        return {"overall": _scores(None, []), "per_class": empty, "units": _units({}, [], metrics)}
    combined = {name: _over_videos(metrics, found[name]) for name in classes}
    per_class = {name: _scores(combined[name], sizes[name].values()) for name in classes}
    overall = _scores(_over_classes(metrics, combined), [size for part in sizes.values() for size in part.values()])
    per_video = {video: _over_classes(metrics, {name: found[name][video] for name in classes}) for video in labelled}
    return {"overall": overall, "per_class": per_class, "units": _units(per_video, list(labelled.values()), metrics)}


_SIZES = {
    "n_truth": "num_gt_dets",
    "n_predictions": "num_tracker_dets",
    "n_true_tracks": "num_gt_ids",
    "n_tracks": "num_tracker_ids",
}


def _metrics(iou: float) -> dict[str, Any]:
    if not 0.0 < iou <= 1.0:
        raise DataError(f"iou must lie in (0, 1], given {iou}.")
    settings = {"THRESHOLD": iou, "PRINT_CONFIG": False}
    return {"HOTA": HOTA(), "CLEAR": CLEAR(dict(settings)), "Identity": _Identity(dict(settings))}


class _Identity(Identity):
    """trackeval's identity scores, with its assignment of G true to P predicted ids made on the G×P matrix of matches.

    trackeval's own matrix has (G+P)² entries, one more row or column for each id that stays alone: a tracker that links
    nothing has as many ids as boxes, and ten thousand of them take gigabytes. What it minimises, IDFN + IDFP, is all boxes
    less 2 · IDTP, so the assignment with most matches has the same IDTP, IDFN and IDFP.
    """

    def eval_sequence(self, data: dict[str, Any]) -> dict[str, Any]:
        if not data["num_tracker_dets"] or not data["num_gt_dets"]:
            return super().eval_sequence(data)
        matches = np.zeros((data["num_gt_ids"], data["num_tracker_ids"]))
        for true_ids, ids, similarity in zip(data["gt_ids"], data["tracker_ids"], data["similarity_scores"], strict=True):
            true_at, at = np.nonzero(similarity >= self.threshold)
            matches[true_ids[true_at], ids[at]] += 1
        hits = int(matches[linear_sum_assignment(matches, maximize=True)].sum())
        counts = {"IDTP": hits, "IDFN": data["num_gt_dets"] - hits, "IDFP": data["num_tracker_dets"] - hits}
        return self._compute_final_fields(dict.fromkeys(self.fields, 0) | counts)


def _checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    missing = [column for column in ("video", "frame", "class", "track", *BOX) if column not in table.columns]
    if missing:
        raise DataError(f"{name} has no column {', '.join(missing)}. Hint: lib/tables.py lists the columns of every table.")
    counted = table[~table["ignore"].to_numpy(bool)] if "ignore" in table else table
    keys = ["video", "class", "frame", "track"]
    twice = counted[counted.duplicated(keys)]
    if len(twice):
        place = ", ".join(f"{key} {twice.iloc[0][key]}" for key in keys)
        raise DataError(f"{name} holds one track id twice in a frame: {place}. Hint: an id names one object of a video.")
    return table


def _sequence(
    truth: pd.DataFrame, tracks: pd.DataFrame, steps: np.ndarray, limits: tuple[float, float | None], place: str
) -> dict[str, Any]:
    """One video and class in the form of trackeval's `get_preprocessed_seq_data`: ids from 0, one list entry per frame.

    limits: `iou` and `inside` of `evaluate`.
    """
    true_rows, track_rows = truth.groupby("frame").indices, tracks.groupby("frame").indices
    true_boxes, track_boxes = truth[BOX].to_numpy(np.float64), tracks[BOX].to_numpy(np.float64)
    true_ids, track_ids = truth["track"].to_numpy(np.int64), tracks["track"].to_numpy(np.int64)
    ignore = truth["ignore"].to_numpy(bool)
    if (true_ids[~ignore] < 0).any():
        raise DataError(f"{place}: a true box has no track id. Hint: score tracks only where the truth names its objects.")
    none = np.empty(0, dtype=np.int64)
    true_of, track_of, similarity = [], [], []
    for step in steps:
        here, there = true_rows.get(step, none), track_rows.get(step, none)
        if ignore[here].any():
            there = there[_counted(true_boxes[here], ignore[here], track_boxes[there], *limits)]
            here = here[~ignore[here]]
        true_of.append(true_ids[here])
        track_of.append(track_ids[there])
        similarity.append(_overlap(true_boxes[here], track_boxes[there]))
    n_true_ids, true_of = _from_zero(true_of)
    n_track_ids, track_of = _from_zero(track_of)
    return {
        "gt_ids": true_of,
        "tracker_ids": track_of,
        "similarity_scores": similarity,
        "num_gt_dets": sum(map(len, true_of)),
        "num_tracker_dets": sum(map(len, track_of)),
        "num_gt_ids": n_true_ids,
        "num_tracker_ids": n_track_ids,
        "num_timesteps": len(steps),
        "seq": place,
    }


def _overlap(first: np.ndarray, second: np.ndarray, *, of_first: bool = False) -> np.ndarray:
    """IoU (or share of the first box's area) of boxes N×4 and M×4 in px: N×M, by trackeval's own function."""
    return _BaseDataset._calculate_box_ious(first, second, box_format="x0y0x1y1", do_ioa=of_first)


def _counted(true_boxes: np.ndarray, ignore: np.ndarray, boxes: np.ndarray, iou: float, inside: float | None) -> np.ndarray:
    """Which predicted boxes of a frame count (M bool): not matched to an ignored true box and not inside one (see
    evaluate).

    Matched first, to all true boxes: a prediction that finds a counted object stays even inside an ignored region.
    """
    fit = _overlap(true_boxes, boxes)
    fit[fit < iou - _EPSILON] = 0.0
    rows, columns = linear_sum_assignment(-fit)
    good = fit[rows, columns] > _EPSILON
    rows, columns = rows[good], columns[good]
    keeps = np.ones(len(boxes), dtype=bool)
    if inside is not None:
        keeps[(_overlap(boxes, true_boxes[ignore], of_first=True) > inside + _EPSILON).any(axis=1)] = False
    keeps[columns] = ~ignore[rows]
    return keeps


def _from_zero(ids: list[np.ndarray]) -> tuple[int, list[np.ndarray]]:
    if not ids:
        return 0, ids
    known, renumbered = np.unique(np.concatenate(ids), return_inverse=True)
    return len(known), np.split(renumbered, np.cumsum([len(part) for part in ids])[:-1])


def _over_videos(metrics: dict[str, Any], videos: dict[str, Results]) -> Results:
    return {key: metric.combine_sequences({v: r[key] for v, r in videos.items()}) for key, metric in metrics.items()}


def _over_classes(metrics: dict[str, Any], classes: dict[str, Results]) -> Results:
    return {
        key: metric.combine_classes_det_averaged({c: r[key] for c, r in classes.items()}) for key, metric in metrics.items()
    }


def _scores(results: Results | None, sizes: Iterable[dict[str, int]]) -> dict[str, float | int | str | None]:
    """Plain values: SCORES, sizes, and the reason where there are no scores."""
    parts = list(sizes)
    size = {ours: int(sum(part[theirs] for part in parts)) for ours, theirs in _SIZES.items()}
    if results is None or size["n_truth"] == 0:
        return {**dict.fromkeys(SCORES), **size, "reason": "no true track on the labelled frames"}
    hota, clear, identity = results["HOTA"], results["CLEAR"], results["Identity"]
    return {
        **{key: float(np.mean(hota[key])) for key in ("HOTA", "DetA", "AssA")},
        "MOTA": float(clear["MOTA"]),
        "IDF1": float(identity["IDF1"]),
        "IDSW": int(clear["IDSW"]),
        "FP": int(clear["CLR_FP"]),
        "FN": int(clear["CLR_FN"]),
        "MT": int(clear["MT"]),
        "ML": int(clear["ML"]),
        **size,
        "reason": None,
    }


def _units(per_video: dict[str, Results], steps: list[np.ndarray], metrics: dict[str, Any]) -> pd.DataFrame:
    """One row per video (all classes together): what the scores are made of, and the scores of the video alone.

    Columns: video (str), frames (int64), COUNTS (int64), HOTA_TP, HOTA_FN, HOTA_FP and AssA_sum = AssA · HOTA_TP (lists of
    A float64), and HOTA, DetA, AssA, MOTA, IDF1 (float64, NaN where the video has no true track).
    """
    rows = []
    for (video, results), frames in zip(per_video.items(), steps, strict=True):
        hota, flat = results["HOTA"], {**results["CLEAR"], **results["Identity"]}
        lists = {key: np.asarray(hota[key], dtype=np.float64) for key in ("HOTA_TP", "HOTA_FN", "HOTA_FP")}
        lists["AssA_sum"] = np.asarray(hota["AssA"] * hota["HOTA_TP"], dtype=np.float64)
        rows.append({"video": video, "frames": len(frames), **{key: int(flat[key]) for key in COUNTS}, **lists})
    units = pd.DataFrame(rows, columns=["video", "frames", *COUNTS, "HOTA_TP", "HOTA_FN", "HOTA_FP", "AssA_sum"])
    for metric in ("HOTA", "DetA", "AssA", "MOTA", "IDF1"):
        alone = [float(score_from_units(units.iloc[[row]], weights=np.ones(1), metric=metric)) for row in range(len(units))]
        units[metric] = np.array(alone, dtype=np.float64)
    return units


def score_from_units(units: pd.DataFrame, *, weights: np.ndarray, metric: Metric = "HOTA") -> np.ndarray:
    """The score with video v counted weights[…, v] times: weights V → scalar array, D×V → D; NaN without truth.

    Equals trackeval's combination of the same sequences. Range and direction: see the top of this file.
    """
    draws = np.asarray(weights, dtype=np.float64)
    if draws.shape[-1] != len(units):
        raise DataError(f"weights are for {draws.shape[-1]} videos, the units hold {len(units)}.")
    if not len(units):
        return np.full(draws.shape[:-1], np.nan)
    counts = {key: draws @ units[key].to_numpy(np.float64) for key in COUNTS}
    positives = counts["CLR_TP"] + counts["CLR_FN"]
    if metric == "MOTA":
        values = (counts["CLR_TP"] - counts["CLR_FP"] - counts["IDSW"]) / np.maximum(1.0, positives)
    elif metric == "IDF1":
        values = counts["IDTP"] / np.maximum(1.0, counts["IDTP"] + 0.5 * counts["IDFP"] + 0.5 * counts["IDFN"])
    else:
        values = _hota_family(units, draws)[metric]
    return np.where(positives > 0, values, np.nan)


def _hota_family(units: pd.DataFrame, draws: np.ndarray) -> dict[str, np.ndarray]:
    hits, misses, alarms, association = (
        draws @ np.stack(units[key].to_list()) for key in ("HOTA_TP", "HOTA_FN", "HOTA_FP", "AssA_sum")
    )
    detection = hits / np.maximum(1.0, hits + misses + alarms)
    association = association / np.maximum(1.0, hits)
    parts = {"HOTA": np.sqrt(detection * association), "DetA": detection, "AssA": association}
    return {key: value.mean(axis=-1) for key, value in parts.items()}
