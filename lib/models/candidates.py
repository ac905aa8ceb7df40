"""From the outputs of a grounding model to candidate segments with scores, all levels together. Not here: suppression, and
seconds (lib/data/time_grid.py).

Letters: B queries, T steps, P points of all levels, N candidates of a query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lib.losses.segments import in_order
from lib.models.points import from_unit, make_points, point_mask

SHORTEST = 1e-3
"""Grid steps; shorter candidates are dropped, as GroundNLQ does."""


def levels_of(outputs: Mapping[str, Any]) -> list[Mapping[str, Tensor]]:
    """The levels of a model's outputs, finest first; each has scores [B, 1, T'], and bounds or distances [B, 2, T']."""
    return [outputs, *outputs.get("multiscale", [])]


def joined(outputs: Mapping[str, Any], name: str) -> Tensor:
    """One output of all levels: [B, P, 1 or 2]."""
    return torch.cat([level[name] for level in levels_of(outputs)], -1).transpose(1, 2)


def segments_of(outputs: Mapping[str, Any], mask: Tensor) -> Tensor:
    """The segment of every point in grid steps, start ≤ end: [B, P, 2]. mask: [B, T]."""
    if "distances" not in outputs:
        return in_order(from_unit(joined(outputs, "bounds"), mask.sum(1)))
    points = make_points(mask.shape[1], [(0.0, 0.0)] * len(levels_of(outputs)), device=mask.device)
    left, right = (joined(outputs, "distances") * points.stride[:, None]).unbind(-1)
    return torch.stack([points.time - left, points.time + right], -1)


@torch.no_grad()
def candidates(
    outputs: Mapping[str, Any], mask: Tensor, *, min_score: float = 1e-3, per_level: int = 2000
) -> list[tuple[Tensor, Tensor]]:
    """Per query its candidates in grid steps, (N, 2), and their scores σ(logit) in (0, 1), (N,), best first; float32, CPU.

    mask: [B, T]. Kept are points with a score above min_score, the best `per_level` of each level, that are longer than
    SHORTEST; but always the best valid point of all, so that every query has an answer. Ends may lie outside the clip.
    """
    levels = levels_of(outputs)
    lengths = [level["scores"].shape[-1] for level in levels]
    valid = point_mask(mask, len(levels))
    scores = joined(outputs, "scores").squeeze(-1).float().sigmoid().masked_fill(~valid, -1.0)
    best, first = [], 0
    for length in lengths:
        best.append(scores[:, first : first + length].topk(min(per_level, length), dim=1).indices + first)
        first += length
    places = torch.cat(best, 1)
    places = places.gather(1, scores.gather(1, places).argsort(dim=1, descending=True, stable=True))
    segments = segments_of(outputs, mask).float().gather(1, places[..., None].expand(-1, -1, 2))
    scores = scores.gather(1, places)
    kept = (scores > min_score) & ~(segments[..., 1] - segments[..., 0] <= SHORTEST)  # NaN too: who reads it refuses it
    kept |= scores.isnan()
    kept[:, 0] |= ~kept.any(1)
    return [(one[keep], score[keep]) for one, score, keep in zip(segments.cpu(), scores.cpu(), kept.cpu(), strict=True)]
