"""Sigmoid focal loss with soft targets. Not here: what is a target (lib/models/points.py).

Source: Lin et al. 2017, Focal Loss for Dense Object Detection, arXiv:1708.02002, eq. 5. Smoothed targets as GroundNLQ has
them for its one class: t (1 − ε) + ε / 2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.losses.reduction import Reduction, reduced


def smoothed(targets: Tensor, epsilon: float) -> Tensor:
    """Targets (…) in [0, 1] drawn towards ½: t (1 − ε) + ε / 2, with ε in [0, 1)."""
    return targets * (1 - epsilon) + epsilon / 2


def sigmoid_focal(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    reduction: Reduction,
) -> Tensor:
    """α_t (1 − p_t)^γ · BCE, with p = σ(logit), p_t = p t + (1 − p)(1 − t), α_t = α t + (1 − α)(1 − t); ≥ 0, 0 is best.

    logits, targets: (…), targets in [0, 1]. alpha: share of the positives' weight; γ = 0 is plain weighted BCE, higher
    minds hard elements more. weight: (…) per element. mask: (…) bool, True = counts.
    """
    probability = torch.sigmoid(logits)
    truth = probability * targets + (1 - probability) * (1 - targets)
    share = alpha * targets + (1 - alpha) * (1 - targets)
    values = share * (1 - truth) ** gamma * binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return reduced(values if weight is None else values * weight, mask, reduction)
