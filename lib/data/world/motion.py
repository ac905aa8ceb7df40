"""The synthetic world in motion: where each person, hook, load and vehicle is in each frame. Not here: how they look.

`simulate` returns the plain list of states that pictures, boxes and masks are drawn from and that later truths (events,
relations) are derived from. Paths are a few key points over time, joined linearly; a visit that does not span its whole
video begins and ends at the picture's edge with about a quarter of the body to be seen, and goes on outside for as long
as a part would still peep in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lib.config.world import WorldSource
from lib.data.world.burdens import add_burdens
from lib.data.world.plan import SHORTEST_PHASE_S, Plan, Stage, State

HOOK_M = 1.5  # height of block and hook
LOADS_M = {"crate": 1.1, "beams": 0.5, "pipes": 0.7, "bucket": 1.2}  # height
SLING_M = 0.6  # between the hook's tip and the top of a load
VEHICLES_M = {"truck": 5.2, "excavator": 4.2, "mixer": 5.4}  # length
_PERSON_M = 0.6  # width while walking
_STRIDE_M = 1.3  # two steps

Visit = tuple[int, int]


def simulate(plan: Plan, options: WorldSource) -> list[list[State]]:
    """States of all things per frame, T lists. Things that are just outside the picture are among them."""
    rng = np.random.default_rng([plan.seed, 1])
    width, height = options.size
    stage = Stage(width, height, options.fps, plan.frames, options.scale, options.difficulty)
    states: list[list[State]] = [[] for _ in range(plan.frames)]
    tracks = iter(range(1, 1_000_000))
    hooked = np.zeros(plan.frames, bool)
    for visit in plan.visits(1):
        hooked[visit[0] : visit[1]] = True
        _hook(rng, stage, states, visit, (next(tracks), next(tracks)))
    for visit in plan.visits(0):
        for one in [visit, *_company(rng, stage, visit, (0.5, 0.3, 0.2))]:
            _person(rng, stage, states, one, next(tracks), hooked)
    for visit in plan.visits(2):
        for one in [visit, *_company(rng, stage, visit, (0.75, 0.25))]:
            _vehicle(rng, stage, states, one, next(tracks))
    add_burdens(plan, stage, states)
    return states


def _company(rng: np.random.Generator, stage: Stage, visit: Visit, chances: tuple[float, ...]) -> Iterator[Visit]:
    """Visits of further things of the same class within a visit; chances: of none, one, two ..."""
    start, end = visit
    shortest = round(stage.fps * SHORTEST_PHASE_S)
    for _ in range(int(rng.choice(len(chances), p=chances))):
        length = end - start if end - start <= shortest else int(rng.integers(shortest, end - start + 1))
        first = int(rng.integers(start, end - length + 1))
        yield first, first + length


@dataclass(frozen=True)
class _Path:
    """A horizontal path. frames: the frame numbers it covers; x: px, same length; facing: 1 or -1, same length."""

    frames: np.ndarray
    x: np.ndarray
    facing: np.ndarray

    @property
    def moving(self) -> np.ndarray:
        """bool per frame: does it move more than a trace?"""
        return np.abs(np.gradient(self.x)) > 0.05 if len(self.x) > 1 else np.zeros(len(self.x), bool)


def _stroll(rng: np.random.Generator, stage: Stage, visit: Visit, speed: float, body: float) -> _Path:
    """Walk in, stop, walk out, as far as the visit's time allows. speed in px per frame, body: width in px."""
    start, end = visit
    enters, leaves, duration = start > 0, end < stage.frames, end - start
    edge = -body / 4  # a quarter of the body is inside; mirrored for the other side
    side, other = (int(value) for value in rng.integers(0, 2, 2))
    if enters and leaves:
        across = stage.width - 2 * edge
        other = 1 - side if across <= 2.0 * speed * duration and rng.random() < 0.7 else side
        far = across if other != side else min(max(speed * duration * 0.45, body * 1.2), stage.width * 0.7)
        stops = [edge, edge + far / (2 if other != side else 1)]
        spans = [edge, *([stops[1]] * 2), edge + far if other != side else edge]
        rest = max(0.1, 1 - 2 * (stops[1] - edge) / (speed * duration))
        keys = [start, start + duration * (1 - rest) / 2, start + duration * (1 + rest) / 2, end]
    elif enters or leaves:
        reach = min(speed * duration * rng.uniform(0.75, 1.0), stage.width * rng.uniform(0.3, 0.85) - edge)
        reach = max(reach, body)
        travel = min(duration * 0.95, reach / speed)
        spans = [edge, edge + reach, edge + reach]
        keys = [start, start + travel, end]
        if leaves:
            spans, keys = spans[::-1], [start, end - travel, end]
    else:
        first = rng.uniform(0.12, 0.6) * stage.width
        reach = min(speed * duration * 0.8, stage.width * 0.85 - first)
        begin = start + duration * rng.uniform(0.0, 0.3)
        spans, keys = [first, first, first + reach, first + reach], [start, begin, begin + reach / speed, end]
    return _walked(stage, keys, spans, visit, speed, body, bool(side))


