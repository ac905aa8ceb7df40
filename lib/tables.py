"""The column contracts of every Parquet table that stages exchange. Not here: who fills them or what a stage computes.

A table is checked when written and when read: names, order and types of columns, no missing value, boxes with an area,
scores in 0..1. Coordinates are continuous px of the original frame, x2 and y2 being the exclusive edge; `frame` counts from
0 in presentation order; `time_s` counts from the first frame. The kind is stored inside the file, so that a table read as
another kind is noticed even where the columns agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.config.base import NAME_PATTERN, nearest
from lib.files import DataError, atomic

MANIFEST, FRAMES, BOXES, DETECTIONS, TRACKS = "manifest", "frames", "boxes", "detections", "tracks"
SEGMENTS, WINDOWS = "segments", "windows"
QUERIES, RELATIONS, CAPTIONS, ANSWERS = "queries", "relations", "captions", "answers"

DETECT_STATS, TRACK_STATS, SUBSET, FEATURES = "detect_stats", "track_stats", "subset", "features"

MEDIA_KINDS = ("video", "image", "frames", "none")

_FRAME = {"video": "string", "frame": "int64", "time_s": "float64"}
_BOX = {"x1": "float64", "y1": "float64", "x2": "float64", "y2": "float64"}
_DETECTION = _FRAME | {"class": "string", "score": "float64"} | _BOX

COLUMNS: dict[str, dict[str, str]] = {
    MANIFEST: {
        "video": "string",
        "original": "string",
        "split": "string",
        "path": "string",
        "kind": "string",
        "sha256": "string",
        "stream": "int32",
        "fps": "float64",
        "frames": "int64",
        "width": "int64",
        "height": "int64",
        "duration_s": "float64",
    },
    FRAMES: _FRAME,
    BOXES: _FRAME | {"class": "string"} | _BOX | {"track": "int64", "ignore": "bool", "mask": "string"},
    DETECTIONS: _DETECTION,
    SEGMENTS: _DETECTION | {"mask": "string"},
    TRACKS: _DETECTION | {"track": "int64"},
    WINDOWS: {
        "video": "string",
        "query": "string",
        "rank": "int64",
        "start_s": "float64",
        "end_s": "float64",
        "score": "float64",
    },
    DETECT_STATS: {
        "video": "string",
        "frames": "int64",
        "seconds_decode": "float64",
        "seconds_model": "float64",
        "detections": "int64",
        "seen_in_training": "bool",
    },
    TRACK_STATS: {"video": "string", "frames": "int64", "seconds": "float64"},
    SUBSET: {"key": "string", "video": "string", "frame": "int64", "reason": "string"},
    FEATURES: {
        "unit": "string",
        "video": "string",
        "steps": "int64",
        "width": "int64",
        "stride": "float64",
        "window": "float64",
        "fps": "float64",
    },
    QUERIES: {
        "video": "string",
        "query": "string",
        "text": "string",
        "template": "string",
        "evidence": "string",
        "start_s": "float64",
        "end_s": "float64",
    },
    RELATIONS: {
        "video": "string",
        "frame": "int64",
        "subject": "int64",
        "group": "string",
        "predicate": "string",
        "object": "int64",
    },
    CAPTIONS: {"video": "string", "caption": "string", "text": "string", "start_s": "float64", "end_s": "float64"},
    ANSWERS: {
        "video": "string",
        "question": "string",
        "kind": "string",
        "evidence": "string",
        "text": "string",
        "answer": "string",
    },
}
"""Kind of table -> column -> type, in the order in which columns are written.

