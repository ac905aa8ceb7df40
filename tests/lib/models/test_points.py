"""Points and their labels against the rule spelt out point by point and segment by segment."""

from __future__ import annotations

import math
import random

import pytest
import torch

from lib.models.points import Points, assign, doubling_ranges, from_unit, make_points, point_mask, to_unit

Segment = tuple[float, float]


def by_hand(
    steps: int, valid: int, ranges: list[tuple[float, float]], segments: list[Segment], radius: float | None
) -> list[tuple[bool, Segment]]:
    """Per point, level after level: whether it is positive and which segment it answers (its own place if none)."""
    points = [(t, 2**level, level) for level in range(len(ranges)) for t in range(0, steps, 2**level)]
    nearest = []
    for start, end in segments:
        half, centre = (end - start) / 2, (start + end) / 2
        level = next(i for i, (low, high) in enumerate(ranges) if low <= half <= high)
        there = [number for number, (t, _, of) in enumerate(points) if of == level and t < valid]
        nearest.append(min(there, key=lambda number: abs(points[number][0] - centre), default=None))
    found = []
    for number, (t, stride, level) in enumerate(points):
        fits = []
        for place, (start, end) in enumerate(segments):
            centre, farther = (start + end) / 2, max(t - start, end - t)
            inside = start < t < end and (radius is None or centre - radius * stride < t < centre + radius * stride)
            if (inside and ranges[level][0] <= farther <= ranges[level][1]) or nearest[place] == number:
                fits.append((start, end))
        shortest = min((end - start for start, end in fits), default=0.0)
        mine = next((one for one in fits if one[1] - one[0] <= shortest + 1e-3), (float(t), float(t)))
        found.append((bool(fits) and t < valid, mine if t < valid else (float(t), float(t))))
    return found


@pytest.mark.parametrize("radius", [1.5, 0.5, None])
def test_labels_are_those_of_the_rule(radius: float | None) -> None:
    draw, several = random.Random(4), 0
    for _ in range(400):
        steps = draw.randint(1, 90)
        valid, levels = draw.randint(1, steps), draw.randint(1, 5)
        ranges = doubling_ranges(levels)
        segments = []
        for _ in range(draw.randint(1, 3)):  # eighths, so that ends fall on points and float32 is exact
            start = draw.randint(-8, 8 * valid) / 8
            segments.append((start, start + draw.choice([1, 3, 8, 20, 64, 200, 8 * valid]) / 8))
        expected = by_hand(steps, valid, ranges, segments, radius)
        points = make_points(steps, ranges)
        mask = torch.arange(steps)[None] < valid
        labels = assign(points, point_mask(mask, levels), torch.tensor([segments]), centre_radius=radius)
        assert labels.positive[0].tolist() == [one for one, _ in expected]
        assert [tuple(one) for one in labels.segments[0].tolist()] == [one for _, one in expected]
        several += sum(one for one, _ in expected) > 1
        for start, end in segments if len(segments) == 1 else ():
            assert any(one for one, _ in expected)
            left_right = labels.distances(points)[0].tolist()
            for (positive, _), t, stride, told in zip(
                expected, points.time.tolist(), points.stride.tolist(), left_right, strict=True
            ):
                if positive:
                    assert told == pytest.approx([max(0, t - start) / stride, max(0, end - t) / stride], abs=1e-6)
    assert several > 50


def test_the_levels_of_groundnlq() -> None:
    ranges = doubling_ranges(7)
    assert ranges == [(0, 4), (2, 8), (4, 16), (8, 32), (16, 64), (32, 128), (64, math.inf)]
    points = make_points(2560, ranges)
    assert [(points.level == level).sum().item() for level in range(7)] == [2560, 1280, 640, 320, 160, 80, 40]
    assert points.stride.unique().tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert points.time[points.level == 6].tolist() == [64.0 * j for j in range(40)]


def test_every_answer_has_a_point_however_short_or_far() -> None:
    draw = random.Random(5)
    segments = []
    for _ in range(2000):
        start = draw.uniform(-0.5, 2245)
        segments.append((start, start + draw.choice([0.0, 0.05, 0.4, 5.0, 60.0, 700.0])))
    points, mask = make_points(2560, doubling_ranges(7)), torch.ones(1, 2560, dtype=torch.bool)
    given = torch.tensor(segments)
    without = Points(points.time, points.stride, points.low, points.high, points.level)
    counts = []
    for part in given.split(200):
        labels = assign(without, point_mask(mask, 7).expand(len(part), -1), part)
        counts += labels.positive.sum(1).tolist()
    assert min(counts) >= 1 and max(counts) > 5


def test_points_at_an_end_or_outside_the_range_do_not_answer() -> None:
    """Strictly inside; both ends of a range included."""
    points, mask = make_points(20, [(0.0, 4.0), (2.0, math.inf)]), torch.ones(1, 20, dtype=torch.bool)
    labels = assign(points, point_mask(mask, 2), torch.tensor([[4.0, 8.0]]), centre_radius=None)
    assert points.time[labels.positive[0] & (points.level == 0)].tolist() == [5, 6, 7]  # not 4 and 8
    assert points.time[labels.positive[0] & (points.level == 1)].tolist() == [6]
    exact = assign(points, point_mask(mask, 2), torch.tensor([[4.0, 9.0]]), centre_radius=None)  # from 5: 4 to the end
    assert points.time[exact.positive[0] & (points.level == 0)].tolist() == [5, 6, 7, 8]
    beyond = assign(points, point_mask(mask, 2), torch.tensor([[4.0, 9.5]]), centre_radius=None)  # from 5: 4.5
    assert points.time[beyond.positive[0] & (points.level == 0)].tolist() == [6, 7, 8]


def test_a_query_without_a_segment_has_no_positive_point() -> None:
    points, mask = make_points(8, doubling_ranges(2)), torch.ones(2, 8, dtype=torch.bool)
    given = torch.tensor([[[math.nan, math.nan], [1.0, 3.0]], [[math.nan, math.nan], [math.nan, math.nan]]])
    labels = assign(points, point_mask(mask, 2), given)
    assert labels.positive.any(1).tolist() == [True, False] and not labels.segments.isnan().any()


def test_unit_time_is_that_of_the_valid_steps_and_there_and_back() -> None:
    steps, count = torch.tensor([[-0.5, 9.5, 4.5], [-0.5, 3.5, 1.0]]), torch.tensor([10, 4])
    unit = to_unit(steps, count)
    assert unit[0].tolist() == [-1, 1, 0] and unit[1, :2].tolist() == [-1, 1]
    assert torch.allclose(from_unit(unit, count), steps)
