"""Tracker settings against the installed boxmot classes: every parameter is a setting with the class's default, or has a
reason not to be one; and no allowed value is silently moved by boxmot."""

from __future__ import annotations

import inspect

import pytest
from pydantic import TypeAdapter, ValidationError

from lib.config.track import NEVER_READ, NOT_SETTINGS, ByteTracker, OcSortTracker, SfSortTracker, Tracker

KINDS = {"bytetrack": ByteTracker, "ocsort": OcSortTracker, "sfsort": SfSortTracker}
RENAMED = {"per_class": "classes_separately"}


def boxmot_parameters(kind: str) -> dict[str, object]:
    import boxmot
    from boxmot.trackers.base import BaseTracker

    from lib.perception.trackers import CLASSES

    found: dict[str, object] = {}
    for owner in (BaseTracker, getattr(boxmot, CLASSES[kind])):
        for name, parameter in inspect.signature(owner.__init__).parameters.items():
            if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                found[RENAMED.get(name, name)] = parameter.default
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_a_setting_or_has_a_reason(kind: str) -> None:
    settings = set(KINDS[kind].model_fields) - {"kind", "description"}
    assert settings == set(boxmot_parameters(kind)) - set(NOT_SETTINGS) - NEVER_READ[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_those_of_the_classes(kind: str) -> None:
    parameters = boxmot_parameters(kind)
    settings = KINDS[kind](kind=kind).model_dump(exclude={"kind", "description"})
    assert settings == {name: pytest.approx(parameters[name]) for name in settings}


def build(values: dict[str, object]) -> Tracker:
    return TypeAdapter(Tracker).validate_python(values)


def test_kind_chooses_the_section() -> None:
    assert isinstance(build({"kind": "sfsort"}), SfSortTracker)
    with pytest.raises(ValidationError, match="bytetrack"):
        build({"kind": "bytetracker"})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "bytetrack", "track_tresh": 0.5}, "did you mean 'track_thresh'"),
        ({"kind": "bytetrack", "min_conf": 0.6}, "must not exceed track_thresh 0.45"),
        ({"kind": "ocsort", "use_byte": True, "min_conf": 0.4}, "must not exceed det_thresh"),
        ({"kind": "sfsort", "high_th": 0.8}, "new_track_th 0.7 must hold"),
        ({"kind": "sfsort", "dynamic_tuning": True}, "high_th_m must be at least 0.02"),
        ({"kind": "sfsort", "high_th_m": 0.05}, "only with dynamic_tuning"),
        ({"kind": "sfsort", "cth": 0.05}, "at least low_th"),
    ],
)
def test_impossible_settings_are_refused_by_name(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        build(values)
