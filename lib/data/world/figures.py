"""How the synthetic world's things look: persons, the crane hook, loads, vehicles. Not here: where they are, and the site
itself.

Each figure returns layers from far to near; the flag beside a layer says whether its pixels are the object's own (its
mask), or only belong to it, such as a shadow or the hook's cable. A load's sling is its own.
"""

from __future__ import annotations

import numpy as np

from lib.data.world.brush import Brush, Layer, Point, dark, shadow
from lib.data.world.burdens import BURDENS_M
from lib.data.world.looks import BODIES, HELMETS, LOADS, SKINS, TROUSERS, VESTS, Colour, pick
from lib.data.world.motion import HOOK_M, LOADS_M, SLING_M
from lib.data.world.plan import State

Parts = list[tuple[Layer, bool]]

DARK: Colour = (34, 34, 38)
STRIPE: Colour = (236, 238, 226)
HOOK_YELLOW: Colour = (250, 200, 20)
STEEL: Colour = (92, 96, 104)
GLASS: Colour = (126, 176, 200)


def draw(state: State) -> Parts:
    """Layers of one thing from far to near, each with whether it counts as the object."""
    return _FIGURES[state.kind](state)


def _joint(start: Point, angle: float, length: float) -> Point:
    """The end of a limb that hangs from `start`, swung forward by `angle` in radians."""
    return start[0] + length * float(np.sin(angle)), start[1] - length * float(np.cos(angle))


def _person(state: State) -> Parts:
    vest, helmet = pick(state.look, 0, VESTS), pick(state.look, 1, HELMETS)
    trousers, skin = pick(state.look, 2, TROUSERS), pick(state.look, 3, SKINS)
    brush = Brush(
        state.x, state.y, state.unit * (0.94 + 0.12 * ((state.look >> 20) % 16) / 15), state.facing, (-1, 1, -0.1, 2.4)
    )
    swing = 0.55 * np.sin(2 * np.pi * state.pose["stride"]) * state.pose["walk"]
    _leg(brush, -swing, dark(trousers), dark((60, 44, 34)))
    near, far = _arms(state, float(swing))
    _arm(brush, far, dark(vest), dark(skin))
    _leg(brush, swing, trousers, (60, 44, 34))
    brush.poly([(-0.2, 0.82), (0.2, 0.82), (0.25, 1.3), (0.17, 1.47), (-0.17, 1.47), (-0.25, 1.3)], vest)
    brush.box(-0.23, 0.98, 0.23, 1.06, STRIPE)
    brush.poly([(-0.16, 1.46), (-0.07, 1.46), (-0.05, 1.0), (-0.14, 1.0)], STRIPE)
    brush.box(-0.2, 0.8, 0.2, 0.87, DARK)
    nod = 0.03 if state.attributes["activity"] == "looking" else 0.0
    brush.disc((0.03 + nod, 1.58), 0.13, skin)
    brush.arc((0.02 + nod, 1.61), (0.17, 0.18), (0.0, 180.0), helmet)
    brush.box(-0.14 + nod, 1.59, 0.25 + nod, 1.635, dark(helmet, 0.85))
    _arm(brush, near, dark(vest, 0.9), skin)
    parts: Parts = [(shadow(state.x + 0.15 * state.unit, state.y, 0.5 * state.unit, 0.11 * state.unit, 0.42), False)]
    parts.append((brush.layer(), True))
    return parts


def _leg(brush: Brush, swing: float, trousers: Colour, boots: Colour) -> None:
    hip = (0.0, 0.86)
    knee = _joint(hip, swing, 0.42)
    foot = _joint(knee, swing - max(0.0, -swing) * 0.9 - 0.06, 0.4)
    brush.limb([hip, knee, foot], 0.19, trousers)
    brush.limb([foot, (foot[0] + 0.11, foot[1] - 0.01)], 0.12, boots)


def _arm(brush: Brush, angles: tuple[float, float], sleeve: Colour, hand: Colour) -> None:
    shoulder = (0.0, 1.38)
    elbow = _joint(shoulder, angles[0], 0.3)
    wrist = _joint(elbow, angles[1], 0.27)
    brush.limb([shoulder, elbow, wrist], 0.13, sleeve)
    brush.disc(wrist, 0.075, hand)


