"""One thing's path through a synthetic video, as arrays over its frames. Not here: what the path means (events.py,
relations.py), how it comes about (motion.py).

T frames of a video; x, y, depth in px, unit in px per metre.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lib.config.world import WorldSource
from lib.data.world.plan import State


@dataclass(frozen=True)
class Path:
    """One thing over the whole video. there, seen: (T,) bool; x, y, depth, unit: (T,) float, NaN where it is not there."""

    kind: str
    track: int
    fps: float
    size: tuple[int, int]
    states: dict[int, State]
    there: np.ndarray
    seen: np.ndarray
    x: np.ndarray
    y: np.ndarray
    depth: np.ndarray
    unit: np.ndarray

    @property
    def frames(self) -> int:
        return len(self.there)

    def says(self, key: str, *values: str | int) -> np.ndarray:
        """(T,) bool: is the attribute one of the values?"""
        found = np.zeros(self.frames, bool)
        for frame, state in self.states.items():
            found[frame] = state.attributes[key] in values
        return found

    def rising(self) -> np.ndarray:
        """(T,) float: upward speed in m/s towards the next frame (from the one before at the end); 0 where unknown."""
        step = -np.diff(self.y) / self.unit[:-1] * self.fps
        speed = np.append(step, step[-1:] if len(step) else 0.0)
        last = np.isnan(speed) & self.there
        speed[1:][last[1:]] = speed[:-1][last[1:]]
        return np.nan_to_num(speed)


def paths_of(states: list[list[State]], seen: Sequence[Collection[int]], options: WorldSource) -> dict[int, Path]:
    """Track -> its path. states: T lists; seen: the tracks in the truth of each frame."""
    frames = len(states)
    by_track: dict[int, dict[int, State]] = {}
    for frame, present in enumerate(states):
        for state in present:
            by_track.setdefault(state.track, {})[frame] = state
    tracks = {}
    for number, found in sorted(by_track.items()):
        there = np.zeros(frames, bool)
        there[list(found)] = True
        lines = {key: np.full(frames, np.nan) for key in ("x", "y", "depth", "unit")}
        for frame, state in found.items():
            for key, line in lines.items():
                line[frame] = getattr(state, key)
        visible = np.array([number in one for one in seen], bool)
        kind = next(iter(found.values())).kind
        tracks[number] = Path(kind, number, options.fps, options.size, found, there, visible, **lines)
    return tracks


def runs(holds: np.ndarray, seen: np.ndarray, gap: int, least: int) -> Iterator[tuple[int, int]]:
    """(start, end), end exclusive, of runs where `holds`, beginning and ending seen, unseen for at most `gap` frames in a
    row, at least `least` frames long."""
    start = last = None
    for frame in range(len(holds) + 1):
        here = frame < len(holds) and holds[frame]
        if start is not None and last is not None and (not here or frame - last > gap + 1):
            if last + 1 - start >= least:
                yield start, last + 1
            start = last = None
        if here and seen[frame]:
            start = frame if start is None else start
            last = frame
