"""MVP: video steps look at a query's words, and every step says how well it answers and where the answer lies.

Letters: B queries, T video steps, L text tokens, D hidden. `forward(batch)` gives outputs, never a loss:
scores [B, 1, T] logits; bounds [B, 2, T] start and end of the answer as each step has it, −1 … 1 over the valid steps
(points.to_unit); features [B, T, D].

Design: the public tree Hyunwoojooo/ogsf, written anew, with masks throughout, positions, and optionally attention within a
window of the video. Not here: objects and pyramid (ogsf.py), labels (points.py), losses (lib/losses).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.models.attention import Attention
from lib.models.layers import PADDING_LOGIT, PRIOR, Checkpointing, MaskedConv, PostNormLayer, in_float32, sinusoids, zeroed
from lib.models.points import to_unit

BoundsMode = Literal["absolute", "distance"]


@dataclass(frozen=True, kw_only=True)
class MVPConfig:
    """d_v, d_t: widths of video and text features. window: steps that a video step looks at around it, None = only words.

    bounds_mode: absolute = both ends as places in the clip (tanh); distance = lengths left and right of a step (softplus).
    use_flash_attn: torch's fused attention; False = the formula as it stands.
    """

    d_v: int
    d_t: int
    hidden: int = 256
    heads: int = 4
    num_layers: int = 2
    dropout: float = 0.1
    window: int | None = None
    bounds_mode: BoundsMode = "distance"
    use_flash_attn: bool = True


@dataclass(frozen=True, kw_only=True)
class CrossAttentionConfig:
    embed_dim: int
    num_heads: int
    dropout: float = 0.0
    use_flash: bool = True


class CrossAttention(nn.Module):
    """Attention of one sequence to another, batch first, with padding told as torch tells it."""

    def __init__(self, config: CrossAttentionConfig) -> None:
        super().__init__()
        self.attention = Attention(config.embed_dim, config.num_heads, dropout=config.dropout, fused=config.use_flash)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *, key_padding_mask: Tensor | None = None) -> Tensor:
        """query [B, T, D], key and value [B, L, D] → [B, T, D]. key_padding_mask: [B, L] bool, here True = padding."""
        return self.attention(query, key, value, None if key_padding_mask is None else ~key_padding_mask)


class NLQHead(nn.Module):
    """Scores and bounds of every step of one level; shared by all levels of a pyramid."""

    def __init__(self, hidden: int, *, dropout: float = 0.1, bounds_mode: BoundsMode = "distance") -> None:
        super().__init__()
        self.bounds_mode = bounds_mode
        self.conv, self.dropout = MaskedConv(hidden), nn.Dropout(dropout)
        self.score, self.bounds = nn.Linear(hidden, 1), nn.Linear(hidden, 2)  # 1 × 1 convolutions
        nn.init.constant_(self.score.bias, PRIOR)

    def forward(self, features: Tensor, mask: Tensor, *, count: Tensor, stride: int = 1) -> dict[str, Tensor]:
        """features [B, T, D] and mask [B, T] of a level of this stride; count [B]: valid steps of the clip.

        scores [B, 1, T], at padding a logit of p = 0; bounds [B, 2, T], at padding 0.
        """
        hidden = self.dropout(functional.gelu(self.conv(features, mask)))
        scores = in_float32(self.score, hidden).squeeze(-1).masked_fill(~mask, PADDING_LOGIT)
        raw = in_float32(self.bounds, hidden)
        if self.bounds_mode == "absolute":
            bounds = torch.tanh(raw)
        else:
            left, right = (functional.softplus(raw) * stride).unbind(-1)
            time = torch.arange(raw.shape[1], device=raw.device, dtype=raw.dtype) * stride
            bounds = to_unit(torch.stack([time - left, time + right], -1), count)
        return {"scores": scores[:, None], "bounds": zeroed(bounds, mask).transpose(1, 2)}


class MVP(Checkpointing):
    """The baseline of two cross-attention layers."""

    def __init__(self, config: MVPConfig) -> None:
        super().__init__()
        self.config = config
        self.video, self.text = nn.Linear(config.d_v, config.hidden), nn.Linear(config.d_t, config.hidden)
        self.layers = nn.ModuleList(
            PostNormLayer(
                config.hidden, config.heads, dropout=config.dropout, window=config.window, fused=config.use_flash_attn
            )
            for _ in range(config.num_layers)
        )
        self.head = NLQHead(config.hidden, dropout=config.dropout, bounds_mode=config.bounds_mode)

    def encode(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Video steps that have looked at the words, [B, T, D], and the words themselves, [B, L, D]."""
        mask, text_mask = batch["video_mask"], batch["text_mask"]
        text = zeroed(self.text(zeroed(batch["text"], text_mask)), text_mask)
        video = self.video(zeroed(batch["video"], mask))
        video = zeroed(video + sinusoids(video.shape[1], video.shape[2], device=video.device), mask)
        for layer in self.layers:
            video = self.run(layer, video, mask, text, text_mask)
        return video, text

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        mask = batch["video_mask"]
        features, _ = self.encode(batch)
        return self.head(features, mask, count=mask.sum(1)) | {"features": features}


def build(**knobs: Any) -> MVP:
    """MVP with fresh weights; knobs are the fields of MVPConfig."""
    return MVP(MVPConfig(**knobs))
