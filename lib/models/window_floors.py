"""Floors of temporal grounding: windows that are told without looking at a video. Not here: the untrained model.

prior: the ordinal prior. People ask about a clip in the order of what happens in it, so query i of n (from 0, in the list
in which it was asked) is about the middle (i + ½) / n of the clip: windows of 8, 4, 16, 32 and 64 s around it, cut at the
clip's ends. It is fitted on nothing. chance: windows anywhere, as long as answers of the training are.

Letters: K windows of a query: (K, 3) start, end (s) and a score that falls with the rank.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.config.base import ConfigError, nearest
from lib.files import DataError, read_json

FORMAT = "vipersight-window-floor-1"
WIDTHS_S = (8.0, 4.0, 16.0, 32.0, 64.0)
_KEPT = 5000
"""Lengths of answers that chance draws from."""
_RANKS = np.linspace(1.0, 0.2, len(WIDTHS_S))


def fit(kind: str, lengths_s: Iterable[float], *, seed: int) -> dict[str, Any]:
    """A floor as plain values for JSON. lengths_s: of the training's answers, s; the prior does without.

    ConfigError for an unknown kind, DataError where chance has no answer to draw from.
    """
    if kind not in ("prior", "chance"):
        raise ConfigError(f"floor: unknown kind {kind!r}. {nearest(kind, ('prior', 'chance'))}")
    values: dict[str, Any] = {"format": FORMAT, "kind": kind, "seed": seed}
    if kind == "prior":
        return values
    lengths = np.fromiter(lengths_s, np.float64)
    if not len(lengths):
        raise DataError("floor chance: no training query has a window. Hint: prior needs none.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(lengths))[:_KEPT])
    return values | {"lengths_s": lengths[chosen].round(6).tolist()}


class WindowFloor:
    """A fitted floor. It wants to know which queries are asked, not what the clip shows."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.kind, self.seed = str(values["kind"]), int(values["seed"])
        self._lengths = np.array(values.get("lengths_s", ()), np.float64)

    def windows(self, video: str, queries: Sequence[str], duration_s: float) -> dict[str, np.ndarray]:
        """Query id → windows (K, 3), best first; queries: all of the clip, in the order in which they stand."""
        places = ordinal_places(queries)
        if self.kind == "prior":
            return {query: prior_windows(places[query], duration_s) for query in queries}
        return {query: self._drawn(video, query, duration_s) for query in queries}

    def _drawn(self, video: str, query: str, duration_s: float) -> np.ndarray:
        """They depend on seed, video and query only, so that order and batches do not matter."""
        text = f"{self.seed}/{video}/{query}"
        random = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
        lengths = np.minimum(random.choice(self._lengths, len(_RANKS)), duration_s)
        starts = random.random(len(_RANKS)) * (duration_s - lengths)
        return np.column_stack([starts, starts + lengths, _RANKS])


def prior_windows(place: float, duration_s: float) -> np.ndarray:
    """(5, 3): windows around `place` (0–1) of the clip; those that are cut to the same are one."""
    widths = np.array(WIDTHS_S)
    ends = np.clip(place * duration_s + np.outer(widths, [-0.5, 0.5]), 0.0, duration_s)
    _, first = np.unique(ends, axis=0, return_index=True)
    rows = ends[np.sort(first)]
    return np.column_stack([rows, _RANKS[: len(rows)]])


def ordinal_places(queries: Sequence[str]) -> dict[str, float]:
    """Query id → (i + ½) / n for query i of the n of its list.

    Ids that end in `_` and a number (Ego4D: annotation and place) are of one list where they begin alike; others are all
    of one list, that of the clip.
    """
    lists: dict[str, list[str]] = {}
    for query in queries:
        stem, _, number = query.rpartition("_")
        lists.setdefault(stem if number.isdigit() else "", []).append(query)
    return {query: (number + 0.5) / len(one) for one in lists.values() for number, query in enumerate(one)}


def load(path: Path) -> WindowFloor:
    """The floor in a JSON file that `fit` made; DataError when it is something else."""
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f"{path}: not a fitted floor of windows ({FORMAT}). Hint: let the train rule write it again.")
    return WindowFloor(values)
