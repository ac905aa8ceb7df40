"""Detection over real encoded videos with a predictor that really looks: it finds bright patches by threshold, so the truth
is what was drawn. Also class mapping, decoding ahead and its failures."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.config.base import ConfigError
from lib.config.detect import YoloDetector
from lib.data.images import fitted
from lib.data.video import read_frames, write_video
from lib.files import DataError
from lib.perception.detectors import (
    class_mapping,
    detect_chunk,
    given_detections,
    labelled_frames,
    map_classes,
    truth_detections,
)
from lib.perception.streaming import Frame, ahead, batches, clipped, frame_times
from lib.tables import BOXES, DETECT_STATS, DETECTIONS, empty, read_table, write_table
from tests.faults.media import encode


class Patches:
    """Red patches are class 0, green ones class 1; a score of 0.9. Remembers the shapes of each batch."""

    names = ("red", "green")

    def __init__(self) -> None:
        self.calls: list[list[tuple[int, ...]]] = []

    def predict(self, frames: list[np.ndarray], **_: object) -> list[np.ndarray]:
        self.calls.append([frame.shape for frame in frames])
        return [np.array(list(self.patches(frame)), dtype=np.float32).reshape(-1, 6) for frame in frames]

    def patches(self, frame: np.ndarray):
        for index in (0, 1):
            bright = (frame[:, :, index] > 140).astype(np.uint8)
            for x, y, width, height, area in cv2.connectedComponentsWithStats(bright)[2][1:]:
                if area > 20:
                    yield x, y, x + width, y + height, 0.9, index


def clip(folder: Path, name: str, *, frames: int = 10, size: tuple[int, int] = (96, 64)) -> dict[str, object]:
    """A video of a red patch that moves 4 px a frame; its MANIFEST row."""

    def pictures():
        for frame in range(frames):
            picture = np.full((size[1], size[0], 3), 40, np.uint8)
            picture[16:32, 4 + 4 * frame : 24 + 4 * frame] = (230, 40, 40)
            yield picture

    path = folder / f"{name}.mp4"
    write_video(path, pictures(), 10.0, size)
    facts = {"video": name, "original": f"{name}.mp4", "split": "test", "path": str(path), "kind": "video", "sha256": ""}
    shape = {"stream": 0, "fps": 10.0, "frames": frames, "width": size[0], "height": size[1], "duration_s": frames / 10}
    return facts | shape


def settings(**values: object) -> YoloDetector:
    return YoloDetector(kind="yolo", weights="patches", imgsz=96, **values)


def test_boxes_frames_and_figures(tmp_path: Path) -> None:
    videos = pd.DataFrame([clip(tmp_path, "a"), clip(tmp_path, "b", frames=7)])
    found, stats = detect_chunk(videos, Patches(), settings(stride=3, batch=4), progress=False)
    write_table(tmp_path / "detections.parquet", found, DETECTIONS)
    read = read_table(tmp_path / "detections.parquet", DETECTIONS)
    assert read.groupby("video")["frame"].apply(list).to_dict() == {"a": [0, 3, 6, 9], "b": [0, 3, 6]}
    assert np.allclose(read["time_s"], read["frame"] / 10)
    assert np.allclose(read["x1"], 4 + 4 * read["frame"], atol=2) and np.allclose(read["y2"], 32, atol=2)
    assert stats[["video", "frames", "detections"]].to_numpy().tolist() == [["a", 4, 4], ["b", 3, 3]]
    assert (stats[["seconds_decode", "seconds_model"]] > 0).all().all()


def test_batches_hold_one_shape_and_respect_a_fixed_batch(tmp_path: Path) -> None:
    videos = pd.DataFrame(
        [clip(tmp_path, "a", frames=5), clip(tmp_path, "b", frames=3), clip(tmp_path, "c", frames=3, size=(64, 64))]
    )
    predictor = Patches()
    detect_chunk(videos, predictor, settings(batch=4), progress=False)
    assert [len(call) for call in predictor.calls] == [4, 4, 3]
    assert all(len(set(call)) == 1 for call in predictor.calls)
    single = Patches()
    single.fixed_batch = 1
    detect_chunk(videos, single, settings(batch=4), progress=False)
    assert [len(call) for call in single.calls] == [1] * 11


class Fitting(Patches):
    """A model that scales frames to fit 64 x 64 px; keeps what it was given and what it would have made of whole frames."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[np.ndarray, tuple[int, int]]] = []

    def fit(self, imgsz: int) -> tuple[int, int]:
        return imgsz, imgsz

    def predict(
        self, frames: list[np.ndarray], *, shapes: list[tuple[int, int]], imgsz: int, **_: object
    ) -> list[np.ndarray]:
        self.given += zip(frames, shapes, strict=True)
        return [
            boxes * np.array([shape[1] / frame.shape[1], shape[0] / frame.shape[0]] * 2 + [1, 1])
            for boxes, frame, shape in zip(super().predict(frames), frames, shapes, strict=True)
        ]


