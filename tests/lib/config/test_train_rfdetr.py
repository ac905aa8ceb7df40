"""What RF-DETR's settings refuse and with which hint, how they reach a job beside YOLO's, the installed sizes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib.config import train_rfdetr
from lib.config.base import ConfigError
from lib.config.jobs import Jobs
from lib.config.train import TrainingSettings
from lib.config.train_rfdetr import DETECTORS, PML, SEGMENTERS, RfdetrSegSettings, RfdetrSettings, Size
from tests.lib.config.made import changed, load, refusal

EPOCHS = {"budget": {"epochs": 10}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "nanno"}, "unknown size 'nanno'. Hint: did you mean 'nano'"),
        ({"model": "xlarge"}, r"under the licence PML-1.0.*accept_licences: \[PML-1.0\]"),
        ({"accept_licences": ["PML1.0"]}, "did you mean 'PML-1.0'"),
        ({"imgsz": 40}, "nano needs 64 px at least. Hint: imgsz: 64"),
        ({"model": "base", "imgsz": 100}, "base needs 112 px at least"),
        ({"batch": 0}, "greater than or equal to 1"),
        ({"batch": 512, "accumulate": 512}, "262144 images per step"),
        (EPOCHS | {"lr_drop": 10}, "lr_drop 10 has no effect with 10 evaluations"),
        (EPOCHS | {"warmup_epochs": 10.5}, "warmup_epochs 10.5 has no effect"),
        (EPOCHS | {"patience": 10}, "patience 10 has no effect"),
        (EPOCHS | {"checkpoint_interval": 11}, "exceeds the 10 evaluations"),
        ({"lr_scheduler": "cosine", "lr_drop": 3}, "lr_drop 3 has an effect only with lr_scheduler: step"),
        ({"lr_min_factor": 0.1}, "only with lr_scheduler: cosine"),
        ({"ema": False, "ema_decay": 0.9}, "only with ema: true"),
        ({"min_delta": 0.1}, "only with patience"),
        ({"multi_scale": "off", "expanded_scales": False}, "only with multi_scale: per-batch"),
        ({"freeze_encoder": True, "lr_encoder": 1e-5}, "only with freeze_encoder: false"),
        ({"lr0": 0.1}, "unknown key 'lr0'"),
        ({"epochs": 3, "budget": {"epochs": 3}}, "not both"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RfdetrSettings.model_validate(values)


def test_segmentation_has_sizes_of_its_own_all_without_a_further_licence() -> None:
    assert {RfdetrSegSettings(model=size).resolved().imgsz for size in SEGMENTERS} == {312, 384, 432, 504, 624, 768}
    with pytest.raises(ValueError, match="unknown size 'base'"):
        RfdetrSegSettings(model="base")
    assert RfdetrSettings(model="2xlarge", accept_licences=[PML]).resolved().imgsz == 880


@pytest.mark.parametrize(
    ("model", "px", "used"), [("base", 640, 616), ("nano", 640, 640), ("nano", 0, 384), ("nano", 80, 64), ("nano", 81, 96)]
)
def test_an_input_size_that_does_not_fit_becomes_the_nearest_with_one_warning(
    model: str, px: int, used: int, caplog: pytest.LogCaptureFixture
) -> None:
    train_rfdetr._tell.cache_clear()
    with caplog.at_level(logging.WARNING):
        settings = [RfdetrSettings(model=model, imgsz=px).resolved() for _ in range(3)]
    assert {one.imgsz for one in settings} == {used}
    told = [record.getMessage() for record in caplog.records]
    assert told == (
        []
        if used == px or not px
        else [f"training.imgsz: {px} is no multiple of {DETECTORS[model].step}, which model {model} takes: {used} is used"]
    )


def test_a_study_of_rfdetr_variants_of_several_sizes(tmp_path: Path) -> None:
    """A variant's size brings its own input size, unless the study states one."""
    values = changed("training", {"engine": "rfdetr", "epochs": 4, "lr": 2e-4})
    values["variants"] = {
        "detector": {"arm": "d"},
        "less": {"arm": "half", "training": {"model": "small"}},
        "prior": {"kind": "floor", "floor": "prior", "arm": "half"},
    }
    study = load(tmp_path, values)
    nano, small = study.training_of("detector"), study.training_of("less")
    assert (nano.model, nano.imgsz, small.model, small.imgsz, small.lr) == ("nano", 384, "small", 512, 2e-4)
    assert (study.size_of("detector"), study.size_of("less")) == ("nano", "small")
    job = json.loads(Jobs(study).train(SimpleNamespace(variant="less")))  # type: ignore[arg-type]
    assert job["training"]["imgsz"] == 512 and job["training"]["engine"] == "rfdetr"
    assert RfdetrSettings.model_validate(job["training"]) == small
    values["training"]["imgsz"] = 640
    study = load(tmp_path, values)
    assert [study.training_of(name).imgsz for name in ("detector", "less")] == [640, 640]


