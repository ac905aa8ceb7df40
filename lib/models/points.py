"""Points of a temporal pyramid: where they stand, which of them answer a query, and what their boxes should be.

Point j of level i stands at step j · 2^i of the grid; a segment is (start, end) in grid steps, where step t means the
centre of its window (lib/data/time_grid.py). Vectorised over everything. Not here: models, losses, seconds.

Letters: B queries, T steps, P points of all levels, N segments of a query. Masks are bool, True = valid.

Source: ActionFormer, Zhang et al. 2022, arXiv:2202.07925, section 3.3, with GroundNLQ's ranges; that a segment's nearest
point is always positive is ours, for otherwise up to 4 % of real answers have none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SAME_LENGTH = 1e-3
"""Grid steps by which two lengths may differ and still be taken as equal."""


def doubling_ranges(levels: int) -> list[tuple[float, float]]:
    """[0, 4] [2, 8] [4, 16] … [2^i, 2^(i+2)], the last one without end: how far an end may lie from a point of level i."""
    return [(0.0 if i == 0 else 2.0**i, math.inf if i == levels - 1 else 2.0 ** (i + 2)) for i in range(levels)]


@dataclass(frozen=True)
class Points:
    """P points, level after level. All (P,) float32, in grid steps; level: (P,) int64."""

    time: Tensor
    stride: Tensor
    low: Tensor
    high: Tensor
    level: Tensor


def make_points(steps: int, ranges: Sequence[tuple[float, float]], *, device: torch.device | str = "cpu") -> Points:
    """The points of a clip of `steps` steps, one level per range (smallest and largest distance of the farther end)."""
    times = [torch.arange(0, steps, 2**level, dtype=torch.float32, device=device) for level in range(len(ranges))]
    told = [(2.0**level, *ends, level) for level, ends in enumerate(ranges)]
    columns = [torch.cat([one.new_full(one.shape, row[k]) for one, row in zip(times, told, strict=True)]) for k in range(4)]
    return Points(torch.cat(times), columns[0], columns[1], columns[2], columns[3].long())


def point_mask(mask: Tensor, levels: int) -> Tensor:
    """Which points are no padding: (B, T) → (B, P)."""
    return torch.cat([mask[:, :: 2**level] for level in range(levels)], 1)


@dataclass(frozen=True)
class Labels:
    """positive (B, P) bool: whether a point answers; segments (B, P, 2): what it answers, else its own place."""

    positive: Tensor
    segments: Tensor

    def distances(self, points: Points) -> Tensor:
        """(left, right) / stride of every point, (B, P, 2), not below 0."""
        ends = torch.stack([points.time - self.segments[..., 0], self.segments[..., 1] - points.time], -1)
        return (ends / points.stride[:, None]).clamp(min=0)


def assign(points: Points, mask: Tensor, segments: Tensor, *, centre_radius: float | None = 1.5) -> Labels:
    """Labels of P points for each query.

    mask: (B, P). segments: (B, 2) or (B, N, 2), start ≤ end; NaN = no segment. centre_radius: strides around the centre of
    a segment within which points may answer it; None = all of the segment.

    A point is positive for a segment when it lies strictly inside it and within the radius, and its farther end is within
    the level's range, both ends of the range included; and always when it is the valid point nearest to the segment's
    centre (the earlier of two) on the finest level whose range holds half of its length. Of several segments it answers
    the shortest, of equally short ones (1e-3) the first.
    """
    segments = segments[:, None] if segments.ndim == 2 else segments
    stated = ~segments.isnan().any(-1)  # (B, N)
    start, end = segments.nan_to_num().float().unbind(-1)
    fits = _inside(points, start, end, centre_radius) | _nearest(points, mask, start, end)
    fits = fits & mask[..., None] & stated[:, None, :]  # (B, P, N)
    lengths = (end - start)[:, None, :].expand_as(fits).masked_fill(~fits, math.inf)
    shortest = lengths.amin(-1, keepdim=True)
    chosen = (fits & (lengths <= shortest + SAME_LENGTH)).to(torch.uint8).argmax(-1)  # the first of them
    positive = fits.any(-1)
    found = torch.stack([start.gather(1, chosen), end.gather(1, chosen)], -1)
    own = points.time[None, :, None].expand_as(found)
    return Labels(positive, torch.where(positive[..., None], found, own))


def _inside(points: Points, start: Tensor, end: Tensor, radius: float | None) -> Tensor:
    """(B, P, N): the rule of places and ranges; start, end: (B, N)."""
    time, start, end = points.time[None, :, None], start[:, None, :], end[:, None, :]
    first, last = start, end
    if radius is not None:
        reach, centre = radius * points.stride[None, :, None], (start + end) / 2
        first, last = torch.maximum(start, centre - reach), torch.minimum(end, centre + reach)
    farther = torch.maximum(time - start, end - time)
    in_range = (farther >= points.low[None, :, None]) & (farther <= points.high[None, :, None])
    return (time > first) & (time < last) & in_range


def _nearest(points: Points, mask: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """(B, P, N), one point of each segment."""
    half, centre = (end - start)[:, None, :] / 2, ((start + end) / 2)[:, None, :]
    holds = (half >= points.low[None, :, None]) & (half <= points.high[None, :, None])  # the same for all of a level
    level = points.level[None, :, None].expand_as(holds)
    least = level.masked_fill(~holds, int(1e6)).amin(1, keepdim=True)
    distance = (points.time[None, :, None] - centre).abs()
    distance = distance.masked_fill((level != least) | ~mask[..., None], math.inf)
    place = distance.argmin(1, keepdim=True)
    return torch.zeros_like(holds).scatter_(1, place, True)


def to_unit(steps: Tensor, count: Tensor) -> Tensor:
    """Grid steps → [−1, 1] from the outer edge of the first step, −½, to that of the last valid one, count − ½.

    steps: (B, …); count: (B,) valid steps.
    """
    return (steps + 0.5) * 2 / _beside(count, steps) - 1


def from_unit(unit: Tensor, count: Tensor) -> Tensor:
    """The inverse of `to_unit`."""
    return (unit + 1) / 2 * _beside(count, unit) - 0.5


def _beside(count: Tensor, values: Tensor) -> Tensor:
    return count.clamp(min=1).float().reshape(-1, *[1] * (values.ndim - 1))
