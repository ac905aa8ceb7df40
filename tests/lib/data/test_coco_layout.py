"""RF-DETR's layout, compared with: pycocotools reading the written files, masks drawn by hand, the library's data set on
them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from lib.config.base import ConfigError
from lib.data.coco_layout import ANNOTATIONS, FOLDERS, export_coco, read_layout
from lib.data.reader import ShardReader
from lib.data.samples import Sample
from lib.data.shards import write_tar
from lib.files import DataError, atomic
from tests.lib.data.packed import seal

CLASSES = ["person", "crane hook"]
HEIGHT, WIDTH = 40, 60
SQUARE = [[10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]]
"""A polygon: 20 x 20 px."""


def jpg() -> bytes:
    import cv2

    return cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()


def run_lengths() -> dict[str, Any]:
    """RLE of 8 x 10 px."""
    whole = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    whole[12:20, 30:40] = 1
    return {"size": [HEIGHT, WIDTH], "counts": rle.encode(whole)["counts"].decode()}


def sample(key: str, split: str, boxes: list[tuple[list[float], str, bool, Any]]) -> Sample:
    data: dict[str, Any] = {"video": key, "frame": 0, "time_s": 0.0, "width": WIDTH, "height": HEIGHT, "split": split}
    data |= {"boxes": [one[0] for one in boxes], "labels": [one[1] for one in boxes], "tracks": [-1] * len(boxes)}
    data["ignore"] = [one[2] for one in boxes]
    if any(one[3] for one in boxes):
        data["masks"] = [one[3] for one in boxes]
    return Sample(key, jpg(), data)


@pytest.fixture
def reader(tmp_path: Path) -> ShardReader:
    """Two training samples (one empty), two of val with ignored, strange and cut boxes."""
    folder = tmp_path / "shards"
    folder.mkdir()
    samples = [
        sample(
            "a",
            "train",
            [([10, 5, 30, 25], "person", False, SQUARE), ([30, 12, 40, 20], "crane hook", False, run_lengths())],
        ),
        sample("empty", "train", []),
        sample("c", "val", [([50, 30, 90, 50], "crane hook", False, None), ([0, 0, 9, 9], "person", True, None)]),
        sample("d", "val", [([0, 0, 9, 9], "truck", False, None), ([70, 0, 90, 9], "person", False, None)]),
    ]
    with atomic(folder / "train-000000.tar") as temporary:
        places, written = write_tar(temporary, samples)
    splits = {one.key: one.data["split"] for one in samples}
    shard = {"file": "train-000000.tar", "samples": len(samples)} | written
    places = [place | {"split": splits[place["key"]], "shard": shard["file"]} for place in places]
    manifest = seal(folder, [shard], places)
    found = ShardReader(manifest)
    found.classes = [*CLASSES, "truck"]
    return found


def read(folder: Path, split: str) -> dict[str, Any]:
    return json.loads((folder / FOLDERS[split] / ANNOTATIONS).read_text())


def test_the_layout_is_what_pycocotools_reads(reader: ShardReader, tmp_path: Path) -> None:
    made = export_coco(reader, {"train": ["a", "empty"], "val": ["c", "d"]}, CLASSES, tmp_path / "out")
    assert made.classes == CLASSES and made.images == {"train": 2, "val": 2}
    train, val = (read(tmp_path / "out", split) for split in ("train", "val"))
    assert train["categories"] == val["categories"]
    assert [(one["id"], one["name"]) for one in train["categories"]] == [(1, "person"), (2, "crane hook")]
    for data in (train, val):
        for kind in ("images", "annotations"):
            assert [one["id"] for one in data[kind]] == list(range(1, len(data[kind]) + 1))
    coco = COCO(tmp_path / "out/train" / ANNOTATIONS)
    assert [len(coco.getAnnIds(imgIds=image)) for image in coco.getImgIds()] == [2, 0], "an empty frame is an image too"
    square, lengths = coco.loadAnns(coco.getAnnIds(imgIds=1))
    assert square["bbox"] == [10, 5, 20, 20] and square["area"] == coco.annToMask(square).sum() == 400
    assert lengths["bbox"] == [30, 12, 10, 8] and lengths["area"] == coco.annToMask(lengths).sum() == 80
    assert coco.annToMask(lengths)[12:20, 30:40].all()
    assert (tmp_path / "out/train/a.jpg").read_bytes() == reader.read("a").jpg


def test_ignored_boxes_are_crowds_and_others_are_cut_or_left_out(reader: ShardReader, tmp_path: Path) -> None:
    export_coco(reader, {"val": ["c", "d"]}, CLASSES, tmp_path)
    found = [
        (one["image_id"], one["category_id"], one["bbox"], one["iscrowd"]) for one in read(tmp_path, "val")["annotations"]
    ]
    assert found == [(1, 2, [50, 30, 10, 10], 0), (1, 1, [0, 0, 9, 9], 1)]


def test_a_repeated_sample_is_listed_as_often_as_it_is_drawn(reader: ShardReader, tmp_path: Path) -> None:
    export_coco(reader, {"train": ["a", "empty", "a"]}, CLASSES, tmp_path)
    data = read(tmp_path, "train")
    assert [one["file_name"] for one in data["images"]] == ["a.jpg", "empty.jpg", "a.jpg"]
    assert [one["image_id"] for one in data["annotations"]] == [1, 1, 3, 3]
    assert len({one["id"] for one in data["annotations"]}) == 4


def test_the_library_sees_the_same_labels_and_masks(reader: ShardReader, tmp_path: Path) -> None:
    pytest.importorskip("rfdetr")
    from rfdetr.datasets.coco import CocoDetection

    export_coco(reader, {"train": ["a", "empty"]}, CLASSES, tmp_path)
    folder = tmp_path / "train"
    data = CocoDetection(folder, folder / ANNOTATIONS, None, include_masks=True, remap_category_ids=True)
    _, first = data[0]
    assert first["labels"].tolist() == [0, 1], "places in the list of classes"
    assert first["boxes"].tolist() == [[10, 5, 30, 25], [30, 12, 40, 20]]
    assert first["masks"].sum((1, 2)).tolist() == [400, 80]
    _, empty = data[1]
    assert empty["boxes"].shape == (0, 4) and empty["masks"].shape == (0, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"classes": ["persn"]}, ConfigError, "did you mean 'person'"),
        ({"keys_by_split": {"valid": ["c"]}}, ConfigError, "did you mean 'val'"),
        ({"keys_by_split": {"val": ["c"]}, "masks": True}, DataError, "'c': a box of class 'crane hook' has no mask"),
        ({"keys_by_split": {"val": ["zz"]}}, DataError, "no sample 'zz'"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    reader: ShardReader, tmp_path: Path, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"keys_by_split": {"train": ["a"]}, "classes": CLASSES} | asked
    with pytest.raises(error, match=message):
        export_coco(reader, given["keys_by_split"], given["classes"], tmp_path, masks=given.get("masks", False))


@pytest.fixture
def layout(reader: ShardReader, tmp_path: Path) -> Path:
    export_coco(reader, {"train": ["a", "empty"], "val": ["c", "d"]}, CLASSES, tmp_path / "layout")
    return tmp_path / "layout"


def test_a_layout_that_stands_is_read_in_place(layout: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in layout.rglob("*")}
    found = read_layout(layout)
    assert found.folder == layout and found.classes == CLASSES and found.images == {"train": 2, "val": 2}
    assert {path: path.stat().st_mtime_ns for path in layout.rglob("*")} == before


def test_class_ids_of_a_layout_may_have_gaps(layout: Path) -> None:
    for split in ("train", "val"):
        data = read(layout, split)
        for entry in data["categories"]:
            entry["id"] *= 10
        for entry in data["annotations"]:
            entry["category_id"] *= 10
        (layout / FOLDERS[split] / ANNOTATIONS).write_text(json.dumps(data))
    assert read_layout(layout).classes == CLASSES


def test_a_group_of_classes_is_no_class(layout: Path) -> None:
    pytest.importorskip("rfdetr")
    from rfdetr.datasets.coco import annotated_category_ids, filter_parent_categories

    for split in ("train", "val"):
        data = read(layout, split)
        data["categories"] = [{"id": 9, "name": "site", "supercategory": "none"}] + [
            one | {"supercategory": "site"} for one in data["categories"]
        ]
        (layout / FOLDERS[split] / ANNOTATIONS).write_text(json.dumps(data))
    data = read(layout, "train")
    theirs = filter_parent_categories(data["categories"], annotated_category_ids(data))
    assert read_layout(layout).classes == [one["name"] for one in theirs] == CLASSES


def swapped(data: dict[str, Any]) -> None:
    first, second = data["categories"]
    first["name"], second["name"] = second["name"], first["name"]


def extra(data: dict[str, Any]) -> None:
    data["categories"].append({"id": 3, "name": "truck"})


def missing(data: dict[str, Any]) -> None:
    data["categories"].pop(0)
    data["annotations"] = [one for one in data["annotations"] if one["category_id"] != 1]


def stranger(data: dict[str, Any]) -> None:
    data["annotations"][0]["category_id"] = 7


def from_zero(data: dict[str, Any]) -> None:
    data["annotations"][0]["id"] = 0


def no_category(data: dict[str, Any]) -> None:
    data["categories"], data["annotations"] = [], []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, "'val' id 1 is 'crane hook', not 'person'"),
        (extra, "'val' has 'truck' besides"),
        (missing, "'val' lacks 'person'"),
        (stranger, "of category 7, which is not listed"),
        (from_zero, "id 0, which COCO's evaluators count as missed"),
        (no_category, "lists no category"),
    ],
)
def test_a_layout_whose_splits_differ_is_refused(layout: Path, change: Any, message: str) -> None:
    path = layout / "valid" / ANNOTATIONS
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=message):
        read_layout(layout)


def test_segmentation_wants_a_mask_per_box(layout: Path) -> None:
    with pytest.raises(DataError, match="has no `segmentation`"):
        read_layout(layout, masks=True)
    assert read_layout(layout, splits=["train"], masks=True).images == {"train": 2}


def test_the_folder_is_called_valid(layout: Path) -> None:
    (layout / "valid").rename(layout / "val")
    with pytest.raises(DataError, match=r"train, valid and test \(not val\)"):
        read_layout(layout)
