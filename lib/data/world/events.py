"""What happens in a synthetic video: timed events and the things that take part. Not here: pictures, sounds, words.

A pure function of the simulated states and of which tracks the truth of each frame holds: an event counts only while all
its actors can be seen. `episode_of` bundles what captions, questions, queries, relations and sounds are made from.

Times are s from the first frame; an event that lasts from frame a to frame b spans [a / fps, (b + 1) / fps]. T frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lib.config.world import CLASSES, WorldSource
from lib.data.world.looks import BODIES, HELMETS, LOADS, VESTS, word
from lib.data.world.motion import HOOK_M, VEHICLES_M
from lib.data.world.paths import Path, paths_of, runs
from lib.data.world.plan import Plan, State
from lib.data.world.tones import TONES, UNSEEN

PERSON, HOOK, VEHICLE, LOAD = CLASSES

FRAME, MOTION, OBJECTS, AUDIO = "frame", "motion", "objects", "audio"
CHANNELS = (FRAME, MOTION, OBJECTS, AUDIO)
"""What can carry the evidence for an answer: one picture, several in order, who is who among alike things, the sound."""

KINDS: dict[str, str] = {
    "seen": FRAME,
    "enters": MOTION,
    "leaves": MOTION,
    "lifts": MOTION,
    "lowers": MOTION,
    "carries": FRAME,
    "rises": MOTION,
    "descends": MOTION,
    "waits": MOTION,
    "walks": FRAME,
    "stands": FRAME,
    "works": FRAME,
    "looks": FRAME,
    "signals": FRAME,
    "holds": FRAME,
    "picks up": MOTION,
    "puts down": MOTION,
    "drives": MOTION,
    "parks": MOTION,
    "digs": MOTION,
    "passes": FRAME,
    "walks under": FRAME,
}
"""Kind of visible event -> FRAME where any picture of it shows it, MOTION where it takes more than one to tell."""

_SHORTEST_S = 0.2
_GAP_S = 0.3  # hidden for this long, it still counts as one event
_MOVES_M_S = 0.15  # m/s, slower is still


@dataclass(frozen=True)
class Event:
    """One happening. kind: of KINDS, or of tones.UNSEEN for a sound that is only heard. actors: tracks, who does it first.

    seen: can it be seen at all. heard: does its tone sound.
    """

    kind: str
    start_s: float
    end_s: float
    actors: tuple[int, ...] = ()
    seen: bool = True
    heard: bool = False

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Thing:
    """One track of the truth. kind: its class; noun: "worker", "hook", "truck", "crate", …; colour: word for its main
    colour ("" for a hook); second: a worker's helmet; start_s, end_s: first and last seen."""

    track: int
    kind: str
    noun: str
    colour: str
    second: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Episode:
    """One video as a story: what it shows in which frame, and what happens. seen: T sets of tracks."""

    plan: Plan
    options: WorldSource
    states: list[list[State]]
    seen: list[frozenset[int]]
    things: dict[int, Thing] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        return self.plan.frames / self.options.fps


def events_of(states: list[list[State]], seen: Sequence[Collection[int]], options: WorldSource) -> list[Event]:
    """All visible events of a video, by start, end, kind and actors.

    states: what `simulate` gave, T lists; seen: the tracks in the truth of each frame.
    """
    tracks = paths_of(states, seen, options)
    found = [event for track in tracks.values() for event in _DOES[track.kind](track, tracks)]
    return sorted(found, key=_order)


def _order(event: Event) -> tuple[float, float, str, tuple[int, ...]]:
    return event.start_s, event.end_s, event.kind, event.actors


def things_of(states: list[list[State]], seen: Sequence[Collection[int]], fps: float) -> dict[int, Thing]:
    """Track -> Thing, of all tracks that the truth holds anywhere."""
    shown: dict[int, list[int]] = {}
    for frame, tracks in enumerate(seen):
        for track in tracks:
            shown.setdefault(track, []).append(frame)
    samples = {state.track: state for present in states for state in present}
    return {
        track: Thing(track, samples[track].kind, *_words(samples[track]), frames[0] / fps, (frames[-1] + 1) / fps)
        for track, frames in sorted(shown.items())
    }


def _words(state: State) -> tuple[str, str, str]:
    """(noun, colour, second colour) of a thing."""
    if state.kind == PERSON:
        return "worker", word(state.look, 0, VESTS), word(state.look, 1, HELMETS)
    if state.kind == VEHICLE:
        return str(state.attributes["model"]), word(state.look, 0, BODIES), ""
    if state.kind == LOAD:
        load = str(state.attributes["load"])
        return load, word(state.look, 0, LOADS[load]), ""
    return "hook", "", ""


def _events(track: Path, kind: str, holds: np.ndarray, *others: Path) -> Iterator[Event]:
    """The runs of frames in which `holds` and this and the others are seen, as events."""
    together = np.logical_and.reduce([track.seen, *(other.seen for other in others)])
    actors = (track.track, *(other.track for other in others))
    for start, end in runs(holds, together, round(_GAP_S * track.fps), max(1, round(_SHORTEST_S * track.fps))):
        yield Event(kind, start / track.fps, end / track.fps, actors)


def _comings(track: Path, inside: np.ndarray) -> Iterator[Event]:
    """It comes into the picture and goes out of it. inside: (T,) bool, wholly within the picture's edges."""
    yield from _events(track, "seen", track.there)
    shown, whole = np.flatnonzero(track.seen), np.flatnonzero(track.seen & inside)
    if not len(whole):
        return
    first, last, frames = int(shown[0]), int(shown[-1]), np.arange(track.frames)
    if first > 0 and not inside[first]:
        yield from _events(track, "enters", track.there & (frames <= whole[0]))
    if last < track.frames - 1 and not inside[last]:
        yield from _events(track, "leaves", track.there & (frames >= whole[-1]))


