"""Scores of temporal grounding from tables of queries and windows: overall, per template, per length of the answer, and
per video for the bootstrap. Not here: IoU and recall (temporal.py), QVHighlights' rule (qvhighlights.py).

Metrics are `R@K IoU>θ` named `R{K}@{θ}` (strictly above, Ego4D NLQ) and mIoU, the mean IoU of the first window. All range
0–1, higher is better. The denominator is the number of annotated queries: one without a window is a miss, and `coverage`
says what share has a window. A query with several true windows is found by a window that hits any of them.

Letters: Q queries, N windows of one query, M its true windows. Times are s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from lib.files import DataError
from lib.metrics.ratio_units import ratio_units
from lib.metrics.temporal import KS, THRESHOLDS, Rule, best_iou, hits

LENGTH_ENDS = (2.0, 8.6, 34.0)
LENGTHS = ("≤ 2 s", "2–8.6 s", "8.6–34 s", "> 34 s")
"""Classes of answers by length, upper ends included; about the 27th, 72nd and 94th percentile of Ego4D NLQ's val set."""
NO_TEMPLATE, NO_EVIDENCE = "no template", "not stated"
"""What stands for an empty one."""
By = Literal["template", "evidence", "length"]
"""What divides queries into classes: their template, what carries their evidence, or the length of their answer."""
_KEY = ["video", "query"]


def metric_names(ks: Sequence[int] = KS, thresholds: Sequence[float] = THRESHOLDS) -> list[str]:
    """Names of the recalls, K by K, and mIoU."""
    return [*(f"R{k}@{threshold:g}" for k in ks for threshold in thresholds), "mIoU"]


def length_class(seconds: np.ndarray) -> np.ndarray:
    """Position in LENGTHS of answers of so many s."""
    return np.searchsorted(LENGTH_ENDS, np.round(seconds, 6), side="left")  # 8.2 − 6.2 is to be 2


def per_query(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    ks: Sequence[int] = KS,
    thresholds: Sequence[float] = THRESHOLDS,
    rule: Rule = ">",
) -> pd.DataFrame:
    """One row per annotated query, in the order of `truth`: what every score here is a mean of.

    truth: QUERIES (start_s and end_s NaN where nobody annotated; several rows = several windows); predictions: windows
    (video, query, rank from 0, start_s, end_s). Columns: video, query, template, evidence, length_s (of the longest true
    window), length (of LENGTHS), windows (how many were predicted), the metrics (0 or 1; mIoU 0–1). DataError without any
    annotated query, for a window that is no number or ends before it starts, or a rank twice.
    """
    truth = truth[truth["start_s"].notna() & truth["end_s"].notna()]
    if truth.empty:
        raise DataError(
            "no query of the scored videos has a true window: nothing can be scored. Hint: is it an unannotated split "
            "(package its predictions as a submission instead), or are other splits meant?"
        )
    _check(predictions)
    index = pd.MultiIndex.from_frame(truth[_KEY])
    queries = index.drop_duplicates()
    true_windows = _filled(queries.get_indexer(index), truth, len(queries))
    ranked = predictions.sort_values("rank", kind="stable")
    place = queries.get_indexer(pd.MultiIndex.from_frame(ranked[_KEY]))
    windows = _filled(place[place >= 0], ranked[place >= 0], len(queries))
    rows = truth.drop_duplicates(_KEY)[[*_KEY, "template"]].reset_index(drop=True)
    rows["evidence"] = truth.drop_duplicates(_KEY)["evidence"].to_numpy() if "evidence" in truth else ""
    rows["length_s"] = np.nanmax(true_windows[..., 1] - true_windows[..., 0], axis=1)
    rows["length"] = np.array(LENGTHS, dtype=object)[length_class(rows["length_s"].to_numpy())]
    rows["windows"] = np.bincount(place[place >= 0], minlength=len(queries)).astype(np.int64)
    best = best_iou(windows, true_windows, [*ks, 1])
    found = hits(best[:, :-1], thresholds, rule).reshape(len(rows), -1)
    names = metric_names(ks, thresholds)
    return pd.concat([rows, pd.DataFrame(np.hstack([found, best[:, -1:]]), columns=names)], axis=1)


