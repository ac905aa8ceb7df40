"""What happens in a synthetic video: timed events and the things that take part. Not here: pictures, sounds, words.

A pure function of the simulated states and of which tracks the truth of each frame holds: an event counts only while all
its actors can be seen. `episode_of` bundles what captions, questions, queries, relations and sounds are made from.

Times are s from the first frame; an event that lasts from frame a to frame b spans [a / fps, (b + 1) / fps]. T frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from lib.config.world import WorldSource
from lib.data.world.looks import BODIES, HELMETS, LOADS, VESTS, word
from lib.data.world.motion import HOOK_M, VEHICLES_M
from lib.data.world.plan import CLASSES, Plan, State

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
    """One happening. kind: of KINDS, or a sound that is only heard (sounds.py). actors: tracks, the one that does it first.

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
    tracks = _tracks(states, seen, options)
    found = [event for track in tracks.values() for event in _DOES[track.kind](track, tracks)]
    return sorted(found, key=lambda event: (event.start_s, event.end_s, event.kind, event.actors))


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


@dataclass(frozen=True)
class _Track:
    """One thing over the whole video. there, seen: (T,) bool; x, y, depth, unit: (T,) float, NaN where it is not there."""

    kind: str
    track: int
    fps: float
    size: tuple[int, int]
    states: dict[int, State]
    there: np.ndarray
    seen: np.ndarray
    x: np.ndarray
    y: np.ndarray
    depth: np.ndarray
    unit: np.ndarray

    @property
    def frames(self) -> int:
        return len(self.there)

    def says(self, key: str, *values: str | int) -> np.ndarray:
        """(T,) bool: is the attribute one of the values?"""
        found = np.zeros(self.frames, bool)
        for frame, state in self.states.items():
            found[frame] = state.attributes[key] in values
        return found

    def rising(self) -> np.ndarray:
        """(T,) float: upward speed in m/s towards the next frame (from the one before at the end); 0 where unknown."""
        step = -np.diff(self.y) / self.unit[:-1] * self.fps
        speed = np.append(step, step[-1:] if len(step) else 0.0)
        last = np.isnan(speed) & self.there
        speed[1:][last[1:]] = speed[:-1][last[1:]]
        return np.nan_to_num(speed)

    def events(self, kind: str, holds: np.ndarray, *others: _Track, shortest_s: float = _SHORTEST_S) -> Iterator[Event]:
        """The runs of frames in which `holds` and this and the others are seen, as events."""
        together = np.logical_and.reduce([self.seen, *(other.seen for other in others)])
        actors = (self.track, *(other.track for other in others))
        for start, end in _runs(holds, together, round(_GAP_S * self.fps), max(1, round(shortest_s * self.fps))):
            yield Event(kind, start / self.fps, end / self.fps, actors)


def _tracks(states: list[list[State]], seen: Sequence[Collection[int]], options: WorldSource) -> dict[int, _Track]:
    frames = len(states)
    by_track: dict[int, dict[int, State]] = {}
    for frame, present in enumerate(states):
        for state in present:
            by_track.setdefault(state.track, {})[frame] = state
    tracks = {}
    for number, found in sorted(by_track.items()):
        there = np.zeros(frames, bool)
        there[list(found)] = True
        lines = {key: np.full(frames, np.nan) for key in ("x", "y", "depth", "unit")}
        for frame, state in found.items():
            for key, line in lines.items():
                line[frame] = getattr(state, key)
        visible = np.array([number in one for one in seen], bool)
        kind = next(iter(found.values())).kind
        tracks[number] = _Track(kind, number, options.fps, options.size, found, there, visible, **lines)
    return tracks


def _runs(holds: np.ndarray, seen: np.ndarray, gap: int, least: int) -> Iterator[tuple[int, int]]:
    """(start, end), end exclusive, of runs where `holds`, beginning and ending seen, unseen for at most `gap` frames in a
    row, at least `least` frames long."""
    start = last = None
    for frame in range(len(holds) + 1):
        here = frame < len(holds) and holds[frame]
        if start is not None and last is not None and (not here or frame - last > gap + 1):
            if last + 1 - start >= least:
                yield start, last + 1
            start = last = None
        if here and seen[frame]:
            start = frame if start is None else start
            last = frame


