"""Attention that knows what is padding: full, across two sequences, and in a local window with memory linear in its length.

Letters: B sequences, H heads, T queries, S keys, C width, E = C / H, N blocks, W window. Masks are bool, True = valid. A
query that may look at nothing gets zeros. Not here: layers made of attention (layers.py).

Sources: Vaswani et al. 2017, arXiv:1706.03762; the window in overlapping blocks: Longformer, Beltagy et al. 2020,
arXiv:2004.05150.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK = 64
"""Queries of a local block: with a window of 9 a block reads 72 keys. More costs memory, fewer costs calls."""


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, dropout: float = 0.0, fused: bool = True
) -> Tensor:
    """softmax(Q Kᵀ / √E) V: query (B, H, T, E), key and value (B, H, S, E) → (B, H, T, E).

    mask: broadcast to (B, H, T, S). dropout: of the weights. fused: torch's scaled_dot_product_attention, which chooses a
    kernel that keeps no (T, S) weights where it can; False: the formula as it stands.
    """
    seen = None
    if mask is not None:
        seen = mask.any(-1, keepdim=True)
        mask = mask | ~seen  # a row of nothing would be NaN: it looks at everything, and what it sees is taken away
    if fused:
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    else:
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
        found = functional.dropout(scores.softmax(-1), dropout, training=dropout > 0) @ value
    return found if seen is None else found.where(seen, found.new_zeros(()))


def attend_locally(
    query: Tensor, key: Tensor, value: Tensor, valid: Tensor, *, window: int, dropout: float = 0.0, block: int = BLOCK
) -> Tensor:
    """Attention of every step to the `window` steps around it: (B, H, T, E) → (B, H, T, E), valid (B, T).

    Queries are cut into blocks of `block`, each of which looks at its own keys and window // 2 at either side; memory and
    time are O(T · (block + window)), and nothing of size T × T is made. A step that is padding sees itself.
    """
    batch, steps = len(query), query.shape[2]
    block, halo = min(block, steps), window // 2
    blocks = -(-steps // block)
    after = blocks * block - steps

    def rows(one: Tensor) -> Tensor:
        """(B, H, N · block, E) → (B · N, H, block, E)."""
        return one.unflatten(2, (blocks, block)).transpose(1, 2).flatten(0, 1)

    def around(one: Tensor) -> Tensor:
        """Keys or values of each block with both halos: (B · N, H, block + 2 · halo, E)."""
        padded = functional.pad(one, (0, 0, halo, after + halo))
        return padded.unfold(2, block + 2 * halo, block).permute(0, 2, 1, 4, 3).flatten(0, 1)

    place = torch.arange(block + 2 * halo, device=query.device)
    own = place[halo : halo + block, None]
    there = functional.pad(valid, (halo, after + halo)).unfold(1, block + 2 * halo, block).flatten(0, 1)
    mask = ((place - own).abs() <= halo) & there[:, None, :] | (place == own)
    found = functional.scaled_dot_product_attention(
        rows(functional.pad(query, (0, 0, 0, after))),
        around(key),
        around(value),
        attn_mask=mask[:, None],
        dropout_p=dropout,
    )
    return found.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :steps]


class Attention(nn.Module):
    """Multi-head attention with its four projections. C must be a multiple of the heads.

    window: None = every key; an odd number = the steps around each query (query and key are one sequence then).
    dropout: of the weights and of the result.
    """

    def __init__(
        self, width: int, heads: int, *, dropout: float = 0.0, window: int | None = None, fused: bool = True
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads")
        if window is not None and window % 2 == 0:
            raise ValueError(f"window {window} must be odd: as many steps before as after")
        self.heads, self.dropout, self.window, self.fused = heads, dropout, window, fused
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None) -> Tensor:
        """query (B, T, C), key and value (B, S, C), valid (B, S) → (B, T, C)."""
        if valid is None:
            valid = key.new_ones(key.shape[:2], dtype=torch.bool)
        parts = [layer(one) for layer, one in ((self.query, query), (self.key, key), (self.value, value))]
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in parts)
        dropout = self.dropout if self.training else 0.0
        if self.window is not None:
            found = attend_locally(q, k, v, valid, window=self.window, dropout=dropout)
        else:
            found = attend(q, k, v, valid[:, None, None, :], dropout=dropout, fused=self.fused)
        return functional.dropout(self.out(found.transpose(1, 2).flatten(2)), self.dropout, self.training)
