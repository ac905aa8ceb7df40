"""GroundNLQ: a multi-scale transformer with local attention whose points answer a query with a score and two distances.

Letters: B queries, T video steps, L text tokens, D hidden. Outputs of `forward(batch)`, never a loss: scores [B, 1, T]
logits, distances [B, 2, T] left and right of each point in strides of its level, ≥ 0, features [B, T, D], all of level 0;
multiscale, a list of {scores, distances} of the coarser levels, [B, …, ⌈T/2^i⌉].

Source: Hou et al. 2023, GroundNLQ @ Ego4D Natural Language Queries Challenge 2023, arXiv:2306.15255, on ActionFormer, Zhang
et al. 2022, arXiv:2202.07925; written anew. Any T will do, where theirs is padded. Not here: points and labels (points.py),
losses (lib/losses).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lib.models.layers import (
    PADDING_LOGIT,
    PRIOR,
    Checkpointing,
    ConvNormRelu,
    MaskedConv,
    PreNormLayer,
    in_float32,
    sinusoids,
    strided,
    zeroed,
)


@dataclass(frozen=True, kw_only=True)
class GroundNLQConfig:
    """d_v, d_t: widths of video and text features. window: of the video's attention, None = all steps."""

    d_v: int
    d_t: int
    hidden: int = 384
    heads: int = 4
    embed_convs: int = 2
    text_layers: int = 4
    stem_layers: int = 4
    branch_layers: int = 6
    head_layers: int = 3
    window: int | None = 9
    dropout: float = 0.0
    drop_path: float = 0.1

    @property
    def levels(self) -> int:
        return self.branch_layers + 1


class Embedding(nn.Module):
    """Features to the model's width by convolutions, with positions: [B, T, d] → [B, T, D]."""

    def __init__(self, width: int, hidden: int, convs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ConvNormRelu(width if n == 0 else hidden, hidden) for n in range(convs))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, mask)
        return zeroed(x + sinusoids(x.shape[1], x.shape[2], device=x.device), mask)


class PointHead(nn.Module):
    """Convolutions shared by all levels, then `out` numbers per point."""

    def __init__(self, hidden: int, layers: int, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNormRelu(hidden, hidden) for _ in range(layers))
        self.last = MaskedConv(hidden, out)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, D] → [B, T, out] float32."""
        for layer in self.layers:
            x = layer(x, mask)
        return in_float32(lambda full: self.last(full, mask), x)


class GroundNLQ(Checkpointing):
    """Text layers → stem with cross-attention → branch of halving layers → heads on all levels."""

    def __init__(self, config: GroundNLQConfig) -> None:
        super().__init__()
        self.config = config
        width, more = config.hidden, {"heads": config.heads, "dropout": config.dropout, "drop_path": config.drop_path}
        local = more | {"window": config.window, "convs": True}
        self.embed_text = Embedding(config.d_t, width, config.embed_convs)
        self.embed_video = Embedding(config.d_v, width, config.embed_convs)
        self.text_layers = nn.ModuleList(PreNormLayer(width, **more) for _ in range(config.text_layers))
        self.text_norm = nn.LayerNorm(width)
        self.stem_layers = nn.ModuleList(PreNormLayer(width, cross=True, **local) for _ in range(config.stem_layers))
        self.branch_layers = nn.ModuleList(PreNormLayer(width, stride=2, **local) for _ in range(config.branch_layers))
        self.neck = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.levels))
        self.score, self.bounds = (PointHead(width, config.head_layers, out) for out in (1, 2))
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(())) for _ in range(config.levels))
        nn.init.constant_(self.score.last.conv.bias, PRIOR)

    def encode_text(self, text: Tensor, mask: Tensor) -> Tensor:
        """[B, L, d_t] → [B, L, D]."""
        text = self.embed_text(text, mask)
        for layer in self.text_layers:
            text = self.run(layer, text, mask)
        return zeroed(self.text_norm(text), mask)

    def stem(self, video: Tensor, mask: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """[B, T, d_v] and encoded text → [B, T, D]."""
        video = self.embed_video(video, mask)
        for layer in self.stem_layers:
            video = self.run(layer, video, mask, text, text_mask)
        return video

    def branch(self, video: Tensor, mask: Tensor) -> list[Tensor]:
        """[B, T, D] → levels [B, ⌈T/2^i⌉, D], each normalised."""
        levels = [video]
        for i, layer in enumerate(self.branch_layers):
            levels.append(self.run(layer, levels[-1], strided(mask, 2**i)))
        return [zeroed(norm(one), strided(mask, 2**i)) for i, (norm, one) in enumerate(zip(self.neck, levels, strict=True))]

    def heads(self, levels: list[Tensor], mask: Tensor) -> list[dict[str, Tensor]]:
        """Scores and distances of every level."""
        told = []
        for i, (level, scale) in enumerate(zip(levels, self.scales, strict=True)):
            kept = strided(mask, 2**i)
            scores = self.score(level, kept).squeeze(-1).masked_fill(~kept, PADDING_LOGIT)
            distances = torch.relu(self.bounds(level, kept) * scale)
            told.append({"scores": scores[:, None], "distances": distances.transpose(1, 2)})
        return told

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        mask, text_mask = batch["video_mask"], batch["text_mask"]
        text = self.encode_text(batch["text"], text_mask)
        features = self.stem(batch["video"], mask, text, text_mask)
        levels = self.branch(features, mask)
        told = self.heads(levels, mask)
        return told[0] | {"features": levels[0], "multiscale": told[1:]}


def build(**knobs: Any) -> GroundNLQ:
    """GroundNLQ with fresh weights; knobs are the fields of GroundNLQConfig."""
    return GroundNLQ(GroundNLQConfig(**knobs))
