"""Prediction over a real encoded video by a predictor that looks at pixels (finds the bright patch), and by a blind one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.config.predict import PredictSettings, Tta
from lib.data.video import write_video
from lib.inference.predict import predict_videos
from lib.tables import DETECTIONS, write_table

WIDTH, HEIGHT, FRAMES = 96, 64, 9


@pytest.fixture
def videos(tmp_path: Path) -> pd.DataFrame:
    """One video: a white patch, 12 px wide, that starts at 8 px and moves 6 px a frame."""

    def pictures():
        for frame in range(FRAMES):
            picture = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
            picture[20:40, 8 + 6 * frame : 20 + 6 * frame] = 240
            yield picture

    write_video(tmp_path / "v.mp4", pictures(), 5.0, (WIDTH, HEIGHT))
    facts = {"video": "v", "original": "v.mp4", "split": "test", "path": str(tmp_path / "v.mp4"), "kind": "video"}
    shape = {"sha256": "", "stream": 0, "fps": 5.0, "frames": FRAMES, "width": WIDTH, "height": HEIGHT, "duration_s": 1.8}
    return pd.DataFrame([facts | shape])


class Bright:
    """Finds the white patch; also a hundred weak boxes along the top, fewer when max_det says so."""

    names = ("patch", "noise")

    def predict(self, frames: list[np.ndarray], *, conf: float, iou: float, max_det: int, imgsz: int) -> list[np.ndarray]:
        found = []
        for frame in frames:
            columns = np.flatnonzero(frame[30, :, 0] > 128)
            patch = [[columns[0], 20, columns[-1] + 1, 40, 0.9, 0]]
            noise = [[i % 90, 0, i % 90 + 4, 3 + i / 50, 0.01, 1] for i in range(100)]
            found.append(np.array((patch + noise)[:max_det], np.float32))
        return found


class Blind:
    """Says the same whatever it sees, and remembers what it was asked."""

    names = ("patch",)
    blind = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def predict(
        self, frames: list[np.ndarray], *, videos: list[str], frame_indices: list[int], **_: object
    ) -> list[np.ndarray]:
        self.asked += zip(videos, frame_indices, strict=True)
        return [np.array([[0, 0, 10, 10, 0.5, 0]], np.float32) for _ in frames]


@pytest.mark.parametrize("tta", [Tta(), Tta(views=[{}, {"flip": True}]), Tta(views=[{"flip": True}])])
def test_all_views_find_the_patch(videos: pd.DataFrame, tta: Tta, tmp_path: Path) -> None:
    found, stats = predict_videos(videos, Bright(), PredictSettings(stride=2), tta, imgsz=96, progress=False)
    write_table(tmp_path / "predictions.parquet", found, DETECTIONS)
    patch = found[found["class"] == "patch"]
    assert patch["frame"].tolist() == [0, 2, 4, 6, 8]
    assert np.allclose(patch["x1"], 8 + 6 * patch["frame"], atol=1.01) and np.allclose(patch["score"], 0.9)
    assert stats["frames"].tolist() == [5]


def test_max_det_holds_for_all_views_together(videos: pd.DataFrame) -> None:
    tta = Tta(views=[{}, {"flip": True}], merge={"iou": 0.99})
    found, _ = predict_videos(videos, Bright(), PredictSettings(max_det=20), tta, imgsz=96, progress=False)
    assert (found.groupby("frame").size() == 20).all()
    assert (found[found["class"] == "patch"].groupby("frame").size() == 1).all()


def test_a_floor_that_does_not_look_is_asked_once_and_never_mirrored(videos: pd.DataFrame) -> None:
    floor = Blind()
    tta = Tta(views=[{}, {"flip": True}])
    found, _ = predict_videos(videos, floor, PredictSettings(), tta, imgsz=96, progress=False)
    assert floor.asked == [("v", frame) for frame in range(FRAMES)]
    assert len(found) == FRAMES and (found["x1"] == 0).all() and (found["x2"] == 10).all()
