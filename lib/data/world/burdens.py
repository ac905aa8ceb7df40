"""What persons carry in the synthetic world: planks and boxes, picked up, set down or carried along. Not here: who walks
where (motion.py).

A burden is a thing of its own with a track of its own. Who picks it up or sets it down does so while standing; before and
after, it lies on the ground where the person stands. Random numbers are of their own stream, so that the motion of
everything else does not depend on burdens.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from lib.data.world.plan import Plan, Stage, State

BURDENS_M = {"plank": 0.18, "box": 0.36}  # height
HELD_M = {"plank": (0.0, 1.42), "box": (0.43, 0.98)}  # ahead of the bearer, above the ground
_LIFT_S = 0.4
_STOP_S = 0.7  # the shortest halt in which something is picked up or set down
_NEW_SHARE = 0.4  # of those who halt with empty hands

Place = tuple[int, int]
"""(frame, position in that frame's list of states)."""


def add_burdens(plan: Plan, stage: Stage, states: list[list[State]]) -> None:
    """Put a state for every burden into `states`, and let their bearers' `carrying` say when they hold it, in place."""
    rng = np.random.default_rng([plan.seed, 3])
    persons: dict[int, list[Place]] = defaultdict(list)
    for frame, present in enumerate(states):
        for position, state in enumerate(present):
            if state.kind == "person":
                persons[state.track].append((frame, position))
    track = max((state.track for present in states for state in present), default=0)
    for places in persons.values():
        path = [states[frame][position] for frame, position in places]
        (takes, how), look = rng.random(2), int(rng.integers(1 << 30))
        halt = _halt(path, round(_STOP_S * stage.fps))
        load = str(path[0].attributes["carrying"])
        if load:
            moved = how < 0.7
        elif halt is None or takes > _NEW_SHARE or path[halt[0]].attributes["activity"] == "signalling":
            continue
        else:
            load, moved = str(rng.choice(list(BURDENS_M))), True
        track += 1
        heights = np.ones(len(path))
        if halt is not None and moved:
            up = _lift(len(path), halt, max(1, round(_LIFT_S * stage.fps)))
            heights = up if how < 0.4 else 1.0 - up
        _carry(states, places, heights, (load, track, look))


def _halt(path: list[State], least: int) -> tuple[int, int] | None:
    """The first run of at least `least` frames in which a person does not walk: (start, end) in positions of the path."""
    start = None
    for index in range(len(path) + 1):
        still = index < len(path) and path[index].attributes["activity"] != "walking"
        if still and start is None:
            start = index
        elif not still and start is not None:
            if index - start >= least:
                return start, index
            start = None
    return None


def _lift(length: int, halt: tuple[int, int], frames: int) -> np.ndarray:
    """(length,) float: 0 on the ground, 1 as it is carried, rising over `frames` in the middle of the halt."""
    start, end = halt
    frames = max(1, min(frames, (end - start) // 2))
    begin = start + (end - start - frames) // 2
    return np.clip((np.arange(length) - begin) / frames, 0.0, 1.0)


def _carry(states: list[list[State]], places: list[Place], heights: np.ndarray, burden: tuple[str, int, int]) -> None:
    """The burden in every frame; heights: per place of its bearer, 0 on the ground (not held), 1 as it is carried."""
    load = burden[0]
    moves = np.flatnonzero(np.diff(heights))
    rests = states[places[moves[0]][0]][places[moves[0]][1]] if len(moves) else None  # who stands where it lies
    slope = np.gradient(heights) if len(heights) > 1 else np.zeros(1)
    at = {frame: (position, float(heights[index]), float(slope[index])) for index, (frame, position) in enumerate(places)}
    for frame, present in enumerate(states):
        if frame in at:
            position, height, lifted = at[frame]
            bearer = present[position] = _bearing(present[position], load, height)
            present.append(_burden(bearer if height > 0 or rests is None else rests, height, lifted, burden))
        elif rests is not None and heights[0 if frame < places[0][0] else -1] == 0:
            present.append(_burden(rests, 0.0, 0.0, burden))


def _bearing(person: State, load: str, height: float) -> State:
    pose = {**person.pose, "reach": height}
    return replace(person, pose=pose, attributes={**person.attributes, "carrying": load if height > 0 else ""})


def _burden(bearer: State, height: float, lifted: float, burden: tuple[str, int, int]) -> State:
    """The burden of a person, or at the feet of where one stood; lifted: change of its height, below 0 going down."""
    load, track, look = burden
    ahead, high = HELD_M[load]
    x, y = bearer.x + bearer.facing * ahead * bearer.unit, bearer.y - height * high * bearer.unit
    attributes: dict[str, str | int | bool] = {"load": load, "held_by": bearer.track if height > 0 else 0}
    pose = {"slung": 0.0, "lifted": lifted}
    return State("load", track, x, y, bearer.depth, bearer.unit, bearer.facing, look, pose, attributes)
