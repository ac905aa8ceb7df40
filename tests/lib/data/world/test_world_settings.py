"""The settings of the synthetic world: each has its effect on what is planned and drawn, and impossible ones are refused.

Shares are compared with the settings on the plan (exact bookkeeping) and on what was drawn (with the frames in which things
enter or hide).
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lib.config.world import WorldSource
from lib.data.world.draw import Painter
from lib.data.world.motion import simulate
from lib.data.world.plan import plan_videos, presence_shares

TINY: dict[str, Any] = {
    "format": "world",
    "videos": {"train": 3, "test": 2},
    "size": (160, 96),
    "fps": 5.0,
    "seconds": (2.0, 3.0),
}
DRAWN: dict[str, Any] = {"videos": {"test": 20}, "seconds": (4.0, 8.0), "fps": 3.0}


def tiny(**knobs: Any) -> WorldSource:
    return WorldSource.model_validate(TINY | knobs)


@cache
def drawn_shares(options: str) -> dict[str, float]:
    """Share of drawn frames with each class, with person and hook, with nothing but loads that lie about."""
    source = WorldSource.model_validate_json(options)
    count: dict[str, int] = defaultdict(int)
    for plan in plan_videos(source):
        painter = Painter(plan, source)
        for index, states in enumerate(simulate(plan, source)):
            kinds = {one.state.kind for one in painter.frame(index, states)[1]}
            for kind in kinds:
                count[kind] += 1
            count["both"] += {"person", "crane hook"} <= kinds
            count["empty"] += not kinds - {"load"}
            count["frames"] += 1
    return {key: value / count["frames"] for key, value in count.items()}


def planned(options: WorldSource) -> dict[str, float]:
    plans = plan_videos(options)
    total = sum(plan.frames for plan in plans)
    phases = [(end - start, presence) for plan in plans for start, end, presence in plan.phases]
    tests = {
        "persons": lambda seen: seen[0],
        "hooks": lambda seen: seen[1],
        "vehicles": lambda seen: seen[2],
        "both": lambda seen: seen[0] and seen[1],
        "empty": lambda seen: not any(seen),
    }
    return {key: sum(n for n, seen in phases if test(seen)) / total for key, test in tests.items()}


def test_more_videos_leave_the_first_as_they_are() -> None:
    few, many = plan_videos(tiny(videos={"train": 3})), plan_videos(tiny(videos={"val": 2, "train": 6}))
    assert few == [plan for plan in many if plan.split == "train"][:3]


def test_shares_of_the_plan_follow_the_settings() -> None:
    options = WorldSource(format="world")
    got = planned(options)
    for key, share in got.items():
        assert share == pytest.approx(getattr(options, key), abs=0.03), key
    assert got["both"] <= options.both
    assert sum(presence_shares(options).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("both", [0.0, 0.05, 0.15])
def test_both_is_a_limit_from_the_first_video_on(seed: int, both: float) -> None:
    options = WorldSource(format="world", seed=seed, both=both, persons=0.4, hooks=0.3)
    total = held = 0
    for plan in plan_videos(options):
        if plan.split == "test":
            total += plan.frames
            held += sum(end - start for start, end, seen in plan.phases if seen[0] and seen[1])
            assert held <= both * total + 1e-6


@pytest.mark.parametrize(
    ("key", "kind", "low", "high"),
    [
        ("both", "both", {"both": 0.0}, {}),
        ("persons", "person", {"persons": 0.3}, {"persons": 0.6, "empty": 0.1}),
        ("hooks", "crane hook", {"hooks": 0.2}, {"hooks": 0.5}),
        ("vehicles", "vehicle", {"vehicles": 0.25}, {"vehicles": 0.6}),
        ("empty", "empty", {"empty": 0.05}, {"empty": 0.3}),
    ],
)
def test_each_share_knob_shows_in_the_pictures(key: str, kind: str, low: dict[str, float], high: dict[str, float]) -> None:
    base = {"persons": 0.45, "hooks": 0.35, "both": 0.15, "vehicles": 0.4, "empty": 0.1}
    got = []
    for change in (low, high):
        options = tiny(**(DRAWN | base | change))
        shares = drawn_shares(options.model_dump_json())
        assert shares.get(kind, 0.0) == pytest.approx(getattr(options, key), abs=0.08)
        assert shares["both"] <= options.both + 0.02
        got.append(shares.get(kind, 0.0))
    assert got[0] < got[1] - 0.08


def test_default_pictures_rarely_hold_person_and_hook() -> None:
    shares = drawn_shares(tiny(**DRAWN).model_dump_json())
    assert 0.05 < shares["both"] <= 0.17


def heights(options: WorldSource) -> np.ndarray:
    found = []
    for plan in plan_videos(options):
        painter = Painter(plan, options)
        states = simulate(plan, options)
        for index in range(0, plan.frames, 3):
            found += [one.box[3] for one in painter.frame(index, states[index])[1] if one.state.kind != "load"]
    return np.array(found) / options.size[1]


def test_scale_and_size() -> None:
    """Twice the scale draws larger objects; more px draw the same objects with the same share of the height."""
    plain, double = heights(tiny(videos={"train": 8})), heights(tiny(videos={"train": 8}, scale=2.0))
    assert np.median(double) > 1.5 * np.median(plain)
    low, high = np.quantile(plain, [0.1, 0.9])
    assert low >= 0.15 and high <= 0.5
    large = heights(tiny(videos={"train": 8}, size=(320, 192)))
    assert np.median(large) == pytest.approx(np.median(plain), rel=0.1)


def test_difficulty() -> None:
    """Raising it: less contrast, more grain, more change of light, wider spread of sizes, more of the objects hidden."""
    easy, hard = tiny(videos={"train": 10}, difficulty=0.0), tiny(videos={"train": 10}, difficulty=1.0)
    contrast, light, depths, props, roughness = [], [], [], [], []
    for options in (easy, hard):
        plans = plan_videos(options)
        painters = [Painter(plan, options) for plan in plans]
        empty = [[painter.frame(index, [])[0].astype(float) for index in (0, 9)] for painter in painters]
        contrast.append(np.mean([np.std(two[0].mean((1, 2))) for two in empty]))
        roughness.append(np.median([np.abs(np.diff(two[0][:20], axis=1)) for two in empty]))
        light.append(np.mean([abs(two[0].mean() - two[1].mean()) for two in empty]))
        people = [state for plan in plans for frame in simulate(plan, options) for state in frame if state.kind == "person"]
        depths.append(np.std([state.unit for state in people]))
        props.append(sum(len(painter._props) for painter in painters))
    assert contrast[1] < 0.8 * contrast[0]
    assert light[0] == 0.0 and light[1] > 3.0
    assert depths[1] > 1.3 * depths[0]
    assert props[1] > 1.5 * props[0]
    assert roughness[1] > roughness[0] + 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"both": 0.4}, "both"),
        ({"empty": 0.6}, "must not exceed 1"),
        ({"vehicles": 0.1}, "Hint: raise empty or vehicles"),
        ({"vehicles": 0.9}, "vehicles + empty"),
        ({"size": (321, 192)}, "even"),
        ({"seconds": (8.0, 4.0)}, "must not exceed the second"),
        ({"seconds": (0.1, 4.0)}, "two frames"),
        ({"videos": {}}, "videos"),
        ({"person": 0.4}, "persons"),
        ({"evidence": dict.fromkeys(("frame", "motion", "objects", "audio"), 0)}, "at least one of frame, motion"),
        ({"evidence": {"sound": 1}}, "sound"),
        ({"sound": {"step_hz": 10}}, "60"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("+", r"\+")):
        WorldSource.model_validate({"format": "world"} | change)
