"""Candidates of one query → the windows in s that are kept: suppression and voting, then a table. Not here: candidates of a
model (lib/models/candidates.py), suppression itself (suppression.py), merging of views (merge_windows.py).

Letters: N candidates, K windows kept. Windows are rows start, end (s) and score (0–1), best first.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.config.predict_windows import WindowSettings
from lib.data.time_grid import TimeGrid
from lib.files import DataError
from lib.inference.clip_pieces import Piece
from lib.inference.suppression import suppress, vote
from lib.tables import COLUMNS, WINDOWS, empty

Key = tuple[str, str]
"""(video, query)."""


def in_seconds(steps: np.ndarray, scores: np.ndarray, piece: Piece, grid: TimeGrid) -> np.ndarray:
    """Candidates of a piece (steps (N, 2) of it, scores (N,)) as windows (N, 3) of the clip, cut at its ends.

    What lies outside of the clip is dropped; but where all do, the first one stays, as the step of the clip nearest to its
    centre, so that every query has an answer. A clip that is over before that step begins is answered as a whole. DataError
    for a number that is none.
    """
    if not (np.isfinite(steps).all() and np.isfinite(scores).all()):
        raise DataError(
            "a window or score that the model tells is NaN or infinite. Hint: damaged weights, or features far outside of "
            "what it was trained on? running.device: cpu computes in float32."
        )
    ends = grid.seconds(piece.of_clip(steps), clip=True)
    rows = np.column_stack([ends, np.asarray(scores, np.float64)])
    inside = rows[:, 1] > rows[:, 0]
    if inside.any() or not len(rows):
        return rows[inside]
    nearest = piece.of_clip(np.clip(np.round(np.mean(steps[0])), 0, piece.count - 1))
    first, last = grid.seconds([nearest - 0.5, nearest + 0.5], clip=True)
    if last <= first:
        first, last = 0.0, grid.duration
    return np.array([[first, last, rows[0, 2]]])


def kept(candidates: np.ndarray, settings: WindowSettings) -> np.ndarray:
    """Windows (K, 3) that stay of candidates (N, 3), K at least 1 where there is a candidate."""
    rows = candidates[np.argsort(-candidates[:, 2], kind="stable")[: settings.top]]
    if not len(rows):
        return rows
    if settings.suppression == "none":
        place, scores = np.arange(len(rows))[: settings.keep], rows[: settings.keep, 2]
    else:
        place, scores = suppress(
            rows[:, :2],
            rows[:, 2],
            kind=settings.suppression,
            iou=settings.iou,
            sigma=settings.sigma,
            floor=min(settings.floor, rows[0, 2]),  # the best one always stays
            keep=settings.keep,
        )
    windows = rows[place, :2]
    if settings.voting is not None:
        windows = vote(windows, rows[:, :2], rows[:, 2], iou=settings.voting, weights=settings.votes)
    return np.column_stack([windows, scores])


def windows_table(found: Mapping[Key, np.ndarray]) -> pd.DataFrame:
    """The windows table of K windows per query, sorted by video and query."""
    rows = [(*key, rank, *window) for key in sorted(found) for rank, window in enumerate(found[key].tolist())]
    if not rows:
        return empty(WINDOWS)
    types = {"rank": "int64", **dict.fromkeys(("start_s", "end_s", "score"), "float64")}
    return pd.DataFrame(rows, columns=list(COLUMNS[WINDOWS])).astype(types)
