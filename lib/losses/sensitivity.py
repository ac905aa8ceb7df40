"""How much a point of an answer counts: Gaussians around its centre and its ends, and the loss that is weighted by them.

Source: Shao et al. 2023, Action Sensitivity Learning for Temporal Action Localization, arXiv:2305.15701, as used for Ego4D
NLQ (arXiv:2306.09172). Two choices are ours: distances are counted in lengths of the answer, where the authors' code
divides by the point's stride as well, and the Gaussians have fixed widths, because a width that is learned by the loss it
weighs makes that loss small by becoming narrow.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.losses.reduction import Reduction, reduced
from lib.losses.segments import EPS

CENTRE, START, END = 0.0, 0.5, -0.5
"""Means of the Gaussians, as (centre − point) / length: a point at the start is half a length before the centre."""


def sensitivity(points: Tensor, segments: Tensor, *, mean: float = CENTRE, width: float) -> Tensor:
    """exp(−(d − mean)² / 2 width²), d = (centre − point) / length; in (0, 1], 1 where d = mean.

    points: (…) and segments: (…, 2) with end ≥ start, in one unit. width > 0: higher makes points more alike.
    """
    start, end = segments.unbind(-1)
    distance = ((start + end) / 2 - points) / (end - start).clamp(min=EPS)
    return torch.exp(-((distance - mean) ** 2) / (2 * width**2))


def box_sensitivity(points: Tensor, segments: Tensor, *, width: float) -> Tensor:
    """Of a point's ends: (w_start + w_end) / 2 · w_centre; shapes as above."""
    start = sensitivity(points, segments, mean=START, width=width)
    end = sensitivity(points, segments, mean=END, width=width)
    return (start + end) / 2 * sensitivity(points, segments, width=width)


def asl_loss(
    logits: Tensor,
    targets: Tensor,
    sensitivity: Tensor,
    *,
    base_weight: float = 1.0,
    mask: Tensor | None = None,
    reduction: Reduction,
) -> Tensor:
    """BCE · (base_weight + sensitivity) ≥ 0, 0 is best. logits, targets, sensitivity: (…); mask: (…) bool, True = counts.

    With base_weight 0 and a sensitivity of w on positives and 1 on negatives it is the weighting of the source.
    """
    values = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return reduced(values * (base_weight + sensitivity), mask, reduction)
