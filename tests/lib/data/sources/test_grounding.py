"""Formats of queries with windows, from small files written here to the tables of a dataset; expected rows by hand.

(mirror): TACoS and the val split of QVHighlights; their figures were counted from the files by themselves.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.config.download import Dataset
from lib.data.ingest import ingest
from lib.data.sources import read_source
from lib.data.video import write_video
from lib.files import DataError

Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def made(root: Path, source: dict[str, Any], **more: Any) -> Tables:
    """Manifest, queries and quality of a dataset whose files lie in `root`."""
    dataset = Dataset.model_validate({"source": {"root": str(root)} | source} | more)
    out = root / "out"
    ingest(read_source(root, dataset.source), dataset, out, workers=1)
    quality = pd.read_csv(out / "quality.csv", keep_default_na=False).set_index("original")
    manifest = tables.read_table(out / "manifest.parquet", tables.MANIFEST).set_index("original")
    return manifest, tables.read_table(out / "truth/queries.parquet", tables.QUERIES), quality


def rows(queries: pd.DataFrame, *columns: str) -> list[list[Any]]:
    return queries[list(columns)].to_numpy().tolist()


def ask(start: Any, end: Any, query: Any = "Where?", **more: Any) -> dict[str, Any]:
    return {"clip_start_sec": start, "clip_end_sec": end, "query": query} | more


def ego4d(*queries: Any, uid: str = "ann", clip: str = "Clip-A", end: Any = 490.0, **more: Any) -> dict[str, Any]:
    """The JSON of one clip that begins at 10 s of its video."""
    annotation = {"annotation_uid": uid, "language_queries": list(queries)}
    stated = {"clip_uid": clip, "video_start_sec": 10.0, "video_end_sec": end, "annotations": [annotation]}
    return {"version": "1", "videos": [{"video_uid": "v", "split": "val", "clips": [stated | more]}]}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write files by name: objects as JSON, texts as they are."""

    def go(**files: Any) -> Path:
        for name, content in files.items():
            suffix, text = (".json", json.dumps(content)) if not isinstance(content, str) else (".txt", content)
            (tmp_path / f"{name}{suffix}").write_text(text)
        return tmp_path

    return go


EGO4D = {"format": "ego4d_nlq", "annotations": {"val": "val.json"}}


def test_ego4d_ids_count_the_queries_that_are_left_out(write: Callable[..., Path]) -> None:
    queries = [ask(1.5, 4.0, template="Objects: Where is X?"), ask(0, 1, None), ask(0, 1, " "), {}, None, ask(30.25, 300)]
    manifest, found, quality = made(write(val=ego4d(*queries)), EGO4D)
    assert rows(found, "video", "query", "text", "template", "start_s", "end_s") == [
        ["clip-a", "ann_0", "Where?", "Objects: Where is X?", 1.5, 4.0],
        ["clip-a", "ann_5", "Where?", "", 30.25, 300.0],
    ]
    assert manifest.loc["Clip-A", ["split", "kind", "path", "sha256", "fps", "frames", "duration_s"]].tolist() == [
        *("val", "none", "", "", 30.0, 14400, 480.0)
    ]
    assert quality.loc["Clip-A", ["status", "queries"]].tolist() == ["ok", 2]
    assert quality.loc["Clip-A", "cause"] == (
        "2 x query: no window, though others of its split have one, dropped; 2 x query: empty text, dropped"
    )


def test_a_clips_duration_is_its_own_and_what_lies_beyond_is_cut_and_counted(write: Callable[..., Path]) -> None:
    queries = [ask(1, 2), ask(470, 480.5), ask(479, 481), ask(481, 482)]
    manifest, found, quality = made(write(val=ego4d(*queries)), EGO4D)
    assert manifest["duration_s"].tolist() == [480.0]  # neither 482, where the last answer ends, nor 2
    assert rows(found, "query", "end_s") == [["ann_0", 2.0], ["ann_1", 480.0], ["ann_2", 480.0]]
    cause = "1 x query: outside the video, dropped; 2 x query: window beyond the video, clipped"
    assert quality.loc["Clip-A", "cause"] == cause