def _hook(track: Path, tracks: dict[int, Path]) -> Iterator[Event]:
    speed = track.rising()
    up, down = speed > _MOVES_M_S, speed < -_MOVES_M_S
    yield from _comings(track, track.y - HOOK_M * track.unit >= 0)
    empty = track.says("load", 0) & track.there
    yield from _events(track, "rises", up & empty)
    yield from _events(track, "descends", down & empty)
    for load in tracks.values():
        if load.kind == LOAD and load.says("held_by", track.track).any():
            held = track.says("load", load.track)
            yield from _events(track, "carries", held, load)
            yield from _events(track, "lifts", held & up, load)
            yield from _events(track, "lowers", held & down, load)
            near = np.abs(track.x - load.x) < 1.0 * track.unit
            yield from _events(track, "waits", track.there & ~up & ~down & near, load)


def _person(track: Path, tracks: dict[int, Path]) -> Iterator[Event]:
    half = 0.3 * track.unit
    yield from _comings(track, (track.x >= half) & (track.x <= track.size[0] - half))
    doings = {"walks": "walking", "stands": "standing", "works": "working", "looks": "looking", "signals": "signalling"}
    for kind, activity in doings.items():
        yield from _events(track, kind, track.says("activity", activity))
    for other in tracks.values():
        near = track.there & other.there & (np.abs(track.x - other.x) < _reach(other) * other.unit)
        if other.kind == VEHICLE:
            yield from _events(track, "passes", near & (track.depth > other.depth), other)
        elif other.kind == LOAD and other.says("held_by", track.track).any():
            held = other.says("held_by", track.track)
            speed = other.rising()
            halting = ~track.says("activity", "walking")
            yield from _events(track, "holds", held, other)
            yield from _events(track, "picks up", halting & (held | _before(held)) & (speed > _MOVES_M_S), other)
            yield from _events(track, "puts down", halting & held & (speed < -_MOVES_M_S), other)
        elif other.kind == LOAD:
            aloft = other.there & ~other.says("held_by", 0) & (other.depth - other.y > 1.9 * other.unit)
            hung = aloft & _held_by_hook(other, tracks)
            yield from _events(
                track, "walks under", near & hung & (np.abs(track.depth - other.depth) < 1.0 * other.unit), other
            )


def _reach(track: Path) -> float:
    """Half its width in m."""
    state = next(iter(track.states.values()))
    return VEHICLES_M[str(state.attributes["model"])] / 2 if track.kind == VEHICLE else 0.8


def _before(holds: np.ndarray) -> np.ndarray:
    """(T,) bool: does it hold one frame later?"""
    return np.append(holds[1:], False)


def _held_by_hook(load: Path, tracks: dict[int, Path]) -> np.ndarray:
    hooks = [track.track for track in tracks.values() if track.kind == HOOK]
    return load.says("held_by", *hooks) if hooks else np.zeros(load.frames, bool)


def _vehicle(track: Path, tracks: dict[int, Path]) -> Iterator[Event]:
    half = _reach(track) * track.unit
    yield from _comings(track, (track.x >= half) & (track.x <= track.size[0] - half))
    for kind, activity in {"drives": "driving", "parks": "parked", "digs": "digging"}.items():
        yield from _events(track, kind, track.says("activity", activity))


def _load(track: Path, tracks: dict[int, Path]) -> Iterator[Event]:
    yield from _events(track, "seen", track.there)


_DOES: dict[str, Callable[[Path, dict[int, Path]], Iterator[Event]]] = {
    PERSON: _person,
    HOOK: _hook,
    VEHICLE: _vehicle,
    LOAD: _load,
}


def _heard(rng: np.random.Generator, events: list[Event], things: dict[int, Thing], share: float) -> list[Event]:
    """The events, some of those that have a tone marked as heard."""
    chances = rng.random(len(events))
    return [
        replace(event, heard=(event.kind, things[event.actors[0]].kind) in TONES and chance < share)
        for event, chance in zip(events, chances, strict=True)
    ]


def _unseen(rng: np.random.Generator, options: WorldSource, duration_s: float) -> list[Event]:
    """Sounds that nothing in the picture goes with, each kind at most once a video; a tenth of a second to half of it."""
    mean = options.sound.unseen
    count = min(len(UNSEEN), int(mean) + int(rng.random() < mean % 1))
    kinds = [UNSEEN[int(number)] for number in rng.permutation(len(UNSEEN))]
    found = []
    for kind in kinds[:count]:
        length = min(duration_s / 2, float(np.exp(rng.uniform(np.log(0.25), np.log(duration_s / 2 + 0.25)))))
        start = float(rng.uniform(0.0, duration_s - length))
        found.append(Event(kind, round(start, 3), round(start + length, 3), seen=False, heard=True))
    return found


def episode_of(plan: Plan, options: WorldSource, states: list[list[State]], seen: Sequence[Collection[int]]) -> Episode:
    """Everything that happens in one video. seen: T collections of the tracks in each frame's truth."""
    shown = [frozenset(one) for one in seen]
    things = things_of(states, shown, options.fps)
    rng = np.random.default_rng([plan.seed, 4])
    unseen = _unseen(rng, options, plan.frames / options.fps)
    events = _heard(rng, events_of(states, shown, options), things, options.sound.heard) + unseen
    return Episode(plan, options, states, shown, things, sorted(events, key=_order))
