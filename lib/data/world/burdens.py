"""What persons carry in the synthetic world: a plank or a box, picked up, set down or carried all the way. Not here: who
walks where (motion.py).

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
        load, how, look = str(path[0].attributes["carrying"]), rng.random(2), int(rng.integers(1 << 30))
        halt = _halt(path, round(_STOP_S * stage.fps))
        if not load and (halt is None or how[0] > _NEW_SHARE or path[halt[0]].attributes["activity"] == "signalling"):
            continue
        load = load or str(rng.choice(list(BURDENS_M)))
        track += 1
        heights = _heights(stage, path, halt, float(how[1]), bool(path[0].attributes["carrying"]))
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


def _heights(stage: Stage, path: list[State], halt: tuple[int, int] | None, how: float, whole: bool) -> np.ndarray:
    """How high the burden is per position of the path: 0 on the ground (not held), 1 as it is carried."""
    held = np.ones(len(path))
    if halt is None or (whole and how > 0.7):
        return held
    start, end = halt
    lift = min(max(1, round(_LIFT_S * stage.fps)), (end - start) // 2)
    positions = np.arange(len(path))
    middle = start + (end - start - lift) // 2
    up = np.clip((positions - middle) / lift, 0.0, 1.0)
    return up if how < 0.4 else 1.0 - up


def _carry(states: list[list[State]], places: list[Place], heights: np.ndarray, burden: tuple[str, int, int]) -> None:
    load, track, look = burden
    ahead, high = HELD_M[load]
    first = {frame: index for index, (frame, _) in enumerate(places)}
    slope = np.gradient(heights) if len(heights) > 1 else np.zeros(len(heights))
    moves = np.flatnonzero((heights > 0) & (heights < 1))
    rests = states[places[int(moves[0])][0]][places[int(moves[0])][1]] if len(moves) else None  # bearer where it is moved
    for frame, present in enumerate(states):
        index = first.get(frame)
        height = float(heights[0 if frame < places[0][0] else -1]) if index is None else float(heights[index])
        if index is not None:
            place = places[index][1]
            present[place] = replace(
                present[place], attributes={**present[place].attributes, "carrying": load if height > 0 else ""}
            )
        bearer = present[places[index][1]] if index is not None and height > 0 else rests
        if bearer is None or (index is None and height > 0):  # carried out of the picture
            continue
        x, y = bearer.x + bearer.facing * ahead * bearer.unit, bearer.y - height * high * bearer.unit
        lifted = 0.0 if index is None else float(slope[index])  # share of the height per frame; below 0 going down
        held_by = bearer.track if height > 0 else 0
        attributes: dict[str, str | int | bool] = {"load": load, "held_by": held_by}
        facing = bearer.facing
        present.append(
            State(
                "load", track, x, y, bearer.depth, bearer.unit, facing, look, {"slung": 0.0, "lifted": lifted}, attributes
            )
        )