def test_windows_that_are_none_are_left_out_by_cause(write: Callable[..., Path]) -> None:
    queries = [ask(1, 2), ask(5, 5), ask(7, 6), ask(8, None), ask(None, 9), {"query": "No window?"}]
    _, found, quality = made(write(val=ego4d(*queries)), EGO4D)
    assert found["query"].tolist() == ["ann_0"]
    assert Counter(quality.loc["Clip-A", "cause"].split("; ")) == {
        "1 x query: no window, though others of its split have one, dropped": 1,
        "2 x query: half a window, dropped": 1,
        "1 x query: a window without length, dropped": 1,
        "1 x query: ends before it starts, dropped": 1,
    }


def test_an_unannotated_split_keeps_its_queries_without_windows(write: Callable[..., Path]) -> None:
    test = ego4d({"query": "One?"}, {"query": None}, {"query": "Two?"}, uid="other", clip="Clip-B", end=20.0)
    source = EGO4D | {"annotations": {"val": "val.json", "test": "test.json"}}
    manifest, found, quality = made(write(val=ego4d(ask(1, 2)), test=test), source)
    assert manifest["split"].to_dict() == {"Clip-A": "val", "Clip-B": "test"}
    assert found["query"].tolist() == ["ann_0", "other_0", "other_2"]
    assert found[["start_s", "end_s"]].isna().all(axis=1).tolist() == [False, True, True]
    assert quality.loc["Clip-B", "cause"] == "1 x query: empty text, dropped"


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        ({"end": None}, "states no duration"),
        ({"end": 10.0}, "has a duration of 0 s"),
        ({"end": 3.0}, "has a duration of -7 s"),
    ],
)
def test_a_clip_without_a_duration_stops_or_is_left_out(
    clip: dict[str, Any], said: str, write: Callable[..., Path]
) -> None:
    data = ego4d(ask(1, 2))
    data["videos"] += ego4d(ask(1, 2), uid="b", clip="Clip-B", **clip)["videos"]
    root = write(val=data)
    with pytest.raises(DataError) as refusal:
        made(root, EGO4D)
    place = f"{root}/val.json: videos[1].clips[0]: clip 'Clip-B' {said}, and its video is not at hand"
    assert place in str(refusal.value) and "`on_missing: skip`" in str(refusal.value)
    manifest, found, quality = made(root, EGO4D, on_missing="skip")
    assert (manifest.index.tolist(), found["query"].tolist()) == (["Clip-A"], ["ann_0"])
    assert quality.loc["Clip-B", ["status", "cause"]].tolist() == ["skipped", place]


HERE = r"videos\[0\]\.clips\[0\]"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"val\.json: must be an object, got \[\]"),
        ({"version": 1}, r"val\.json: 'videos' must be a list, got None\. Hint: "),
        ({"videos": [3]}, r"videos\[0\]: must be an object, got 3"),
        ({"videos": [{}]}, r"videos\[0\]: 'clips' must be a list"),
        (ego4d(clip=""), rf"{HERE}: 'clip_uid' must be a text that is not empty, got ''"),
        (ego4d(end="490"), rf"{HERE}: video_end_sec must be a finite number, got '490'"),
        (ego4d(end=math.nan), rf"{HERE}: video_end_sec must be a finite number, got nan"),
        (ego4d(end=10**400), rf"{HERE}: video_end_sec must be a finite number, got 1000"),
        (ego4d(annotations=None), rf"{HERE}: 'annotations' must be a list"),
        (ego4d(uid=None), rf"{HERE}\.annotations\[0\]: 'annotation_uid' must be a text"),
        (ego4d(ask(0, 1), 4), rf"{HERE}\.annotations\[0\]\.language_queries\[1\]: must be an object, got 4"),
        (ego4d(ask(0, True)), r"language_queries\[0\]: clip_end_sec must be a finite number, got True"),
        (ego4d(ask(0, 1, 7)), r"language_queries\[0\]: the query must be a text, got 7"),
    ],
)
def test_a_malformed_ego4d_entry_is_named_by_file_and_place(data: Any, message: str, write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        made(write(val=data), EGO4D)
    assert "val.json" in str(refusal.value)


def test_an_id_that_is_taken_is_an_error(write: Callable[..., Path]) -> None:
    twice = ego4d(ask(1, 2))
    twice["videos"] += ego4d(ask(3, 4), clip="Clip-B")["videos"]
    with pytest.raises(
        DataError, match=r"query id 'ann_0' is stated at .*videos\[0\].*language_queries\[0\] already"
    ) as no:
        made(write(val=twice), EGO4D)
    assert "val.json: videos[1].clips[0].annotations[0].language_queries[0]: query id" in str(no.value)
    twice = ego4d(ask(1, 2))
    twice["videos"] += ego4d(ask(3, 4), uid="b")["videos"]
    with pytest.raises(DataError, match="'Clip-A' is listed twice"):
        made(write(val=twice), EGO4D)
    with pytest.raises(DataError, match="'Clip-A' is in split 'train' and in split 'val'"):
        both = EGO4D | {"annotations": {"train": "train.json", "val": "val.json"}}
        made(write(train=ego4d(ask(1, 2)), val=ego4d(ask(1, 2), uid="b")), both)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ('{"a": 1, "a": 2}', "'a' is stated twice in one object"), ("\xff", "not UTF-8 text")],
)
def test_files_that_are_no_json_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "val.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"val\.json: {message}"):
        made(tmp_path, EGO4D)
    with pytest.raises(DataError, match=r"absent\.json: file not found\. Hint: check the paths"):
        made(tmp_path, EGO4D | {"annotations": {"val": "absent.json"}})


