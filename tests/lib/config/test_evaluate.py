"""Reference: COCO's value of max_det and the ranges that lib/config/evaluate.py states."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lib.config.evaluate import EvaluateSettings


def test_defaults_are_cocos_and_usual_ones() -> None:
    settings = EvaluateSettings()
    scoring = {"f1_threshold": 0.5, "max_det": 100, "track_iou": 0.5, "track_inside": 0.5}
    assert settings.model_dump() == scoring | {"queries_by": "template", "draws": 1000, "level": 0.95, "seed": 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"f1_threshold": 1.5},
        {"max_det": 0},
        {"track_inside": 1.0},
        {"draws": 10},
        {"level": 1.0},
        {"level": 95},
        {"seed": -1},
        {"drawz": 5},
    ],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        EvaluateSettings(**wrong)