def _walked(
    stage: Stage, keys: list[float], spans: list[float], visit: Visit, speed: float, body: float, mirror: bool
) -> _Path:
    """Key points to a path over whole frames, with the way outside the picture before and after the visit."""
    start, end = visit
    keys, spans = list(keys), list(spans)
    if start > 0:
        pace = max(speed, abs(spans[1] - spans[0]) / max(1.0, keys[1] - keys[0]))
        outward = body if spans[0] > stage.width / 2 else -body
        keys, spans = [keys[0] - body / pace, *keys], [spans[0] + outward, *spans]
    if end < stage.frames:
        pace = max(speed, abs(spans[-1] - spans[-2]) / max(1.0, keys[-1] - keys[-2]))
        outward = body if spans[-1] > stage.width / 2 else -body
        keys, spans = [*keys, keys[-1] + body / pace], [*spans, spans[-1] + outward]
    frames = np.arange(max(0, int(np.floor(keys[0]))), min(stage.frames, int(np.ceil(keys[-1]))))
    x = np.interp(frames, keys, spans)
    x = stage.width - x if mirror else x
    steps = np.sign(np.round(np.diff(x, append=x[-1]), 3))
    facing = np.ones(len(x), int)
    last = next((int(step) for step in steps if step), -1 if mirror else 1)
    for index, step in enumerate(steps):
        last = int(step) or last
        facing[index] = last
    return _Path(frames, x, facing)


def _person(
    rng: np.random.Generator, stage: Stage, states: list[list[State]], visit: Visit, track: int, hooked: np.ndarray
) -> None:
    depth = stage.depth(rng, nearest=0.98, middle=0.79, farthest=0.63)
    metre = float(stage.unit(depth))
    path = _stroll(rng, stage, visit, float(rng.uniform(1.1, 2.2)) * metre / stage.fps, _PERSON_M * metre)
    drift = rng.uniform(-0.05, 0.05) * stage.height * stage.spread  # towards the camera or away from it
    rows = np.clip(depth + np.linspace(0, drift, len(path.x)), 0.6 * stage.height, 0.99 * stage.height)
    stride = np.cumsum(np.abs(np.diff(path.x, prepend=path.x[0]))) / (_STRIDE_M * metre)
    carrying = str(rng.choice(["", "", "", "plank", "box"]))
    idle = str(rng.choice(["standing", "working", "looking"]))
    turn, look = rng.uniform(0, 1), int(rng.integers(1 << 30))
    for index, frame in enumerate(path.frames):
        activity = "walking" if path.moving[index] else idle
        if activity != "walking" and hooked[frame] and not carrying:
            activity = "signalling"
        pose = {"stride": float(stride[index]), "beat": float(frame / stage.fps + turn), "walk": float(path.moving[index])}
        attributes: dict[str, str | int | bool] = {"activity": activity, "carrying": carrying}
        y, x, facing = float(rows[index]), float(path.x[index]), int(path.facing[index])
        states[frame].append(State("person", track, x, y, y, float(stage.unit(y)), facing, look, pose, attributes))


def _vehicle(rng: np.random.Generator, stage: Stage, states: list[list[State]], visit: Visit, track: int) -> None:
    depth = stage.depth(rng, nearest=0.74, middle=0.66, farthest=0.61)
    metre = float(stage.unit(depth))
    model = str(rng.choice(list(VEHICLES_M)))
    body = VEHICLES_M[model] * metre
    path = _stroll(rng, stage, visit, float(rng.uniform(2.0, 4.5)) * metre / stage.fps, body)
    facing, look, turn = int(path.facing[0]), int(rng.integers(1 << 30)), rng.uniform(0, 1)
    rolled = np.cumsum(np.diff(path.x, prepend=path.x[0])) / metre  # m driven to the right
    for index, frame in enumerate(path.frames):
        digging = model == "excavator" and not path.moving[index]
        pose = {"rolled": float(rolled[index]), "beat": float(frame / stage.fps + turn), "work": float(digging)}
        activity = "driving" if path.moving[index] else ("digging" if digging else "parked")
        attributes: dict[str, str | int | bool] = {"model": model, "activity": activity}
        x = float(path.x[index])
        states[frame].append(State("vehicle", track, x, depth, depth, metre, facing, look, pose, attributes))