def lines(*entries: Any) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def highlight(qid: Any = 1, vid: str = "U_60.0_210.0", **more: Any) -> dict[str, Any]:
    stated = {"qid": qid, "query": "A dog.", "duration": 150, "vid": vid, "relevant_windows": [[56, 76], [96, 150]]}
    return stated | {"relevant_clip_ids": [28], "saliency_scores": [[1, 2, 3]]} | more


QVHIGHLIGHTS = {"format": "qvhighlights", "annotations": {"val": "val.txt"}}


def test_a_query_with_several_windows_is_a_row_each(write: Callable[..., Path]) -> None:
    text = lines(highlight(7), highlight("x", relevant_windows=[[0, 2]]), highlight(8, "V_0.0_150.0", duration=144))
    manifest, found, _ = made(write(val=text + "\n"), QVHIGHLIGHTS)
    assert rows(found, "query", "start_s", "end_s") == [
        ["7", 56.0, 76.0],
        ["7", 96.0, 150.0],
        ["x", 0.0, 2.0],
        ["8", 56.0, 76.0],
        ["8", 96.0, 144.0],
    ]
    assert rows(manifest, "frames", "fps", "duration_s") == [[150, 1.0, 150.0], [144, 1.0, 144.0]]
    assert manifest["video"].str.fullmatch(r"[a-z0-9][a-z0-9_-]*").all()


def test_a_test_file_without_windows(write: Callable[..., Path]) -> None:
    entry = {key: value for key, value in highlight(3).items() if key in ("qid", "query", "duration", "vid")}
    _, found, quality = made(write(val=lines(entry)), QVHIGHLIGHTS)
    assert found["query"].tolist() == ["3"] and found[["start_s", "end_s"]].isna().all(axis=None)
    assert quality["cause"].tolist() == [""]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([[1]], r"val\.txt:1: must be an object, got \[1\]"),
        ([highlight(), highlight()], r"val\.txt:2: query id '1' is stated at .*val\.txt:1 already"),
        ([highlight(), highlight(2, duration=140)], r"val\.txt:2: clip 'U_60.0_210.0' lasts 140.0 s here, but 150.0 s"),
        ([highlight(None)], r"val\.txt:1: 'qid' must be a whole number or a text, got None"),
        ([highlight(vid=" ")], r"val\.txt:1: 'vid' must be a text that is not empty"),
        ([highlight(relevant_windows=5)], r"val\.txt:1: 'relevant_windows' must be a list, got 5"),
        ([highlight(relevant_windows=[[1, 2, 3]])], r"val\.txt:1: a window must be \[start, end\], got \[1, 2, 3\]"),
        ([highlight(relevant_windows=[["1", 2]])], r"val\.txt:1: start must be a finite number, got '1'"),
        ([highlight(duration=0)], r"val\.txt:1: clip 'U_60.0_210.0' has a duration of 0 s"),
    ],
)
def test_a_malformed_line_is_named(entries: list[Any], message: str, write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=message):
        made(write(val=lines(*entries)), QVHIGHLIGHTS)


