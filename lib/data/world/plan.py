"""The synthetic world's plan: which classes each stretch of each video shows, and the words that describe a scene. Not
here: the motion itself (motion.py), pictures (draw.py), files (files.py). Seeded, numpy only.

Every video is a row of phases, and a phase says which of person, hook and vehicle are to be seen. Phases are drawn so
that the shares of frames follow the settings in every split, from the first video on. Things enter and leave at the
phase's edge: persons and vehicles over the sides, the hook over the top. One visit is one track (who leaves and comes
back gets a new one, as in MOTChallenge).

Geometry: a static camera over flat ground, horizon at 0.45 of the height; at ground row y (px) one metre is
0.514 * (y - horizon) px. Letters: T frames of a video, W, H the frame's sides in px.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lib.config.world import WorldSource

HORIZON = 0.45  # of H
_PX_PER_M = 0.514  # per px below the horizon: a person of 1.75 m is then 0.9 of the rows between horizon and feet
_PHASE_S = (1.6, 3.4)
SHORTEST_PHASE_S = 1.2

Presence = tuple[bool, bool, bool]
"""(person, hook, vehicle) to be seen."""


@dataclass(frozen=True)
class State:
    """One thing in one frame.

    kind: a class of the world. x, y: its anchor in px (feet, wheels, underside of a load, tip of the hook). depth: the
    ground row in px that it stands on or hangs above, which orders what hides what. unit: px per metre. facing: 1 right,
    -1 left. look: number that colours and build are taken from, constant over a track. attributes: what later truths need
    ("activity", "carrying", "load", "held_by", "model"); held_by is the track of the hook or person that holds a load, 0
    on the ground.
    """

    kind: str
    track: int
    x: float
    y: float
    depth: float
    unit: float
    facing: int
    look: int
    pose: dict[str, float] = field(default_factory=dict)
    attributes: dict[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """One video before anything moves. phases: (start, end, presence) in frames, end exclusive, without gaps."""

    name: str
    split: str
    seed: int
    frames: int
    phases: list[tuple[int, int, Presence]]

    def visits(self, which: int) -> Iterator[tuple[int, int]]:
        """Longest runs of phases that show person (0), hook (1) or vehicle (2): (start, end) in frames, end exclusive."""
        start = None
        for first, _, presence in [*self.phases, (self.frames, self.frames, (False, False, False))]:
            if presence[which] and start is None:
                start = first
            elif not presence[which] and start is not None:
                yield start, first
                start = None


@dataclass(frozen=True)
class Stage:
    """What motion needs to know of a video: W, H in px, frames/s, T, factor on sizes, spread of sizes in 0..1."""

    width: int
    height: int
    fps: float
    frames: int
    scale: float
    spread: float

    def depth(self, rng: np.random.Generator, nearest: float, middle: float, farthest: float) -> float:
        """A ground row in px between two shares of H, the closer to `middle` the smaller the spread."""
        reach = 0.4 + 0.6 * self.spread
        low, high = middle + (farthest - middle) * reach, middle + (nearest - middle) * reach
        return float(rng.uniform(low, high)) * self.height

    def unit(self, depth: np.ndarray | float) -> np.ndarray | float:
        """px per metre of an object on that ground row, the scale included."""
        return _PX_PER_M * (depth - HORIZON * self.height) * self.scale


def presence_shares(options: WorldSource) -> dict[Presence, float]:
    """Share of frames that each combination of classes is to take; they sum to 1."""
    seen = options.persons + options.hooks - options.both
    bare = max(0.0, 1.0 - seen - options.empty)  # neither person nor hook, yet not empty: a vehicle
    accompanied = min(1.0, max(0.0, options.vehicles - bare) / seen) if seen > 0 else 0.0
    alone = {
        (True, False): options.persons - options.both,
        (False, True): options.hooks - options.both,
        (True, True): options.both,
    }
    shares: dict[Presence, float] = {(False, False, True): bare, (False, False, False): options.empty}
    for (person, hook), share in alone.items():
        shares[person, hook, True] = max(0.0, share) * accompanied
        shares[person, hook, False] = max(0.0, share) * (1.0 - accompanied)
    return shares


def plan_videos(options: WorldSource) -> list[Plan]:
    """All videos of the world, split by split. The first n videos of a split do not depend on how many follow."""
    return [plan for split, count in options.videos.items() for plan in _plan_split(options, split, count)]


def _plan_split(options: WorldSource, split: str, count: int) -> list[Plan]:
    rng = np.random.default_rng([options.seed, zlib.crc32(split.encode())])
    shares = presence_shares(options)
    given = dict.fromkeys(shares, 0)
    plans = []
    for index in range(count):
        name = f"site-{split}-{index:03d}"
        frames = max(2, round(options.fps * rng.uniform(*options.seconds)))
        phases: list[tuple[int, int, Presence]] = []
        start = 0
        while start < frames:
            end = start + max(1, round(options.fps * rng.uniform(*_PHASE_S)))
            if frames - end < options.fps * SHORTEST_PHASE_S:
                end = frames
            presence = _next_presence(rng, shares, given, end - start)
            given[presence] += end - start
            phases.append((start, end, presence))
            start = end
        plans.append(Plan(name, split, _seed_of(options.seed, name), frames, phases))
    return plans


def _next_presence(
    rng: np.random.Generator, shares: dict[Presence, float], given: dict[Presence, int], length: int
) -> Presence:
    """The next phase, drawn in proportion to what each combination still lacks; person and hook together never exceed
    theirs."""
    total = sum(given.values()) + length
    states = list(shares)
    lack = np.array([max(0.0, shares[state] * total - given[state]) for state in states])
    used = sum(given[state] for state in states if state[0] and state[1])
    room = total * sum(shares[state] for state in states if state[0] and state[1]) - used
    if length > room + 1e-6:  # the others then lack something: all lacks together are `length`
        lack[[state[0] and state[1] for state in states]] = 0.0
    return states[int(rng.choice(len(states), p=lack / lack.sum()))]


def _seed_of(seed: int, name: str) -> int:
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1)[0])