def _comings(track: _Track, inside: np.ndarray) -> Iterator[Event]:
    """It comes into the picture and goes out of it. inside: (T,) bool, wholly within the picture's edges."""
    yield from track.events("seen", track.there)
    shown, whole = np.flatnonzero(track.seen), np.flatnonzero(track.seen & inside)
    if not len(whole):
        return
    first, last, frames = int(shown[0]), int(shown[-1]), np.arange(track.frames)
    if first > 0 and not inside[first]:
        yield from track.events("enters", track.there & (frames <= whole[0]))
    if last < track.frames - 1 and not inside[last]:
        yield from track.events("leaves", track.there & (frames >= whole[-1]))


def _hook(track: _Track, tracks: dict[int, _Track]) -> Iterator[Event]:
    speed = track.rising()
    up, down = speed > _MOVES_M_S, speed < -_MOVES_M_S
    yield from _comings(track, track.y - HOOK_M * track.unit >= 0)
    empty = track.says("load", 0) & track.there
    yield from track.events("rises", up & empty)
    yield from track.events("descends", down & empty)
    for load in tracks.values():
        if load.kind == LOAD and load.says("held_by", track.track).any():
            held = track.says("load", load.track)
            yield from track.events("carries", held, load)
            yield from track.events("lifts", held & up, load)
            yield from track.events("lowers", held & down, load)
            near = np.abs(track.x - load.x) < 1.0 * track.unit
            yield from track.events("waits", track.there & ~up & ~down & near, load)


def _person(track: _Track, tracks: dict[int, _Track]) -> Iterator[Event]:
    half = 0.3 * track.unit
    yield from _comings(track, (track.x >= half) & (track.x <= track.size[0] - half))
    doings = {"walks": "walking", "stands": "standing", "works": "working", "looks": "looking", "signals": "signalling"}
    for kind, activity in doings.items():
        yield from track.events(kind, track.says("activity", activity))
    for other in tracks.values():
        near = track.there & other.there & (np.abs(track.x - other.x) < _reach(other) * other.unit)
        if other.kind == VEHICLE:
            yield from track.events("passes", near & (track.depth > other.depth), other)
        elif other.kind == LOAD and other.says("held_by", track.track).any():
            held = other.says("held_by", track.track)
            speed = other.rising()
            halting = ~track.says("activity", "walking")
            yield from track.events("holds", held, other)
            yield from track.events("picks up", halting & (held | _before(held)) & (speed > _MOVES_M_S), other)
            yield from track.events("puts down", halting & held & (speed < -_MOVES_M_S), other)
        elif other.kind == LOAD:
            aloft = other.there & ~other.says("held_by", 0) & (other.depth - other.y > 1.9 * other.unit)
            hung = aloft & _held_by_hook(other, tracks)
            yield from track.events(
                "walks under", near & hung & (np.abs(track.depth - other.depth) < 1.0 * other.unit), other
            )


def _reach(track: _Track) -> float:
    """Half its width in m."""
    state = next(iter(track.states.values()))
    return VEHICLES_M[str(state.attributes["model"])] / 2 if track.kind == VEHICLE else 0.8


def _before(holds: np.ndarray) -> np.ndarray:
    """(T,) bool: does it hold one frame later?"""
    return np.append(holds[1:], False)


def _held_by_hook(load: _Track, tracks: dict[int, _Track]) -> np.ndarray:
    hooks = [track.track for track in tracks.values() if track.kind == HOOK]
    return load.says("held_by", *hooks) if hooks else np.zeros(load.frames, bool)


def _vehicle(track: _Track, tracks: dict[int, _Track]) -> Iterator[Event]:
    half = _reach(track) * track.unit
    yield from _comings(track, (track.x >= half) & (track.x <= track.size[0] - half))
    for kind, activity in {"drives": "driving", "parks": "parked", "digs": "digging"}.items():
        yield from track.events(kind, track.says("activity", activity))


def _load(track: _Track, tracks: dict[int, _Track]) -> Iterator[Event]:
    yield from track.events("seen", track.there)


_DOES: dict[str, Callable[[_Track, dict[int, _Track]], Iterator[Event]]] = {
    PERSON: _person,
    HOOK: _hook,
    VEHICLE: _vehicle,
    LOAD: _load,
}


def episode_of(plan: Plan, options: WorldSource, states: list[list[State]], seen: Sequence[Collection[int]]) -> Episode:
    """Everything that happens in one video. seen: T collections of the tracks in each frame's truth."""
    shown = [frozenset(one) for one in seen]
    return Episode(plan, options, states, shown, things_of(states, shown, options.fps), events_of(states, shown, options))
