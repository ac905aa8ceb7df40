"""Queries and ranked windows as read from official files, checked and matched to each other. Not here: any file format
(ego4d_nlq_files.py, qvhighlights_files.py, sentence_files.py), scores.

Missing, repeated and strange entries are refused by name; what can be scored but is often a mistake becomes a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.scoring.checks import is_real, refuse

Key = tuple[str, str]
"""(video or clip, query): what truth and predictions are matched by."""


@dataclass(frozen=True)
class Query:
    """One query of the truth. windows: (M, 2) s, None where nobody annotated; duration: s, None where it is not stated.

    place: where in the file; needed: whether predictions must answer it.
    """

    place: str
    text: str
    windows: np.ndarray | None
    duration: float | None
    template: str = ""
    needed: bool = True


Truth = Mapping[Key, Query]
Answers = Mapping[Key, np.ndarray]
"""Windows (N, 3) start, end in s and score (NaN where none is given), in the order of the file."""


def window_list(path: Path, place: str, value: Any, *, scored: bool = False) -> np.ndarray:
    """Windows (N, 3) of one entry: [[start, end], …] or [[start, end, score], …], N ≥ 1. Raises DataError."""
    form = "[start, end, score]" if scored else "[start, end] or [start, end, score]"
    if not isinstance(value, list) or not value:
        hint = "an evaluator cannot rank nothing: give the model's best guess"
        refuse(path, place, f"windows {value!r}", f"a list of at least one {form}", hint)
    rows = np.full((len(value), 3), np.nan)
    for rank, window in enumerate(value):
        good = isinstance(window, list) and len(window) in ((3,) if scored else (2, 3)) and all(map(is_real, window))
        if not good:
            hint = "times are s of the clip; is the model's output NaN?"
            refuse(path, f"{place}, window {rank}", window, f"{form}, finite numbers", hint)
        if window[1] < window[0]:
            refuse(path, f"{place}, window {rank}", window, "an end at least the start", "are start and length given?")
        rows[rank, : len(window)] = window
    return rows


def require_annotated(path: Path, truth: Truth) -> tuple[dict[Key, Query], list[str]]:
    """Truth that can be scored, and warnings of what cannot. Raises DataError when nobody annotated it."""
    needed = {key: query for key, query in truth.items() if query.needed}
    bare = [(key, query) for key, query in needed.items() if query.windows is None]
    if bare:
        what = f"{len(bare)} of {len(needed)} queries have no true window"
        refuse(path, bare[0][1].place, what, "annotated queries", "is it the unannotated test split? It cannot be scored")
    good = {key: query for key, query in truth.items() if query.windows is not None and _lasts(query.windows)}
    warnings = []
    pointless = [query.place for key, query in needed.items() if key not in good]
    if pointless:
        warnings.append(
            f"{path}: {len(pointless)} queries have a true window that does not end after it starts and are not scored "
            f"(first: {pointless[0]})"
        )
    if not good:
        refuse(path, "", "no query", "at least one annotated query", "is it the whole file?")
    return good, warnings


def _lasts(windows: np.ndarray) -> bool:
    return len(windows) > 0 and bool((windows[:, 1] > windows[:, 0]).all())


def matched(path: Path, truth: Truth, answers: Answers, *, partial: bool) -> tuple[dict[Key, Query], list[str]]:
    """The queries that are scored: those that have an answer. Without `partial` a missing one is refused.

    Queries that need no answer (no text) are scored where they have one, as the official evaluators do.
    """
    missing = [key for key, query in truth.items() if query.needed and key not in answers]
    if missing and not partial:
        video, query = missing[0]
        what = f"no entry for query {query} of {video} ({len(missing)} of {len(truth)} queries have none)"
        refuse(path, "", what, "one entry per query", "--partial scores those that are there, as official evaluators do")
    scored = {key: query for key, query in truth.items() if key in answers}
    if not scored:
        refuse(path, "", "no entry for any query of the truth", "one entry per query", "are both of the same split?")
    extra = sum(not query.needed for query in scored.values())
    warnings = [f"{extra} queries without a text are answered and scored, as official evaluators do"] if extra else []
    if missing:
        warnings.append(f"{path}: {len(missing)} of {len(truth)} queries have no entry and are left out (--partial)")
    return scored, warnings + _far(path, scored, answers)


def _far(path: Path, truth: Truth, answers: Answers) -> list[str]:
    """A warning where windows lie outside of their clip."""
    outside = [
        key
        for key, query in truth.items()
        if query.duration is not None and (answers[key][:, 0].min() < 0 or answers[key][:, 1].max() > query.duration + 1e-3)
    ]
    if not outside:
        return []
    video, query = outside[0]
    first = f"first: query {query} of {video}, {truth[outside[0]].duration:g} s long"
    return [f"{path}: {len(outside)} queries have windows outside of their clip ({first})"]


def tables(truth: Truth, answers: Answers) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Truth and predictions as lib.metrics.grounding takes them; the rank is the order of the file."""
    wanted = _rows(((key, query.windows) for key, query in truth.items()), ["start_s", "end_s"])
    templates = {key: query.template for key, query in truth.items()}
    wanted["template"] = [templates[key] for key in zip(wanted["video"], wanted["query"], strict=True)]
    return wanted, _rows(((key, answers[key]) for key in truth), ["start_s", "end_s", "score"])


def _rows(windows: Iterable[tuple[Key, np.ndarray | None]], columns: list[str]) -> pd.DataFrame:
    pairs = [(key, rows) for key, rows in windows if rows is not None]
    sizes = [len(rows) for _, rows in pairs]
    frame = pd.DataFrame(np.concatenate([rows for _, rows in pairs]), columns=columns)
    frame.insert(0, "video", np.repeat(np.array([key[0] for key, _ in pairs], dtype=object), sizes))
    frame.insert(1, "query", np.repeat(np.array([key[1] for key, _ in pairs], dtype=object), sizes))
    frame.insert(2, "rank", np.concatenate([np.arange(size) for size in sizes]))
    return frame
