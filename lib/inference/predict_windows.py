"""A trained model of temporal grounding over whole clips: views and pieces → candidates → windows of every query. Not here:
reading clips (lib/tasks/grounding_batches.py), what a candidate is (lib/models/candidates.py).

Letters: B queries of a batch, N candidates of a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lib.config.predict_windows import WindowMerge, WindowSettings
from lib.config.train_grounding import CandidateSettings
from lib.inference.clip_pieces import placed
from lib.inference.merge_windows import merge
from lib.inference.windows import Key, in_seconds, kept
from lib.models.candidates import candidates

Found = tuple[Key, int, np.ndarray]
"""(video, query), number of the view, candidates (N, 3) of one piece in s of the clip."""


def decoded(outputs: Mapping[str, Any], batch: Mapping[str, Any], settings: CandidateSettings) -> list[Found]:
    """The candidates of every query of a batch: what a network's outputs say, in s of the clip.

    batch: as the network takes it, and lists videos, queries, places (clip_pieces.Place) of its B queries.
    """
    told = candidates(outputs, batch["video_mask"], min_score=settings.min_score, per_level=settings.per_level)
    found = []
    for video, query, place, (steps, scores) in zip(batch["videos"], batch["queries"], batch["places"], told, strict=True):
        view, piece, grid = placed(place)
        found.append(((video, query), view, in_seconds(steps.numpy(), scores.numpy(), piece, grid)))
    return found


def gathered(found: Iterable[Found], views: int, settings: WindowSettings, merging: WindowMerge) -> dict[Key, np.ndarray]:
    """Windows (K, 3) of every query, best first: pieces of a view are suppressed together, views are merged.

    K is at most `keep`; one view gives that view's windows.
    """
    rows: dict[Key, list[list[np.ndarray]]] = {}
    for key, view, windows in found:
        rows.setdefault(key, [[] for _ in range(views)])[view].append(windows)
    how = {"kind": merging.kind, "iou": merging.iou}
    return {key: merge([_kept(one, settings) for one in sets], **how)[: settings.keep] for key, sets in rows.items()}


def _kept(parts: Sequence[np.ndarray], settings: WindowSettings) -> np.ndarray:
    return kept(np.concatenate(parts), settings) if parts else np.empty((0, 3))
