"""Pieces of a clip's steps that a model sees at once: the whole clip, every k-th step, or sliding pieces of a long one. Not
here: what the model says of them (predict_windows.py), steps and seconds (lib/data/time_grid.py).

Letters: T steps of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lib.config.predict import View
from lib.data.time_grid import TimeGrid

if TYPE_CHECKING:
    from lib.data.clip_samples import ClipSample

Place = tuple[int, tuple[int, int, int], tuple[float, float, float, float]]
"""Number of the view, the piece, the clip's grid: plain values, for what moves a batch to a device looks at each value."""


@dataclass(frozen=True)
class Piece:
    """Steps first, first + every, … of a clip, `count` of them."""

    first: int
    every: int
    count: int

    def of_clip(self, steps: np.ndarray) -> np.ndarray:
        """Steps of the piece (any shape, fractions too) as steps of the clip."""
        return self.first + self.every * np.asarray(steps, np.float64)

    def cut(self, sample: ClipSample) -> ClipSample:
        """The piece as a clip of its own, without answers; the sample itself where the piece is all of it."""
        if self == Piece(0, 1, len(sample.features)):
            return sample
        chosen = slice(self.first, self.first + self.every * (self.count - 1) + 1, self.every)
        grid, stride = sample.grid, sample.grid.stride * self.every
        return replace(
            sample,
            grid=TimeGrid(stride, grid.window, grid.fps, (stride * (self.count - 1) + grid.window) / grid.fps),
            queries=[query | {"windows": []} for query in sample.queries],
            features=sample.features[chosen],
            objects=None if sample.objects is None else sample.objects[chosen],
            objects_mask=None if sample.objects_mask is None else sample.objects_mask[chosen],
        )


def pieces(steps: int, view: View, longest: int) -> list[Piece]:
    """How a view looks at a clip of T steps, in at most `longest` steps at once (or view.slide, where that is less).

    Neighbours overlap by half, and the last one ends with the clip. A clip that is over before the view's phase is seen
    from its first step.
    """
    first = view.phase if view.phase < steps else 0
    count = -(-(steps - first) // view.every)
    longest = min(longest, view.slide or longest)
    if count <= longest:
        return [Piece(first, view.every, count)]
    starts = [*range(0, count - longest, max(1, longest // 2)), count - longest]
    return [Piece(first + view.every * start, view.every, longest) for start in starts]


def looks(steps: int, views: Sequence[View], longest: int) -> list[tuple[int, Piece]]:
    """(number of the view, piece) of every view of a clip."""
    return [(number, piece) for number, view in enumerate(views) for piece in pieces(steps, view, longest)]


def place_of(view: int, piece: Piece, grid: TimeGrid) -> Place:
    """Where the steps of a query in a batch lie in its clip."""
    return (view, astuple(piece), astuple(grid))


def placed(place: Place) -> tuple[int, Piece, TimeGrid]:
    """The inverse of `place_of`."""
    view, piece, grid = place
    return view, Piece(*piece), TimeGrid(*grid)
