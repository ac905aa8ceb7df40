"""What the families of temporal models share: masked convolutions, drop-path, transformer layers, the temporal pyramid.

Letters: B sequences, T steps, L text tokens, C width. Sequences are (B, T, C), masks (B, T) bool, True = valid, valid steps
first. Every module gives zeros at padding, and padding never changes what it says of a valid step. Not here: attention
itself (attention.py), any whole model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lib.models.attention import Attention

PRIOR = -math.log((1 - 0.01) / 0.01)
"""Bias of a score's logit, so that every step begins with p = 0.01 (Lin et al. 2017, arXiv:1708.02002, section 4.1)."""
PADDING_LOGIT = -1e4
"""Logit of a step that is padding: p = 0, and finite in every precision."""


def zeroed(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T, C) with 0 at padding, whatever was there, NaN too."""
    return x.where(mask[..., None], x.new_zeros(()))


def strided(mask: Tensor, stride: int) -> Tensor:
    """The mask of every stride-th step: (B, T) → (B, ⌈T / stride⌉)."""
    return mask[:, ::stride]


def sinusoids(steps: int, width: int, *, device: torch.device) -> Tensor:
    """Fixed positions (T, C), scaled by 1 / √C: sin on even places, cos on odd ones (arXiv:1706.03762, section 3.5)."""
    place = torch.arange(width, device=device)
    rate = 10_000 ** (-2 * (place // 2).float() / width)
    angle = torch.arange(steps, device=device, dtype=torch.float32)[:, None] * rate
    return torch.where(place % 2 == 0, angle.sin(), angle.cos()) / math.sqrt(width)


def in_float32(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A last layer in full precision: bfloat16 holds 8 bits, so ends of a long clip would be told to ten steps only."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())


class Checkpointing(nn.Module):
    """A module that can calculate activations again in the backward pass (training.gradient_checkpointing)."""

    checkpointing = False

    def gradient_checkpointing_enable(self) -> None:
        self.checkpointing = True

    def run(self, layer: Callable[..., Any], *inputs: Any) -> Any:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)


class MaskedConv(nn.Module):
    """Convolution over time, (B, T, C) → (B, ⌈T / stride⌉, C'); output j looks at the steps around j · stride."""

    def __init__(
        self, width: int, out: int | None = None, kernel: int = 3, *, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(width, out or width, kernel, stride, kernel // 2, groups=groups, bias=bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        found = self.conv(zeroed(x, mask).transpose(1, 2)).transpose(1, 2)
        return zeroed(found, strided(mask, self.stride))


class ConvNormRelu(nn.Module):
    """Convolution, LayerNorm over channels, ReLU: the block of GroundNLQ's embeddings and heads."""

    def __init__(self, width: int, out: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv, self.norm = MaskedConv(width, out, kernel, bias=False), nn.LayerNorm(out)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return zeroed(functional.relu(self.norm(self.conv(x, mask))), mask)


class DropPath(nn.Module):
    """Drops a residual branch of whole samples in training, and scales the others up (Huang et al. 2016, arXiv:1603.09382).

    affine: also a learned factor per channel that starts at 1e-4, so that a deep stack begins near the identity (Touvron et
    al. 2021, arXiv:2103.17239).
    """

    def __init__(self, width: int, rate: float, *, affine: bool = False) -> None:
        super().__init__()
        self.rate = rate
        self.scale = nn.Parameter(torch.full((width,), 1e-4)) if affine else None

    def forward(self, branch: Tensor) -> Tensor:
        branch = branch if self.scale is None else branch * self.scale
        if not self.training or not self.rate:
            return branch
        kept = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) >= self.rate
        return branch * kept / (1 - self.rate)


def feed_forward(width: int, dropout: float) -> nn.Sequential:
    """C → 4C → C with GELU."""
    return nn.Sequential(
        nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width), nn.Dropout(dropout)
    )


class PostNormLayer(nn.Module):
    """Attention → residual → LayerNorm, once to itself (with a window) and once to a context, then the same with an MLP."""

    def __init__(
        self, width: int, heads: int, *, dropout: float = 0.0, window: int | None = None, fused: bool = True
    ) -> None:
        super().__init__()
        self.own = Attention(width, heads, dropout=dropout, window=window) if window else None
        self.own_norm = nn.LayerNorm(width) if window else None
        self.cross, self.cross_norm = Attention(width, heads, dropout=dropout, fused=fused), nn.LayerNorm(width)
        self.mlp, self.mlp_norm = feed_forward(width, dropout), nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """x (B, T, C), mask (B, T), context (B, L, C), context_mask (B, L) → (B, T, C)."""
        if self.own is not None and self.own_norm is not None:
            x = self.own_norm(x + self.own(x, x, x, mask))
        x = self.cross_norm(x + self.cross(x, context, context, context_mask))
        return zeroed(self.mlp_norm(x + self.mlp(x)), mask)


class PreNormLayer(nn.Module):
    """x + attention(LayerNorm x), to itself, then to a context where `cross`, then x + MLP(LayerNorm x).

    window: of the attention to itself; None = all steps. convs: queries, keys and values pass a depth-wise convolution and
    a LayerNorm before they are projected, which also takes every stride-th step; the residual is then a maximum over the
    same steps (ActionFormer, arXiv:2202.07925, section 3.2).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        window: int | None = None,
        convs: bool = False,
        stride: int = 1,
        cross: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.norm, self.own = nn.LayerNorm(width), Attention(width, heads, dropout=dropout, window=window)
        self.convs = nn.ModuleList(
            MaskedConv(width, stride=stride, groups=width, bias=False) for _ in range(3 if convs else 0)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.convs)
        self.cross = Attention(width, heads, dropout=dropout) if cross else None
        self.cross_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 if cross else 0))
        self.mlp_norm, self.mlp = nn.LayerNorm(width), feed_forward(width, dropout)
        self.drops = nn.ModuleList(DropPath(width, drop_path, affine=True) for _ in range(3 if cross else 2))

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None, context_mask: Tensor | None = None) -> Tensor:
        """x (B, T, C), mask (B, T), context (B, L, C) → (B, ⌈T / stride⌉, C)."""
        normed, kept = self.norm(x), strided(mask, self.stride)
        parts = [norm(conv(normed, mask)) for conv, norm in zip(self.convs, self.norms, strict=True)] or [normed] * 3
        x = self._skip(x, mask) + self.drops[0](self.own(*parts, kept))
        if self.cross is not None and context is not None:
            text = self.cross_norms[1](context)
            x = x + self.drops[1](self.cross(self.cross_norms[0](x), text, text, context_mask))
        return zeroed(x + self.drops[-1](self.mlp(self.mlp_norm(x))), kept)

    def _skip(self, x: Tensor, mask: Tensor) -> Tensor:
        """Maximum over step j · stride and its two neighbours; padding takes no part in it."""
        if self.stride == 1:
            return x
        lowest = x.where(mask[..., None], x.new_full((), -torch.inf)).transpose(1, 2)
        return zeroed(functional.max_pool1d(lowest, 3, self.stride, 1).transpose(1, 2), strided(mask, self.stride))


class TemporalFPN(nn.Module):
    """A feature pyramid over time (Lin et al. 2017, arXiv:1612.03144): (B, T, C) → levels (B, ⌈T / 2^i⌉, C), i = 0 ….

    Stem and downward path of convolutions with ReLU, 1 × 1 laterals, the coarser level added after linear interpolation, an
    output convolution each. Step j of level i stands at step j · 2^i, so an odd step lies between two of the next level;
    between the last valid one and padding it takes the valid one.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.stem = MaskedConv(width)
        self.down = nn.ModuleList(MaskedConv(width, stride=1 if level == 0 else 2) for level in range(levels))
        self.lateral = nn.ModuleList(MaskedConv(width, kernel=1) for _ in range(levels))
        self.out = nn.ModuleList(MaskedConv(width) for _ in range(levels))

    def forward(self, x: Tensor, mask: Tensor) -> list[Tensor]:
        masks = [strided(mask, 2**level) for level in range(len(self.down))]
        x = functional.relu(self.stem(x, mask))
        laterals = []
        for level, (down, lateral) in enumerate(zip(self.down, self.lateral, strict=True)):
            x = functional.relu(down(x, masks[max(0, level - 1)]))
            laterals.append(lateral(x, masks[level]))
        for level in range(len(laterals) - 1, 0, -1):
            laterals[level - 1] = laterals[level - 1] + self._between(laterals[level], masks[level], masks[level - 1])
        return [out(one, kept) for out, one, kept in zip(self.out, laterals, masks, strict=True)]

    @staticmethod
    def _between(coarse: Tensor, coarse_mask: Tensor, mask: Tensor) -> Tensor:
        """(B, ⌈T / 2⌉, C) → (B, T, C)."""
        following, there = (torch.cat([one[:, 1:], one[:, -1:]], 1) for one in (coarse, coarse_mask))
        following = torch.where(there[..., None], following, coarse)
        pairs = torch.stack([coarse, (coarse + following) / 2], 2).flatten(1, 2)
        return zeroed(pairs[:, : mask.shape[1]], mask)
