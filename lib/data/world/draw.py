"""The synthetic world in pictures: frames with light and noise, and the masks of what is to be seen in them. Not here:
files.

Truth is what was drawn: a mask holds the pixels that its object covers by more than half and that nothing nearer covers.
Objects of which less than a quarter is to be seen (outside the picture or hidden), or fewer than 24 px, are left out of
the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lib.config.world import CLASSES, WorldSource
from lib.data.world import figures, props, scene
from lib.data.world.brush import Layer
from lib.data.world.plan import Plan, Stage, State

SEEN_SHARE = 0.25
SEEN_PX = 24
_NOISE_TILES = 5


@dataclass(frozen=True)
class Seen:
    """One object in one frame's truth. mask: bool (H, W), its visible pixels; share: of its own drawn area, 0..1."""

    state: State
    mask: np.ndarray
    share: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in px: the bounds of the mask."""
        columns, rows = np.flatnonzero(self.mask.any(0)), np.flatnonzero(self.mask.any(1))
        x, y = int(columns[0]), int(rows[0])
        return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


class Painter:
    """Draws the frames of one video; the same plan and settings give the same pixels."""

    def __init__(self, plan: Plan, options: WorldSource) -> None:
        rng = np.random.default_rng([plan.seed, 2])
        self._width, self._height = options.size
        stage = Stage(self._width, self._height, options.fps, plan.frames, options.scale, options.difficulty)
        self._site = scene.site(rng, stage)
        self._props = props.near_props(rng, stage)
        self._light = _Light(rng, stage)

    def frame(self, index: int, states: list[State]) -> tuple[np.ndarray, list[Seen]]:
        """Picture (uint8 RGB, (H, W, 3)) and truth of frame `index`; the light depends on the index, the things on the
        states."""
        picture = self._site.copy()
        owner = np.zeros((self._height, self._width), np.int16)  # which object a pixel shows; 0: none
        areas: dict[int, int] = {}
        for number, state in sorted([*enumerate(states, 1)], key=lambda pair: pair[1].depth):
            self._paint_props(picture, owner, areas, state.depth)
            for layer, own in figures.draw(state):
                layer.paint(picture)
                solid = _claim(owner, layer, number if own else 0)
                if own:
                    areas[number] = solid
            areas.setdefault(number, 0)
        self._paint_props(picture, owner, areas, np.inf)
        return self._light.apply(index, picture), list(self._truth(owner, states, areas))

    def _paint_props(self, picture: np.ndarray, owner: np.ndarray, painted: dict[int, int], depth: float) -> None:
        """Paint the props that stand farther than `depth` and were not painted yet (marked by negative keys)."""
        for number, (row, layers) in enumerate(self._props, 1):
            if row < depth and -number not in painted:
                painted[-number] = 0
                for layer in layers:
                    layer.paint(picture)
                    _claim(owner, layer, 0)

    def _truth(self, owner: np.ndarray, states: list[State], areas: dict[int, int]) -> list[Seen]:
        seen = []
        for number, state in enumerate(states, 1):
            if state.kind not in CLASSES or not areas[number]:
                continue
            mask = owner == number
            visible = int(np.count_nonzero(mask))
            if visible >= SEEN_PX and visible >= SEEN_SHARE * areas[number]:
                seen.append(Seen(state, mask, visible / areas[number]))
        return seen


def _claim(owner: np.ndarray, layer: Layer, number: int) -> int:
    """Write `number` where the layer covers; returns the layer's whole area in px, outside the picture included."""
    solid = layer.solid
    where = layer.crop(owner.shape[1], owner.shape[0])
    if where is not None:
        outer, inner = where
        owner[outer][solid[inner]] = number
    return int(np.count_nonzero(solid))


class _Light:
    """Brightness over time, colour of the light, haze and grain of one video; all but the colour grow with the spread."""

    def __init__(self, rng: np.random.Generator, stage: Stage) -> None:
        d = stage.spread
        seconds = np.arange(stage.frames) / stage.fps
        clouds = np.sin(2 * np.pi * (seconds / rng.uniform(2.5, 6.0) + rng.uniform()))
        self._gain = (1.0 - rng.uniform(0.0, 0.35) * d) * (1.0 + 0.22 * d * clouds)
        self._tint = rng.uniform(0.94, 1.06, 3)
        self._contrast = 1.0 - 0.5 * d * rng.uniform(0.5, 1.0)
        self._haze = rng.uniform(120, 170)
        tiles = rng.normal(0.0, 9.0 * d, (_NOISE_TILES, stage.height, stage.width, 1))
        self._grain = [np.repeat(tile, 3, axis=2).astype(np.int16) for tile in tiles] if d > 0 else []

    def apply(self, index: int, picture: np.ndarray) -> np.ndarray:
        """The picture in the light of frame `index`, uint8 (H, W, 3)."""
        levels = np.arange(256, dtype=np.float64)[:, None] * self._gain[index] * self._tint[None, :]
        table = np.clip(self._haze + (levels - self._haze) * self._contrast, 0, 255).astype(np.uint8)
        lit = cv2.LUT(picture, table[:, None, :])
        if self._grain:
            lit = cv2.add(
                lit, np.roll(self._grain[index % _NOISE_TILES], 37 * index, axis=(0, 1)[index % 2]), dtype=cv2.CV_8U
            )
        return lit
