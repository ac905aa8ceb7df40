"""DeepSORT's settings against the installed class: every parameter is a setting with its default, or has a reason."""

from __future__ import annotations

import inspect

import pytest

from lib.config.appearance import APPEARANCE_WIDTH
from lib.config.base import identity
from lib.config.embed import Objects
from lib.config.track import ByteTracker, is_floor, needs_pixels, pixels_for
from lib.config.track_appearance import NOT_DEEPSORT, DeepSortTracker
from lib.perception.deepsort import NOT_PASSED, build_deepsort

OTHER_DEFAULTS = {"nn_budget": 100}


def test_every_parameter_is_a_setting_or_has_a_reason() -> None:
    from deep_sort_realtime.deepsort_tracker import DeepSort

    parameters = {name: one.default for name, one in inspect.signature(DeepSort).parameters.items()}
    settings = set(DeepSortTracker.model_fields) - {*NOT_PASSED, "description"}
    assert settings == set(parameters) - set(NOT_DEEPSORT) and set(NOT_DEEPSORT) <= set(parameters)
    for name in settings:
        value = getattr(DeepSortTracker(kind="deepsort"), name)
        if name in OTHER_DEFAULTS:
            assert value == OTHER_DEFAULTS[name] != parameters[name]
            assert "class's own default" in DeepSortTracker.model_fields[name].description
        else:
            assert value == parameters[name], name


def test_settings_reach_the_tracker() -> None:
    settings = DeepSortTracker(
        kind="deepsort", max_cosine_distance=0.4, nn_budget=7, max_iou_distance=0.6, max_age=5, n_init=2,
        nms_max_overlap=0.9, gating_only_position=True,
    )  # fmt: skip
    built = build_deepsort(settings)
    tracker = built.tracker
    assert (tracker.metric.matching_threshold, tracker.metric.budget) == (0.4, 7)
    assert (tracker.max_iou_distance, tracker.max_age, tracker.n_init, tracker.gating_only_position) == (0.6, 5, 2, True)
    assert built.nms_max_overlap == 0.9 and built.embedder is None


def test_it_looks_at_pixels_and_is_no_floor() -> None:
    settings = DeepSortTracker(kind="deepsort")
    assert needs_pixels(settings) and not is_floor(settings) and pixels_for(settings) == "appearance: {kind: light}"
    assert Objects(kind="objects", detector="d", tracker="t").width > APPEARANCE_WIDTH


def test_a_tracker_of_before_is_told_nothing_new() -> None:
    """Tracks that stand were made without interpolation: their jobs' settings must not change."""
    assert "interpolate" not in identity(ByteTracker(kind="bytetrack"))
    assert identity(ByteTracker(kind="bytetrack", interpolate=5))["interpolate"] == 5
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        ByteTracker(kind="bytetrack", interpolate=-1)
