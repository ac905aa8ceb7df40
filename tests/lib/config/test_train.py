"""What `training:` refuses, with which hint. That every knob arrives: tested beside the engine (test_yolo_knobs.py)."""

from __future__ import annotations

from typing import Any

import pytest

from lib.config.train import TrainingSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "yolo11q"}, "did you mean 'yolo11"),
        ({"imgsz": 100}, "multiple of 32. Hint: 96"),
        ({"optimizer": "auto"}, "AdamW"),
        ({"budget": {"iterations": 10, "evaluations": 3}}, "Hint: 9 can"),
        ({"budget": {"iterations": 10}}, "both `iterations` and `evaluations`"),
        ({"budget": {"iterations": 10, "evaluations": 2, "epochs": 1}}, "not both"),
        ({"budget": {"iterations": 10, "evaluations": 2}, "warmup": 10}, "warmup 10 must be shorter"),
        ({"close_mosaic": 2}, "no effect without mosaic"),
        ({"patience": 3, "budget": {"epochs": 3}}, "patience 3 has no effect"),
        ({"mosiac": 1.0}, "did you mean 'mosaic'"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings.model_validate(values)
