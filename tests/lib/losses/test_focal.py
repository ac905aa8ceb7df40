"""Focal loss and smoothing against the formula of the paper, one number at a time."""

from __future__ import annotations

import math
import random

import pytest
import torch

from lib.losses.focal import sigmoid_focal, smoothed
from lib.losses.reduction import reduced


def by_hand(logit: float, target: float, alpha: float, gamma: float) -> float:
    """Lin et al. 2017, eq. 5, with a target between 0 and 1."""
    p = 1 / (1 + math.exp(-logit))
    cross_entropy = -target * math.log(p) - (1 - target) * math.log(1 - p)
    p_t = p * target + (1 - p) * (1 - target)
    return (alpha * target + (1 - alpha) * (1 - target)) * (1 - p_t) ** gamma * cross_entropy


def test_focal_is_the_formula() -> None:
    draw = random.Random(0)
    for _ in range(500):
        logits = [draw.uniform(-8, 8) for _ in range(7)]
        targets = [draw.choice([0.0, 1.0, draw.random()]) for _ in logits]
        kept = [draw.random() < 0.6 for _ in logits]
        weight = [draw.uniform(0, 3) for _ in logits]
        alpha, gamma = draw.uniform(0.05, 0.95), draw.choice([0.0, 1.0, 2.0, 3.5])
        expected = [
            w * by_hand(x, t, alpha, gamma) * keep for x, t, keep, w in zip(logits, targets, kept, weight, strict=True)
        ]
        arguments = [torch.tensor(one, dtype=torch.float64) for one in (logits, targets)]
        told = {"alpha": alpha, "gamma": gamma, "weight": torch.tensor(weight, dtype=torch.float64)}
        found = sigmoid_focal(*arguments, **told, mask=torch.tensor(kept), reduction="none")
        assert found.tolist() == pytest.approx(expected, abs=1e-9)
        total = sigmoid_focal(*arguments, **told, mask=torch.tensor(kept), reduction="sum")
        assert float(total) == pytest.approx(sum(expected), abs=1e-8)


def test_smoothing_is_the_formula() -> None:
    assert smoothed(torch.tensor([0.0, 1.0, 0.5]), 0.1).tolist() == pytest.approx([0.05, 0.95, 0.5])


def test_what_is_masked_has_no_loss_and_no_gradient() -> None:
    logits = torch.tensor([0.3, math.nan, math.inf], requires_grad=True)
    mask = torch.tensor([True, False, False])
    loss = sigmoid_focal(logits.masked_fill(~mask, 0.0), torch.zeros(3), mask=mask, reduction="sum")
    loss.backward()
    assert loss.item() == pytest.approx(by_hand(0.3, 0.0, 0.25, 2.0), rel=1e-6)
    assert logits.grad is not None and logits.grad[1:].tolist() == [0.0, 0.0] and logits.grad[0] != 0


def test_sum_over_count_is_the_mean_and_the_mean_of_none_is_no_number() -> None:
    values, mask = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, True])
    assert float(reduced(values, mask, "mean")) == float(reduced(values, mask, "sum") / mask.sum()) == 2.5
    assert math.isnan(float(reduced(values, torch.zeros(3, dtype=torch.bool), "mean")))
    with pytest.raises(ValueError, match="none, sum or mean"):
        reduced(values, mask, "max")  # type: ignore[arg-type]