def test_both_engines_in_one_study(tmp_path: Path) -> None:
    values = changed("trainings", {"rfdetr": {"epochs": 4, "lr": 3e-4}})
    values["variants"]["less"]["training"] = {"engine": "rfdetr", "batch": 2}
    study = load(tmp_path, values)
    assert isinstance(study.training_of("detector"), TrainingSettings)
    less = study.training_of("less")
    assert isinstance(less, RfdetrSettings) and (less.lr, less.batch, less.budget.epochs) == (3e-4, 2, 4)


def test_a_later_file_changes_the_engine_whole_or_one_knob_of_it(tmp_path: Path) -> None:
    first = changed("training", {"imgsz": 64, "lr0": 0.1, "epochs": 3})
    first["variants"]["less"]["training"] = {}
    study = load(tmp_path, first, {"training": {"engine": "rfdetr"}}, {"training": {"epochs": 7}})
    assert study.training_of("less") == RfdetrSettings(budget={"epochs": 7}).resolved()
    assert load(tmp_path, first, {"training": {"engine": "yolo", "lrf": 0.5}}).training_of("less").lr0 == 0.1


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("training.engine", "rfdtr", "training.engine: unknown engine 'rfdtr'. Hint: did you mean 'rfdetr'"),
        ("trainings.rfdert", {}, "trainings.rfdert: no task or engine.*did you mean 'rfdetr'"),
        ("trainings.yolo", {}, r"trainings.yolo: no task or engine that has its defaults here \(detection by yolo"),
        (
            "variants.less.training",
            {"engine": "rfdetr", "weights": "none"},
            "variants.less.training.weights: unknown weights 'none'",
        ),
        ("training", {"engine": "rfdetr", "model": "xlarge"}, "training: model xlarge: its code and weights"),
    ],
)
def test_bad_references_are_refused_by_the_study(tmp_path: Path, place: str, value: Any, message: str) -> None:
    import re

    text = refusal(tmp_path, changed(place, value))
    assert re.search(message, text), text


def test_a_shorter_training_keeps_the_shape_of_its_schedule() -> None:
    whole = RfdetrSettings(
        budget={"epochs": 50}, lr_drop=40, warmup_epochs=2, patience=15, min_delta=0.01, checkpoint_interval=20
    )
    short = RfdetrSettings.model_validate(whole.model_dump() | whole.shortened(0.2))
    assert (short.budget.epochs, short.lr_drop, short.warmup_epochs, short.patience, short.checkpoint_interval) == (
        10,
        8,
        0.4,
        None,
        None,
    )


def test_another_size_has_its_own_input_size_unless_one_was_chosen() -> None:
    given = RfdetrSettings(model="nano", lr=3e-4).resolved()
    assert (given.of_size("small").model, given.of_size("small").imgsz, given.of_size("small").lr) == ("small", 512, 3e-4)
    chosen = RfdetrSettings(model="nano", imgsz=320)
    assert chosen.of_size("medium").imgsz == 320 and chosen.of_size("base").imgsz == 336, "a multiple that it takes"
    with pytest.raises(ConfigError, match=r"--model-size smal: unknown. Hint: did you mean 'small'"):
        given.of_size("smal")
    assert TrainingSettings(model="yolo11n").of_size("s").model == "yolo11s"
    assert TrainingSettings(model="yolov8n-p2").of_size("m").model == "yolov8m-p2"
    assert TrainingSettings(model="yolo11n").of_size("yolo26x").model == "yolo26x"
    with pytest.raises(ConfigError, match="model yolo11z is unknown"):
        TrainingSettings(model="yolo11n").of_size("z")


@pytest.mark.parametrize(
    ("sizes", "name"), [(DETECTORS, size) for size in DETECTORS] + [(SEGMENTERS, size) for size in SEGMENTERS]
)
def test_the_sizes_are_those_of_the_installed_library(sizes: dict[str, Size], name: str) -> None:
    config = pytest.importorskip("rfdetr.config")
    size = sizes[name]
    if size.licence == PML:
        assert not hasattr(config, size.config), "it is not part of rfdetr itself"
        return
    fields = getattr(config, size.config).model_fields
    assert fields["resolution"].default == size.px
    assert fields["patch_size"].default * fields["num_windows"].default == size.step
    assert fields["segmentation_head"].default == (sizes is SEGMENTERS)
