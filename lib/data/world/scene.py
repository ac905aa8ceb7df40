"""The synthetic world's site: sky, town, half-built house, tower crane and ground. Not here: things that stand about or
move.

Every video has a site of its own. It holds no person, no vehicle, and a tower crane without its hook.
"""

from __future__ import annotations

import cv2
import numpy as np

from lib.data.world.brush import dark
from lib.data.world.looks import Colour
from lib.data.world.plan import HORIZON, Stage
from lib.data.world.props import FAR, prop

_SCALE = 2  # the background is drawn twice as large and shrunk
_CONCRETE: tuple[Colour, ...] = ((176, 172, 164), (160, 162, 166), (186, 178, 160))
_GROUNDS: tuple[Colour, ...] = ((172, 146, 112), (150, 132, 110), (144, 140, 132), (164, 128, 92))
_FENCES: tuple[Colour, ...] = ((66, 112, 150), (190, 192, 190), (104, 130, 92), (150, 96, 62))
_SKIES: tuple[tuple[Colour, Colour], ...] = (  # above, at the horizon
    ((96, 152, 214), (206, 224, 236)),
    ((150, 164, 178), (212, 214, 212)),
    ((112, 132, 184), (246, 206, 168)),
    ((78, 134, 196), (228, 222, 204)),
)


def site(rng: np.random.Generator, stage: Stage) -> np.ndarray:
    """The background, uint8 RGB (H, W, 3)."""
    width, height = stage.width * _SCALE, stage.height * _SCALE
    horizon = round(HORIZON * height)
    edge = round(0.585 * height)  # where the hoarding stands
    picture = np.zeros((height, width, 3), np.uint8)
    above, below = _SKIES[int(rng.integers(len(_SKIES)))]
    picture[:edge] = _sky(rng, width, edge, above, below)
    _town(rng, picture, horizon, below)
    _tower_crane(rng, picture, edge)
    _house(rng, picture, edge)
    picture[edge:] = _ground(rng, width, height, edge, horizon)
    _hoarding(rng, picture, edge)
    small = cv2.resize(picture, (stage.width, stage.height), interpolation=cv2.INTER_AREA)
    for _ in range(int(rng.integers(2, 6))):  # far heaps and stacks, behind everything that moves
        row = rng.uniform(0.592, 0.605) * stage.height
        for layer in prop(rng, stage, row, FAR):
            layer.paint(small)
    return small