@pytest.mark.parametrize("kind", ["video", "turned", "frames"])
def test_frames_are_scaled_where_they_are_decoded(tmp_path: Path, kind: str) -> None:
    """A model that scales its frames gets exactly what it would make of whole ones, and boxes stay in whole frames."""
    row = clip(tmp_path, "a", frames=6, size=(192, 128))
    if kind == "turned":
        turned = encode(tmp_path / "turned.mp4", numbers=range(6), size=(192, 128), rotation=90)
        row |= {"path": str(turned), "width": 128, "height": 192}
    whole = [image for *_, image in read_frames(row["path"], kind="video")]
    if kind == "frames":
        (tmp_path / "frames").mkdir()
        for number, image in enumerate(whole):
            cv2.imwrite(str(tmp_path / "frames" / f"{number:03d}.png"), image[..., ::-1])
        row |= {"path": str(tmp_path / "frames"), "kind": "frames", "stream": -1}
    model = Fitting()
    found, _ = detect_chunk(pd.DataFrame([row]), model, settings(batch=4).model_copy(update={"imgsz": 64}), progress=False)
    assert len(model.given) == 6
    for (seen, shape), image in zip(model.given, whole, strict=True):
        assert shape == image.shape[:2] and max(seen.shape[:2]) == 64
        assert np.array_equal(seen, fitted(image, (64, 64)))
    if kind != "turned":  # that one shows no patch
        assert np.allclose(found.groupby("frame")["x1"].min(), 4 + 4 * np.arange(6), atol=4)
        assert np.allclose(found["y2"].max(), 32, atol=4)


def test_no_videos_give_empty_tables(tmp_path: Path) -> None:
    videos = pd.DataFrame([{"video": "a", "frames": 1}]).iloc[:0]
    found, stats = detect_chunk(videos, Patches(), settings(), progress=False)
    write_table(tmp_path / "stats.parquet", stats.assign(seen_in_training=stats["video"].isin([])), DETECT_STATS)
    assert len(found) == len(stats) == 0 and list(found.columns) == list(empty(DETECTIONS).columns)


def test_damaged_and_absent_media_are_named(tmp_path: Path) -> None:
    broken = clip(tmp_path, "broken")
    Path(str(broken["path"])).write_bytes(b"this is no video")
    before = threading.active_count()
    with pytest.raises(DataError, match=r"broken\.mp4"):
        detect_chunk(pd.DataFrame([clip(tmp_path, "good"), broken]), Patches(), settings(), progress=False)
    with pytest.raises(DataError, match="no pictures"):
        detect_chunk(pd.DataFrame([broken | {"kind": "none"}]), Patches(), settings(), progress=False)
    assert threading.active_count() == before


def test_a_failing_model_ends_the_decoding_thread(tmp_path: Path) -> None:
    class Failing(Patches):
        def predict(self, frames: list[np.ndarray], **_: object) -> list[np.ndarray]:
            raise RuntimeError("out of memory")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        detect_chunk(pd.DataFrame([clip(tmp_path, "a", frames=40)]), Failing(), settings(batch=2), progress=False)
    assert threading.active_count() == before


@given(st.lists(st.integers(), max_size=40), st.integers(1, 5))
def test_ahead_changes_nothing(items: list[int], depth: int) -> None:
    assert list(ahead((item for item in items), depth=depth)) == items


def test_ahead_is_bounded_passes_errors_on_and_closes_its_source() -> None:
    made, closed = [], []

    def source():
        try:
            for item in range(100):
                made.append(item)
                yield item
            raise DataError("damaged at the end")
        finally:
            closed.append(True)

    stream = ahead(source(), depth=3)
    assert next(stream) == 0
    time.sleep(0.3)
    assert len(made) <= 6  # the one taken, three waiting, one in hand
    stream.close()
    assert closed == [True]
    with pytest.raises(DataError, match="damaged at the end"):
        list(ahead(source(), depth=3))


