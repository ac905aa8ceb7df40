"""Truth tables in words: queries, relations, captions and answers of a Source, checked against videos and boxes. Not here:
reading formats (sources), boxes and frames (truth.py).

Nothing is left out silently: every row that is clipped or dropped is a note (original, what, value, cause), which ingest
counts in quality.csv.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lib import tables
from lib.data.sources import Source

_SLACK_S = 0.01  # beyond the end by less is rounding in the source: clipped, not counted

Notes = list[dict[str, Any]]


def language_tables(
    source: Source, ids: dict[str, str], durations: dict[str, float], boxes: pd.DataFrame
) -> tuple[dict[str, pd.DataFrame], Notes]:
    """Kind of tables.LANGUAGE -> its table, and the notes on what was clipped or dropped.

    ids: original name -> video, of the used videos only; durations: original name -> s; boxes: the BOXES table.
    """
    notes: Notes = []
    stated = {
        tables.QUERIES: _queries(source.queries, ids, durations, notes),
        tables.RELATIONS: _relations(source.relations, ids, boxes, notes),
        tables.CAPTIONS: _with_text(_windows(source.captions, "caption", ids, durations, notes), "caption", notes),
        tables.ANSWERS: _with_text(_used(source.answers, ids), "question", notes, "text", "answer"),
    }
    return {kind: _placed(rows, kind) for kind, rows in stated.items()}, notes


def _used(stated: pd.DataFrame, ids: dict[str, str]) -> pd.DataFrame:
    rows = stated[stated["original"].isin(ids)]
    return rows.assign(video=rows["original"].map(ids).astype(object))


def _placed(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows sorted by video (and frame), else in the source's order, with the contract's columns."""
    order = ["video", "frame"] if "frame" in rows.columns else ["video"]
    return rows.sort_values(order, kind="stable", ignore_index=True)[list(tables.COLUMNS[kind])]


def _drop(rows: pd.DataFrame, bad: pd.Series | np.ndarray, what: str, cause: str, notes: Notes) -> pd.DataFrame:
    bad = np.asarray(bad, bool)
    notes += [{"original": name, "what": what, "value": "", "cause": f"{cause}, dropped"} for name in rows["original"][bad]]
    return rows[~bad]


def _with_text(rows: pd.DataFrame, what: str, notes: Notes, *columns: str) -> pd.DataFrame:
    for column in columns or ("text",):
        rows = _drop(rows, rows[column].str.strip() == "", what, f"empty {column}", notes)
    return rows


def _queries(stated: pd.DataFrame, ids: dict[str, str], durations: dict[str, float], notes: Notes) -> pd.DataFrame:
    """Windows of one query that are one, stated so or by being clipped, are a single row."""
    rows = _with_text(_windows(stated, "query", ids, durations, notes), "query", notes)
    same = rows.duplicated(["original", "query", "text", "start_s", "end_s"])
    return _drop(rows, same, "query", "the same window twice", notes)


def _windows(
    stated: pd.DataFrame, what: str, ids: dict[str, str], durations: dict[str, float], notes: Notes
) -> pd.DataFrame:
    """Windows clipped to [0, duration]; what then has no length is dropped. A row without a window keeps its NaN."""
    rows = _used(stated, ids)
    rows = _drop(rows, rows["start_s"].isna() != rows["end_s"].isna(), what, "half a window", notes)
    end = rows["original"].map(durations).astype(float)
    rows = _drop(rows, rows["end_s"] == rows["start_s"], what, "a window without length", notes)
    rows = _drop(rows, rows["end_s"] < rows["start_s"], what, "ends before it starts", notes)
    rows = _drop(rows, (rows["start_s"] >= end[rows.index]) | (rows["end_s"] <= 0), what, "outside the video", notes)
    end = end[rows.index]
    beyond = (rows["end_s"] > end + _SLACK_S) | (rows["start_s"] < -_SLACK_S)
    cause = "window beyond the video, clipped"
    notes += [{"original": name, "what": what, "value": "", "cause": cause} for name in rows["original"][beyond]]
    return rows.assign(start_s=rows["start_s"].clip(lower=0.0), end_s=np.minimum(rows["end_s"], end))


def _relations(stated: pd.DataFrame, ids: dict[str, str], boxes: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    rows = _used(stated, ids)
    rows = _drop(rows, rows["predicate"].str.strip() == "", "relation", "no predicate", notes)
    rows = _drop(rows, rows["subject"] == rows["object"], "relation", "of a track to itself", notes)
    there = pd.MultiIndex.from_frame(boxes.loc[boxes["track"] >= 0, ["video", "frame", "track"]])
    for end in ("subject", "object"):
        found = pd.MultiIndex.from_frame(rows[["video", "frame", end]]).isin(there)
        rows = _drop(rows, ~found, "relation", f"{end} without a box in its frame", notes)
    keys = ["video", "frame", "subject", "object", "group", "predicate"]
    return _drop(rows, rows.duplicated(keys), "relation", "stated twice", notes)