def noise(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Smooth noise, float32 (height, width), mean 0, about -1..1; cell: px between independent values."""
    coarse = rng.normal(0.0, 0.5, (height // cell + 2, width // cell + 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _sky(rng: np.random.Generator, width: int, height: int, above: Colour, below: Colour) -> np.ndarray:
    share = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None] ** 1.3
    base = np.float32(above) * (1 - share) + np.float32(below) * share
    cells = max(4, width // 6)
    billow = sum(noise(rng, height * 3, width, max(2, cells >> octave))[::3] / (1.6**octave) for octave in range(5))
    cloud = np.clip(billow * 0.9 + rng.uniform(-0.5, 0.3), 0, 1)[..., None] * 0.8
    return np.clip(base * (1 - cloud) + np.float32((244, 244, 242)) * cloud, 0, 255).astype(np.uint8)


def _town(rng: np.random.Generator, picture: np.ndarray, horizon: int, haze: Colour) -> None:
    width, x = picture.shape[1], 0
    while x < width:
        wide = int(rng.integers(width // 28 + 2, width // 10 + 4))
        top = horizon - int(rng.uniform(0.05, 0.42) * horizon)
        tint = rng.uniform(0.62, 0.8)
        wall = np.clip(np.float32(haze) * tint + rng.uniform(-8, 8, 3), 0, 255)
        picture[top : horizon * 4 // 3, x : x + wide] = wall
        for row in range(top + 4, horizon * 4 // 3, 7):
            picture[row : row + 3, x + 3 : x + wide - 3 : 6] = np.clip(wall * 0.86, 0, 255)
        x += wide + int(rng.integers(0, width // 30 + 2))


def _line(
    picture: np.ndarray, start: tuple[float, float], end: tuple[float, float], colour: Colour, thick: int = 1
) -> None:
    cv2.line(picture, (round(start[0]), round(start[1])), (round(end[0]), round(end[1])), colour, thick, cv2.LINE_AA)


def _tower_crane(rng: np.random.Generator, picture: np.ndarray, edge: int) -> None:
    """A tower crane far behind, without its hook: mast, jib, counterweight, ties."""
    height, width = picture.shape[:2]
    x, top = rng.uniform(0.2, 0.8) * width, rng.uniform(0.1, 0.2) * height
    half, paint = height * 0.011, ((224, 178, 40), (206, 84, 44), (196, 200, 204))[int(rng.integers(3))]
    facing = 1 if x < width / 2 else -1
    thick = max(1, height // 150)
    for side in (-half, half):
        _line(picture, (x + side, edge), (x + side, top - 4 * half), paint, thick)
    for step, row in enumerate(np.arange(top, edge, 2.4 * half)):
        side = half if step % 2 else -half
        _line(picture, (x - side, row), (x + side, row + 2.4 * half), paint, 1)
    tip, tail = x + facing * 0.5 * width, x - facing * 0.14 * width
    for row in (top, top + 1.6 * half):
        _line(picture, (tail, row), (tip, row), paint, thick)
    for step, column in enumerate(np.linspace(tail, tip, 44)):
        _line(
            picture,
            (column, top + (step % 2) * 1.6 * half),
            (column + facing * 8, top + ((step + 1) % 2) * 1.6 * half),
            paint,
        )
    for end in (tip - facing * 0.12 * width, tail):
        _line(picture, (x, top - 4 * half), (end, top), dark(paint))
    cv2.rectangle(
        picture, (round(tail - half), round(top)), (round(tail + 2 * half), round(top + 5 * half)), (120, 118, 114), -1
    )


def _house(rng: np.random.Generator, picture: np.ndarray, edge: int) -> None:
    """A concrete frame in the making: slabs, columns, dark rooms, walls here and there, bars, scaffolding, a net."""
    height, width = picture.shape[:2]
    concrete = _CONCRETE[int(rng.integers(len(_CONCRETE)))]
    floors, bays = int(rng.integers(2, 5)), int(rng.integers(3, 6))
    storey, bay = round(height * 0.105), round(width * rng.uniform(0.085, 0.12))
    left = round(rng.uniform(-0.08, 0.95) * (width - bays * bay))
    slab, column = max(3, storey // 7), max(3, bay // 9)
    wall = ((178, 104, 78), (196, 190, 178), (150, 150, 152))[int(rng.integers(3))]
    for floor in range(floors):
        low, high = edge - floor * storey, edge - (floor + 1) * storey
        built = bays - (floor == floors - 1) * int(rng.integers(0, 2))
        for index in range(built):
            x = left + index * bay
            depth = np.linspace(0.3, 0.62, storey, dtype=np.float32)[:, None]
            room = np.float32(concrete)[None, :] * depth * rng.uniform(0.85, 1.1)
            visible = picture[max(high, 0) : low, max(x, 0) : max(x + bay, 0)]
            visible[:] = room[-visible.shape[0] :, None, :] if visible.size else 0
            if rng.random() < 0.38:
                _masonry(picture, (x, high + slab, x + bay, low), wall, float(rng.uniform(0.35, 1.0)))
        for index in range(built + 1):
            x = left + index * bay
            cv2.rectangle(picture, (x - column // 2, high), (x + column // 2, low), dark(concrete, 0.9), -1)
            if floor == floors - 1:
                for bar in range(-column // 2, column // 2 + 1, 3):
                    _line(picture, (x + bar, high), (x + bar, high - storey * 0.3), (112, 74, 56))
        cv2.rectangle(picture, (left - column, high), (left + built * bay + column, high + slab), concrete, -1)
        _line(picture, (left - column, high + slab), (left + built * bay + column, high + slab), dark(concrete, 0.6))
    _scaffold(rng, picture, (left, edge - floors * storey, left + 2 * bay, edge), storey)


def _masonry(picture: np.ndarray, box: tuple[int, int, int, int], wall: Colour, share: float) -> None:
    x1, y1, x2, y2 = box
    top = round(y2 - (y2 - y1) * share)
    cv2.rectangle(picture, (x1, top), (x2, y2), wall, -1)
    for step, row in enumerate(range(y2, top, -4)):
        _line(picture, (x1, row), (x2, row), dark(wall, 0.86))
        for x in range(x1 + (step % 2) * 5, x2, 10):
            _line(picture, (x, row), (x, max(top, row - 4)), dark(wall, 0.86))


def _scaffold(rng: np.random.Generator, picture: np.ndarray, box: tuple[int, int, int, int], storey: int) -> None:
    x1, y1, x2, y2 = box
    if rng.random() < 0.5:
        net = picture[max(0, y1) : y2, max(0, x1) : max(0, x2)]
        green = np.float32(((70, 140, 96), (62, 110, 160))[int(rng.integers(2))])
        net[:] = (net * 0.45 + green * 0.55).astype(np.uint8)
    for x in np.linspace(x1, x2, 6):
        _line(picture, (x, y1 - storey * 0.4), (x, y2), (138, 142, 148), 2)
    for y in np.arange(y1, y2, storey / 2):
        _line(picture, (x1, y), (x2, y), (150, 128, 92), 2)


def _ground(rng: np.random.Generator, width: int, height: int, edge: int, horizon: int) -> np.ndarray:
    """Earth with grain, tracks and puddles, laid out flat and seen in perspective."""
    side = 256
    grain = sum(np.tile(noise(rng, side, side, cell), (1, 1)) * part for cell, part in ((2, 0.5), (8, 0.6), (40, 0.8)))
    flat = np.float32(_GROUNDS[int(rng.integers(len(_GROUNDS)))]) * (1.0 + 0.13 * grain[..., None])
    for _ in range(int(rng.integers(2, 5))):  # tyre tracks across
        row = int(rng.integers(side))
        for rut in (0, 14):
            flat[(row + rut) % side : (row + rut) % side + 5] *= 0.86
    wet = np.clip(noise(rng, side, side, 48) - 0.55, 0, 0.4)[..., None] * 2.0
    flat = flat * (1 - wet) + np.float32((150, 160, 168)) * wet
    below = np.arange(edge, height, dtype=np.float32)[:, None] - horizon + 0.5
    across = np.arange(width, dtype=np.float32)[None, :] - width / 2
    reach = float(height - horizon)
    u = across / below * reach * (side / width) * 0.9 + side / 2
    v = np.broadcast_to(reach / below * side * 0.55, u.shape)
    seen = cv2.remap(flat, u % side, np.ascontiguousarray(v % side), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    light = np.linspace(1.06, 0.88, height - edge, dtype=np.float32)[:, None, None]
    fine = rng.normal(0.0, 5.0, (height - edge, width, 1)).astype(np.float32)
    return np.clip(seen * light + fine, 0, 255).astype(np.uint8)


def _hoarding(rng: np.random.Generator, picture: np.ndarray, edge: int) -> None:
    """The fence round the site, with gaps through which the house shows."""
    height, width = picture.shape[:2]
    paint, panel = _FENCES[int(rng.integers(len(_FENCES)))], max(8, width // 14)
    high = round(height * 0.055)
    for x in range(-int(rng.integers(panel)), width, panel):
        if rng.random() < 0.3:
            continue
        shade = float(rng.uniform(0.88, 1.05))
        colour = tuple(min(255, int(value * shade)) for value in paint)
        cv2.rectangle(picture, (x, edge - high), (x + panel - 2, edge), colour, -1)
        for rib in range(x + 4, x + panel - 2, 6):
            _line(picture, (rib, edge - high), (rib, edge), dark(colour, 0.9))
        cv2.rectangle(picture, (x, edge - high), (x + panel - 2, edge - high + 2), dark(colour, 0.75), -1)
    _line(picture, (0, edge), (width, edge), (86, 78, 68), 2)