@given(st.lists(st.sampled_from([(4, 4), (6, 4)]), max_size=30), st.integers(1, 5))
def test_batches_keep_order_and_never_mix(shapes: list[tuple[int, int]], size: int) -> None:
    """By the shape of the whole frame: two that were scaled to one shape have boxes on different scales."""
    frames = [Frame("v", index, 0.0, np.zeros((4, 4, 3), np.uint8), shape, 0.0) for index, shape in enumerate(shapes)]
    made = list(batches(iter(frames), size=size))
    assert [frame.index for batch in made for frame in batch] == list(range(len(shapes)))
    assert all(1 <= len(batch) <= size and len({frame.shape for frame in batch}) == 1 for batch in made)


def test_class_mapping_chooses_renames_and_merges() -> None:
    wanted, mapping = class_mapping({"human": ["person"], "vehicle": ["car", "bus"]}, ["bus", "person", "dog", "car"])
    assert wanted == ["human", "vehicle"] and mapping.tolist() == [1, 0, -1, 1]
    assert class_mapping(None, ["a", "b"])[1].tolist() == [0, 1]
    with pytest.raises(ConfigError, match=r"classes\.human: .*'persom'.*did you mean 'person'"):
        class_mapping({"human": ["persom"]}, ["person", "dog"])


def test_merged_classes_lose_their_doubles_and_only_those() -> None:
    """A van found as car and as bus is one vehicle; two boxes of one detector class are the model's own business."""
    boxes = np.array(
        [
            [0, 0, 10, 10, 0.6, 0],
            [0, 0, 10, 9.5, 0.8, 1],
            [50, 0, 60, 10, 0.5, 0],
            [0, 0, 10, 10, 0.7, 2],
            [0, 0, 9.8, 10, 0.4, 2],
        ],
        dtype=np.float32,
    )
    mapping = np.array([0, 0, 1])
    assert np.allclose(map_classes(boxes, mapping, iou=0.7)[:, 4:], [[0.8, 0], [0.5, 0], [0.7, 1], [0.4, 1]])
    assert len(map_classes(boxes, mapping, iou=0.99)) == 5
    assert len(map_classes(boxes, np.array([-1, 0, -1]), iou=0.7)) == 1
    assert map_classes(np.zeros((0, 6), np.float32), mapping, iou=0.7).shape == (0, 6)


def test_truth_and_given_detections() -> None:
    rows = [["a", f, f / 10, "red", 1.0 * f, 2.0, f + 9.0, 12.0, 1, f == 4, ""] for f in range(6)]
    boxes = pd.concat(
        [
            pd.DataFrame(rows, columns=list(empty(BOXES).columns)),
            pd.DataFrame([["x", *rows[0][1:]]], columns=list(empty(BOXES).columns)),
        ]
    )
    videos = pd.DataFrame({"video": ["a", "b"], "frames": [6, 3]})
    labelled = pd.DataFrame({"video": ["a", "a", "a", "b", "x"], "frame": [0, 1, 2, 1, 0], "time_s": 0.0})
    found, stats = truth_detections(boxes, labelled, videos, stride=2)
    assert found["frame"].tolist() == [0, 2] and (found["score"] == 1.0).all()  # 4 is to be ignored, x is another chunk's
    # of a's frames 0, 2, 4 nobody labelled 4; of b's 0 and 2 none
    assert stats[["video", "frames", "detections"]].to_numpy().tolist() == [["a", 2, 2], ["b", 0, 0]]
    assert labelled_frames(labelled, stride=2) == {"a": [0, 2], "x": [0]}
    again, stats = given_detections(found.assign(score=0.4), videos, stride=1)
    assert stats["frames"].tolist() == [6, 3]
    assert again["score"].tolist() == [0.4, 0.4] and list(again.columns) == list(empty(DETECTIONS).columns)


def test_boxes_are_cut_at_the_frame() -> None:
    boxes = np.array([[-5, -5, 5, 5, 1.0], [90, 0, 120, 10, 1.0], [-9, 0, 0, 5, 1.0], [100, 0, 110, 5, 1.0]])
    assert clipped(boxes, width=100, height=50).tolist() == [[0, 0, 5, 5, 1], [90, 0, 100, 10, 1]]


def test_times_of_frames_without_boxes() -> None:
    rows = pd.DataFrame({"frame": [2, 2, 6], "time_s": [0.2, 0.2, 1.0]})  # uneven: 0.2 s a frame between 2 and 6
    assert frame_times(rows, [0, 1, 2, 4, 6, 8], fps=10.0) == pytest.approx([0.0, 0.1, 0.2, 0.6, 1.0, 1.2])
    assert frame_times(rows.iloc[:0], [0, 5], fps=10.0) == pytest.approx([0.0, 0.5])
    assert frame_times(rows.iloc[:0], [0], fps=float("nan")) == pytest.approx([0.0])
