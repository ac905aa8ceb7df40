"""One's own videos against the workflow's way of looking at the same frames, and folders in which other things lie."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.config.base import ConfigError
from lib.config.export import ExportSettings
from lib.config.predict import PredictSettings
from lib.data.video import probe, write_video
from lib.files import DataError, read_json, sha256_file, write_json
from lib.inference.by_hand import predict_by_hand, views
from lib.models import yolo
from lib.models.cards import find_model

SETTINGS = PredictSettings(conf=0.0, max_det=7)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model as a training leaves it: weights and card."""
    folder = tmp_path_factory.mktemp("seed=0")
    yolo.save_model(yolo.build("yolo11n", ["a", "b"], seed=0), folder / "model.weights", {"task": "detect", "imgsz": 64})
    card = {"format": "ultralytics", "class_names": ["a", "b"], "input_size": 64, "status": "finished"}
    write_json(folder / "model.json", card | {"sha256": sha256_file(folder / "model.weights")})
    return folder / "model.json"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A video and an image of the same name, and a folder of frames with a blank in its name."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(6)]
    write_video(tmp_path / "clip.mp4", frames, 10.0, (64, 48))
    cv2.imwrite(str(tmp_path / "clip.png"), frames[0])
    (tmp_path / "my frames").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "my frames" / f"{number}.jpg"), frames[number])
    return [tmp_path / "clip.mp4", tmp_path / "clip.png", tmp_path / "my frames"]


def run(model: Path, files: list[Path], out: Path, **more: object) -> dict:
    wishes = {"settings": SETTINGS, "export": ExportSettings(json_threshold=0.0), "tta": views(False, [])} | more
    return predict_by_hand(model, files, out, **wishes, progress=False)


def test_every_file_gets_json_and_a_drawn_copy(model: Path, files: list[Path], tmp_path: Path) -> None:
    made = run(model, files, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 6 and "my-frames_detections.json" in names and "detected_my-frames.mp4" in names
    boxes = {entry["original"]: read_json(tmp_path / "out" / entry["json"]) for entry in made["files"]}
    assert {name: len(found["images"]) for name, found in boxes.items()} == {"clip.mp4": 6, "clip.png": 1, "my frames": 3}
    assert all(len(found["annotations"]) == 7 * len(found["images"]) for found in boxes.values())
    assert sum(made["counts"].values()) == 70
    assert boxes["clip.mp4"]["info"]["model"]["sha256"] == read_json(model)["sha256"]
    clip = next(entry["media"] for entry in made["files"] if entry["original"] == "clip.mp4")
    assert probe(tmp_path / "out" / clip).frames == 6


def test_a_model_is_found_by_any_of_its_names(model: Path, tmp_path: Path) -> None:
    assert find_model(model)[0] == find_model(model.parent)[0] == find_model(model.with_name("model.weights"))[0]
    plain = tmp_path / "mine.pt"
    plain.write_bytes(model.with_name("model.weights").read_bytes())
    weights, card = find_model(plain)
    assert (weights, card["class_names"], card["input_size"]) == (plain, ["a", "b"], 64)


def test_what_lies_in_the_folder_stays(model: Path, files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(model, files[2:], out)
    (out / "detected_holiday.mp4").write_text("mine")
    run(model, files[:1], out)
    assert (out / "detected_holiday.mp4").read_text() == "mine"
    assert (out / "my-frames_detections.json").is_file() and (out / "clip_detections.json").is_file()


def test_a_cut_video_is_told(model: Path, files: list[Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    long = tmp_path / "long.mp4"
    write_video(long, (rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(40)), 10.0, (64, 48))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(long.read_bytes()[: long.stat().st_size * 3 // 5])
    made = run(model, [cut, files[0]], tmp_path / "out")
    (warning,) = made["warnings"]
    seen = probe(cut).frames
    assert 0 < seen < 40 and f"only the first {seen} of 40 frames" in warning and "cut.mp4" in warning


def test_tracks_are_written_with_ids(model: Path, files: list[Path], tmp_path: Path) -> None:
    made = run(model, files[2:], tmp_path / "out", tracker="sfsort")
    found = read_json(tmp_path / "out" / made["files"][0]["json"])["annotations"]
    assert all(row["track_id"] >= 1 for row in found)


def test_refusals_name_the_file(model: Path, files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such model"):
        run(tmp_path / "none.pt", files, tmp_path / "out")
    with pytest.raises(DataError, match="listed twice"):
        run(model, [files[0], files[0]], tmp_path / "out")
    with pytest.raises(DataError, match="file not found"):
        run(model, [tmp_path / "gone.mp4"], tmp_path / "out")
    taken = tmp_path / "detected_clip.mp4"
    taken.write_bytes(files[0].read_bytes())
    own = tmp_path / "link" / "clip.mp4"
    own.parent.mkdir()
    own.symlink_to(taken)
    with pytest.raises(DataError, match="would replace the input"):
        run(model, [own], tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_changed_file_or_a_diverged_training_is_no_model(model: Path, tmp_path: Path) -> None:
    for name in ("model.json", "model.weights"):
        (tmp_path / name).write_bytes(model.with_name(name).read_bytes())
    write_json(tmp_path / "model.json", read_json(model) | {"status": "diverged at step 3"})
    with pytest.raises(ConfigError, match="diverged at step 3"):
        find_model(tmp_path)
    write_json(tmp_path / "model.json", read_json(model))
    with open(tmp_path / "model.weights", "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="another sha256"):
        find_model(tmp_path / "model.weights")


def test_a_model_that_finds_no_boxes_is_refused_by_its_task(model: Path, files: list[Path], tmp_path: Path) -> None:
    card = read_json(model) | {"task": "grounding", "format": "safetensors"}
    (tmp_path / "model.weights").write_bytes(model.with_name("model.weights").read_bytes())
    write_json(tmp_path / "model.json", card)
    with pytest.raises(ConfigError, match="a model of task grounding predicts windows, and finds no boxes in pictures"):
        run(tmp_path / "model.json", files, tmp_path / "out")
    assert not (tmp_path / "out").exists()
