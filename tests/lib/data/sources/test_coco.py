"""COCO and CocoVID reading, against hand-written files and pycocotools' own masks; (mirror) the counts of an extract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from lib.config.download import CocoSource
from lib.data.sources import Source, read_source
from lib.files import DataError

CATEGORIES = [{"id": 7, "name": "person"}, {"id": 2, "name": "hook"}]
IMAGES = [
    {"id": 0, "file_name": "a.jpg", "width": 20, "height": 10},
    {"id": 5, "file_name": "b.jpg", "width": 20, "height": 10},
]


def annotation(**changes: Any) -> dict[str, Any]:
    return {"id": 0, "image_id": 0, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 0} | changes


def read(root: Path, *annotations: dict[str, Any], **changes: Any) -> Source:
    root.mkdir(exist_ok=True)
    data = {"images": IMAGES, "categories": CATEGORIES, "annotations": list(annotations)} | changes
    (root / "t.json").write_text(json.dumps(data))
    return read_source(root, CocoSource(format="coco", root=str(root), annotations={"train": "t.json"}, images="img"))


def test_boxes_ids_and_background(tmp_path):
    source = read(tmp_path, annotation(), annotation(id=1, category_id=2, iscrowd=1, bbox=[0.5, 0, 2.25, 1]))
    assert source.classes == ["person", "hook"]
    assert [(item.original, item.kind, item.split, item.width) for item in source.items] == [
        ("img/a.jpg", "image", "train", 20),
        ("img/b.jpg", "image", "train", 20),
    ]
    assert source.items[0].path == tmp_path / "img" / "a.jpg"
    assert source.frames.to_numpy().tolist() == [["img/a.jpg", 0], ["img/b.jpg", 0]]  # b: looked at, nothing there
    assert source.boxes.to_numpy().tolist() == [
        ["img/a.jpg", 0, "person", 1.0, 2.0, 4.0, 6.0, -1, False, ""],
        ["img/a.jpg", 0, "hook", 0.5, 0.0, 2.75, 1.0, -1, True, ""],
    ]


def test_masks_are_those_of_pycocotools(tmp_path):
    polygon, square = [[1, 1, 9, 1, 9, 8]], np.zeros((10, 20), np.uint8, order="F")
    square[2:5, 3:9] = 1
    packed = rle.encode(square)["counts"].decode()
    counts = [32, 3, 7, 3, 7, 3, 7, 3, 7, 3, 7, 3, 115]  # column by column, zeros first
    source = read(
        tmp_path,
        annotation(segmentation=polygon),
        annotation(id=1, segmentation={"size": [10, 20], "counts": counts}),
        annotation(id=2, segmentation={"size": [10, 20], "counts": packed}, bbox=None),
        annotation(id=3, segmentation=[[1, 1, 2, 2]]),
    )
    drawn = [rle.decode({"size": [10, 20], "counts": text}) for text in source.boxes["mask"][:3]]
    reference = COCO()
    reference.dataset = {"images": IMAGES, "categories": CATEGORIES, "annotations": [annotation(segmentation=polygon)]}
    reference.createIndex()
    np.testing.assert_array_equal(drawn[0], reference.annToMask(reference.anns[0]))
    np.testing.assert_array_equal(drawn[1], square)
    np.testing.assert_array_equal(drawn[2], square)
    assert source.boxes.loc[2, ["x1", "y1", "x2", "y2"]].tolist() == [3, 2, 9, 5]  # made from the mask
    assert source.boxes.loc[3, "mask"] == "" and source.dropped[0]["what"] == "mask"


def test_boxes_without_area_are_dropped_by_name(tmp_path):
    source = read(tmp_path, annotation(bbox=[1, 1, 0, 5]), annotation(id=1))
    assert len(source.boxes) == 1
    assert source.dropped == [
        {"original": "img/a.jpg", "what": "box", "value": "annotation 0: [1.0, 1.0, 0.0, 5.0]", "cause": "no area"}
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 9}, "names image_id 9"),
        ({"category_id": 9}, "names category_id 9"),
        ({"bbox": [1, 2, 3]}, "bbox must be four numbers"),
        ({"bbox": [1, 2, 3, float("nan")]}, "bbox must be four numbers"),
        ({"track_id": "x"}, "track_id must be an integer"),
        ({"segmentation": {"size": [20, 10], "counts": [200]}}, "RLE size"),
        ({"category_id": None}, "has no `category_id`"),
    ],
)
def test_malformed_annotations_are_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=r"t\.json: .*" + message):
        read(tmp_path, annotation(**changes))


def test_repeated_ids_files_and_escapes_are_refused(tmp_path):
    with pytest.raises(DataError, match="annotations: id 0 occurs twice"):
        read(tmp_path, annotation(), annotation())
    with pytest.raises(DataError, match=r"'img/a\.jpg' is listed twice"):
        read(tmp_path, images=[IMAGES[0], IMAGES[0] | {"id": 1}])
    with pytest.raises(DataError, match="must stay below its folder"):
        read(tmp_path, images=[IMAGES[0] | {"file_name": "../../etc/x.jpg"}])
    options = CocoSource(format="coco", root="x", annotations={"train": "t.json", "val": "t.json"})
    read(tmp_path)
    with pytest.raises(DataError, match=r"'a\.jpg' is in split 'train' and in split 'val'"):
        read_source(tmp_path, options)
    with pytest.raises(DataError, match="no such folder"):
        read_source(tmp_path / "none", options)


def _frames(**changes: Any) -> list[dict[str, Any]]:
    return [{"id": index, "video_id": 3, "frame_index": index * 2, "width": 20, "height": 10} | changes for index in (0, 1)]


def test_videos_with_tracks(tmp_path):
    videos = [{"id": 3, "file_name": "clip.mp4", "width": 20, "height": 10}]
    source = read(tmp_path, annotation(image_id=1, track_id=4), images=_frames(), videos=videos)
    (item,) = source.items
    assert (item.original, item.kind, item.path) == ("clip.mp4", "video", tmp_path / "clip.mp4")
    assert source.frames["frame"].tolist() == [0, 2]
    assert source.boxes[["original", "frame", "track"]].to_numpy().tolist() == [["clip.mp4", 2, 4]]
    with pytest.raises(DataError, match="lists a frame twice"):
        read(tmp_path, images=_frames(frame_index=1), videos=videos)
    with pytest.raises(DataError, match="names video_id 8"):
        read(tmp_path, images=_frames(video_id=8), videos=videos)


def test_folders_of_frames_go_by_their_place(tmp_path):
    (tmp_path / "img" / "s").mkdir(parents=True)
    for name in ("1.png", "2.png", "10.png"):
        Image.new("RGB", (20, 10)).save(tmp_path / "img" / "s" / name)
    images = [frame | {"file_name": f"s/{name}"} for frame, name in zip(_frames(), ("2.png", "10.png"), strict=True)]
    source = read(tmp_path, annotation(image_id=1), images=images, videos=[{"id": 3, "name": "s", "fps": 8}])
    (item,) = source.items
    assert (item.kind, item.frames, item.fps, item.path) == ("frames", 3, 8.0, tmp_path / "img" / "s")
    assert source.frames["frame"].tolist() == [1, 2] and source.boxes["frame"].tolist() == [2]


@pytest.mark.mirror
def test_a_real_extract_has_its_known_counts(mirror):
    root = mirror / "det" / "coco-mini"
    options = CocoSource(
        format="coco",
        root=str(root),
        annotations={split: f"annotations/instances_{split}2017.json" for split in ("train", "val")},
        images={"train": "train2017", "val": "val2017"},
    )
    source = read_source(root, options)
    assert [sum(item.split == split for item in source.items) for split in ("train", "val")] == [80, 79]
    assert len(source.boxes) == 739 + 624 and int(source.boxes["ignore"].sum()) == 8 + 5
    assert len(source.classes) == 80 and source.classes[0] == "person" and not source.dropped
    assert (source.boxes["mask"] != "").all() and all(item.path.is_file() for item in source.items)