def test_a_cut_line_is_named(write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"val\.txt:2: not valid JSON"):
        made(write(val=lines(highlight()) + '{"qid": 2, "que'), QVHIGHLIGHTS)


TACOS = {"format": "tacos", "annotations": {"val": "val.json"}}


def cook(**more: Any) -> dict[str, Any]:
    return {"timestamps": [[50, 125], [0, 260]], "sentences": ["Cut.", "Cook."], "fps": 25.0, "num_frames": 250} | more


def test_tacos_frames_become_seconds(write: Callable[..., Path]) -> None:
    manifest, found, quality = made(write(val={"s1-d2.avi": cook()}), TACOS)
    assert rows(found, "video", "query", "text", "start_s", "end_s") == [
        ["s1-d2", "s1-d2_0", "Cut.", 2.0, 5.0],
        ["s1-d2", "s1-d2_1", "Cook.", 0.0, 10.0],
    ]
    assert rows(manifest, "frames", "fps", "duration_s") == [[250, 25.0, 10.0]]
    assert quality["cause"].tolist() == ["1 x query: window beyond the video, clipped"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": 1}, r"val\.json: 'a': must be an object"),
        ({"a": cook(fps=0)}, r"'a': fps must exceed 0, got 0: timestamps are frames"),
        ({"a": cook(fps=None)}, r"'a': fps must exceed 0, got None"),
        ({"a": cook(num_frames=0)}, r"'a': clip 'a' has a duration of 0 s"),
        ({"a": cook(num_frames=None)}, r"'a': clip 'a' states no duration"),
        ({"a": cook(sentences=["One."])}, r"'a': 2 timestamps, but 1 sentences"),
        ({"a": cook(timestamps=[[1, 2], 5])}, r"'a': timestamps\[1\]: a window must be \[start, end\], got 5"),
        ({"a.avi": cook(), "a.mp4": cook()}, r"'a\.mp4': timestamps\[0\]: query id 'a_0' is stated at .*'a\.avi'"),
    ],
)
def test_a_malformed_tacos_entry_is_named(data: Any, message: str, write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=message):
        made(write(val=data), TACOS)


CHARADES = {"format": "charades", "annotations": {"test": "test.txt"}, "lengths": ["lengths.txt"]}
LENGTHS = "id,subject,length,fps\nAO8RW,HR43,33.67,29.97\nABCDE,HR43,20,\n"


def test_charades_lines_and_lengths(write: Callable[..., Path]) -> None:
    text = "AO8RW 0.0 6.9##a person puts a book on a shelf.\n\nABCDE 3 25.5##they sit ## down.\nAO8RW 5 9.1##they go.\n"
    manifest, found, quality = made(write(test=text, lengths=LENGTHS), CHARADES | {"fps": 10.0})
    assert rows(found.sort_values("query"), "query", "text", "start_s", "end_s") == [
        ["ABCDE_0", "they sit ## down.", 3.0, 20.0],
        ["AO8RW_0", "a person puts a book on a shelf.", 0.0, 6.9],
        ["AO8RW_1", "they go.", 5.0, 9.1],
    ]
    assert rows(manifest.sort_index(), "frames", "fps", "duration_s") == [[200, 10.0, 20.0], [1009, 29.97, 33.67]]
    assert quality.loc["ABCDE", "cause"] == "1 x query: window beyond the video, clipped"


@pytest.mark.parametrize(
    ("text", "lengths", "message"),
    [
        ("AO8RW 0.0 6.9 a person.", LENGTHS, r"test\.txt:1: must read `VIDEO start end##sentence`, got 'AO8RW 0"),
        ("\nAO8RW 0.0 x##a person.", LENGTHS, r"test\.txt:2: end must be a finite number, got 'x'"),
        ("AO8RW nan 1##a person.", LENGTHS, r"test\.txt:1: start must be a finite number, got 'nan'"),
        ("OTHER 0 1##a person.", LENGTHS, r"test\.txt:1: clip 'OTHER' states no duration"),
        ("AO8RW 0 1##a person.", "id,fps\nAO8RW,3\n", r"lengths\.txt: needs the columns id, length and"),
        ("AO8RW 0 1##a person.", "id,length\nAO8RW,long\n", r"lengths\.txt:2: length must be a finite number, got 'long'"),
        ("AO8RW 0 1##a person.", LENGTHS + "AO8RW,x,30,\n", r"lengths\.txt:4: 'AO8RW' is 30 s long here, but 33.67 s"),
    ],
)
def test_malformed_charades_files_are_named(text: str, lengths: str, message: str, write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=message):
        made(write(test=text, lengths=lengths), CHARADES)