def _check(predictions: pd.DataFrame) -> None:
    times = predictions[["start_s", "end_s"]].to_numpy(np.float64)
    for bad, says in (
        (~np.isfinite(times).all(axis=1), "holds NaN or infinity"),
        (times[:, 1] < times[:, 0], "ends before it starts"),
        (predictions.duplicated([*_KEY, "rank"]).to_numpy(), "has a rank that an earlier window of its query has"),
    ):
        if bad.any():
            row = predictions.iloc[int(np.argmax(bad))]
            raise DataError(
                f"predictions: window {row['rank']} of query {row['query']!r} in {row['video']}, {row['start_s']} to "
                f"{row['end_s']} s, {says}. Hint: predict again; is the model's output NaN?"
            )


def _filled(place: np.ndarray, table: pd.DataFrame, count: int) -> np.ndarray:
    """Windows (Q, most of one query, 2) in the table's order, padded with NaN; place: the query of each row."""
    order = np.argsort(place, kind="stable")
    sizes = np.bincount(place, minlength=count)
    filled = np.full((count, int(sizes.max(initial=0)), 2), np.nan)
    filled[np.arange(filled.shape[1]) < sizes[:, None]] = table[["start_s", "end_s"]].to_numpy(np.float64)[order]
    return filled


def means(rows: pd.DataFrame, metrics: Sequence[str]) -> dict[str, float | None]:
    """Mean of each metric over the queries that count for it (not NaN); None without any."""
    values = {name: rows[name].mean() for name in metrics}
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def by_group(rows: pd.DataFrame, metrics: Sequence[str], *, group: str, groups: Sequence[str]) -> dict[str, Any]:
    """Per class of queries its n_truth (queries) and the metrics."""
    parts = {name: rows[rows[group] == name] for name in groups}
    return {name: {"n_truth": len(part), **means(part, metrics)} for name, part in parts.items()}


def classes_of(rows: pd.DataFrame, group: str) -> list[str]:
    """Classes in use, most queries first, equally many by name."""
    sizes = rows[group].value_counts()
    return sorted(sizes.index.tolist(), key=lambda name: (-sizes[name], name))


def evaluate(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    ks: Sequence[int] = KS,
    thresholds: Sequence[float] = THRESHOLDS,
    rule: Rule = ">",
    by: By = "template",
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Scores as lib.tasks.Scored has them, with `per_template`, `per_evidence` and `per_length`, and the units of the
    bootstrap.

    by: what the classes of scores and units are. Other arguments and errors as `per_query`.
    """
    names = metric_names(ks, thresholds)
    rows = per_query(truth, predictions, ks=ks, thresholds=thresholds, rule=rule)
    rows["template"] = rows["template"].replace("", NO_TEMPLATE)
    rows["evidence"] = rows["evidence"].replace("", NO_EVIDENCE)
    groups = {"template": classes_of(rows, "template"), "evidence": classes_of(rows, "evidence"), "length": list(LENGTHS)}
    counts = _counts(truth, predictions, rows)
    per = {f"per_{group}": by_group(rows, names, group=group, groups=classes) for group, classes in groups.items()}
    scores = {
        "metrics": means(rows, names),
        "classes": groups[by],
        "ordered": by == "length",
        "per_class": per[f"per_{by}"],
        **per,
        "coverage": float((rows["windows"] > 0).mean()),
        "counts": counts,
        "warnings": _warnings(counts),
    }
    return scores, ratio_units(rows, names, group=by, groups=groups[by])


def length_units(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Units per video with the lengths of answers as classes (see `ratio_units`); rows: of `per_query`."""
    return ratio_units(rows, metrics, group="length", groups=LENGTHS)


def _counts(truth: pd.DataFrame, predictions: pd.DataFrame, rows: pd.DataFrame) -> dict[str, int]:
    known = pd.MultiIndex.from_frame(rows[_KEY])
    elsewhere = known.get_indexer(pd.MultiIndex.from_frame(predictions[_KEY])) < 0
    return {
        "n_videos": int(rows["video"].nunique()),
        "n_truth": len(rows),
        "n_unannotated": len(truth.drop_duplicates(_KEY)) - len(rows),
        "n_without_windows": int((rows["windows"] == 0).sum()),
        "n_predictions": int((~elsewhere).sum()),
        "n_predictions_elsewhere": int(elsewhere.sum()),
    }


def _warnings(counts: dict[str, int]) -> list[str]:
    texts = {
        "n_unannotated": "queries have no true window and are not scored",
        "n_without_windows": "annotated queries have no predicted window: misses",
        "n_predictions_elsewhere": "predicted windows are of queries that are not scored",
    }
    return [f"{counts[key]} {text}" for key, text in texts.items() if counts[key]]
