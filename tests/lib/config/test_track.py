"""Tracker settings against the installed boxmot classes: every parameter is a setting with the class's default, or has a
reason not to be one; and no allowed value is silently moved by boxmot. The floor, which is not boxmot's, has no knobs."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from lib.config.base import identity
from lib.config.track import (
    NOT_SETTINGS,
    WITHOUT_EFFECT,
    SfSortTracker,
    Tracker,
    UnlinkedTracker,
    is_floor,
    needs_pixels,
)
from lib.config.track_appearance import DeepSortTracker
from lib.perception.trackers import CLASSES, RENAMED

EVERY = {section.model_fields["kind"].annotation.__args__[0]: section for section in get_args(get_args(Tracker)[0])}
SECTIONS = {kind: section for kind, section in EVERY.items() if section not in (UnlinkedTracker, DeepSortTracker)}
OURS = {"kind", "description", "interpolate"}
"""Settings that are no parameters of boxmot's classes."""
OTHER_DEFAULTS = {
    **{(kind, "aspect_ratio_thresh"): 1.6 for kind in ("boosttrack", "occluboost")},
}
"""Defaults of boxmot that differ from ours, which say why in their description."""


def boxmot_parameters(kind: str) -> dict[str, object]:
    """Parameter -> default of a tracker's class and its bases, under the names of our settings."""
    import boxmot

    ours = {theirs: name for name, theirs in RENAMED.items()}
    found: dict[str, object] = {}
    for owner in reversed(getattr(boxmot, CLASSES[kind]).__mro__):
        for name, parameter in inspect.signature(owner.__init__).parameters.items() if owner is not object else ():
            if name not in ("self", "args") and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                found[ours.get(name, name)] = parameter.default
    return found


def test_every_kind_has_its_class_and_its_list() -> None:
    assert set(SECTIONS) == set(CLASSES) == set(WITHOUT_EFFECT)


@pytest.mark.parametrize("kind", SECTIONS)
def test_every_parameter_is_a_setting_or_has_a_reason(kind: str) -> None:
    settings = set(SECTIONS[kind].model_fields) - {*OURS, "cmc"}
    idle = set().union(*WITHOUT_EFFECT[kind].values())
    parameters = set(boxmot_parameters(kind))
    assert settings == parameters - set(NOT_SETTINGS) - idle
    assert idle <= parameters, "reasons are given for parameters that exist"


@pytest.mark.parametrize("kind", SECTIONS)
def test_defaults_are_those_of_the_classes(kind: str) -> None:
    parameters = boxmot_parameters(kind) | {name: value for (one, name), value in OTHER_DEFAULTS.items() if one == kind}
    section = SECTIONS[kind](kind=kind)
    for name, value in section.model_dump(exclude={*OURS, "cmc"}).items():
        if (kind, name) in OTHER_DEFAULTS:
            assert value != parameters[name] and "boxmot's own" in SECTIONS[kind].model_fields[name].description
        else:
            assert value == pytest.approx(parameters[name]), name
    assert not needs_pixels(section)


def test_the_floor_is_the_one_kind_that_follows_nothing() -> None:
    assert [kind for kind, section in EVERY.items() if is_floor(section(kind=kind))] == ["unlinked"]
    floor = UnlinkedTracker(kind="unlinked", description="a knob without effect would promise what is not so")
    assert identity(floor) == {"kind": "unlinked"} and not needs_pixels(floor)


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
        ({"kind": "sfsort", "dynamic_tuning": True, "cth": 0.05}, "at least low_th"),
        ({"kind": "sfsort", "cth": 0.4}, "cth 0.4 has an effect only with dynamic_tuning: true"),
        ({"kind": "sfsort", "horizontal_margin": 5}, "horizontal_margin 5 has an effect only with marginal_timeout or"),
        ({"kind": "ocsort", "min_conf": 0.2}, "min_conf 0.2 has an effect only with use_byte: true"),
        ({"kind": "bytetrack", "kf_reference_dt_s": 0.1}, "has an effect only with variable_dt: true"),
        ({"kind": "botsort", "track_low_thresh": 0.6}, "must not exceed track_high_thresh 0.5"),
        ({"kind": "botsort", "proximity_thresh": 0.4}, "unknown key 'proximity_thresh'"),
        ({"kind": "deepocsort", "cmc": "ecc"}, "'off' or 'sof'"),
        ({"kind": "botsort", "cmc": "sift"}, "'off', 'ecc', 'orb' or 'sof'"),
        ({"kind": "hybridsort", "use_byte": False, "low_thresh": 0.2}, "low_thresh 0.2 has an effect only with use_byte"),
        ({"kind": "hybridsort", "tcm_byte_step": False, "tcm_byte_step_weight": 2}, "only with tcm_byte_step: true"),
        ({"kind": "hybridsort", "low_thresh": 0.4}, "must not exceed det_thresh 0.3"),
        (
            {"kind": "boosttrack", "use_dlo_boost": False, "use_sb": True},
            "use_sb True has an effect only with use_dlo_boost",
        ),
        ({"kind": "boosttrack", "use_vt": True, "dlo_boost_coef": 0.5}, "only with use_sb and use_vt off"),
        ({"kind": "occluboost", "second_iou_thresh": 0.5}, "has an effect only with use_second_pass: true"),
        (
            {"kind": "occluboost", "use_dlo_boost": False, "use_second_pass": True, "second_pass_max_age": 2},
            "second_pass_max_age 2 has an effect only with second_pass_min_hits: 0",
        ),
        ({"kind": "occluboost", "use_second_pass": True}, "use_second_pass has no effect: use_dlo_boost already raises"),
        ({"kind": "occluboost", "use_second_pass": True, "track_low_thresh": 0.4}, "must not exceed det_thresh 0.3"),
        ({"kind": "occluboost", "ams_enabled": False, "ams_alpha0": 0.2}, "only with ams_enabled: true"),
        ({"kind": "occluboost", "ams_alpha0": 1.0}, "less than 1"),
        ({"kind": "strongsort"}, "strongsort"),
        ({"kind": "unlinked", "classes_separately": True}, "unknown key 'classes_separately'"),
    ],
)
def test_impossible_settings_are_refused_by_name(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        build(values)
