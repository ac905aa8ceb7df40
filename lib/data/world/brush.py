"""A small drawing board in metres, and the layer that comes off it. Not here: what is drawn (figures, props, scenes).

Shapes are drawn twice as large and shrunk by area, so that edges are soft and the share of each pixel that a shape covers
(alpha) is exact; a pixel belongs to a shape when it covers more than half of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lib.data.world.looks import Colour

_SCALE = 2  # drawn px per picture px
_SHIFT = 4  # fractional bits of the coordinates that cv2 takes

Point = tuple[float, float]
"""(metres forward, metres up) from the anchor."""


@dataclass(frozen=True)
class Layer:
    """A drawn shape in the picture. colour: (h, w, 3) float32, already multiplied by alpha; alpha: (h, w) float32 in 0..1;
    left, top: px of its corner, which may lie outside the picture."""

    colour: np.ndarray
    alpha: np.ndarray
    left: int
    top: int

    @property
    def solid(self) -> np.ndarray:
        """bool (h, w): pixels that the shape covers by more than half."""
        return self.alpha > 0.5

    def crop(self, width: int, height: int) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """(rows, columns) in the picture and in the layer where the two meet; None where they do not."""
        high, wide = self.alpha.shape
        x1, y1 = max(0, self.left), max(0, self.top)
        x2, y2 = min(width, self.left + wide), min(height, self.top + high)
        if x1 >= x2 or y1 >= y2:
            return None
        inner = (slice(y1 - self.top, y2 - self.top), slice(x1 - self.left, x2 - self.left))
        return (slice(y1, y2), slice(x1, x2)), inner

    def paint(self, picture: np.ndarray) -> None:
        """Lay it over a uint8 picture (H, W, 3), in place."""
        where = self.crop(picture.shape[1], picture.shape[0])
        if where is not None:
            outer, inner = where
            below = picture[outer].astype(np.float32) * (1.0 - self.alpha[inner])[..., None]
            picture[outer] = (below + self.colour[inner] + 0.5).astype(np.uint8)


class Brush:
    """Draws in metres around an anchor (x, y) in px; `facing` -1 mirrors. The box in metres must hold all that is drawn."""

    def __init__(self, x: float, y: float, unit: float, facing: int, box: tuple[float, float, float, float]) -> None:
        back, front, down, up = box
        reach = (-front, -back) if facing < 0 else (back, front)
        self._left, self._top = int(np.floor(x + reach[0] * unit)) - 1, int(np.floor(y - up * unit)) - 1
        width = int(np.ceil(x + reach[1] * unit)) + 2 - self._left
        height = int(np.ceil(y - down * unit)) + 2 - self._top
        self._canvas = np.zeros((height * _SCALE, width * _SCALE, 4), np.uint8)
        self._unit, self._metre = unit, np.array([facing * unit, -unit])
        self._anchor = np.array([x - self._left, y - self._top])

    def _pixels(self, points: Sequence[Point]) -> np.ndarray:
        """Metres to the fixed-point px of the canvas, int32 (N, 2)."""
        placed = np.asarray(points, np.float64) * self._metre + self._anchor
        scaled = placed * _SCALE - 0.5  # cv2 puts coordinates at pixel centres
        return np.round(scaled * (1 << _SHIFT)).astype(np.int32)

    def poly(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        cv2.fillPoly(self._canvas, [self._pixels(points)], (*colour, 255), cv2.LINE_8, _SHIFT)

    def box(self, left: float, bottom: float, right: float, top: float, colour: Colour) -> None:
        """A filled upright rectangle."""
        self.poly([(left, bottom), (right, bottom), (right, top), (left, top)], colour)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self.arc(centre, (radius, radius), (0.0, 360.0), colour)

    def arc(self, centre: Point, radii: Point, angles: Point, colour: Colour) -> None:
        """A filled sector of an ellipse with upright axes; angles in degrees, 0 forward, 90 up."""
        turn = np.radians(np.linspace(angles[0], angles[1], 28))
        self.poly([(centre[0] + radii[0] * np.cos(a), centre[1] + radii[1] * np.sin(a)) for a in turn], colour)

    def limb(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line of the given width in metres with round joints; at least one drawn px wide."""
        thick = max(1, round(width * self._unit * _SCALE))
        line = [self._pixels(points)]
        cv2.polylines(self._canvas, line, False, (*colour, 255), thick, cv2.LINE_8, _SHIFT)

    def layer(self, shade: float = 0.22) -> Layer:
        """What was drawn, a little brighter above than below (by `shade` in all)."""
        height, width = self._canvas.shape[0] // _SCALE, self._canvas.shape[1] // _SCALE
        small = cv2.resize(self._canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        light = np.linspace(1.0 + shade / 3, 1.0 - shade * 2 / 3, height, dtype=np.float32)[:, None, None]
        alpha = small[..., 3] / 255.0
        return Layer(np.minimum(small[..., :3] * light, 255.0 * alpha[..., None]), alpha, self._left, self._top)


def dark(colour: Colour, factor: float = 0.72) -> Colour:
    """The colour in shade."""
    red, green, blue = (int(value * factor) for value in colour)
    return red, green, blue


def shadow(x: float, y: float, wide: float, high: float, strength: float) -> Layer:
    """A soft dark ellipse on the ground, `wide` and `high` in px around (x, y)."""
    left, top = int(np.floor(x - wide)) - 1, int(np.floor(y - high)) - 1
    columns = (np.arange(left, int(np.ceil(x + wide)) + 1) + 0.5 - x) / max(wide, 1e-6)
    rows = (np.arange(top, int(np.ceil(y + high)) + 1) + 0.5 - y) / max(high, 1e-6)
    away = rows[:, None] ** 2 + columns[None, :] ** 2
    alpha = (strength * np.clip(1.25 * (1.0 - away), 0.0, 1.0)).astype(np.float32)
    return Layer(np.zeros((*alpha.shape, 3), np.float32), alpha, left, top)
