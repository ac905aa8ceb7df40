"""Scores of scene graphs whose objects are given (PredCLS): relation triplets per frame. Not here: matching of found boxes,
constraints on how many predicates a pair may have.

R@K = mean over frames of (true triplets among the K best predicted ones) / (true triplets); frames without truth are left
out. mR@K = mean over predicates of (hits of that predicate in the whole data set) / (its true triplets), over the
predicates that have truth. 0–1, higher is better. Ji et al. 2020, Action Genome; Cong et al. 2021, STTran (its mean recall
pools over the data set too, but counts a predicate without truth as 0).
"""

from __future__ import annotations

from typing import TypedDict

import pandas as pd

FRAME = ["video", "frame"]
TRIPLET = ["subject", "group", "predicate", "object"]


class Recall(TypedDict):
    """recall: R@K; mean_recall: mR@K; frames: with truth."""

    recall: float
    mean_recall: float
    frames: int


def recall(truth: pd.DataFrame, predictions: pd.DataFrame, *, k: int) -> Recall:
    """R@k and mR@k. truth: the columns of RELATIONS; predictions: the same and score, one row per triplet and frame.

    Equal scores keep the order of the rows. ValueError without truth, for k < 1, and for a triplet stated twice in a frame.
    """
    if k < 1 or not len(truth):
        raise ValueError(f"k must be at least 1 (got {k}) and there must be a true triplet (got {len(truth)})")
    for name, table in (("truth", truth), ("predictions", predictions)):
        if table.duplicated(FRAME + TRIPLET).any():
            raise ValueError(f"{name}: a triplet is stated twice in one frame")
    ranked = predictions.sort_values("score", ascending=False, kind="stable")
    best = ranked[ranked.groupby(FRAME, sort=False).cumcount() < k][FRAME + TRIPLET].assign(hit=True)
    found = truth[FRAME + TRIPLET].merge(best, how="left", on=FRAME + TRIPLET)
    hit = found["hit"].eq(True).astype(float)  # NaN where it was not predicted
    per_frame = hit.groupby([found[key] for key in FRAME], sort=False).mean()
    per_predicate = hit.groupby([found["group"], found["predicate"]], sort=False).mean()
    return {"recall": float(per_frame.mean()), "mean_recall": float(per_predicate.mean()), "frames": len(per_frame)}
