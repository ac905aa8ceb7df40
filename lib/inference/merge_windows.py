"""One set of windows from several models or views of a query: test-time augmentation and ensembles. Not here: running them,
suppression within one model (suppression.py).

`consensus`, our own: windows of different models that agree become their score-weighted mean, and its score is the sum of
their scores over the number of models, so that what only one model sees counts less. The order of models and of windows
does not matter; one model, and one model twice, give that model's windows; no score exceeds the best one; scaling or
shifting time scales or shifts the result. `wbf` is ensemble-boxes' weighted_boxes_fusion_1d (Solovyev, Wang & Gabruseva
2021), which also fuses windows of one model that overlap: suppress them first where a model repeats itself.

Letters: V views or models, N windows of one of them. Windows are rows start, end (s) and score (0–1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from lib.metrics.temporal import temporal_iou

Kind = Literal["consensus", "wbf"]
COLUMNS = ["start_s", "end_s", "score"]


def merge(models: Sequence[np.ndarray], *, kind: Kind = "consensus", iou: float = 0.5) -> np.ndarray:
    """Windows (N, 3) float64, best first, from V sets (N, 3) of one query. One model is only put in order.

    iou: how much windows overlap (strictly more) to be of one opinion. ValueError without any model, for a value that is no
    number, an end before its start, a score outside 0–1, or an unknown kind.
    """
    sets = sorted((_checked(windows) for windows in models), key=lambda windows: windows.tolist())
    if not sets:
        raise ValueError("there is no model to merge windows of")
    if kind not in ("consensus", "wbf") or not 0.0 <= iou < 1.0:
        raise ValueError(f"merging is consensus or wbf (got {kind!r}), with an iou from 0 to below 1 (got {iou})")
    if len(sets) == 1:
        return sets[0]
    return _ordered(_consensus(sets, iou) if kind == "consensus" else _wbf(sets, iou))


def _checked(windows: np.ndarray) -> np.ndarray:
    windows = np.asarray(windows, np.float64).reshape(-1, 3)
    if not np.isfinite(windows).all():
        raise ValueError("a window or score is NaN or infinite. Hint: is the model's output NaN?")
    if (windows[:, 1] < windows[:, 0]).any() or (windows[:, 2] < 0).any() or (windows[:, 2] > 1).any():
        raise ValueError("windows are rows of start, end (at least start) and score (0–1)")
    return _ordered(windows)


def _ordered(windows: np.ndarray) -> np.ndarray:
    """By falling score, then by start and end: an order that depends on values only."""
    return windows[np.lexsort((windows[:, 1], windows[:, 0], -windows[:, 2]))] + 0.0  # no −0


def _consensus(sets: Sequence[np.ndarray], iou: float) -> np.ndarray:
    """Each window in turn, best first, joins the group whose first window it overlaps most, unless its model is in there.

    With at most one window per model in a group, windows that a model holds apart stay apart.
    """
    rows, model = np.concatenate(sets), np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    order = np.lexsort((model, rows[:, 1], rows[:, 0], -rows[:, 2]))
    rows, model = rows[order], model[order]
    heads = np.empty((len(rows), 2))
    has = np.zeros((len(rows), len(sets)), bool)  # group × model
    group = np.empty(len(rows), np.int64)
    count = 0
    for place, (window, source) in enumerate(zip(rows[:, :2], model, strict=True)):
        same = (heads[:count] == window).all(axis=1)  # also of no length
        shared = np.where(has[:count, source], -1.0, np.where(same, 1.0, temporal_iou(heads[:count], window)))
        joins = int(np.argmax(shared)) if count and shared.max() > iou else count
        if joins == count:
            heads[count] = window
            count += 1
        has[joins, source] = True
        group[place] = joins
    score = np.bincount(group, weights=rows[:, 2], minlength=count)
    # means as steps from the first window: equal ones stay exactly where they are
    steps = (rows[:, :2] - heads[group]) * rows[:, 2:]
    moved = np.column_stack([np.bincount(group, weights=steps[:, end], minlength=count) for end in (0, 1)])
    windows = heads[:count] + moved / np.where(score > 0, score, 1.0)[:, None]
    # of equal scores the sum may round beyond the best one
    best = np.zeros(count)
    np.maximum.at(best, group, rows[:, 2])
    return np.column_stack([windows, np.minimum(score / len(sets), best)])


def _wbf(sets: Sequence[np.ndarray], iou: float) -> np.ndarray:
    """By ensemble-boxes, times mapped to 0–1 and back; it cannot weigh windows without length or score: they are out."""
    try:
        from ensemble_boxes import weighted_boxes_fusion_1d
    except ImportError as error:
        raise ImportError("merging by wbf needs ensemble-boxes. Hint: install it, or use consensus.") from error

    sets = [windows[(windows[:, 1] > windows[:, 0]) & (windows[:, 2] > 0)] for windows in sets]
    if not any(map(len, sets)):
        return np.empty((0, 3))
    rows = np.concatenate(sets)
    first, span = rows[:, 0].min(), rows[:, 1].max() - rows[:, 0].min()
    windows, scores, _ = weighted_boxes_fusion_1d(
        [((one[:, :2] - first) / span).clip(0.0, 1.0) for one in sets],
        [one[:, 2] for one in sets],
        [np.zeros(len(one)) for one in sets],
        iou_thr=iou,
        conf_type="box_and_model_avg",  # the default counts two windows of one model as two models
    )
    return np.column_stack([windows * span + first, scores])


def merge_predictions(tables: Sequence[pd.DataFrame], *, kind: Kind = "consensus", iou: float = 0.5) -> pd.DataFrame:
    """Windows tables (video, query, rank, start_s, end_s, score) of V models or views as one, sorted by video and query.

    A model without windows for a query that others answer counts as one that saw nothing. ValueError as `merge`.
    """
    if not tables:
        raise ValueError("there is no model to merge windows of")
    answers: dict[tuple[str, str], list[np.ndarray]] = {}
    for number, table in enumerate(tables):
        for key, part in table.groupby(["video", "query"], sort=False):
            found = answers.setdefault(key, [np.empty((0, 3))] * len(tables))
            found[number] = part[COLUMNS].to_numpy(np.float64)
    merged = {key: merge(answers[key], kind=kind, iou=iou) for key in sorted(answers)}
    rows = [(*key, rank, *window) for key, windows in merged.items() for rank, window in enumerate(windows.tolist())]
    frame = pd.DataFrame(rows, columns=["video", "query", "rank", *COLUMNS])
    return frame.astype({"rank": "int64", **dict.fromkeys(COLUMNS, "float64")})
