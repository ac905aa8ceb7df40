"""MOTChallenge reading, against a hand-made sequence; (mirror) real MOT15 and MOT17 extracts counted with awk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.config.download import MotSource
from lib.data.sources import Source, read_source
from lib.files import DataError

GT = """1,1,2,3,4,5,1,1,1
2,1,2,3,4,5,0,1,1
2,2,0,0,1,1,0,7,1
2,3,0,0,1,1,0,3,1
9,1,0,0,1,1,1,1,1
2,4,0,0,0,1,1,1,1
"""


def mot(root: Path, gt: str | None = GT, det: str | None = None, *, images: int = 2, info: str = "frameRate=10") -> Source:
    (root / "s" / "gt").mkdir(parents=True)
    (root / "s" / "det").mkdir()
    (root / "s" / "img1").mkdir()
    for number in range(images):
        Image.new("RGB", (20, 10)).save(root / "s" / "img1" / f"{number + 1:06}.jpg")
    (root / "s" / "seqinfo.ini").write_text(f"[Sequence]\nname=s\nseqLength=9\n{info}\n")
    if gt is not None:
        (root / "s" / "gt" / "gt.txt").write_text(gt)
    if det is not None:
        (root / "s" / "det" / "det.txt").write_text(det)
    return read_source(root, MotSource(format="mot", root="r", sequences={"s": "s"}))


def test_frames_flags_and_classes(tmp_path):
    source = mot(tmp_path)
    (item,) = source.items
    assert (item.kind, item.frames, item.fps, item.path) == ("frames", 2, 10.0, tmp_path / "s" / "img1")
    assert source.frames["frame"].tolist() == [0, 1] and source.classes == ["pedestrian"]
    assert source.boxes[["frame", "track", "ignore"]].to_numpy().tolist() == [[0, 1, False], [1, 1, True], [1, 2, True]]
    assert source.boxes.loc[0, ["x1", "y1", "x2", "y2"]].tolist() == [2, 3, 6, 8]
    assert {(entry["what"], entry["cause"]) for entry in source.dropped} == {
        ("rows", "class 3 (car) is not evaluated"),
        ("rows", "truth of frames that are not present"),
        ("box", "no area"),
    }
    assert source.detections is None


def test_sequences_without_pictures_or_truth(tmp_path):
    source = mot(tmp_path, None, images=0, info="")
    (item,) = source.items
    assert (item.kind, item.path, item.frames, item.fps) == ("none", None, 9, 25.0)
    assert source.frames.empty and "25 assumed" in source.dropped[0]["cause"]


def test_given_detections_keep_or_get_scores(tmp_path):
    source = mot(tmp_path / "a", det="1,-1,0,0,4,4,0.25,-1,-1,-1\n5,-1,0,0,4,4,1\n")
    assert source.detections["score"].tolist() == [0.25] and source.detections["frame"].tolist() == [0]
    scaled = mot(tmp_path / "b", det="1,-1,0,0,4,4,-2\n1,-1,1,1,4,4,6\n2,-1,1,1,4,4,0\n")
    np.testing.assert_allclose(scaled.detections["score"], [0, 1, 0.25])
    assert any(entry["what"] == "scores" for entry in scaled.dropped)


@pytest.mark.parametrize(
    ("gt", "message"),
    [
        ("1,1,2,3,4\n", r"gt\.txt:1: needs at least 6"),
        ("1,1,2,3,4,5\n1,x,2,3,4,5\n", r"gt\.txt:2: must hold numbers"),
        ("0,1,2,3,4,5\n", r"gt\.txt:1: frame \(from 1\)"),
        ("1,1,2,3,4,5\n1,1,2,3,4,6\n", r"gt\.txt:2: id 1 occurs twice"),
        ("1,1,nan,3,4,5\n", r"gt\.txt:1: needs"),
    ],
)
def test_malformed_rows_are_named(tmp_path, gt, message):
    with pytest.raises(DataError, match=message):
        mot(tmp_path, gt)


def test_damaged_seqinfo_is_named(tmp_path):
    with pytest.raises(DataError, match=r"seqinfo\.ini: not a readable"):
        mot(tmp_path, info="frameRate=fast")


@pytest.mark.mirror
def test_real_sequences(mirror):
    options = MotSource(
        format="mot",
        root="r",
        sequences={"tud": "TUD-Campus", "mot17-04": "MOT17-04-mini"},
        detections={"tud": "TUD-Campus-det/det/det.txt"},
    )
    source = read_source(mirror / "mot", options)
    of = source.boxes.groupby("original")
    assert of.size().to_dict() == {"tud": 359, "mot17-04": 336 + 32}
    assert of["ignore"].sum().to_dict() == {"tud": 0, "mot17-04": 32}
    assert [(item.kind, item.frames) for item in source.items] == [("none", 71), ("frames", 8)]
    assert source.detections.groupby("original").size().to_dict() == {"tud": 321, "mot17-04": 205}
    assert sum(entry["value"] for entry in source.dropped if entry["what"] == "rows") == 424 + 28406 - 205
