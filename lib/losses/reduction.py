"""From a value per element to a sum, a mean, or nothing of the kind. Not here: any loss."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Reduction = Literal["none", "sum", "mean"]


def reduced(values: Tensor, mask: Tensor | None, reduction: Reduction) -> Tensor:
    """Values (…) over the elements where mask (…, bool) is True; None = all of them.

    none: (…) with 0 at the others. sum: a number; how many it is the sum of is `mask.sum()`. mean: sum / that count, which
    is NaN where there is none: a loss of 0 for want of targets would look like a perfect one.
    """
    kept = values if mask is None else values.where(mask, values.new_zeros(()))
    if reduction == "none":
        return kept
    if reduction == "sum":
        return kept.sum()
    if reduction == "mean":
        return kept.sum() / (values.numel() if mask is None else mask.sum())
    raise ValueError(f"reduction {reduction!r}: must be none, sum or mean")
