"""Looks of a crop without a network: colours and edges by rows, projected to 128 numbers. Not here: cropping (roi.py).

Four rows of the crop (helmet, vest, trousers, shoes of somebody who stands) with 12 kinds of colour each, and 8 directions
of edges in 4 × 2 cells, as square roots (the Hellinger kernel): 112 numbers, projected by fixed signs.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from lib.config.appearance import APPEARANCE_WIDTH
from lib.perception.clips_light import colour_kinds
from lib.perception.hashed import projection, unit_rows

_SIDE, _ROWS, _COLUMNS, _KINDS, _WAYS = 32, 4, 2, 12, 8
_EDGE_SHARE = 0.5  # of the edges' length beside that of the colours

_ROW = np.repeat(np.arange(_SIDE) * _ROWS // _SIDE, _SIDE)
_CELL = _ROW * _COLUMNS + np.tile(np.arange(_SIDE) * _COLUMNS // _SIDE, _SIDE)


class LightLooks:
    """The encoder of appearance kind light."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def encode(self, crops: list[np.ndarray]) -> np.ndarray:
        """N crops (h, w, 3) uint8 RGB → (N, 128) float32, rows of length 1."""
        if not crops:
            return np.zeros((0, APPEARANCE_WIDTH), np.float32)
        plain = np.stack([_described(crop) for crop in crops]).astype(np.float32)
        return unit_rows(plain @ projection("looks", plain.shape[1], APPEARANCE_WIDTH))


def _described(crop: np.ndarray) -> np.ndarray:
    """(112,) colours and edges of a crop (h, w, 3)."""
    square = cv2.resize(np.ascontiguousarray(crop), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    colours = np.bincount(_ROW * _KINDS + colour_kinds(square).ravel(), minlength=_ROWS * _KINDS)
    right, down = cv2.spatialGradient(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY))
    strength, angle = cv2.cartToPolar(right.astype(np.float32), down.astype(np.float32))
    ways = (angle.ravel() * (_WAYS / math.pi)).astype(np.int64) % _WAYS
    edges = np.bincount(_CELL * _WAYS + ways, strength.ravel(), _ROWS * _COLUMNS * _WAYS)
    parts = [np.sqrt(part / part.sum()) if part.sum() else part.astype(np.float64) for part in (colours, edges)]
    return np.concatenate([parts[0], _EDGE_SHARE * parts[1]])