boxes, segments: mask is COCO's run-length text, of the whole frame. windows: predicted answers of queries, rank 0 = best.
queries: one row per window (a query with several windows repeats; start_s = end_s = NaN for one that is not annotated),
template and evidence "" where a source states none. relations: subject and object are tracks with a box in that frame;
group is "" where predicates are of one kind, else as in Action Genome attention (one per pair), spatial, contacting
(several). captions: start_s and end_s are NaN for one of the whole video or image. answers: kind is the type of question.
features: one row per tensor of a chunk; steps are rows of it (tokens of a text), stride and window frames of the source at
fps, NaN for texts.
"""

LANGUAGE = (QUERIES, RELATIONS, CAPTIONS, ANSWERS)
"""The truths in words."""

_ARROW = {"string": pa.string(), "int64": pa.int64(), "int32": pa.int32(), "float64": pa.float64(), "bool": pa.bool_()}
_NAN_ALLOWED = {
    (MANIFEST, "fps"),  # an image has no frame rate
    (QUERIES, "start_s"),  # a query of an unannotated split has no window
    (QUERIES, "end_s"),
    (CAPTIONS, "start_s"),  # a caption of the whole video or image has no window
    (CAPTIONS, "end_s"),
    (FEATURES, "stride"),  # texts have no grid of time
    (FEATURES, "window"),
    (FEATURES, "fps"),
}
_UNIQUE = {
    MANIFEST: ["video"],
    FRAMES: ["video", "frame"],
    FEATURES: ["unit"],
    QUERIES: ["video", "query", "start_s", "end_s"],
    WINDOWS: ["video", "query", "rank"],
    RELATIONS: ["video", "frame", "subject", "object", "group", "predicate"],
    CAPTIONS: ["video", "caption"],
    ANSWERS: ["video", "question"],
}


@dataclass(frozen=True)
class _Rule:
    """Rows of `column` where `broken(frame)` is true are refused with `needs`."""

    column: str
    needs: str
    broken: Callable[[pd.DataFrame], pd.Series]


_RULES = [
    _Rule(
        "video", f"must match {NAME_PATTERN}", lambda f: ~f["video"].str.fullmatch(NAME_PATTERN.strip("^$")).astype(bool)
    ),
    _Rule("frame", "must be at least 0", lambda f: f["frame"] < 0),
    _Rule("frames", "must be at least 0", lambda f: f["frames"] < 0),
    _Rule("time_s", "must be at least 0", lambda f: f["time_s"] < 0),
    _Rule("class", "must not be empty", lambda f: f["class"].str.len() == 0),
    _Rule("score", "must lie in 0..1", lambda f: ~f["score"].between(0.0, 1.0)),
    _Rule("x2", "must exceed x1", lambda f: f["x2"] <= f["x1"]),
    _Rule("y2", "must exceed y1", lambda f: f["y2"] <= f["y1"]),
    _Rule("start_s", "must be at least 0", lambda f: f["start_s"] < 0),
    _Rule("end_s", "must exceed start_s", lambda f: f["end_s"] <= f["start_s"]),
    _Rule("end_s", "must be there where start_s is", lambda f: f["start_s"].isna() != f["end_s"].isna()),
    _Rule("unit", "must not be empty", lambda f: f["unit"].str.len() == 0),
    _Rule("steps", "must be at least 1", lambda f: f["steps"] < 1),
    _Rule("width", "must be at least 0", lambda f: f["width"] < 0),
    _Rule("stride", "must exceed 0", lambda f: f["stride"] <= 0),
    _Rule("window", "must exceed 0", lambda f: f["window"] <= 0),
    _Rule("text", "must not be empty", lambda f: f["text"].str.strip().str.len() == 0),
    _Rule("answer", "must not be empty", lambda f: f["answer"].str.strip().str.len() == 0),
    _Rule("predicate", "must not be empty", lambda f: f["predicate"].str.len() == 0),
    _Rule("track", "must be at least -1 (-1 = none)", lambda f: f["track"] < -1),
]


def write_table(path: str | Path, frame: pd.DataFrame, kind: str) -> None:
    """Check `frame` against the contract of `kind` and write it as Parquet, atomically, columns in the contract's order.

    Integers given as floats without a fraction are accepted. DataError names file, column and first bad row.
    """
    types = _types(kind)
    _check_names(path, list(frame.columns), types)
    arrays = [_column(path, frame[column].reset_index(drop=True), column, kind) for column in types]
    table = pa.Table.from_arrays(arrays, schema=_schema(kind))
    _check_values(path, table.to_pandas(), kind)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: str | Path, kind: str) -> pd.DataFrame:
    """Read a table of `kind`; a missing, damaged or differently shaped file is a DataError that names it."""
    types = _types(kind)
    if not Path(path).is_file():
        raise DataError(f"{path}: file not found. Hint: was the stage that writes it run?")
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        hint = "Hint: delete it and let its rule write it again."
        raise DataError(f"{path}: not a readable Parquet table ({error}). {hint}") from error
    stored = (table.schema.metadata or {}).get(b"vipersight_kind", kind.encode()).decode()
    if stored != kind:
        raise DataError(f"{path}: holds a table of kind {stored!r}, expected {kind!r}. Hint: check which file is passed.")
    _check_names(path, table.column_names, types)
    for column, name in types.items():
        if table.schema.field(column).type != _ARROW[name]:
            raise DataError(f"{path}: column {column!r} is {table.schema.field(column).type}, expected {name}.")
    frame = table.select(list(types)).to_pandas()
    _check_values(path, frame, kind)
    return frame


def write_units(path: str | Path, units: pd.DataFrame) -> None:
    """Write per-video units, whose columns depend on task and classes, as Parquet, atomically and without a contract."""
    with atomic(path) as temporary:
        pq.write_table(pa.Table.from_pandas(units, preserve_index=False), temporary, compression="zstd")


def empty(kind: str) -> pd.DataFrame:
    """A table of `kind` without rows, with the contract's columns and types."""
    return _schema(kind).empty_table().to_pandas()


