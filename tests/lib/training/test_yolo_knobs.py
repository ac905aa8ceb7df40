"""Every training knob against what the built ultralytics trainer holds: one knob changes, that one alone is seen to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shapes import NAMES, draw

from lib.config.base import ConfigError
from lib.config.train import MODELS, TrainingSettings
from lib.training import yolo, yolo_knobs

BASE: dict[str, Any] = {
    "model": "yolo11n",
    "imgsz": 64,
    "batch": 4,
    "budget": {"iterations": 12, "evaluations": 4},
    "patience": 2,
    "lr0": 0.001,
    "warmup": 3,
    "mosaic": 0.5,
    "close_mosaic": 1,
}
CHANGED: dict[str, Any] = {
    "model": "yolov8n",
    "imgsz": 96,
    "batch": 6,
    "budget": {"iterations": 20, "evaluations": 4},
    "sampling": {"kind": "repeat_factor", "threshold": 0.9},
    "patience": None,
    "optimizer": "SGD",
    "lr0": 0.004,
    "lrf": 0.3,
    "cosine": False,
    "momentum": 0.8,
    "weight_decay": 0.01,
    "warmup": 5,
    "freeze": 4,
    "hsv_h": 0.1,
    "hsv_s": 0.2,
    "hsv_v": 0.3,
    "degrees": 10.0,
    "translate": 0.2,
    "scale": 0.4,
    "fliplr": 0.1,
    "flipud": 0.2,
    "mosaic": 0.9,
    "mixup": 0.2,
    "close_mosaic": 2,
    "box": 5.0,
    "cls": 1.0,
    "dfl": 1.0,
}
ELSEWHERE = {"engine", "weights", "amp"}  # one engine; a start is tested below; amp changes nothing without a GPU


def held(tmp_path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """What a trainer built with these settings holds (and has checked)."""
    images = draw(tmp_path / "train", 10, seed=0)
    data = yolo._describe(NAMES, {"train": images, "val": images[:4]}, tmp_path)
    trainer = yolo.make_trainer(
        TrainingSettings.model_validate(values),
        names=NAMES,
        data=data,
        state=tmp_path / "state",
        seed=0,
        threads=1,
        fingerprint="x",
        start=None,
        factors={image.stem: 1.5 for image in images} if "sampling" in values else None,
        on_log=None,
    )
    trainer._setup_train()
    return yolo_knobs.reached(trainer)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return held(tmp_path_factory.mktemp("base"), BASE)


def test_every_knob_is_tested() -> None:
    assert set(CHANGED) | ELSEWHERE == set(TrainingSettings.model_fields)


@pytest.mark.parametrize("knob", CHANGED)
def test_a_changed_knob_reaches_ultralytics(tmp_path: Path, base: dict[str, Any], knob: str) -> None:
    found = held(tmp_path, BASE | {knob: CHANGED[knob]})
    seen = "iterations" if knob == "budget" else knob
    assert {name for name in base if found[name] != base[name]} == {seen}


def test_a_knob_that_does_not_arrive_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yolo_knobs, "FIXED", yolo_knobs.FIXED)
    without = tuple(name for name in yolo_knobs.SAME_NAME if name != "hsv_s")
    monkeypatch.setattr(yolo_knobs, "SAME_NAME", without)
    with pytest.raises(ConfigError, match=r"training\.hsv_s: set to 0\.4, but ultralytics would train with 0\.7"):
        held(tmp_path, BASE)


def test_epochs_are_passes_over_the_images(tmp_path: Path) -> None:
    found = held(tmp_path, BASE | {"budget": {"epochs": 4}})
    assert (found["evaluations"], found["iterations"]) == (4, 12)  # 10 images in batches of 4: 3 iterations


@pytest.mark.parametrize("model", MODELS)
def test_ultralytics_describes_every_model(model: str) -> None:
    from lib.models.yolo import quiet_ultralytics

    quiet_ultralytics()
    from ultralytics.nn.tasks import yaml_model_load

    described = yaml_model_load(f"{model}.yaml")
    assert "Detect" in str(described["head"][-1])
    scales = described.get("scales", {})
    assert len(scales) < 2 or described["scale"] in scales
