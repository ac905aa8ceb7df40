"""YOLO, VOC and plain folders, against hand-made sets worked out by hand; (mirror) the published counts of BCCD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from lib.config.download import FolderSource, VocSource, YoloSource
from lib.data.sources import Source, read_source
from lib.files import DataError

XML = """<annotation><filename>stale.png</filename><size><width>20</width><height>10</height></size>
<object><name>cat</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>10</ymax></bndbox>
</object><object><name>dog</name><bndbox><xmin>{}</xmin><ymin>3</ymin><xmax>5.5</xmax><ymax>3</ymax></bndbox></object>
</annotation>"""


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(path)


def yolo(root: Path, label: str | None, *, names: str = "[cat, dog]", train: str = "images/train") -> Source:
    image(root / "images" / "train" / "a.png")
    labels = root / "labels" / "train"
    labels.mkdir(parents=True, exist_ok=True)
    if label is not None:
        (labels / "a.txt").write_text(label)
    (root / "data.yaml").write_text(f"path: /the/authors/machine\nnames: {names}\ntrain: {train}\n")
    return read_source(root, YoloSource(format="yolo", root=str(root)))


def test_yolo_boxes_and_polygons_become_px(tmp_path):
    source = yolo(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6\n")
    assert source.classes == ["cat", "dog"] and source.items[0].original == "images/train/a.png"
    edges = source.boxes[["x1", "y1", "x2", "y2"]].to_numpy()
    np.testing.assert_allclose(edges, [[8, 3, 12, 7], [2, 1, 10, 6]])
    assert source.boxes["class"].tolist() == ["dog", "cat"] and source.boxes["mask"][0] == ""
    drawn = rle.decode({"size": [10, 20], "counts": source.boxes["mask"][1]})
    assert drawn.sum() == 8 * 5 and drawn[1:6, 2:10].all()


def test_yolo_names_lists_and_background(tmp_path):
    source = yolo(tmp_path, None, names="{0: cat, 3: dog}")
    assert source.classes == ["cat", "dog"] and len(source.frames) == 1 and not len(source.boxes)
    assert source.dropped[0]["cause"] == "absent: taken as background"
    (tmp_path / "list.txt").write_text("./images/train/a.png\n")
    assert yolo(tmp_path, "3 0.5 0.5 1 1", names="{0: cat, 3: dog}", train="list.txt").boxes["class"].tolist() == ["dog"]
    assert len(yolo(tmp_path, "0 0.5 0.5 0 1").dropped) == 1
    assert len(yolo(tmp_path, "", train="../images/train").items) == 1  # written one level too high by an exporter


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("0 0.5 0.5 1 1\n2 0.5 0.5 1 1", r"a\.txt:2: class 2 is not among"),
        ("0 0.5 0.5 1", r"a\.txt:1: needs"),
        ("0 a b c d", r"a\.txt:1: must hold numbers"),
        ("0.5 0.5 0.5 1 1", r"a\.txt:1: the class must be an integer"),
        ("0 10 5 4 4", r"a\.txt:1: coordinates must be normalised"),
        ("0 nan 0.5 1 1", r"a\.txt:1: .*finite"),
    ],
)
def test_yolo_names_file_and_line(tmp_path, label, message):
    with pytest.raises(DataError, match=message):
        yolo(tmp_path, label)


def test_yolo_refuses_what_it_cannot_find(tmp_path):
    with pytest.raises(DataError, match="no such folder of images"):
        yolo(tmp_path, "", train="nowhere")
    with pytest.raises(DataError, match="`names` must be"):
        yolo(tmp_path, "", names="cat")
    with pytest.raises(DataError, match="states a class twice"):
        yolo(tmp_path, "", names="[cat, cat]")


def voc(root: Path, xml: str, **lists: str) -> Source:
    image(root / "JPEGImages" / "a.png")
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "Annotations" / "a.xml").write_text(xml)
    for split, names in (lists or {"train": "a\n"}).items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text(names)
    return read_source(root, VocSource(format="voc", root=str(root)))


def test_voc_corners_count_from_one_and_include_the_last(tmp_path):
    source = voc(tmp_path, XML.format(3))
    assert source.boxes.to_numpy().tolist() == [
        ["a", 0, "cat", 0.0, 0.0, 20.0, 10.0, -1, True, ""],
        ["a", 0, "dog", 2.0, 2.0, 5.5, 3.0, -1, False, ""],
    ]
    (item,) = source.items
    assert (item.path, item.split, item.width, item.height) == (tmp_path / "JPEGImages" / "a.png", "train", 20, 10)


def test_voc_refusals(tmp_path):
    assert voc(tmp_path / "0", XML.format(7)).dropped[0]["cause"] == "no area"
    with pytest.raises(DataError, match=r"a\.xml: object 2 \(dog\): bndbox needs numbers"):
        voc(tmp_path / "1", XML.format("x"))
    with pytest.raises(DataError, match="not valid XML"):
        voc(tmp_path / "2", XML.format(3)[:-20])
    with pytest.raises(DataError, match="'a' is in split 'train' and in split 'test'"):
        voc(tmp_path / "3", XML.format(3), train="a", test="a")
    with pytest.raises(DataError, match=r"b\.xml: file not found"):
        voc(tmp_path / "4", XML.format(3), train="b 1\n")
    with pytest.raises(DataError, match="holds none of"):
        voc(tmp_path / "5", XML.format(3), other="a")


def test_folder_finds_media_only(tmp_path):
    image(tmp_path / "x" / "b.JPG")
    (tmp_path / "x" / "a.mp4").touch()
    (tmp_path / "x" / "notes.txt").touch()
    source = read_source(tmp_path, FolderSource(format="folder", root="r", split="val"))
    assert [(item.original, item.kind, item.split) for item in source.items] == [
        ("x/a.mp4", "video", "val"),
        ("x/b.JPG", "image", "val"),
    ]
    assert source.frames.empty and source.boxes.empty
    with pytest.raises(DataError, match="no video or image matches"):
        read_source(tmp_path, FolderSource(format="folder", root="r", patterns=["*.mp4"]))


@pytest.mark.mirror
def test_bccd_has_its_published_counts(mirror):
    source = read_source(mirror / "det" / "bccd", VocSource(format="voc", root="r"))
    assert source.boxes["class"].value_counts().to_dict() == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    counts = {split: sum(item.split == split for item in source.items) for split in ("train", "val", "test")}
    assert counts == {"train": 205, "val": 87, "test": 72} and not source.dropped
