"""The predictor against ultralytics' own predict on the same file and image, and real ONNX files on a known photograph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lib.config.base import ConfigError
from lib.files import DataError
from lib.models import inspect_weights, load_predictor, yolo

CALL = {"conf": 0.0, "iou": 0.7, "max_det": 300}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model whose head is shaken, so that it finds many small boxes of unlike scores."""
    net = yolo.build("yolo11n", ["a", "b", "c"], seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, parameter in net.model[-1].named_parameters():
            if name.startswith("cv3") and name.endswith(".2.bias"):
                parameter.data += torch.randn_like(parameter) + 5
            if name.startswith("cv2") and name.endswith(".2.bias"):  # logits of 16 distances for each of four edges
                parameter.data -= torch.arange(16).repeat(4) * 0.7
            if name.endswith(".2.weight"):
                parameter.data += torch.randn_like(parameter) * 0.3
    path = tmp_path_factory.mktemp("model") / "model.pt"
    yolo.save_model(net, path, {"task": "detect", "imgsz": 96})
    return path


def ordered(boxes: np.ndarray) -> list[list[float]]:
    """Rows in an order of their own: boxes of equal score come in any."""
    return sorted(boxes.round(3).tolist())


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(120, 200), (96, 96), (301, 77)])
def test_same_boxes_as_ultralytics_itself(checkpoint: Path, size: tuple[int, int]) -> None:
    from ultralytics import YOLO

    frame = image(*size)
    (mine,) = load_predictor(checkpoint, {"format": "ultralytics"}).predict([frame], **CALL | {"conf": 0.3}, imgsz=96)
    theirs = YOLO(checkpoint).predict(frame[:, :, ::-1], conf=0.3, iou=0.7, imgsz=96, device="cpu", verbose=False)
    assert len(mine) > 3
    np.testing.assert_allclose(ordered(mine), ordered(theirs[0].boxes.data.cpu().numpy()), atol=0.02)
    assert mine.dtype == np.float32 and (mine[:, 2] <= size[1]).all() and (mine[:, 3] <= size[0]).all()


def test_a_frame_does_not_depend_on_its_neighbours(checkpoint: Path) -> None:
    predictor = load_predictor(checkpoint, {"format": "ultralytics", "class_names": ["a", "b", "c"]})
    frames = [image(64, 96), image(96, 64, 1), image(64, 96, 2)]
    together = predictor.predict(frames, **CALL | {"conf": 0.3}, imgsz=96)
    for frame, boxes in zip(frames, together, strict=True):
        (alone,) = predictor.predict([frame], **CALL | {"conf": 0.3}, imgsz=96)
        np.testing.assert_allclose(ordered(boxes), ordered(alone), atol=0.02)
    assert predictor.predict([], **CALL, imgsz=96) == []
    limited = predictor.predict(frames, conf=0.3, iou=0.7, max_det=2, imgsz=96)
    assert [len(boxes) for boxes in limited] == [2, 2, 2]


def test_the_device_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIPERSIGHT_DEVICE", "cpu")
    assert yolo.device() == "cpu"
    monkeypatch.setenv("VIPERSIGHT_DEVICE", "gpu0")
    with pytest.raises(ConfigError, match="VIPERSIGHT_DEVICE='gpu0' is no device"):
        yolo.device()


def test_the_seed_alone_decides_a_new_model() -> None:
    states = [yolo.build("yolov8n", ["a"], seed=seed).state_dict() for seed in (0, 0, 1)]
    same = [all(torch.equal(states[0][key], other[key]) for key in states[0]) for other in states[1:]]
    assert same == [True, False]


def test_starting_weights_fill_the_model_or_are_refused(checkpoint: Path) -> None:
    source = yolo.checkpoint_model(checkpoint)
    net = yolo.build("yolo11n", ["x", "b"], seed=0, weights=checkpoint)
    assert torch.equal(net.state_dict()["model.0.conv.weight"], source.state_dict()["model.0.conv.weight"])
    assert net.names == {0: "x", 1: "b"}
    with pytest.raises(ConfigError, match=r"training\.weights.*yolov8s"):
        yolo.build("yolov8s", ["a"], seed=0, weights=checkpoint)


def test_a_card_of_another_model_is_noticed(checkpoint: Path) -> None:
    assert inspect_weights(checkpoint, {"format": "ultralytics"})["class_names"] == ["a", "b", "c"]
    with pytest.raises(DataError, match="its card says"):
        load_predictor(checkpoint, {"format": "ultralytics", "class_names": ["a"]})
    with pytest.raises(ConfigError, match="did you mean 'onnx'"):
        load_predictor(checkpoint, {"format": "onxx"})


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "size"), [("yolo11n-int8-onnx-320/yolo11n_int8", 320), ("yolov8n-int8-onnx/yolov8n_int8", 640)]
)
def test_real_onnx_files_find_the_bus_and_its_people(mirror: Path, tmp_path: Path, name: str, size: int) -> None:
    link = tmp_path / "model.weights"  # as a pretrained variant names it
    link.symlink_to(mirror / "weights" / f"{name}.onnx")
    facts = inspect_weights(link, {"format": "onnx"})
    assert facts["input_size"] == size and len(facts["class_names"]) == 80
    predictor = load_predictor(link, {"format": "onnx", "class_names": facts["class_names"]})
    assert predictor.fixed_batch == 1
    photograph = cv2.imread(str(mirror / "images" / "ultralytics" / "bus.jpg"))[:, :, ::-1]
    whole, upper = predictor.predict([photograph, photograph[:400]], conf=0.4, iou=0.7, max_det=300, imgsz=size)
    counts = {kind: sum(predictor.names[int(row[5])] == kind for row in whole) for kind in ("person", "bus")}
    assert counts["bus"] == 1 and counts["person"] >= 3
    bus = next(row for row in whole if predictor.names[int(row[5])] == "bus")
    assert bus[:4] == pytest.approx([20, 230, 805, 750], abs=30)
    assert (upper[:, 3] <= 400).all()
    with pytest.raises(ConfigError, match=f"imgsz: {size}"):
        predictor.predict([photograph], conf=0.4, iou=0.7, max_det=300, imgsz=size + 32)


@pytest.mark.mirror
def test_onnx_files_of_other_makers_are_refused(mirror: Path) -> None:
    with pytest.raises(DataError, match="no detector exported by ultralytics"):
        load_predictor(mirror / "weights" / "yolox-nano-onnx" / "yolox_nano.onnx", {"format": "onnx"})


def test_a_damaged_onnx_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x01cut")
    with pytest.raises(DataError, match=r"cut\.onnx: not a readable ONNX file"):
        load_predictor(tmp_path / "cut.onnx", {"format": "onnx"})
