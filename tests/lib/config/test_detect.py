"""Detector settings: what is refused before anything runs, and in which words."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from lib.config.detect import Detector, GivenDetector, TruthDetector


def build(**values: object) -> Detector:
    return TypeAdapter(Detector).validate_python(values)


def test_kind_chooses_the_section() -> None:
    assert isinstance(build(kind="truth"), TruthDetector)
    assert isinstance(build(kind="given", stride=2), GivenDetector)
    assert build(kind="yolo", weights="nano").stride == 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"classes": {"a": ["car"], "b": ["bus", "car"]}}, "'car' is given to 'a' and to 'b'"),
        ({"classes": {"a": ["car", "car"]}}, "each may be used once"),
        ({"classes": {"vehicle": []}}, r"write vehicle: \[vehicle\]"),
        ({"classes": {}}, "would keep nothing"),
        ({"splits": []}, "would look at no video"),
        ({"imgsz": 100}, "multiple of 32"),
        ({"stride": 0}, "greater than or equal to 1"),
        ({"confidence": 0.3}, "did you mean 'conf'"),
    ],
)
def test_impossible_settings_are_refused_by_name(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        build(kind="yolo", weights="nano", **values)
