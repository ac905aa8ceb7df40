"""The table contracts, against hand-made good and bad rows; the reference is the list of columns in the design."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib import tables
from lib.files import DataError

BOX = {
    "video": "a",
    "frame": 0,
    "time_s": 0.0,
    "class": "person",
    "x1": 1.0,
    "y1": 2.0,
    "x2": 3.0,
    "y2": 4.0,
    "track": -1,
    "ignore": False,
    "mask": "",
}
MANIFEST = {
    "video": "a",
    "original": "A.jpg",
    "split": "test",
    "path": "",
    "kind": "image",
    "sha256": "",
    "stream": -1,
    "fps": float("nan"),
    "frames": 1,
    "width": 4,
    "height": 4,
    "duration_s": 0.0,
}


def _boxes(**changes: object) -> pd.DataFrame:
    return pd.DataFrame([BOX, BOX | {"video": "b"} | changes])


@pytest.mark.parametrize("kind", tables.COLUMNS)
def test_empty_tables_survive_writing_and_reading(tmp_path, kind):
    tables.write_table(tmp_path / "t.parquet", tables.empty(kind), kind)
    back = tables.read_table(tmp_path / "t.parquet", kind)
    assert list(back.columns) == list(tables.COLUMNS[kind])
    pd.testing.assert_frame_equal(back, tables.empty(kind))


def test_values_and_types_survive(tmp_path):
    shuffled = _boxes()[list(BOX)[::-1]].astype({"frame": float})
    tables.write_table(tmp_path / "t.parquet", shuffled, tables.BOXES)
    back = tables.read_table(tmp_path / "t.parquet", tables.BOXES)
    pd.testing.assert_frame_equal(back, _boxes()[list(tables.COLUMNS[tables.BOXES])])


def test_an_image_has_no_frame_rate(tmp_path):
    tables.write_table(tmp_path / "t.parquet", pd.DataFrame([MANIFEST]), tables.MANIFEST)
    assert tables.read_table(tmp_path / "t.parquet", tables.MANIFEST)["fps"].isna().all()


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"x1": float("nan")}, "x1"),
        ({"x1": 3.0}, "x2"),
        ({"y2": float("inf")}, "y2"),
        ({"frame": -1}, "frame"),
        ({"frame": 0.5}, "frame"),
        ({"video": "No Dots."}, "video"),
        ({"class": ""}, "class"),
        ({"class": None}, "class"),
        ({"class": 7}, "class"),
        ({"track": -2}, "track"),
        ({"time_s": "soon"}, "time_s"),
    ],
)
def test_bad_values_name_file_column_and_row(tmp_path, changes, column):
    with pytest.raises(DataError, match=rf"t\.parquet: column '{column}'.*bad row 1"):
        tables.write_table(tmp_path / "t.parquet", _boxes(**changes), tables.BOXES)
    assert not (tmp_path / "t.parquet").exists()


def test_scores_kinds_and_repeated_videos_are_checked(tmp_path):
    detection = pd.DataFrame([{key: BOX[key] for key in BOX if key not in ("track", "ignore", "mask")} | {"score": 1.01}])
    with pytest.raises(DataError, match="score"):
        tables.write_table(tmp_path / "t.parquet", detection, tables.DETECTIONS)
    with pytest.raises(DataError, match="must be one of video, image, frames, none"):
        tables.write_table(tmp_path / "t.parquet", pd.DataFrame([MANIFEST | {"kind": "film"}]), tables.MANIFEST)
    with pytest.raises(DataError, match="unique"):
        tables.write_table(tmp_path / "t.parquet", pd.DataFrame([MANIFEST, MANIFEST]), tables.MANIFEST)


def test_a_query_has_a_whole_window_or_none(tmp_path):
    nan = float("nan")
    query = {"video": "a", "query": "q", "text": "Who?", "template": "", "evidence": "", "start_s": nan, "end_s": nan}
    tables.write_table(tmp_path / "t.parquet", pd.DataFrame([query]), tables.QUERIES)
    assert tables.read_table(tmp_path / "t.parquet", tables.QUERIES)[["start_s", "end_s"]].isna().all(axis=None)
    for half in ({"start_s": 1.0}, {"end_s": 1.0}):
        with pytest.raises(DataError, match="column 'end_s' must be there where start_s is; first bad row 0"):
            tables.write_table(tmp_path / "t.parquet", pd.DataFrame([query | half]), tables.QUERIES)
    with pytest.raises(DataError, match="unique by video, query, start_s, end_s"):
        tables.write_table(tmp_path / "t.parquet", pd.DataFrame([query, query]), tables.QUERIES)


def test_columns_missing_and_extra_are_named(tmp_path):
    with pytest.raises(DataError, match=r"missing: \['mask'\], not in the contract: \['msk'\]"):
        tables.write_table(tmp_path / "t.parquet", _boxes().rename(columns={"mask": "msk"}), tables.BOXES)


def test_reading_refuses_damage_and_other_kinds(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(DataError, match="file not found"):
        tables.read_table(path, tables.BOXES)
    tables.write_table(path, _boxes(), tables.BOXES)
    with pytest.raises(DataError, match="kind 'boxes', expected 'tracks'"):
        tables.read_table(path, tables.TRACKS)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="not a readable Parquet"):
        tables.read_table(path, tables.BOXES)
    pq.write_table(pa.table({"video": ["a"], "frame": ["0"], "time_s": [0.0]}), path)
    with pytest.raises(DataError, match="column 'frame' is string, expected int64"):
        tables.read_table(path, tables.FRAMES)
    with pytest.raises(DataError, match="did you mean 'boxes'"):
        tables.empty("boxs")
