"""The sensitivity of points and its loss against the formulas, one number at a time."""

from __future__ import annotations

import math
import random

import pytest
import torch

from lib.losses.sensitivity import asl_loss, box_sensitivity, sensitivity


def gaussian(point: float, start: float, end: float, mean: float, width: float) -> float:
    distance = ((start + end) / 2 - point) / (end - start)
    return math.exp(-((distance - mean) ** 2) / (2 * width**2))


def test_sensitivity_is_the_formula() -> None:
    draw = random.Random(3)
    for _ in range(500):
        start = draw.uniform(0, 50)
        end, point, width = start + draw.uniform(0.1, 40), draw.uniform(0, 90), draw.uniform(0.05, 3)
        given = torch.tensor(point, dtype=torch.float64), torch.tensor([start, end], dtype=torch.float64)
        centre = gaussian(point, start, end, 0.0, width)
        sides = gaussian(point, start, end, 0.5, width) + gaussian(point, start, end, -0.5, width)
        assert sensitivity(*given, width=width).item() == pytest.approx(centre, abs=1e-9)
        assert box_sensitivity(*given, width=width).item() == pytest.approx(sides / 2 * centre, abs=1e-9)


def test_the_centre_counts_most_and_the_ends_have_gaussians_of_their_own() -> None:
    segment = torch.tensor([10.0, 20.0])
    told = sensitivity(torch.tensor([10.0, 12.5, 15.0, 17.5, 20.0]), segment, width=0.25)
    assert told.argmax() == 2 and told[2] == 1 and torch.equal(told, told.flip(0))
    for place, mean in ((10.0, 0.5), (20.0, -0.5)):
        assert sensitivity(torch.tensor(place), segment, mean=mean, width=0.25).item() == 1


def test_asl_is_weighted_cross_entropy() -> None:
    logits, targets = [-2.0, 0.4, 3.0], [0.0, 1.0, 1.0]
    heed, base = [0.2, 0.9, 0.0], 0.5
    expected = []
    for logit, target, sense in zip(logits, targets, heed, strict=True):
        p = 1 / (1 + math.exp(-logit))
        expected.append((base + sense) * -(target * math.log(p) + (1 - target) * math.log(1 - p)))
    given = [torch.tensor(one, dtype=torch.float64) for one in (logits, targets, heed)]
    assert asl_loss(*given, base_weight=base, reduction="none").tolist() == pytest.approx(expected)
    mask = torch.tensor([True, False, True])
    assert asl_loss(*given, base_weight=base, mask=mask, reduction="sum").item() == pytest.approx(expected[0] + expected[2])
    assert asl_loss(*given, base_weight=base, mask=mask, reduction="mean").item() == pytest.approx(
        (expected[0] + expected[2]) / 2
    )
