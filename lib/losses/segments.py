"""How well segments on a line meet: IoU, GIoU, DIoU, their losses, and L1. Not here: scores of windows in s (lib/metrics).

Two forms. Ends: (…, 2) start and end, in any unit; reversed ends are swapped first. Distances: (…, 2) left and right from a
point that both segments are seen from, ≥ 0, so that both hold it and their union is their hull.

Sources: GIoU, Rezatofighi et al. 2019, arXiv:1902.09630; DIoU, Zheng et al. 2020, arXiv:1911.08287, eq. 6; both with one
dimension. Of distances: the regression loss of ActionFormer, Zhang et al. 2022, arXiv:2202.07925, section 3.4.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lib.losses.reduction import Reduction, reduced

Overlap = Literal["iou", "giou", "diou"]
EPS = 1e-8
"""Least length that is divided by: two segments without length have IoU 0."""


def in_order(segments: Tensor) -> Tensor:
    """(…, 2) with the smaller end first."""
    return torch.stack([segments.amin(-1), segments.amax(-1)], -1)


def overlap(segments: Tensor, truth: Tensor, kind: Overlap) -> Tensor:
    """Of ends (…, 2) → (…). IoU in [0, 1]; GIoU = IoU − (hull − union) / hull in (−1, 1]; DIoU = IoU − (distance of the
    centres / hull)² in (−1, 1]; 1 is best."""
    (start, end), (true_start, true_end) = in_order(segments).unbind(-1), in_order(truth).unbind(-1)
    shared = (torch.minimum(end, true_end) - torch.maximum(start, true_start)).clamp(min=0)
    union = (end - start) + (true_end - true_start) - shared
    hull = torch.maximum(end, true_end) - torch.minimum(start, true_start)
    iou = shared / union.clamp(min=EPS)
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - (hull - union) / hull.clamp(min=EPS)
    if kind == "diou":
        return iou - ((start + end - true_start - true_end) / 2 / hull.clamp(min=EPS)) ** 2
    raise ValueError(f"kind {kind!r}: must be iou, giou or diou")


def centred_overlap(distances: Tensor, truth: Tensor, kind: Overlap) -> Tensor:
    """The same of distances (…, 2), left and right ≥ 0 → (…).

    IoU = (min left + min right) / (sum of all four − that); hull = max left + max right; centres lie (right − left) / 2
    from the point. GIoU is IoU here.
    """
    (left, right), (true_left, true_right) = distances.unbind(-1), truth.unbind(-1)
    shared = torch.minimum(left, true_left) + torch.minimum(right, true_right)
    iou = shared / (left + right + true_left + true_right - shared).clamp(min=EPS)
    if kind in ("iou", "giou"):
        return iou
    if kind == "diou":
        hull = (torch.maximum(left, true_left) + torch.maximum(right, true_right)).clamp(min=EPS)
        return iou - ((right - left - true_right + true_left) / 2 / hull) ** 2
    raise ValueError(f"kind {kind!r}: must be iou, giou or diou")


def overlap_loss(
    segments: Tensor,
    truth: Tensor,
    *,
    kind: Overlap,
    centred: bool = False,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    reduction: Reduction,
) -> Tensor:
    """1 − overlap, in [0, 2); 0 is best. segments, truth: (…, 2), distances where `centred`. weight, mask: (…)."""
    values = 1 - (centred_overlap if centred else overlap)(segments, truth, kind)
    return reduced(values if weight is None else values * weight, mask, reduction)


def l1_loss(
    segments: Tensor,
    truth: Tensor,
    *,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    reduction: Reduction,
) -> Tensor:
    """Mean distance of the two numbers of a segment to the true ones, in their unit; 0 is best. weight, mask: (…)."""
    values = (segments - truth).abs().mean(-1)
    return reduced(values if weight is None else values * weight, mask, reduction)
