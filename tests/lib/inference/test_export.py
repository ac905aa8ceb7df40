"""Exports against pycocotools (the JSON loads and scores) and against decoded pixels (boxes are drawn where they are)."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.config.export import ExportSettings
from lib.data.video import probe, read_frames, write_video
from lib.files import DataError, read_json
from lib.inference.draw import drawn_size
from lib.inference.export import export_videos
from lib.tables import COLUMNS, DETECTIONS, empty

WIDTH, HEIGHT, FRAMES = 160, 96, 6
CLASSES = ["person", "crane hook"]


@pytest.fixture
def videos(tmp_path: Path) -> pd.DataFrame:
    """Two grey videos, one image, and one entry without media."""
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    rows = []
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", (grey for _ in range(FRAMES)), 10.0, (WIDTH, HEIGHT))
        rows.append([name, f"{name}.mp4", "test", str(tmp_path / f"{name}.mp4"), "video", "", 0, 10.0, FRAMES])
    cv2.imwrite(str(tmp_path / "c.png"), grey)
    rows.append(["c", "c.png", "test", str(tmp_path / "c.png"), "image", "", -1, np.nan, 1])
    rows.append(["d", "d", "test", "", "none", "", -1, 10.0, FRAMES])
    table = pd.DataFrame(rows, columns=["video", "original", "split", "path", "kind", "sha256", "stream", "fps", "frames"])
    return table.assign(width=WIDTH, height=HEIGHT, duration_s=table["frames"] / 10)


def boxes(**more: object) -> pd.DataFrame:
    rows = [
        ["a", 0, 0.0, "person", 0.9, 20.0, 40.0, 60.0, 80.0],
        ["a", 4, 0.4, "crane hook", 0.5, 100.0, 40.0, 120.5, 60.0],
        ["a", 4, 0.4, "person", 0.2, 10.0, 40.0, 50.0, 80.0],
        ["c", 0, 0.0, "person", 0.7, 20.0, 40.0, 60.0, 80.0],
        ["d", 2, 0.2, "person", 0.7, 20.0, 40.0, 60.0, 80.0],
        ["d", 2, 0.2, "person", 0.001, 20.0, 40.0, 60.0, 80.0],
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS[DETECTIONS])).assign(**more)


def export(media: pd.DataFrame, folder: Path, rows: pd.DataFrame, *, stride: int = 1, **values: object) -> dict:
    model = {"name": "nano", "sha256": "ab" * 32}
    made = export_videos(
        media, rows, ExportSettings(**values), folder, classes=CLASSES, model=model, stride=stride, progress=False
    )
    assert read_json(folder / "index.json") == json.loads(json.dumps(made))
    return made


def test_index_names_every_file_and_nothing_else_stays(videos: pd.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(videos, folder, boxes())
    names = {"detected_a.mp4", "detected_b.mp4", "detected_c.jpg", "index.json", *(f"{v}_detections.json" for v in "abcd")}
    assert {path.name for path in folder.iterdir()} == names
    fewer = export(videos, folder, boxes(), videos=1)
    assert [entry["media"] for entry in fewer["files"]] == ["detected_a.mp4", None, None, None]
    assert {path.name for path in folder.iterdir()} == names - {"detected_b.mp4", "detected_c.jpg"}
    assert [entry["detections"] for entry in fewer["files"]] == [3, 0, 1, 1]


def test_json_is_coco(videos: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    export(videos, tmp_path / "out", boxes(), stride=2)
    path = tmp_path / "out" / "a_detections.json"
    made = read_json(path)
    assert [(image["id"], image["frame_index"]) for image in made["images"]] == [(1, 0), (2, 2), (3, 4)]
    assert [image["time_s"] for image in made["images"]] == pytest.approx([0.0, 0.2, 0.4])
    assert made["annotations"][1] | {"id": 0} == {
        "id": 0, "image_id": 3, "category_id": 2, "iscrowd": 0,
        "bbox": [100.0, 40.0, 20.5, 20.0], "area": 410.0, "score": 0.5,
    }  # fmt: skip
    assert made["info"]["model"]["sha256"] == "ab" * 32 and made["info"]["fps"] == 10.0 and made["info"]["frames"] == FRAMES
    truth = COCO(str(path))
    score = COCOeval(truth, truth.loadRes(made["annotations"]), "bbox")
    score.evaluate(), score.accumulate(), score.summarize()
    assert score.stats[0] == pytest.approx(1.0)  # scored against itself
    assert read_json(tmp_path / "out" / "c_detections.json")["info"]["fps"] is None


def green(picture: np.ndarray) -> np.ndarray:
    """Where a grey picture is no longer grey."""
    return np.abs(picture.astype(int).max(axis=2) - picture.min(axis=2)) > 60


def test_boxes_are_drawn_where_they_are_and_only_sure_ones(videos: pd.DataFrame, tmp_path: Path) -> None:
    export(videos, tmp_path / "out", boxes())
    path = tmp_path / "out" / "detected_a.mp4"
    facts = probe(path)
    assert (facts.width, facts.height, facts.frames, round(facts.fps)) == (640, 384, FRAMES, 10)
    pictures = [picture for _, _, picture in read_frames(path, kind="video")]
    assert green(pictures[0])[4 * 60, 4 * 20 - 2 : 4 * 20 + 3].any() and not green(pictures[0])[4 * 60, 4 * 40]
    assert not green(pictures[1]).any()
    assert not green(pictures[4])[4 * 60, 4 * 10 - 4 : 4 * 10 + 5].any()  # score 0.2
    assert green(pictures[4])[4 * 50, 4 * 100 - 2 : 4 * 100 + 3].any()


def test_stride_keeps_the_natural_speed(videos: pd.DataFrame, tmp_path: Path) -> None:
    export(videos, tmp_path / "out", boxes(), stride=2, videos=1)
    facts = probe(tmp_path / "out" / "detected_a.mp4")
    assert (facts.frames, round(facts.fps)) == (3, 5)
    with pytest.raises(DataError, match="boxes in frame 4, which stride 3"):
        export(videos, tmp_path / "out", boxes(), stride=3)


def test_tracks_have_ids_in_json_and_colours_by_track(videos: pd.DataFrame, tmp_path: Path) -> None:
    one = boxes().iloc[[0]]
    export(videos, tmp_path / "out", pd.concat([one.assign(track=1), one.assign(frame=1, time_s=0.1, track=2)]), videos=1)
    made = read_json(tmp_path / "out" / "a_detections.json")
    assert [annotation["track_id"] for annotation in made["annotations"]] == [1, 2]
    pictures = [picture for _, _, picture in read_frames(tmp_path / "out" / "detected_a.mp4", kind="video")]
    first, second = (picture[4 * 60, 4 * 20 - 1 : 4 * 20 + 2].mean(axis=0) for picture in pictures[:2])
    assert np.abs(first - second).max() > 40


def test_masks_are_in_the_json_and_filled_in_the_picture(videos: pd.DataFrame, tmp_path: Path) -> None:
    from pycocotools import mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    filled = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    filled[50:70, 30:50] = 1  # inside the box, off its edges
    coded = mask.encode(filled)["counts"].decode("ascii")
    export(videos, tmp_path / "out", boxes(mask=coded).iloc[:1], videos=1)
    path = tmp_path / "out" / "a_detections.json"
    made = read_json(path)["annotations"][0]
    assert made["segmentation"] == {"size": [HEIGHT, WIDTH], "counts": coded} and made["area"] == 400.0
    truth = COCO(str(path))
    score = COCOeval(truth, truth.loadRes([made]), "segm")
    score.evaluate(), score.accumulate(), score.summarize()
    assert score.stats[0] == pytest.approx(1.0)
    (_, _, picture), *_ = read_frames(tmp_path / "out" / "detected_a.mp4", kind="video")
    colour = np.abs(picture.astype(int).max(axis=2) - picture.min(axis=2))
    assert colour[4 * 60, 4 * 40] > 30 and colour[4 * 75, 4 * 55] < 15, (
        "coloured where the mask is, grey where only the box is"
    )


def test_nothing_found_still_exports(videos: pd.DataFrame, tmp_path: Path) -> None:
    made = export(videos, tmp_path / "out", empty(DETECTIONS))
    assert [entry["detections"] for entry in made["files"]] == [0, 0, 0, 0]
    assert len(read_json(tmp_path / "out" / "b_detections.json")["images"]) == FRAMES


def test_foreign_classes_are_refused(videos: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'zebra'"):
        export(videos, tmp_path / "out", boxes(**{"class": "zebra"}))


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((320, 192), (640, 384)), ((1280, 720), (1280, 720)), ((333, 251), (640, 482)), ((641, 481), (640, 480))],
)
def test_drawn_size_is_even_and_wide_enough(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    assert drawn_size(*size, 640) == drawn