def test_videos_that_are_at_hand_are_looked_at(write: Callable[..., Path]) -> None:
    root = write(val={"s1-d2.avi": cook(), "gone.avi": cook()})
    (root / "videos").mkdir()
    write_video(
        root / "videos" / "s1-d2.mp4", [np.full((16, 32, 3), 9 * index, np.uint8) for index in range(8)], 4, (32, 16)
    )
    source = TACOS | {"videos": "videos"}
    with pytest.raises(DataError, match=r"1 of 2 files are missing or broken:\s+.*videos/gone\.avi: file not found"):
        made(root, source)
    manifest, found, quality = made(root, source, on_missing="skip")
    assert rows(manifest, "kind", "fps", "frames", "duration_s") == [["video", 4.0, 8, 2.0]]
    assert manifest["sha256"].str.len().tolist() == [64]
    assert rows(found, "start_s", "end_s") == [[0.0, 2.0]]
    assert "1 x duration: another one than the source states; the file's counts" in quality.loc["s1-d2.avi", "cause"]
    with pytest.raises(DataError, match=r"elsewhere: no such folder\. Hint: check `videos`"):
        made(root, TACOS | {"videos": "elsewhere"})


def lengths_of(queries: pd.DataFrame) -> np.ndarray:
    return (queries["end_s"] - queries["start_s"]).to_numpy()


@pytest.mark.mirror
def test_tacos_figures(mirror: Path, tmp_path: Path) -> None:
    source = {"format": "tacos", "root": str(mirror / "nlq/tacos"), "annotations": {"val": "val.json", "test": "test.json"}}
    dataset = Dataset.model_validate({"source": source})
    ingest(read_source(mirror / "nlq/tacos", dataset.source), dataset, tmp_path / "out", workers=1)
    manifest = tables.read_table(tmp_path / "out/manifest.parquet", tables.MANIFEST)
    queries = tables.read_table(tmp_path / "out/truth/queries.parquet", tables.QUERIES)
    split = queries["video"].map(manifest.set_index("video")["split"])
    assert manifest["split"].value_counts().to_dict() == {"val": 27, "test": 25}
    assert split.value_counts().to_dict() == {"val": 4436, "test": 4001}
    deciles = np.quantile(lengths_of(queries[split == "val"]), [0, 0.1, 0.5, 0.9, 1])
    assert deciles == pytest.approx([0.714286, 4.523810, 15.884354, 74.778912, 843.197279], abs=1e-6)
    quality = pd.read_csv(tmp_path / "out/quality.csv")
    assert quality["cause"].dropna().str.extract(r"(\d+) x query: window beyond")[0].astype(int).sum() == 5


@pytest.mark.mirror
def test_qvhighlights_figures(mirror: Path, tmp_path: Path) -> None:
    root = mirror / "nlq/qvhighlights"
    source = {"format": "qvhighlights", "root": str(root), "annotations": {"val": "highlight_val_release.jsonl"}}
    dataset = Dataset.model_validate({"source": source})
    ingest(read_source(root, dataset.source), dataset, tmp_path / "out", workers=1)
    manifest = tables.read_table(tmp_path / "out/manifest.parquet", tables.MANIFEST)
    queries = tables.read_table(tmp_path / "out/truth/queries.parquet", tables.QUERIES)
    assert (len(manifest), queries["query"].nunique(), len(queries)) == (1519, 1550, 2803)
    assert Counter(queries["query"].value_counts())[1] == 1020
    assert np.quantile(lengths_of(queries), [0, 0.1, 0.5, 0.9, 1]).tolist() == pytest.approx([2, 2, 16, 49.6, 150])
