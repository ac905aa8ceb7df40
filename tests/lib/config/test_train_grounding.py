"""What the settings of grounding refuse, what presets fill in, and that they know no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from lib.config.base import explain, identity
from lib.config.train_grounding import GroundingSettings
from lib.config.train_grounding_presets import PRESETS


def made(**values: Any) -> GroundingSettings:
    return GroundingSettings.model_validate(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "ogfs"}, "did you mean 'ogsf'"),
        ({"model": "vslnet"}, "'mvp', 'ogsf' or 'groundnlq'"),
        ({"preset": "groundnlq", "model": "mvp"}, "preset groundnlq is one of model groundnlq, not of mvp. Hint: leave"),
        ({"hiden": 3}, "did you mean 'hidden'"),
        ({"hidden": 30, "heads": 4}, "hidden 30 is no multiple of heads 4. Hint: 256"),
        ({"window": 8}, "must be odd: as many steps before as after. Hint: 9"),
        ({"levels": 5}, "only with model: ogsf | groundnlq"),
        ({"text_layers": 2}, "only with model: groundnlq"),
        ({"preset": "mvp", "gate_mode": "multiply"}, "only with model: ogsf"),
        ({"preset": "ogsf", "objects": False, "gate_mode": "multiply"}, "only with objects: true"),
        ({"preset": "mvp", "object_dropout": 0.5}, "only with model: ogsf"),
        ({"preset": "ogsf", "objects": False, "object_dropout": 0.5}, "only with objects: true"),
        ({"preset": "ogsf", "object_dropout": 1.0}, "less than 1"),
        ({"preset": "groundnlq", "bounds_mode": "absolute"}, "only with model: mvp | ogsf"),
        ({"preset": "groundnlq", "loss": {"overlap": "giou"}}, "giou is iou for model groundnlq"),
        ({"preset": "mvp", "loss": {"multiscale": 0.5}}, "only with more than one level"),
        ({"loss": {"base_weight": 1.0}}, "only with sensitivity"),
        ({"loss": {"score_loss": "bce", "gamma": 1.0}}, "only with score_loss: focal"),
        ({"loss": {"bounds": 0, "overlap": "diou"}}, "only with bounds above 0"),
        ({"loss": {"bounds": 0, "l1": 0}}, "else scores or segments are never learned"),
        ({"loss": {"smoothing": 1.0}}, "less than 1"),
        ({"preset": "ogsf", "assign": {"ranges": [[0, 4], [2, None]]}}, "has 2 levels, the model 3"),
        ({"assign": {"ranges": [[1, None]]}}, "must begin at 0 and end with null"),
        ({"preset": "ogsf", "assign": {"ranges": [[0, 4], [5, 8], [8, None]]}}, "leaves a gap before the next"),
        ({"assign": {"centre_radius": 0}}, "greater than 0"),
        ({"max_steps": 0}, "greater than or equal to 1"),
        ({"queries_per_clip": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        GroundingSettings.model_validate(values)
    assert message in explain(refusal.value, "training", values)


def test_a_preset_fills_in_and_what_is_stated_wins() -> None:
    plain = made(preset="groundnlq")
    assert (plain.hidden, plain.levels, plain.window, plain.ema.decay if plain.ema else 0) == (384, 7, 9, 0.999)
    assert (plain.optimizer.lr, plain.optimizer.weight_decay, plain.loss.overlap) == (1e-4, 0.05, "diou")
    mine = made(
        preset="groundnlq",
        hidden=64,
        budget={"steps": 9},
        schedule={"warmup_steps": 2},
        ema=None,
        optimizer={"lr": 1e-3},
        loss={"smoothing": 0.0},
    )
    assert (mine.hidden, mine.budget.steps, mine.budget.epochs, mine.ema) == (64, 9, None, None)
    assert (mine.schedule.warmup_steps, mine.schedule.warmup_ratio, mine.schedule.floor) == (2, None, 1e-4)
    assert (mine.optimizer.lr, mine.optimizer.weight_decay) == (1e-3, 0.05)
    assert (mine.loss.smoothing, mine.loss.overlap) == (0.0, "diou")
    other = made(preset="groundnlq", optimizer={"name": "sgd"}, schedule={"name": "constant"})
    assert (other.optimizer.lr, other.schedule.warmup_ratio) == (1e-3, None)  # their own defaults


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_written_out_is_itself(preset: str) -> None:
    one = made(preset=preset)
    assert GroundingSettings.model_validate(identity(one)) == one
    assert GroundingSettings.model_validate(one.model_dump(mode="json")) == one


@pytest.mark.parametrize("model", ["mvp", "ogsf", "groundnlq"])
def test_tiny_is_any_model(model: str) -> None:
    one = made(preset="tiny", model=model)
    assert (one.model, one.hidden) == (model, 32)
    assert made(preset="ogsf").network(video_dim=5, text_dim=4)["use_objects"] is False  # no objects in the data
    assert made(preset="ogsf").network(video_dim=5, text_dim=4, object_dim=3)["object_dim"] == 3


def test_settings_know_no_torch() -> None:
    code = "import sys, lib.config.train_grounding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
