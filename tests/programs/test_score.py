"""`score` by hand: JSON on stdout and in a file, several sequences, no torch, and every kind of bad file refused by
name, with entry or line, value, what is allowed and a hint. What the numbers equal:
tests/lib/metrics/test_{coco_summary,mot_challenge}."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT
from workflow_scripts import _program, score

TRUTH = {
    "images": [{"id": 1, "width": 100, "height": 80}, {"id": 2, "width": 100, "height": 80}],
    "categories": [{"id": 4, "name": "crane"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 4, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0,
         "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]},
    ],
}  # fmt: skip
RESULT = {"image_id": 1, "category_id": 4, "bbox": [10, 10, 20, 20], "score": 0.9}
GT = "1,1,10,10,20,40,1,1,1\n2,1,12,10,20,40,1,1,1\n2,2,60,10,20,40,1,8,1\n"
TRACKS = "1,5,10,10,20,40,0.9,-1,-1,-1\n2,5,12,10,20,40,0.9,-1,-1,-1\n"


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["score", *(str(word) for word in words)])
    _program.run(score.main)


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, *words)
    shown = capsys.readouterr()
    assert stopped.value.code == _program.WRONG_INPUT and shown.out == "" and "Hint: " in shown.err
    return shown.err


def coco(folder: Path, truth: Any, results: Any) -> list[object]:
    """Values as JSON, texts as they are."""
    for name, values in (("instances.json", truth), ("results.json", results)):
        (folder / name).write_text(values if isinstance(values, str) else json.dumps(values))
    return ["detection", "--truth", folder / "instances.json", "--predictions", folder / "results.json"]


def mot(folder: Path, truth: str, tracks: str) -> list[object]:
    (folder / "gt.txt").write_text(truth)
    (folder / "tracks.txt").write_text(tracks)
    return ["tracking", "--truth", folder / "gt.txt", "--predictions", folder / "tracks.txt"]


def test_it_runs_by_hand_without_torch(tmp_path: Path) -> None:
    words = [
        str(word) for word in [*coco(tmp_path, TRUTH, [RESULT]), "--format", "coco", "--out", tmp_path / "scores.json"]
    ]
    code = "import sys; from workflow_scripts import score; score.main(); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=PROJECT, check=True)
    values = json.loads(done.stdout)
    assert values == json.loads((tmp_path / "scores.json").read_text())
    assert values["bbox"]["overall"]["AP50"] == pytest.approx(1.0) and len(values["bbox"]["overall"]) == 12
    assert values["bbox"]["per_class"]["crane"]["truth"] == 1 and "segm" not in values
    assert "1 of 2 images have no prediction" in done.stderr
    words = [str(word) for word in mot(tmp_path, GT, TRACKS)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=PROJECT, check=True)
    values = json.loads(done.stdout)
    assert values["benchmark"] == "MOT17" and values["COMBINED"]["MOTA"] == 1.0 and values["frames"] == {"gt": 2}


def test_sequences_come_as_folders_or_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / "truth" / name / "gt").mkdir(parents=True)
        (tmp_path / "truth" / name / "gt" / "gt.txt").write_text(GT)
        (tmp_path / "truth" / name / "seqinfo.ini").write_text("[Sequence]\nseqLength=9\n")
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "one.txt").write_text(TRACKS)
    words = ["tracking", "--truth", tmp_path / "truth", "--predictions", tmp_path / "found"]
    assert "two.txt: absent" in refused(monkeypatch, capsys, *words)
    (tmp_path / "found" / "two.txt").write_text("")
    (tmp_path / "found" / "other.txt").write_text("")
    call(monkeypatch, *words)
    folders = json.loads(capsys.readouterr().out)
    assert folders["frames"] == {"one": 9, "two": 9} and folders["COMBINED"]["CLR_Re"] == 0.5
    assert any("other.txt: no such sequence" in text for text in folders["warnings"])
    pairs = [
        word
        for name in ("one", "two")
        for word in (
            "--truth",
            tmp_path / "truth" / name / "gt" / "gt.txt",
            "--predictions",
            tmp_path / "found" / f"{name}.txt",
        )
    ]
    call(monkeypatch, "tracking", *pairs)
    assert json.loads(capsys.readouterr().out)["sequences"] == folders["sequences"]
    assert "is given twice" in refused(monkeypatch, capsys, "tracking", *pairs, *pairs[:4])
    assert "equally often" in refused(monkeypatch, capsys, "tracking", *pairs[:4], *pairs[:2])
    assert "is not; allowed" in refused(monkeypatch, capsys, "tracking", *words[1:3], *pairs[2:4])


def changed(**values: Any) -> dict[str, Any]:
    """The result with other values; None leaves the key out."""
    return {key: value for key, value in {**RESULT, **values}.items() if value is not None}


def annotated(**values: Any) -> dict[str, Any]:
    one = {key: value for key, value in {**TRUTH["annotations"][0], **values}.items() if value is not None}
    return TRUTH | {"annotations": [one]}


BAD_RESULTS = {
    "unknown image": (changed(image_id=3), "entry 0: image_id 3; allowed: one of the truth's image ids"),
    "position for id": (changed(category_id=0), "entry 0: category_id 0"),
    "text id": (changed(image_id="1"), "image_id '1'"),
    "no image": (changed(image_id=None), "image_id 'absent'"),
    "NaN score": (changed(score=float("nan")), "score nan; allowed: a finite number"),
    "infinite score": (changed(score=float("inf")), "score inf"),
    "text score": (changed(score="0.9"), "score '0.9'"),
    "no score": (changed(score=None), "score 'absent'"),
    "negative width": (changed(bbox=[30, 10, -20, 20]), "bbox [30, 10, -20, 20]; allowed: [x, y, width, height]"),
    "three numbers": (changed(bbox=[1, 2, 3]), "bbox [1, 2, 3]"),
    "NaN box": (changed(bbox=[float("nan"), 1, 2, 3]), "bbox [nan, 1, 2, 3]"),
    "far box": (changed(bbox=[1, 1, 1e200, 1e200]), "bbox [1, 1, 1e+200, 1e+200]"),
    "huge number": (changed(score=10**400), "score 1000"),
    "huge id": (changed(image_id=10**30), "image_id 1000"),
    "no box": (changed(bbox=None), "bbox 'absent'"),
    "endless box": (changed(bbox=[1] * 10_000), "…; allowed: [x, y, width, height]"),
    "a number": (7, "entry 0: 7; allowed: an object"),
}


@pytest.mark.parametrize("case", BAD_RESULTS)
def test_bad_results_are_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, says = BAD_RESULTS[case]
    text = refused(monkeypatch, capsys, *coco(tmp_path, TRUTH, [entry]), "--out", tmp_path / "scores.json")
    assert f"{tmp_path / 'results.json'}: " in text and says in text
    assert not (tmp_path / "scores.json").exists()


BAD_TRUTHS = {
    "no list": ({"images": []}, "categories: absent"),
    "no image": (TRUTH | {"images": []}, "images: []"),
    "results for truth": ([RESULT], "list; allowed: an object"),
    "cut": (json.dumps(TRUTH)[:80], "not valid JSON"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "endless number": ("1" * 10_000, "not valid JSON"),
    "image twice": (TRUTH | {"images": TRUTH["images"] + TRUTH["images"]}, "images[2]: id 1; allowed: each id once"),
    "annotation twice": (TRUTH | {"annotations": TRUTH["annotations"] * 2}, "annotations[1]: id 1; allowed: each id once"),
    "category without id": (TRUTH | {"categories": [{"name": "crane"}]}, "categories[0]: id None"),
    "unknown image": (annotated(image_id=9), "annotations[0]: image_id 9"),
    "unknown category": (annotated(category_id=9), "annotations[0]: category_id 9"),
    "negative height": (annotated(bbox=[1, 1, 5, -1]), "annotations[0]: bbox [1, 1, 5, -1]"),
    "no area": (annotated(area=None), "annotations[0]: area 'absent'"),
    "odd crowd": (annotated(iscrowd=2), "annotations[0]: iscrowd 2; allowed: 0 or 1"),
}


@pytest.mark.parametrize("case", BAD_TRUTHS)
def test_bad_truth_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values, says = BAD_TRUTHS[case]
    text = refused(monkeypatch, capsys, *coco(tmp_path, values, [RESULT]))
    assert f"{tmp_path / 'instances.json'}: " in text and says in text


SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]
BAD_MASKS = {
    "none": (None, "is absent"),
    "other size": ({"size": [8, 8], "counts": [64]}, "size [8, 8] is not the image's"),
    "short runs": ({"size": [80, 100], "counts": [10, 5]}, "counts cover 15 pixels, the image has 8000"),
    "negative run": ({"size": [80, 100], "counts": [8010, -10]}, "counts cover 8000 pixels"),
    "cut text": ({"size": [80, 100], "counts": "oW"}, "cut, or another encoding"),
    "foreign text": ({"size": [80, 100], "counts": "\x01é"}, "another encoding"),
    "long run": ({"size": [80, 100], "counts": "o" * 40 + "0"}, "too long"),
    "two corners": ([[1, 1, 2, 2]], "at least three x, y pairs"),
    "far corner": ([[0, 0, 1e12, 0, 0, 5]], "far outside"),
    "NaN corner": ([[0, 0, float("nan"), 0, 0, 5]], "far outside the 100x80 image, or not finite"),
    "empty": ([], "no polygon"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_bad_masks_are_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, says = BAD_MASKS[case]
    text = refused(monkeypatch, capsys, *coco(tmp_path, TRUTH, [changed(segmentation=mask, bbox=None)]), "--masks")
    assert "results.json: entry 0: segmentation: " in text and says in text
    text = refused(
        monkeypatch, capsys, *coco(tmp_path, annotated(segmentation=mask), [changed(segmentation=SQUARE)]), "--masks"
    )
    assert "instances.json: annotations[0]: segmentation: " in text and says in text


def test_masks_need_image_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for image in ({"id": 1}, {"id": 1, "width": 10**9, "height": 10**9}):
        words = coco(tmp_path, TRUTH | {"images": [image]}, [changed(segmentation=SQUARE)])
        assert "images[0]: width " in refused(monkeypatch, capsys, *words, "--masks")


def test_equal_entries_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, *coco(tmp_path, TRUTH, [RESULT, RESULT]))
    assert "1 entries repeat an earlier one exactly (first: entry 1)" in json.loads(capsys.readouterr().out)["warnings"][0]


BAD_TRACKS = {
    "frame 0": ("0,1,1,1,5,5,1", ":3: frame 0 (frame 0, id 1); allowed: a whole number from 1"),
    "half a frame": ("1.5,1,1,1,5,5,1", ":3: frame 1.5"),
    "beyond the end": ("7,1,1,1,5,5,1", ": frame 7; allowed: 1 to 3"),
    "no identity": ("3,-1,1,1,5,5,1", ":3: id -1"),
    "id twice": ("2,5,1,1,5,5,1", ":3: id 5 (frame 2, id 5); allowed: each id once in a frame"),
    "no width": ("3,1,1,1,0,5,1", ":3: width 0"),
    "negative height": ("3,1,1,1,5,-5,1", ":3: height -5"),
    "far box": ("3,1,1,1,1e300,5,1", ":3: width 1e+300"),
    "far place": ("3,1,-1e12,1,5,5,1", ":3: left -1e+12"),
    "NaN score": ("3,1,1,1,5,5,nan", ":3: 3,1,1,1,5,5,nan"),
    "words": ("3,1,1,1,5,5,high", ":3: 3,1,1,1,5,5,high; allowed: numbers"),
    "short row": ("3,1,1,1,5", ":3: 3,1,1,1,5"),
    "spaces": ("3 1 1 1 5 5 1", ":3: 3 1 1 1 5 5 1"),
}


@pytest.mark.parametrize("case", BAD_TRACKS)
def test_bad_tracks_are_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row, says = BAD_TRACKS[case]
    lines = ["1,5,10,10,20,40,0.9", "2,5,12,10,20,40,0.9", row]
    text = refused(monkeypatch, capsys, *mot(tmp_path, GT, "\n".join(lines)), "--length", 3)
    assert f"{tmp_path / 'tracks.txt'}" in text and says in text


BAD_GT = {
    "flag": ("3,1,1,1,5,5,0.5,1,1", ":4: flag 0.5"),
    "class": ("3,1,1,1,5,5,1,14,1", ":4: class 14"),
    "short": ("3,1,1,1,5,5,1", ":4: 3,1,1,1,5,5,1; allowed: 9 columns"),
    "MOT15 row": ("3,1,1,1,5,5,1,-1,1", "holds boxes of class -1; allowed under MOT17"),
}


@pytest.mark.parametrize("case", BAD_GT)
def test_bad_gt_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row, says = BAD_GT[case]
    assert says in refused(monkeypatch, capsys, *mot(tmp_path, GT + row, TRACKS))


def test_other_bad_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "gt.txt: no row" in refused(monkeypatch, capsys, *mot(tmp_path, "\n\n", TRACKS))
    words = mot(tmp_path, GT, "3,1,1,1,5,5,1,2\n")
    assert "tracks.txt:1: class 2 (frame 3, id 1); allowed: -1 or 1" in refused(monkeypatch, capsys, *words)
    assert "columns" in refused(monkeypatch, capsys, *mot(tmp_path, "1,1,1,1,5,5\n", TRACKS))
    words = mot(tmp_path, GT, "")
    (tmp_path / "tracks.txt").write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in refused(monkeypatch, capsys, *words)
    assert "absent" in refused(monkeypatch, capsys, *words[:4], tmp_path / "none.txt")
    words = coco(tmp_path, TRUTH, [RESULT])
    assert "none.json: absent" in refused(monkeypatch, capsys, *words[:4], tmp_path / "none.json")
    assert "a folder" in refused(monkeypatch, capsys, *words[:4], tmp_path)
