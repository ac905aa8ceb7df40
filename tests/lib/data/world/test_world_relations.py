"""Relations of the synthetic world: valid for Action Genome's scoring, a long tail, and frames made by hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest

from lib.config.world import WorldSource
from lib.data.world.events import Episode
from lib.data.world.plan import State, plan_videos
from lib.data.world.relations import ATTENTION, CONTACTING, PREDICATES, SPATIAL, relations_of
from tests.lib.data.world.made import episodes


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return relations_of(episodes())


def test_every_pair_of_person_and_thing_is_described(rows: list[dict[str, Any]]) -> None:
    """Both ends are in the frame's truth; one attention, at least one spatial and one contacting predicate; none twice."""
    pairs: dict[tuple[str, int, int, int], list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        pairs[row["video"], row["frame"], row["subject"], row["object"]].append((row["group"], row["predicate"]))
    for found in pairs.values():
        groups = Counter(group for group, _ in found)
        assert groups[ATTENTION] == 1 and groups[SPATIAL] >= 1 and groups[CONTACTING] >= 1
        assert len(set(found)) == len(found)
        assert all(predicate in PREDICATES[group] for group, predicate in found)
    expected = set()
    for episode in episodes():
        kinds = {track: thing.kind for track, thing in episode.things.items()}
        for frame, seen in enumerate(episode.seen):
            people = {track for track in seen if kinds[track] == "person"}
            expected |= {(episode.plan.name, frame, one, other) for one in people for other in seen - people}
    assert set(pairs) == expected


def test_predicates_have_a_long_tail(rows: list[dict[str, Any]]) -> None:
    counts = Counter((row["group"], row["predicate"]) for row in rows)
    assert set(counts) == {(group, one) for group, names in PREDICATES.items() for one in names}
    ranked = sorted(counts.values(), reverse=True)
    assert ranked[0] > 50 * ranked[-1] and sum(ranked[:5]) > 0.5 * sum(ranked)
    videos = defaultdict(set)
    for row in rows:
        videos[row["predicate"]].add(row["video"])
    assert min(map(len, videos.values())) >= 2  # the rarest is not one video's


def of_frames(*frames: list[State], fps: float = 10.0) -> dict[int, set[str]]:
    """Object track -> predicates in the last of some frames made by hand."""
    options = WorldSource(format="world", fps=fps, videos={"test": 1})
    plan = plan_videos(options)[0]
    seen = [frozenset(state.track for state in frame) for frame in frames]
    found: dict[int, set[str]] = defaultdict(set)
    for row in relations_of([Episode(plan, options, list(frames), seen)]):
        if row["frame"] == len(frames) - 1:
            found[row["object"]].add(row["predicate"])
    return found


def person(x: float = 100, facing: int = 1, activity: str = "standing", carrying: str = "") -> State:
    return State("person", 1, x, 150, 150, 20, facing, 0, {}, {"activity": activity, "carrying": carrying})


def load(
    x: float, up: float = 0.0, kind: str = "crate", held_by: int = 0, depth: float = 150, lifted: float = 0.0
) -> State:
    pose, attributes = {"slung": 0.0, "lifted": lifted}, {"load": kind, "held_by": held_by}
    return State("load", 2, x, depth - 20 * up, depth, 20, 1, 0, pose, attributes)


def hook(x: float, up: float = 4.0) -> State:
    return State("crane hook", 3, x, 150 - 20 * up, 150, 20, 1, 0, {}, {"job": "pass", "load": 0})


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ([person(), load(200)], {"looking_at", "in_front_of", "not_contacting"}),
        ([person(facing=-1), load(200)], {"not_looking_at", "behind", "not_contacting"}),
        ([person(), load(100, depth=140)], {"not_looking_at", "on_the_side_of", "not_contacting"}),
        ([person(), load(118)], {"looking_at", "in_front_of", "leaning_on"}),
        ([person(activity="working"), load(118)], {"looking_at", "in_front_of", "working_on"}),
        ([person(activity="walking"), load(118)], {"looking_at", "in_front_of", "touching"}),
        ([person(), load(200, kind="beams")], {"looking_at", "in_front_of", "beneath", "not_contacting"}),
        ([person(), load(200, up=2.0, held_by=3)], {"looking_at", "in_front_of", "above", "not_contacting"}),
        (
            [person(activity="walking", carrying="plank"), load(100, 1.42, "plank", 1)],
            {"not_looking_at", "on_the_side_of", "carrying", "have_it_on_the_back"},
        ),
        ([person(carrying="box"), load(109, 0.98, "box", 1)], {"looking_at", "on_the_side_of", "holding"}),
        (
            [person(carrying="box"), load(109, 0.5, "box", 1, lifted=0.2)],
            {"looking_at", "on_the_side_of", "lifting"},
        ),
        (
            [person(carrying="box"), load(109, 0.5, "box", 1, lifted=-0.2)],
            {"looking_at", "on_the_side_of", "putting_down"},
        ),
    ],
)
def test_frames_worked_out_by_hand(frame: list[State], expected: set[str]) -> None:
    """20 px are 1 m. A box held at 0.5 m has its top at 0.86 m, above the knee."""
    assert of_frames(frame)[2] == expected


def test_who_signals_looks_at_the_hook() -> None:
    found = of_frames([person(activity="signalling"), load(130), hook(60)])
    assert {"looking_at", "signalling_to", "behind", "above"} == found[3]
    assert {"unsure", "in_front_of", "not_contacting"} == found[2]


def test_coming_and_going_take_the_frames_before() -> None:
    """The same last frame: what differs is where the thing was 0.3 s ago."""
    still, nearer, farther = load(200), load(220), load(180)
    last = [person(), still]
    assert not {"approaching", "receding"} & of_frames(last)[2]
    assert "approaching" in of_frames([person(), nearer], last, last, last)[2]
    assert "receding" in of_frames([person(), farther], last, last, last)[2]
    assert not {"approaching", "receding"} & of_frames(last, last, last, last)[2]
