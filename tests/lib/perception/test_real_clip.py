"""A real clip (a woman and a dog, from SAM 2's demo gallery) with real weights (YOLO11n, ONNX, 320 px) through detection,
tracking and export. Reference: what is seen in the clip: one woman in every frame, one dog most of the time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lib.config.detect import YoloDetector
from lib.config.export import ExportSettings
from lib.config.track import ByteTracker
from lib.data.video import probe
from lib.inference.export import export_videos
from lib.models import load_predictor
from lib.perception.detectors import detect_chunk
from lib.perception.trackers import track_chunk
from lib.tables import DETECTIONS, TRACKS, write_table


@pytest.mark.mirror
@pytest.mark.slow
def test_woman_and_dog(mirror: Path, tmp_path: Path) -> None:
    path = mirror / "video/sam2-dog/01_dog.mp4"
    weights = mirror / "weights/yolo11n-int8-onnx-320/yolo11n_int8.onnx"
    facts = probe(path)
    row = {"video": "dog", "original": path.name, "split": "test", "path": str(path), "kind": "video", "sha256": ""}
    shape = {"stream": 0, "fps": facts.fps, "frames": facts.frames, "width": 1280, "height": 720, "duration_s": 9.6}
    videos = pd.DataFrame([row | shape])
    classes = {"person": ["person"], "animal": ["dog", "cat", "horse", "sheep"]}
    detector = YoloDetector(kind="yolo", weights="nano", imgsz=320, stride=5, classes=classes)

    detections, stats = detect_chunk(videos, load_predictor(weights, {"format": "onnx"}), detector, progress=False)
    write_table(tmp_path / "detections.parquet", detections, DETECTIONS)
    looked = len(range(0, facts.frames, 5))
    seen = detections.groupby("class")["frame"].nunique() / looked
    assert stats["frames"].tolist() == [looked]
    assert seen["person"] > 0.95 and seen["animal"] > 0.5

    tracks, _ = track_chunk(videos, detections, ByteTracker(kind="bytetrack", frame_rate=6), stride=5)
    write_table(tmp_path / "tracks.parquet", tracks, TRACKS)
    woman = tracks[tracks["class"] == "person"]["track"].value_counts()
    assert woman.iloc[0] >= 0.95 * looked  # she never leaves: one track

    model = {"file": weights.name}
    export_videos(
        videos, tracks, ExportSettings(), tmp_path / "out", classes=list(classes), model=model, stride=5, progress=False
    )
    drawn = probe(tmp_path / "out" / "detected_dog.mp4")
    assert (drawn.frames, drawn.width, drawn.height) == (looked, 1280, 720)
    assert drawn.duration_s == pytest.approx(facts.duration_s, abs=0.2)  # natural speed
