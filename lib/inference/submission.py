"""Submissions to the Ego4D NLQ challenge: made from a windows table, and checked. Not here: reading files
(lib/scoring/ego4d_nlq_files.py), scores.

A submission is {"version": "1.0", "challenge": "ego4d_nlq_challenge", "results": [{clip_uid, annotation_uid, query_idx,
predicted_times: [[start, end], …]}]}: one entry per query that has a text, in the order of the annotations, with 1 to 5
windows in s of the clip, best first, 0 ≤ start < end ≤ the clip's length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.files import DataError
from lib.scoring.ego4d_nlq_files import CHALLENGE, VERSION, query_id
from lib.scoring.grounding_files import Key, Query, Truth

MOST_WINDOWS = 5
EDGE_S = 1e-3
"""Windows may lie outside of their clip by so much, from rounding, and are cut; beyond it something is wrong."""
_COLUMNS = ["video", "query", "rank", "start_s", "end_s", "score"]


def package(predictions: pd.DataFrame, queries: Truth, *, scores: bool = False) -> dict[str, Any]:
    """The submission of a windows table (video = clip_uid, query = annotation_uid_index, rank, start_s, end_s, score).

    queries: of `read_truth`, annotated or not. The first five windows by rank are taken; `scores` adds each one's score as
    a third number, which the evaluator tolerates. DataError names the first query that has no window, one that cannot be
    submitted (see `problems`), or is not asked.
    """
    missing = [name for name in _COLUMNS if name not in predictions]
    if missing:
        raise DataError(
            f"predictions: no column {missing[0]!r}; needed: {', '.join(_COLUMNS)}. Hint: is it a windows table?"
        )
    asked = {key: query for key, query in queries.items() if query.needed}
    ranked = predictions.sort_values("rank", kind="stable")
    found = {key: part for key, part in ranked.groupby(["video", "query"], sort=False)}
    strange = next((key for key in found if key not in asked), None)
    if strange:
        raise DataError(
            f"query {strange[1]!r} of clip {strange[0]!r} is predicted and not asked; {len(asked)} queries are. "
            "Hint: were these predictions made for another split?"
        )
    results = []
    for key, query in asked.items():
        if key not in found:
            raise DataError(
                f"query {key[1]!r} of clip {key[0]!r} has no window; every query needs 1 to {MOST_WINDOWS}. "
                "Hint: is its clip without features, or were the predictions of another split?"
            )
        windows = found[key][["start_s", "end_s", "score"]].to_numpy(np.float64)[:MOST_WINDOWS]
        rows = _inside(windows, query.duration).tolist()
        wrong = next(_window_problems([row if scores else row[:2] for row in rows], query.duration), None)
        wrong = wrong or ("its scores rise with the rank" if (np.diff(windows[:, 2]) > 0).any() else None)
        if wrong:
            raise DataError(
                f"query {key[1]!r} of clip {key[0]!r}: {wrong}. Hint: predict again, or mend the windows' table."
            )
        annotation, index = key[1].rsplit("_", 1)
        entry = {"clip_uid": key[0], "annotation_uid": annotation, "query_idx": int(index)}
        results.append({**entry, "predicted_times": rows if scores else [row[:2] for row in rows]})
    return {"version": VERSION, "challenge": CHALLENGE, "results": results}


def asked_of_tables(queries: pd.DataFrame, manifest: pd.DataFrame, splits: Sequence[str]) -> dict[Key, Query]:
    """What `package` and `problems` take, of the DAG's own tables: QUERIES and MANIFEST, and the splits that are asked.

    Clips are named as their source names them.
    """
    videos = manifest[manifest["split"].isin(splits)].set_index("video")
    mine = queries[queries["video"].isin(videos.index)].drop_duplicates(["video", "query"])
    found = {}
    for row in mine.itertuples(index=False):
        clip = videos.loc[row.video]
        place = f"video {row.video}"
        found[str(clip["original"]), row.query] = Query(place, row.text, None, float(clip["duration_s"]), row.template)
    return found


def as_their_source_names_them(predictions: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """A windows table with the clips' original names in place of their ids."""
    names = dict(zip(manifest["video"], manifest["original"], strict=True))
    return predictions.assign(video=predictions["video"].map(names))


def _inside(windows: np.ndarray, duration: float | None) -> np.ndarray:
    """Windows (N, 3) cut at the clip's edges where they are over by at most EDGE_S."""
    windows = windows.copy()
    times = windows[:, :2]
    cut = times.clip(0.0, duration)
    windows[:, :2] = np.where(np.abs(times - cut) <= EDGE_S, cut, times)
    return windows


def problems(submission: Any, queries: Truth) -> list[str]:
    """Everything that is wrong with a submission for these queries, a line each that names the query; [] = it is valid."""
    if not isinstance(submission, dict) or not isinstance(submission.get("results"), list):
        return ["the submission is no object with version, challenge and a list of results"]
    said = [
        f"{key} is {submission.get(key)!r}, must be {wanted!r}"
        for key, wanted in (("version", VERSION), ("challenge", CHALLENGE))
        if submission.get(key) != wanted
    ]
    seen: set[Key] = set()
    for number, entry in enumerate(submission["results"]):
        said += _entry_problems(f"results[{number}]", entry, queries, seen)
    missing = [key for key, query in queries.items() if query.needed and key not in seen]
    return said + [f"query {query} of clip {clip}: no entry, must have one" for clip, query in missing]


def _entry_problems(place: str, entry: Any, queries: Truth, seen: set[Key]) -> Iterator[str]:
    """What is wrong with one entry; adds its query to those seen."""
    try:
        key = (str(entry["clip_uid"]), query_id(entry["annotation_uid"], entry["query_idx"]))
        windows = entry["predicted_times"]
    except (KeyError, TypeError) as error:
        yield f"{place}: no clip_uid, annotation_uid, query_idx or predicted_times ({error})"
        return
    where = f"{place}, query {key[1]} of clip {key[0]}"
    if isinstance(entry["query_idx"], bool) or not isinstance(entry["query_idx"], int):
        yield f"{where}: query_idx is {entry['query_idx']!r}, must be a whole number"
    if key not in queries or not queries[key].needed:
        yield f"{where}: is not asked (query_idx is the place in the annotation's list, from 0, empty queries included)"
        return
    if key in seen:
        yield f"{where}: has an entry already, must have one"
    seen.add(key)
    for text in _window_problems(windows, queries[key].duration):
        yield f"{where}: {text}"


def _window_problems(windows: Any, duration: float | None) -> Iterator[str]:
    if not isinstance(windows, list) or not 1 <= len(windows) <= MOST_WINDOWS:
        yield f"has {len(windows) if isinstance(windows, list) else windows!r} windows, must have 1 to {MOST_WINDOWS}"
        return
    for rank, window in enumerate(windows):
        if not _numbers(window):
            yield f"window {rank} is {window!r}, must be [start, end] (a score may follow), finite numbers"
            return
        start, end = window[:2]
        if not 0 <= start < end <= (math.inf if duration is None else duration):
            yield f"window {rank} is {start} to {end} s, must be 0 ≤ start < end ≤ {duration} s (the clip's length)"
    given = [window[2] for window in windows if len(window) == 3]
    if given and (len(given) < len(windows) or given != sorted(given, reverse=True)):
        yield f"scores {given}, must be in falling order, one per window or none"


def _numbers(window: Any) -> bool:
    return (
        isinstance(window, list | tuple)
        and len(window) in (2, 3)
        and all(isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in window)
    )
