"""The loss of temporal grounding: outputs of a model and true segments → sums and targets, as lib/training asks for them.

Every valid point of an annotated query has a score to learn, every positive one a segment; a query whose segment is NaN
teaches nothing. Not here: which points are positive (lib/models/points.py), the losses themselves (lib/losses).

Letters: B queries, T steps, P points of all levels, N segments of a query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lib.config.train_grounding import GroundingSettings
from lib.losses.focal import sigmoid_focal, smoothed
from lib.losses.segments import l1_loss, overlap_loss
from lib.losses.sensitivity import asl_loss, box_sensitivity, sensitivity
from lib.models.candidates import joined, levels_of
from lib.models.points import Labels, Points, assign, doubling_ranges, make_points, point_mask, to_unit
from lib.training.contracts import LossSums


class GroundingLoss:
    """(outputs, batch) → LossSums, with components score and bounds of the finest level, and multiscale of the others.

    batch: video_mask [B, T]; segments [B, 2] or [B, N, 2] in grid steps, NaN where there is none. What counts as a target
    is settings.loss.balance: a query, whose points share its weight, or each positive point.
    """

    def __init__(self, settings: GroundingSettings) -> None:
        self.weights, self.assignment = settings.loss, settings.assign

    def __call__(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> LossSums:
        mask, levels = batch["video_mask"], len(levels_of(outputs))
        ranges = self.assignment.bounds or doubling_ranges(levels)
        points = make_points(mask.shape[1], ranges, device=mask.device)
        valid = point_mask(mask, levels)
        segments = batch["segments"].float()
        labels = assign(points, valid, segments, centre_radius=self.assignment.centre_radius)
        annotated = (~segments.isnan()).unflatten(-1, (-1, 2)).all(-1).flatten(1).any(1)
        share, targets = self._balance(labels, annotated)
        scores = share * self._scores(outputs, points, labels, valid & annotated[:, None])
        bounds = share * self._bounds(outputs, points, labels, mask)
        return self._sums(scores, bounds, mask.shape[1]), targets

    def _balance(self, labels: Labels, annotated: Tensor) -> tuple[Tensor, Tensor]:
        """What a point of each query counts, (B, 1), and the number of targets."""
        positives = labels.positive.sum(1, keepdim=True)
        if self.weights.balance == "points":
            return torch.ones_like(positives), positives.sum()
        return 1 / positives.clamp(min=1), annotated.sum()

    def _scores(self, outputs: Mapping[str, Any], points: Points, labels: Labels, valid: Tensor) -> Tensor:
        """(B, P), 0 where no score is learned."""
        weights = self.weights
        logits = joined(outputs, "scores").squeeze(-1)
        targets = smoothed(labels.positive.to(logits.dtype), weights.smoothing)
        heed, base = torch.ones_like(logits), 0.0
        if weights.sensitivity is not None:
            told = sensitivity(points.time, labels.segments, width=weights.sensitivity)
            heed, base = torch.where(labels.positive, told, heed), weights.base_weight
        how: dict[str, Any] = {"mask": valid, "reduction": "none"}
        if weights.score_loss == "bce":
            return weights.score * asl_loss(logits, targets, heed, base_weight=base, **how)
        return weights.score * sigmoid_focal(
            logits, targets, alpha=weights.alpha, gamma=weights.gamma, weight=base + heed, **how
        )

    def _bounds(self, outputs: Mapping[str, Any], points: Points, labels: Labels, mask: Tensor) -> Tensor:
        """(B, P), 0 but at positive points."""
        weights, centred = self.weights, "distances" in outputs
        if centred:
            told, truth = joined(outputs, "distances"), labels.distances(points)
        else:
            told, truth = joined(outputs, "bounds"), to_unit(labels.segments, mask.sum(1))
        heed = None
        if weights.sensitivity is not None:
            heed = box_sensitivity(points.time, labels.segments, width=weights.sensitivity)
        how: dict[str, Any] = {"weight": heed, "mask": labels.positive, "reduction": "none"}
        found = weights.bounds * overlap_loss(told, truth, kind=weights.overlap, centred=centred, **how)
        return found + weights.l1 * l1_loss(told, truth, **how) if weights.l1 else found

    def _sums(self, scores: Tensor, bounds: Tensor, fine: int) -> dict[str, Tensor]:
        """Sums over queries and points, of which the first `fine` are the finest level; the others under their weight."""
        sums = {"score": scores[:, :fine].sum(), "bounds": bounds[:, :fine].sum()}
        if scores.shape[1] > fine:
            sums["multiscale"] = self.weights.multiscale * (scores[:, fine:].sum() + bounds[:, fine:].sum())
        return {"loss": torch.stack(list(sums.values())).sum(), **sums}