def _arms(state: State, swing: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """(upper, lower) angle of the near and of the far arm, for what the person does."""
    wave = float(np.sin(2 * np.pi * state.pose["beat"]))
    reach = state.pose.get("reach", 1.0)  # 1 as it is carried; below, the arms hang down to where the burden is
    if state.attributes["carrying"] == "box":
        return (0.35 * reach, 0.3 + 1.2 * reach), (0.1 + 0.35 * reach, 0.3 + 1.2 * reach)
    if state.attributes["carrying"] == "plank":
        return (0.2 + 0.7 * reach, 0.2 + 2.4 * reach), (-swing, -swing + 0.3)
    poses = {
        "signalling": ((2.5 + 0.3 * wave, 2.9 + 0.35 * wave), (0.2, 0.4)),
        "working": ((0.9 + 0.5 * wave, 1.5 + 0.5 * wave), (0.6, 1.2)),
        "looking": ((0.5, 2.3), (0.1, 0.2)),
        "standing": ((0.1, 0.35), (-0.1, 0.1)),
    }
    return poses.get(str(state.attributes["activity"]), ((swing, swing + 0.35), (-swing, -swing + 0.35)))


def _hook(state: State) -> Parts:
    """Block with black and yellow bars, sheave and curved hook; the anchor is the tip, the cable leads up out of the
    picture."""
    top = state.y / state.unit + 0.5
    parts: Parts = []
    if top > HOOK_M - 0.1:
        cable = Brush(state.x, state.y, state.unit, 1, (-0.25, 0.25, HOOK_M - 0.2, top))
        for offset in (-0.13, 0.13):
            cable.limb([(offset, HOOK_M - 0.15), (offset - state.pose["sway"] * 0.5, top)], 0.035, (44, 46, 52))
        parts.append((cable.layer(0.0), False))
    brush = Brush(state.x, state.y, state.unit, 1 if (state.look >> 3) % 2 else -1, (-0.7, 0.7, -0.1, HOOK_M + 0.1))
    brush.limb([(0.0, 0.7), (0.0, 0.5)], 0.17, STEEL)
    turn = np.radians(np.linspace(95, -200, 18))
    brush.limb([(0.25 * float(np.cos(a)), 0.28 + 0.23 * float(np.sin(a))) for a in turn], 0.14, dark(STEEL, 0.62))
    brush.poly(
        [(-0.34, 0.66), (0.34, 0.66), (0.46, 0.8), (0.46, 1.26), (0.3, 1.48), (-0.3, 1.48), (-0.46, 1.26), (-0.46, 0.8)],
        DARK,
    )
    brush.poly(
        [(-0.3, 0.71), (0.3, 0.71), (0.4, 0.83), (0.4, 1.24), (0.27, 1.42), (-0.27, 1.42), (-0.4, 1.24), (-0.4, 0.83)],
        HOOK_YELLOW,
    )
    for left in (-0.36, -0.02):
        brush.poly([(left, 0.76), (left + 0.16, 0.76), (left + 0.36, 1.1), (left + 0.2, 1.1)], DARK)
    brush.disc((0.0, 1.24), 0.13, STEEL)
    brush.disc((0.0, 1.24), 0.05, DARK)
    return [*parts, (brush.layer(), True)]


def _load(state: State) -> Parts:
    load = str(state.attributes["load"])
    if load in BURDENS_M:
        return _burden(state, load)
    height = LOADS_M[load]
    brush = Brush(state.x, state.y, state.unit, state.facing, (-1.7, 1.7, -0.05, height + SLING_M + 0.25))
    if state.pose["slung"]:
        spread = {"crate": 0.55, "beams": 1.1, "pipes": 0.9, "bucket": 0.4}[load]
        brush.limb([(-spread, height - 0.02), (0.0, height + SLING_M + 0.1), (spread, height - 0.02)], 0.05, (58, 50, 44))
    _LOADS[load](brush, pick(state.look, 0, LOADS[load]))
    ground = state.depth
    wide, strength = (1.2, 0.4) if state.y > ground - 1 else (1.0, 0.25)
    return [(shadow(state.x, ground, wide * state.unit, 0.16 * state.unit, strength), False), (brush.layer(), True)]


def _burden(state: State, load: str) -> Parts:
    """What a person carries; on the ground it has a shadow of its own."""
    brush = Brush(state.x, state.y, state.unit, state.facing, (-1.4, 1.4, -0.1, BURDENS_M[load] + 0.1))
    _LOADS[load](brush, pick(state.look, 0, LOADS[load]))
    wide = (1.3 if load == "plank" else 0.35) * state.unit
    under = [] if state.attributes["held_by"] else [(shadow(state.x, state.y, wide, 0.1 * state.unit, 0.4), False)]
    return [*under, (brush.layer(), True)]


def _crate(brush: Brush, wood: Colour) -> None:
    brush.box(-0.65, 0.0, 0.65, 1.1, wood)
    brush.limb([(-0.6, 0.06), (0.6, 1.04)], 0.1, dark(wood))
    for x in (-0.6, 0.6):
        brush.limb([(x, 0.05), (x, 1.05)], 0.12, dark(wood, 0.85))
    for y in (0.06, 1.04):
        brush.limb([(-0.6, y), (0.6, y)], 0.12, dark(wood, 0.85))


def _beams(brush: Brush, steel: Colour) -> None:
    for level, factor in ((0.0, 0.75), (0.25, 1.0)):
        brush.box(-1.5, level, 1.5, level + 0.25, dark(steel, factor))
        brush.box(-1.5, level + 0.07, 1.5, level + 0.18, dark(steel, factor * 0.7))


def _pipes(brush: Brush, paint: Colour) -> None:
    for level, factor in ((0.0, 0.7), (0.23, 0.85), (0.46, 1.0)):
        brush.box(-1.25, level + 0.02, 1.25, level + 0.22, dark(paint, factor))
        brush.disc((1.25, level + 0.12), 0.11, DARK)


def _bucket(brush: Brush, paint: Colour) -> None:
    brush.poly(
        [(-0.6, 1.2), (0.6, 1.2), (0.55, 0.7), (0.2, 0.2), (0.2, 0.0), (-0.2, 0.0), (-0.2, 0.2), (-0.55, 0.7)], paint
    )
    brush.box(-0.6, 1.05, 0.6, 1.2, dark(paint))


def _plank(brush: Brush, wood: Colour) -> None:
    brush.poly([(-1.25, 0.0), (1.25, 0.08), (1.25, 0.18), (-1.25, 0.1)], wood)
    brush.limb([(-1.25, 0.015), (1.25, 0.095)], 0.03, dark(wood, 0.55))


def _box(brush: Brush, card: Colour) -> None:
    brush.box(-0.23, 0.0, 0.23, 0.36, card)
    brush.box(-0.23, 0.15, 0.23, 0.2, (222, 204, 160))


_LOADS = {"crate": _crate, "beams": _beams, "pipes": _pipes, "bucket": _bucket, "plank": _plank, "box": _box}


def _wheel(brush: Brush, x: float, radius: float, rolled: float) -> None:
    brush.disc((x, radius), radius, (26, 26, 28))
    brush.disc((x, radius), radius * 0.55, (132, 134, 138))
    for spoke in range(3):
        angle = -rolled / radius + spoke * np.pi / 3
        dx, dy = radius * 0.5 * float(np.cos(angle)), radius * 0.5 * float(np.sin(angle))
        brush.limb([(x - dx, radius - dy), (x + dx, radius + dy)], 0.09, (60, 62, 66))


def _vehicle(state: State) -> Parts:
    model, paint = str(state.attributes["model"]), pick(state.look, 0, BODIES)
    high = 4.3 if model == "excavator" else 3.2
    ahead = 4.9 if model == "excavator" else 3.2
    brush = Brush(state.x, state.y, state.unit, state.facing, (-3.2, ahead, -0.1, high))
    rolled = state.pose["rolled"] * state.facing
    if model == "excavator":
        _excavator(brush, paint, state.pose["beat"] * state.pose["work"], rolled)
    else:
        _lorry(brush, paint, pick(state.look, 1, BODIES), model, state, rolled)
    under = shadow(state.x, state.y - 0.03 * state.unit, 2.9 * state.unit, 0.28 * state.unit, 0.5)
    return [(under, False), (brush.layer(), True)]


def _lorry(brush: Brush, paint: Colour, second: Colour, model: str, state: State, rolled: float) -> None:
    brush.box(-2.6, 0.55, 2.5, 0.85, (48, 48, 52))
    brush.poly([(1.05, 0.6), (2.6, 0.6), (2.6, 1.5), (2.25, 2.5), (1.05, 2.5)], paint)
    brush.poly([(1.45, 1.55), (2.45, 1.55), (2.17, 2.3), (1.45, 2.3)], GLASS)
    brush.box(2.45, 0.75, 2.62, 0.98, (250, 240, 190))
    brush.box(1.05, 1.1, 2.6, 1.2, dark(paint))
    if model == "truck":
        brush.poly([(-2.75, 1.0), (0.9, 0.85), (0.9, 2.3), (1.2, 2.6), (-2.2, 2.2), (-2.75, 1.9)], second)
        for x in (-1.9, -1.0, -0.1):
            brush.limb([(x, 0.98), (x, 2.2)], 0.1, dark(second))
        brush.poly([(-2.2, 2.2), (-1.2, 2.55), (0.2, 2.6), (0.9, 2.5)], (128, 98, 66))
    else:
        drum = [(-2.7, 2.5), (-2.3, 1.9), (-1.4, 1.0), (0.1, 1.0), (0.9, 1.5), (0.9, 2.1), (0.0, 2.8), (-1.6, 2.9)]
        brush.poly(drum, (214, 214, 208))
        turn = state.pose["beat"] * 0.8
        for band in range(3):
            x = -2.0 + ((band / 3 + turn) % 1.0) * 2.6
            brush.limb([(x - 0.3, 1.25), (x + 0.3, 2.7)], 0.16, second)
        brush.box(-2.6, 0.85, 1.0, 1.02, dark(paint))
    for x in (-2.0, -1.0, 1.8):
        _wheel(brush, x, 0.5, rolled)


def _excavator(brush: Brush, paint: Colour, work: float, rolled: float) -> None:
    brush.arc((-1.25, 0.45), (0.45, 0.45), (90.0, 270.0), (30, 30, 32))
    brush.box(-1.25, 0.0, 1.35, 0.9, (30, 30, 32))
    brush.arc((1.35, 0.45), (0.45, 0.45), (-90.0, 90.0), (30, 30, 32))
    for x in np.arange(-1.2, 1.4, 0.5):
        brush.disc((float(x), 0.45), 0.2, (96, 96, 100))
    for step in range(6):
        x = -1.25 + ((step / 6 + rolled / 2.6) % 1.0) * 2.6
        brush.box(x - 0.06, 0.86, x + 0.06, 0.96, (70, 70, 74))
    brush.poly([(-1.75, 1.0), (0.9, 1.0), (0.9, 1.45), (-0.2, 1.9), (-1.75, 1.9)], paint)
    brush.box(-1.75, 1.0, -1.4, 1.9, dark(paint))
    brush.poly([(-0.35, 1.2), (0.75, 1.2), (0.75, 2.3), (0.5, 2.75), (-0.35, 2.75)], dark(paint, 0.88))
    brush.poly([(-0.2, 1.75), (0.65, 1.75), (0.65, 2.25), (0.42, 2.6), (-0.2, 2.6)], GLASS)
    dig = 0.35 * float(np.sin(2 * np.pi * work / 3.0))
    elbow = (2.3 + dig * 0.5, 3.5 + dig)
    wrist = (3.5 + dig, 1.5 + dig * 1.6)
    brush.limb([(0.75, 1.4), (1.4, 2.9), elbow], 0.36, paint)
    brush.limb([elbow, wrist], 0.3, dark(paint, 0.85))
    x, y = wrist
    brush.poly(
        [(x + 0.25, y + 0.1), (x + 0.35, y - 0.6), (x - 0.3, y - 0.85), (x - 0.65, y - 0.4), (x - 0.2, y + 0.1)],
        (66, 66, 70),
    )


_FIGURES = {"person": _person, "crane hook": _hook, "vehicle": _vehicle, "load": _load}
