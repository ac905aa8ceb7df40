"""The ONNX predictor's own steps against ultralytics' (LetterBox, non_max_suppression, scale_boxes), bit for bit, and the
whole predictor against the library's AutoBackend on a file exported here; and that torch is not needed for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lib.config.base import ConfigError
from lib.data.images import resized
from lib.models import yolo, yolo_export, yolo_onnx
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with C = 3 classes as an ONNX file that takes any size and any number of frames.

    Untrained, with boxes made small: few overlap, because which of two boxes of equal score stays would be anyone's choice.
    """
    import torch

    folder = tmp_path_factory.mktemp("onnx")
    net = yolo.build("yolo11n", ["a", "b", "c"], seed=3)
    for name, parameter in net.model[-1].named_parameters():
        if name.startswith("cv2") and name.endswith(".2.bias"):  # logits of 16 distances for each of four edges
            parameter.data -= torch.arange(16).repeat(4) * 0.7
    yolo.save_model(net, folder / "m.pt", {"task": "detect", "imgsz": 96})
    yolo_export.to_onnx(folder / "m.pt", folder / "m.onnx", imgsz=96)
    return folder / "m.onnx"


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(120, 200), (96, 96), (301, 77), (97, 211), (1, 300), (720, 1280)])
@pytest.mark.parametrize("step", [None, 32])
def test_letterbox_and_its_way_back(shape: tuple[int, int], step: int | None) -> None:
    import torch
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.ops import scale_boxes

    frame, size = noise(*shape), (96, 160)
    mine = yolo_onnx.letterboxed([noise(*shape, seed=2)], size, step)
    again = yolo_onnx.letterboxed([frame], size, step, mine)
    theirs = LetterBox(size, auto=step is not None, stride=32)(image=frame)
    assert again is mine and np.array_equal(mine[0], theirs.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    boxes = np.random.default_rng(1).uniform(-5, 170, (50, 6)).astype(np.float32)
    expected = scale_boxes(theirs.shape[:2], torch.from_numpy(boxes[:, :4].copy()), shape).numpy()
    assert np.array_equal(yolo_onnx.scaled_back(boxes.copy(), theirs.shape[:2], (*shape, 3))[:, :4], expected)


@pytest.mark.parametrize("conf", [0.0, 0.2, 0.9, 0.999])
@pytest.mark.parametrize("iou", [0.3, 0.7])
def test_suppression(conf: float, iou: float) -> None:
    """Boxes in heaps, so that much is suppressed; scores all unlike, so that the order is certain."""
    import torch
    from ultralytics.utils.nms import non_max_suppression

    rng = np.random.default_rng(0)
    count, classes = 1500, 80
    centres = rng.choice(rng.uniform(50, 600, (60, 2)), count) + rng.normal(0, 6, (count, 2))
    scores = rng.permutation(count * classes).reshape(classes, count) / (count * classes)
    raw = np.vstack([centres.T, rng.uniform(20, 90, (2, count)), scores]).astype(np.float32)
    raw[4:] *= rng.random(count) < 0.3
    (theirs,) = non_max_suppression(torch.from_numpy(raw[None].copy()), conf, iou, max_det=200, max_time_img=1e9)
    mine = yolo_onnx.suppressed(raw, conf, iou, 200)
    assert mine.dtype == np.float32 and np.array_equal(mine, theirs.numpy())
    assert len(mine) > (conf < 0.9) * 20


def test_finished_boxes_are_taken_as_they_are() -> None:
    """Of a file that suppresses doubles itself: (N, 6), best first."""
    raw = np.array([[0, 0, 5, 5, 0.9, 1], [1, 1, 6, 6, 0.8, 1], [0, 0, 9, 9, 0.1, 0]], np.float32)
    assert np.array_equal(yolo_onnx.suppressed(raw, 0.25, 0.5, 300), raw[:2])
    assert np.array_equal(yolo_onnx.suppressed(raw, 0.25, 0.5, 1), raw[:1])


def test_the_same_boxes_as_by_autobackend(exported: Path) -> None:
    frames = [noise(64, 96, seed) for seed in range(3)] + [noise(96, 64)]
    call = {"conf": 0.0, "iou": 0.7, "max_det": 300, "imgsz": 96}
    mine, theirs = (
        yolo_onnx.load(exported).predict(frames, **call),
        yolo.YoloPredictor(str(exported)).predict(frames, **call),
    )
    for one, other in zip(mine, theirs, strict=True):
        assert len(one) > 30 and sorted(one.tolist()) == sorted(other.tolist())


@pytest.mark.parametrize("torch_too", [False, True])
@pytest.mark.parametrize("shape", [(301, 77), (97, 211), (128, 96), (60, 50)])
def test_frames_scaled_beforehand_give_the_same_boxes(exported: Path, shape: tuple[int, int], torch_too: bool) -> None:
    """Bit for bit, also of those that are smaller than the input and stay as they are."""
    predictor = yolo.YoloPredictor(str(exported)) if torch_too else yolo_onnx.load(exported)
    frames, call = [noise(*shape, seed) for seed in range(2)], {"conf": 0.0, "iou": 0.7, "max_det": 300, "imgsz": 96}
    small = [resized(frame, predictor.fit(96)[::-1], fit=True) for frame in frames]
    assert all(max(picture.shape[:2]) <= 96 for picture in small)
    whole, before = predictor.predict(frames, **call), predictor.predict(small, **call, shapes=[shape] * 2)
    for one, other in zip(whole, before, strict=True):
        assert len(one) > 10 and np.array_equal(one, other)


def test_a_device_that_is_not_there_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIPERSIGHT_DEVICE", "gpu0")
    with pytest.raises(ConfigError, match="VIPERSIGHT_DEVICE='gpu0' is no device"):
        yolo_onnx.load(exported)
    with pytest.raises(ConfigError, match=r"cuda:1.*CPU only"):
        monkeypatch.setenv("VIPERSIGHT_DEVICE", "cuda:1")
        yolo_onnx._providers(["CPUExecutionProvider"])
    assert yolo_onnx._providers(["CUDAExecutionProvider"])[0] == ("CUDAExecutionProvider", {"device_id": 1})


def test_no_torch_is_needed(exported: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import numpy as np
from lib.models import load_predictor
found = load_predictor(Path({str(exported)!r}), {{"format": "onnx"}}).predict(
    [np.zeros((64, 96, 3), np.uint8)], conf=0.0, iou=0.7, max_det=5, imgsz=96)
print(len(found), sorted({{"torch", "torchvision", "ultralytics"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=120)
    assert done.stdout == "1 []\n", done.stderr
