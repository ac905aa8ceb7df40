"""The synthetic world's things that stand about: barriers, barrels, bricks, heaps, containers. Not here: what moves.

Those near the camera come as layers of their own, because what moves passes behind them; far ones are part of the
background.
"""

from __future__ import annotations

import numpy as np

from lib.data.world.brush import Brush, Layer, dark, shadow
from lib.data.world.plan import Stage

FAR = ("sand", "bricks", "pipes", "container")
NEAR = ("barrier", "barrel", "bricks", "cone", "sand", "bags")


def near_props(rng: np.random.Generator, stage: Stage) -> list[tuple[float, list[Layer]]]:
    """Things between the camera and what moves: (ground row in px, layers) each, farthest first; the more, the larger the
    spread."""
    most = 1.0 + 5.0 * stage.spread
    rows = [float(rng.uniform(0.66, 0.97)) * stage.height for _ in range(int(rng.integers(0, round(most) + 1)))]
    return [(row, prop(rng, stage, row, NEAR)) for row in sorted(rows)]


def prop(rng: np.random.Generator, stage: Stage, row: float, kinds: tuple[str, ...]) -> list[Layer]:
    """One thing that stands on the given row of the ground (px): its shadow and itself."""
    kind = str(rng.choice(kinds))
    x, unit = float(rng.uniform(0.02, 0.98)) * stage.width, float(stage.unit(row))
    brush = Brush(x, row, unit, 1, (-3.2, 3.2, -0.15, 2.7))
    half = _PROPS[kind](rng, brush)
    return [shadow(x + 0.2 * unit, row, half * 1.15 * unit, 0.16 * unit, 0.4), brush.layer()]


def _barrier(rng: np.random.Generator, brush: Brush) -> float:
    for x in (-0.8, 0.8):
        brush.limb([(x - 0.2, 0.0), (x, 0.95), (x + 0.2, 0.0)], 0.07, (120, 122, 126))
    for low in (0.35, 0.7):
        brush.box(-1.0, low, 1.0, low + 0.25, (240, 240, 236))
        for x in np.arange(-1.0, 0.9, 0.5):
            brush.poly([(x, low), (x + 0.25, low), (x + 0.4, low + 0.25), (x + 0.15, low + 0.25)], (210, 52, 44))
    return 1.0


def _barrel(rng: np.random.Generator, brush: Brush) -> float:
    paint = ((236, 186, 36), (52, 96, 160), (176, 60, 44))[int(rng.integers(3))]
    for x in (-0.35, 0.35)[: int(rng.integers(1, 3))]:
        brush.box(x - 0.3, 0.0, x + 0.3, 0.9, paint)
        for y in (0.28, 0.6):
            brush.box(x - 0.31, y, x + 0.31, y + 0.06, dark(paint))
        brush.arc((x, 0.9), (0.3, 0.07), (0.0, 360.0), dark(paint, 0.85))
    return 0.6


def _bricks(rng: np.random.Generator, brush: Brush) -> float:
    clay = ((186, 92, 66), (198, 172, 138), (158, 158, 160))[int(rng.integers(3))]
    brush.box(-0.7, 0.0, 0.7, 0.12, (140, 104, 66))
    for course in range(int(rng.integers(3, 6))):
        low = 0.12 + course * 0.17
        brush.box(-0.65, low, 0.65, low + 0.16, dark(clay, 0.9 if course % 2 else 1.0))
        for x in np.arange(-0.65 + 0.13 * (course % 2), 0.6, 0.26):
            brush.box(float(x), low, float(x) + 0.025, low + 0.16, dark(clay, 0.65))
    return 0.8


def _cone(rng: np.random.Generator, brush: Brush) -> float:
    brush.box(-0.26, 0.0, 0.26, 0.07, (52, 50, 50))
    brush.poly([(-0.19, 0.07), (0.19, 0.07), (0.04, 0.72), (-0.04, 0.72)], (242, 108, 34))
    brush.poly([(-0.13, 0.3), (0.13, 0.3), (0.085, 0.48), (-0.085, 0.48)], (246, 244, 238))
    return 0.3


def _sand(rng: np.random.Generator, brush: Brush) -> float:
    tint = ((204, 172, 120), (150, 138, 124), (128, 104, 82))[int(rng.integers(3))]
    wide, high = rng.uniform(1.1, 2.2), rng.uniform(0.5, 0.95)
    ridge = np.linspace(-1, 1, 15)
    bumps = high * np.clip(1 - np.abs(ridge) ** 1.6, 0, 1) * (1 + 0.08 * rng.normal(size=15))
    brush.poly([(float(wide * r), float(max(0.0, b))) for r, b in zip(ridge, bumps, strict=True)], tint)
    brush.poly(
        [(float(wide * r), float(max(0.0, b * 0.75))) for r, b in zip(ridge[7:], bumps[7:], strict=True)] + [(0, 0)],
        dark(tint, 0.85),
    )
    return float(wide)


def _bags(rng: np.random.Generator, brush: Brush) -> float:
    paper = ((206, 196, 172), (186, 164, 128), (172, 178, 184))[int(rng.integers(3))]
    brush.box(-0.75, 0.0, 0.75, 0.1, (140, 104, 66))
    for level in range(int(rng.integers(2, 5))):
        low, shift = 0.1 + level * 0.19, 0.1 * (level % 2)
        for left in (-0.75 + shift, -0.05 + shift):
            corners = [(0.05, 0.0), (0.6, 0.0), (0.66, 0.09), (0.6, 0.18), (0.05, 0.18), (0.0, 0.09)]
            brush.poly([(left + x, low + y) for x, y in corners], dark(paper, 1.0 - 0.1 * (level % 2)))
            brush.limb([(left + 0.05, low), (left + 0.6, low)], 0.03, dark(paper, 0.6))
    return 0.85


def _pipe_stack(rng: np.random.Generator, brush: Brush) -> float:
    paint = ((214, 122, 62), (132, 136, 142), (70, 120, 140))[int(rng.integers(3))]
    for level, count in enumerate((5, 4, 3)):
        for index in range(count):
            centre = ((index - (count - 1) / 2) * 0.36, 0.18 + level * 0.31)
            brush.disc(centre, 0.18, paint)
            brush.disc(centre, 0.12, (40, 40, 42))
    return 1.0


def _container(rng: np.random.Generator, brush: Brush) -> float:
    paint = ((58, 104, 148), (176, 70, 52), (92, 124, 88), (198, 200, 200))[int(rng.integers(4))]
    brush.box(-2.6, 0.0, 2.6, 2.4, paint)
    for x in np.arange(-2.5, 2.5, 0.35):
        brush.box(float(x), 0.12, float(x) + 0.14, 2.28, dark(paint, 0.85))
    brush.box(-2.6, 2.28, 2.6, 2.4, dark(paint, 0.7))
    brush.box(-2.6, 0.0, 2.6, 0.12, dark(paint, 0.6))
    return 2.6


_PROPS = {
    "barrier": _barrier,
    "barrel": _barrel,
    "bricks": _bricks,
    "cone": _cone,
    "sand": _sand,
    "bags": _bags,
    "pipes": _pipe_stack,
    "container": _container,
}
