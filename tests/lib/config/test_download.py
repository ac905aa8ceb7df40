"""The `datasets:` section: what is accepted, and that every refusal names the setting and its value."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lib.config.base import canonical, identity
from lib.config.download import Dataset, FileEntry

FOLDER = {"format": "folder", "root": "videos"}
COCO = {"format": "coco", "root": "d", "annotations": {"train": "a.json", "val": "b.json"}}
ENTRY = {"path": "a/b.jpg", "url": "https://example.org/b.jpg", "sha256": "0" * 64}


def test_display_fields_never_reach_a_job():
    dataset = Dataset.model_validate({"source": FOLDER, "licence": "CC0", "description": "mine"})
    assert "licence" not in identity(dataset) and "description" not in identity(dataset)
    assert Dataset.model_validate(identity(dataset)) == Dataset.model_validate({"source": FOLDER})
    assert canonical(identity(dataset)) == canonical(identity(Dataset.model_validate({"source": FOLDER})))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": {"format": "folder"}}, "stated: neither"),
        ({"source": FOLDER | {"files": "f.csv"}}, "stated: both"),
        (
            {"source": {"format": "cocoo", "root": "x"}},
            "'coco', 'yolo', 'voc', 'mot', 'ego4d_nlq', 'qvhighlights'",
        ),
        ({"source": FOLDER, "clases": ["a"]}, "clases"),
        ({"source": FOLDER, "classes": []}, "at least one class"),
        ({"source": FOLDER, "classes": ["a", "a"]}, "'a' is stated twice"),
        ({"source": FOLDER, "classes": {"x": ["a"], "y": ["a"]}}, "'a' is stated twice"),
        ({"source": FOLDER, "classes": {"x": []}}, "'x' needs a name and at least one"),
        ({"source": FOLDER, "splits": {"train": 0.7, "test": 0.4}}, "sum to at most 1"),
        ({"source": FOLDER, "splits": {"train": -0.1}}, "must each exceed 0"),
        ({"source": FOLDER, "splits": {"train": 0.5, "test": ["a*"]}}, "not a mixture"),
        ({"source": FOLDER, "chunks": 0}, "chunks"),
        ({"source": FOLDER | {"patterns": ["../*"]}}, "must stay below the root"),
        ({"source": COCO | {"images": {"train": "t"}}}, "images: must name the splits"),
        ({"source": {"format": "mot", "root": "r", "sequences": {"a": "a"}, "detections": {"b": "x"}}}, "'b' is not among"),
    ],
)
def test_refusals_say_what_is_wrong(settings, message):
    with pytest.raises(ValidationError) as caught:
        Dataset.model_validate(settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "../up.jpg"}, "below the raw folder"),
        ({"path": "/etc/x"}, "below the raw folder"),
        ({"url": "file:///etc/passwd"}, "https:// or http://"),
        ({"sha256": "ABC"}, "64 lower-case"),
        ({"bytes": -1}, "greater than or equal to 0"),
    ],
)
def test_file_entries_stay_inside_and_on_the_web(change, message):
    FileEntry.model_validate(ENTRY)
    with pytest.raises(ValidationError, match=message):
        FileEntry.model_validate(ENTRY | change)