def _hook(rng: np.random.Generator, stage: Stage, states: list[list[State]], visit: Visit, tracks: tuple[int, int]) -> None:
    """One visit of the crane hook: it lifts a load from the ground, brings one, or passes empty."""
    start, end = visit
    depth = stage.depth(rng, nearest=0.84, middle=0.72, farthest=0.64)
    metre = float(stage.unit(depth))
    job = str(rng.choice(["lift", "deliver", "pass"], p=[0.45, 0.3, 0.25]))
    load = "" if job == "pass" else str(rng.choice(list(LOADS_M)))
    keys, heights, x_keys, grip = _hook_keys(rng, stage, visit, job, LOADS_M.get(load, 0.0) + SLING_M, depth / metre)
    frames = np.arange(max(0, int(keys[0])), min(stage.frames, int(np.ceil(keys[-1]))))
    tip = np.interp(frames, keys, heights)
    travel = np.interp(frames, [start, grip, end], x_keys)
    sway = rng.uniform(0.03, 0.15) * np.sin(2 * np.pi * (frames / stage.fps / 2.4 + rng.uniform(0, 1)))
    look, load_look = (int(value) for value in rng.integers(1 << 30, size=2))
    x = travel + sway * metre * np.clip(tip / 3.0, 0.2, 1.0)
    placed = (float(x_keys[1]), depth, depth, metre, 1, load_look)  # where it is lifted from or set down
    for frame in range(stage.frames) if load else ():
        held = frame >= grip if job == "lift" else frame < grip
        if held and frames[0] <= frame <= frames[-1]:
            index = frame - int(frames[0])
            y = depth - (float(tip[index]) - SLING_M - LOADS_M[load]) * metre
            where = (float(x[index]), y, depth, metre, 1, load_look)
            states[frame].append(State("load", tracks[1], *where, {"slung": 1.0}, {"load": load, "held_by": tracks[0]}))
        elif not held:
            states[frame].append(State("load", tracks[1], *placed, {"slung": 0.0}, {"load": load, "held_by": 0}))
    for index, frame in enumerate(frames):
        held = bool(load) and (frame >= grip if job == "lift" else frame < grip)
        attributes: dict[str, str | int | bool] = {"job": job, "load": tracks[1] if held else 0}
        where = (float(x[index]), depth - float(tip[index]) * metre, depth, metre, 1, look)
        states[frame].append(State("crane hook", tracks[0], *where, {"sway": float(sway[index])}, attributes))


def _hook_keys(
    rng: np.random.Generator, stage: Stage, visit: Visit, job: str, lowest: float, top: float
) -> tuple[list[float], list[float], list[float], int]:
    """Key points of a hook's visit: frames, heights of the tip in m, x in px at (start, grip, end), the frame of the grip.

    lowest: height in m at which it takes or leaves a load; top: height in m of the picture's upper edge.
    """
    start, end = visit
    edge = top - 0.25 * HOOK_M  # a quarter of it is to be seen
    middle = rng.uniform(0.45, 0.65) * top
    if job == "pass":
        lowest = rng.uniform(0.25, 0.45) * top
    span = end - start
    first, last = start > 0, end < stage.frames
    dips = (0.35, 0.5) if rng.random() < 0.5 else (0.3, 0.55)
    keys: list[float] = [start, start + dips[0] * span, start + dips[1] * span, end]
    heights = [edge if first else middle, lowest, lowest, edge if last else middle]
    grip = round(start + dips[1] * span if job != "deliver" else start + dips[0] * span)
    beyond = 3.5  # m: far enough up for a load below the hook to be out of sight too
    if first:
        keys, heights = [start - beyond * (keys[1] - start) / max(0.5, edge - lowest), *keys], [edge + beyond, *heights]
    if last:
        keys, heights = [*keys, end + beyond * (end - keys[-2]) / max(0.5, edge - lowest)], [*heights, edge + beyond]
    reach = rng.uniform(-0.25, 0.25, 2) * stage.width * min(1.0, span / stage.fps / 3.0)
    x_grip = rng.uniform(0.25, 0.75) * stage.width
    x_keys = [x_grip + (reach[0] if job != "lift" else 0.0), x_grip, x_grip + (reach[1] if job != "deliver" else 0.0)]
    return keys, heights, [float(np.clip(x, 0.08 * stage.width, 0.92 * stage.width)) for x in x_keys], grip
