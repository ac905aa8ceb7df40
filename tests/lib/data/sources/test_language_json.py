"""The language JSON beside CocoVID annotations: what is read, and how malformed files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lib.config.download import CocoSource
from lib.data.sources import Source, read_source
from lib.files import DataError

COCO = {
    "videos": [{"id": 1, "file_name": "a.mp4", "width": 20, "height": 10}],
    "images": [{"id": 1, "video_id": 1, "frame_index": 0}],
    "annotations": [],
    "categories": [{"id": 1, "name": "person"}],
}
QUERY = {"query": "q0", "text": "When?", "start_s": 1, "end_s": 2.5}
RELATION = {"frame": 0, "subject": 3, "predicate": "behind", "object": 5}
CAPTION = {"caption": "c0", "text": "A person."}
ANSWER = {"question": "a0", "kind": "count", "text": "How many?", "answer": "two", "evidence": "frame"}


def read(root: Path, *videos: Any, whole: Any = None) -> Source:
    (root / "t.json").write_text(json.dumps(COCO))
    (root / "t.language.json").write_text(json.dumps({"videos": list(videos)} if whole is None else whole))
    language = {"train": "t.language.json"}
    return read_source(root, CocoSource(format="coco", root=str(root), annotations={"train": "t.json"}, language=language))


def test_all_four_truths_are_read(tmp_path):
    video = {"file_name": "a.mp4", "queries": [QUERY], "relations": [RELATION], "captions": [CAPTION], "answers": [ANSWER]}
    source = read(tmp_path, video)
    assert source.queries.to_dict("records") == [QUERY | {"original": "a.mp4", "template": "", "evidence": ""}]
    assert source.relations.to_dict("records") == [RELATION | {"original": "a.mp4", "group": ""}]
    captions = source.captions.to_dict("records")
    assert len(captions) == 1 and CAPTION.items() <= captions[0].items() and captions[0]["original"] == "a.mp4"
    assert source.answers.to_dict("records") == [ANSWER | {"original": "a.mp4"}]
    assert source.queries["start_s"].dtype == float and source.relations["frame"].dtype == "int64"


def test_without_language_the_tables_are_empty_with_their_columns(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(COCO))
    source = read_source(tmp_path, CocoSource(format="coco", root=str(tmp_path), annotations={"train": "t.json"}))
    assert source.queries.empty and {"original", "query", "text", "start_s"} <= set(source.queries.columns)
    assert source.answers.empty and source.captions.empty and source.relations.empty
    assert read(tmp_path, {"file_name": "a.mp4"}).queries.empty


@pytest.mark.parametrize(
    ("video", "words"),
    [
        ({"file_name": "b.mp4"}, "'b.mp4' is no video of the annotations"),
        ({}, "no video of the annotations"),
        ({"file_name": "a.mp4", "querys": []}, "unknown key 'querys'"),
        ({"file_name": "a.mp4", "queries": {}}, "'queries' must be a list"),
        ({"file_name": "a.mp4", "queries": ["when"]}, r"queries\[0\] must be an object"),
        ({"file_name": "a.mp4", "queries": [QUERY, {"query": "q"}]}, r"queries\[1\]: 'end_s' is missing"),
        ({"file_name": "a.mp4", "queries": [QUERY | {"end": 3}]}, "'end' is missing or unknown"),
        ({"file_name": "a.mp4", "queries": [QUERY | {"end_s": "3"}]}, "'end_s' must be a finite number, got '3'"),
        ({"file_name": "a.mp4", "queries": [QUERY | {"text": 3}]}, "'text' must be a text, got 3"),
        ({"file_name": "a.mp4", "relations": [RELATION | {"frame": 0.5}]}, "'frame' must be a whole number"),
        ({"file_name": "a.mp4", "relations": [RELATION | {"subject": True}]}, "'subject' must be a whole number"),
    ],
)
def test_malformed_entries_are_named(tmp_path, video, words):
    with pytest.raises(DataError, match=words) as error:
        read(tmp_path, video)
    assert "t.language.json" in str(error.value)


def test_files_that_are_something_else(tmp_path):
    with pytest.raises(DataError, match="list `videos`"):
        read(tmp_path, whole=[1])
    with pytest.raises(DataError, match="finite number, got nan"):
        read(tmp_path, {"file_name": "a.mp4", "queries": [QUERY | {"end_s": float("nan")}]})
    with pytest.raises(ValidationError, match="'val' is not among the splits"):
        CocoSource(format="coco", root="r", annotations={"train": "t.json"}, language={"val": "v.json"})
