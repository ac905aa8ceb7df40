"""Events against the states that they are made from: a second, slower reading of the states, frame by frame, and scenes
made by hand whose events are worked out by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from lib.config.world import WorldSource
from lib.data.world.events import KINDS, Episode, Event, events_of, things_of
from lib.data.world.plan import State
from lib.data.world.tones import TONES, UNSEEN
from tests.lib.data.world.made import episodes

FPS = 10.0
OPTIONS = WorldSource(format="world")


def frames_of(event: Event) -> range:
    return range(round(event.start_s * FPS), round(event.end_s * FPS))


def states_of(episode: Episode, track: int) -> dict[int, State]:
    return {frame: state for frame, present in enumerate(episode.states) for state in present if state.track == track}


def climb(states: dict[int, State], frame: int) -> float:
    """Metres upward per second, to the next frame or from the last."""
    here, there = (frame, frame + 1) if frame + 1 in states else (frame - 1, frame)
    return (states[here].y - states[there].y) / states[here].unit * FPS if here in states else 0.0


HOLDS: dict[str, Callable[[dict[int, State], dict[int, State], int], bool]] = {
    "lifts": lambda hook, load, at: hook[at].attributes["load"] == load[at].track and climb(hook, at) > 0.15,
    "lowers": lambda hook, load, at: hook[at].attributes["load"] == load[at].track and climb(hook, at) < -0.15,
    "carries": lambda hook, load, at: load[at].attributes["held_by"] == hook[at].track,
    "waits": lambda hook, load, at: abs(climb(hook, at)) <= 0.15 and abs(hook[at].x - load[at].x) < hook[at].unit,
    "rises": lambda hook, _, at: hook[at].attributes["load"] == 0 and climb(hook, at) > 0.15,
    "descends": lambda hook, _, at: hook[at].attributes["load"] == 0 and climb(hook, at) < -0.15,
    "walks": lambda person, _, at: person[at].attributes["activity"] == "walking",
    "stands": lambda person, _, at: person[at].attributes["activity"] == "standing",
    "works": lambda person, _, at: person[at].attributes["activity"] == "working",
    "looks": lambda person, _, at: person[at].attributes["activity"] == "looking",
    "signals": lambda person, _, at: person[at].attributes["activity"] == "signalling",
    "holds": lambda person, load, at: load[at].attributes["held_by"] == person[at].track,
    "drives": lambda vehicle, _, at: vehicle[at].attributes["activity"] == "driving",
    "parks": lambda vehicle, _, at: vehicle[at].attributes["activity"] == "parked",
    "digs": lambda vehicle, _, at: vehicle[at].attributes["activity"] == "digging",
    "passes": lambda person, vehicle, at: person[at].depth > vehicle[at].depth,
    "picks up": lambda person, load, at: load[at].y > load[at + 1].y,
    "puts down": lambda person, load, at: load[at].y < load[at + 1].y,
    "walks under": lambda person, load, at: load[at].depth - load[at].y > 1.9 * load[at].unit,
}


@pytest.mark.slow
def test_events_are_what_the_states_say() -> None:
    """Every event of the default world holds in each of its frames, and its actors are seen from the first to the last."""
    counts: dict[str, int] = defaultdict(int)
    for episode in episodes():
        for event in episode.events:
            if not event.seen:
                continue
            frames = frames_of(event)
            assert 0 <= frames[0] < frames[-1] + 1 <= episode.plan.frames
            paths = [states_of(episode, track) for track in event.actors]
            hidden = [frame for frame in frames if not set(event.actors) <= episode.seen[frame]]
            assert not {frames[0], frames[-1]} & set(hidden)
            assert all(later - sooner <= 4 for sooner, later in pairwise([f for f in frames if f not in hidden]))
            if event.kind in HOLDS:
                assert all(HOLDS[event.kind](paths[0], paths[-1], frame) for frame in frames), (episode.plan.name, event)
            counts[event.kind] += 1
    assert set(counts) == set(KINDS)


@pytest.mark.slow
def test_nothing_that_can_be_seen_is_missed() -> None:
    """The other direction, for what one attribute tells: two frames in a row of it, both seen, lie in an event."""
    checked = 0
    for episode in episodes():
        told = {
            (event.kind, event.actors[0], frame) for event in episode.events if event.seen for frame in frames_of(event)
        }
        doing = {"walking": "walks", "signalling": "signals", "driving": "drives", "digging": "digs", "working": "works"}
        for frame, (now, later) in enumerate(pairwise(episode.states)):
            after = {state.track: state for state in later}
            for state in now:
                kind = doing.get(str(state.attributes.get("activity")))
                same = state.track in after and after[state.track].attributes.get("activity") == state.attributes.get(
                    "activity"
                )
                if kind and same and state.track in episode.seen[frame] & episode.seen[frame + 1]:
                    assert (kind, state.track, frame) in told
                    checked += 1
    assert checked > 500


def scene(heights: list[float], held: list[bool]) -> list[list[State]]:
    """A hook (track 1) above a crate (track 2); heights of its tip in m, 20 px each; held: does the crate hang from it."""
    states = []
    for tip, holding in zip(heights, held, strict=True):
        low = tip - 1.7 if holding else 0.0
        hook = State("crane hook", 1, 100, 150 - 20 * tip, 150, 20, 1, 0, {}, {"job": "lift", "load": 2 if holding else 0})
        crate = State("load", 2, 100, 150 - 20 * low, 150, 20, 1, 0, {}, {"load": "crate", "held_by": 1 if holding else 0})
        states.append([hook, crate])
    return states


HEIGHTS = [3.7, 3.2, 2.7, 2.2, 1.7, 1.7, 1.7, 1.7, 2.2, 2.7, 3.2, 3.2]
HELD = [False] * 6 + [True] * 6


def told(states: list[list[State]], seen: list[set[int]]) -> set[tuple[str, float, float, tuple[int, ...]]]:
    return {(e.kind, round(e.start_s, 3), round(e.end_s, 3), e.actors) for e in events_of(states, seen, OPTIONS)}


def test_a_lift_worked_out_by_hand() -> None:
    """Down in frames 0-3, still in 4-6, up with the crate in 7-9, still in 10 and 11."""
    assert told(scene(HEIGHTS, HELD), [{1, 2}] * 12) == {
        ("seen", 0.0, 1.2, (1,)),
        ("seen", 0.0, 1.2, (2,)),
        ("descends", 0.0, 0.4, (1,)),
        ("waits", 0.4, 0.7, (1, 2)),
        ("carries", 0.6, 1.2, (1, 2)),
        ("lifts", 0.7, 1.0, (1, 2)),
        ("waits", 1.0, 1.2, (1, 2)),
    }


def test_only_what_is_seen_counts() -> None:
    """The crate hides from frame 8 on: the lift shows in one frame only, which is no event; long gaps part events."""
    crate_hides = [{1, 2}] * 8 + [{1}] * 4
    assert {kind for kind, *_ in told(scene(HEIGHTS, HELD), crate_hides)} == {"seen", "descends", "waits", "carries"}
    assert ("carries", 0.6, 0.8, (1, 2)) in told(scene(HEIGHTS, HELD), crate_hides)
    short = [{1, 2}] * 4 + [{2}] * 3 + [{1, 2}] * 5  # 0.3 s hidden: still one event
    assert ("seen", 0.0, 1.2, (1,)) in told(scene(HEIGHTS, HELD), short)
    long = [{1, 2}] * 4 + [{2}] * 4 + [{1, 2}] * 4
    assert {("seen", 0.0, 0.4, (1,)), ("seen", 0.8, 1.2, (1,))} <= told(scene(HEIGHTS, HELD), long)
    assert told(scene(HEIGHTS, HELD), [set()] * 12) == set()
    assert things_of(scene(HEIGHTS, HELD), [set()] * 12, FPS) == {}


def test_entering_begins_at_the_edge_and_ends_inside() -> None:
    """A worker of 20 px/m is 0.6 m = 12 px wide: at x = 0, 3 half outside, inside from x = 6 on; leaving at 318."""
    attributes = {"activity": "walking", "carrying": ""}
    person = State("person", 1, 0, 150, 150, 20, 1, 0, {}, attributes)
    walk = [[replace(person, x=x)] for x in (-9.0, 0.0, 3.0, 6.0, 100.0, 312.0, 316.0, 318.0, 325.0)]
    seen = [set(), {1}, {1}, {1}, {1}, {1}, {1}, {1}, set()]
    events = told(walk, seen)
    assert ("enters", 0.1, 0.4, (1,)) in events and ("leaves", 0.5, 0.8, (1,)) in events
    assert not {"enters", "leaves"} & {kind for kind, *_ in told(walk[3:6], seen[3:6])}


def test_the_same_words_for_colours_that_look_alike() -> None:
    things = [thing for episode in episodes() for thing in episode.things.values()]
    assert {thing.noun for thing in things} >= {"worker", "hook", "truck", "mixer", "excavator", "crate", "plank", "box"}
    assert all(thing.colour for thing in things if thing.kind != "crane hook")
    assert all(bool(thing.second) == (thing.kind == "person") for thing in things)
    assert all(0 <= thing.start_s < thing.end_s for thing in things)


@pytest.mark.slow
def test_sounds_that_nothing_goes_with() -> None:
    """`sound.unseen` per video on average, each kind once, within the video, of very different length."""
    for mean in (0.0, 1.5, 4.0):
        worlds = episodes(sound={"unseen": mean})
        found = [[event for event in episode.events if not event.seen] for episode in worlds]
        assert sum(map(len, found)) / len(worlds) == pytest.approx(mean, abs=0.2)
        for episode, events in zip(worlds, found, strict=True):
            assert len({event.kind for event in events}) == len(events) and {event.kind for event in events} <= set(UNSEEN)
            assert all(event.heard and not event.actors for event in events)
            assert all(0 <= event.start_s < event.end_s <= episode.duration_s + 1e-3 for event in events)
    lengths = [event.length_s for events in found for event in events]
    assert min(lengths) < 0.5 and max(lengths) > 2.0


def test_heard_is_the_share_of_actions_that_sound() -> None:
    for share in (0.0, 0.3, 1.0):
        worlds = episodes(sound={"heard": share})
        actions = [e for one in worlds for e in one.events if e.seen and (e.kind, one.things[e.actors[0]].kind) in TONES]
        assert len(actions) > 150
        assert sum(event.heard for event in actions) / len(actions) == pytest.approx(share, abs=0.1)
        silent = [e for one in worlds for e in one.events if e.seen and e not in actions]
        assert not any(event.heard for event in silent)