def _types(kind: str) -> dict[str, str]:
    if kind not in COLUMNS:
        raise DataError(f"{kind!r} is no kind of table. {nearest(kind, COLUMNS)}")
    return COLUMNS[kind]


def _schema(kind: str) -> pa.Schema:
    fields = [pa.field(column, _ARROW[name], nullable=False) for column, name in _types(kind).items()]
    return pa.schema(fields, metadata={"vipersight_kind": kind})


def _check_names(path: str | Path, given: list[str], types: dict[str, str]) -> None:
    missing, extra = [name for name in types if name not in given], [str(name) for name in given if name not in types]
    if missing or extra or len(given) != len(set(given)):
        raise DataError(
            f"{path}: columns missing: {missing or 'none'}, not in the contract: {extra or 'none'}, "
            f"stated twice: {sorted({str(n) for n in given if given.count(n) > 1}) or 'none'}. Expected: {list(types)}."
        )


def _column(path: str | Path, values: pd.Series, column: str, kind: str) -> pa.Array:
    """One column as an Arrow array of the contract's type; a value that does not fit is a DataError naming its row."""
    wanted = _ARROW[COLUMNS[kind][column]]
    missing = values.isna()
    if missing.any() and (kind, column) not in _NAN_ALLOWED:
        _refuse(path, column, missing, values, "must not be missing (NaN or None)")
    try:
        return (
            pa.Array.from_pandas(values, type=wanted) if wanted != pa.float64() else pa.array(_floats(values), type=wanted)
        )
    except (pa.ArrowException, ValueError, TypeError) as error:
        bad = values.map(lambda value: not _fits(value, wanted))
        if bad.any():
            _refuse(path, column, bad, values, f"must be {COLUMNS[kind][column]}")
        raise DataError(f"{path}: column {column!r} must be {COLUMNS[kind][column]} ({error}).") from error


def _floats(values: pd.Series) -> np.ndarray:
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _fits(value: object, wanted: pa.DataType) -> bool:
    if wanted == pa.string():
        return isinstance(value, str)
    try:
        pa.array([value]).cast(wanted)  # a safe cast: 0.5 is no integer
    except (pa.ArrowException, ValueError, TypeError):
        return False
    return True


def _check_values(path: str | Path, frame: pd.DataFrame, kind: str) -> None:
    for column, name in COLUMNS[kind].items():
        if name == "float64":
            values = frame[column]
            bad = np.isinf(values) if (kind, column) in _NAN_ALLOWED else ~np.isfinite(values)
            if bad.any():
                _refuse(path, column, bad, values, "must be a finite number")
    for rule in _RULES:
        if rule.column in frame.columns and len(frame) and (bad := rule.broken(frame)).any():
            _refuse(path, rule.column, bad, frame[rule.column], rule.needs)
    if kind == MANIFEST and (bad := ~frame["kind"].isin(MEDIA_KINDS)).any():
        _refuse(path, "kind", bad, frame["kind"], f"must be one of {', '.join(MEDIA_KINDS)}")
    keys = _UNIQUE.get(kind)
    if keys and (bad := frame.duplicated(keys)).any():
        _refuse(path, keys[-1], bad, frame[keys[-1]], f"must be unique by {', '.join(keys)}")


def _refuse(path: str | Path, column: str, bad: pd.Series, values: pd.Series, needs: str) -> None:
    rows = np.flatnonzero(np.asarray(bad))
    value = values.tolist()[rows[0]]
    raise DataError(
        f"{path}: column {column!r} {needs}; first bad row {rows[0]}: {value!r} ({len(rows)} of {len(values)})."
    )
