"""OGSF: MVP whose video steps are told of the objects in them, through a gate, and a temporal pyramid with a shared head.

Letters: B queries, T video steps, K objects per step, F object feature width, D hidden. Outputs beside those of MVP, which
are of level 0: gates [B, T, 1], 0 where a step has no object; multiscale, a list of {scores, bounds} of the coarser levels,
[B, 1, ⌈T/2^i⌉] and [B, 2, ⌈T/2^i⌉].

Steps without objects stay what they are bit for bit, and a batch without any is one of a model without the branch.

Design: the public tree Hyunwoojooo/ogsf, written anew; the gate between an object and a video branch is OSGNet's idea
(CVPR 2025). Not here: where objects come from (lib/perception), labels (points.py), losses (lib/losses).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lib.models.attention import attend
from lib.models.layers import TemporalFPN, strided, zeroed
from lib.models.mvp import MVP, MVPConfig

GateMode = Literal["residual", "multiply"]


@dataclass(frozen=True, kw_only=True)
class OGSFConfig(MVPConfig):
    """object_dim: F, above 0 where objects are used.

    gate_mode: residual = features + gate · objects; multiply = features × gate, of the mean of a step's objects, as in the
    public tree: a step without objects is then 0, unless its whole clip has none.

    object_dropout: share of the queries of a training batch that are shown no object, so that steps are not known by
    objects which tell nothing (ModDrop, Neverova et al. 2016, arXiv:1501.00102, for one modality).
    """

    use_objects: bool = True
    use_multiscale: bool = True
    object_dim: int = 0
    fpn_levels: int = 3
    gate_mode: GateMode = "residual"
    object_dropout: float = 0.0

    @property
    def levels(self) -> int:
        return self.fpn_levels if self.use_multiscale else 1


class ObjectGate(nn.Module):
    """How far a step is opened to its objects: σ(MLP), which starts nearly closed (bias −2, a gate of about 0.12)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1))
        nn.init.constant_(self.mlp[-1].bias, -2.0)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """features [B, T, F] → [B, T, 1] in (0, 1); 0 where mask [B, T] is False."""
        gate = torch.sigmoid(self.mlp(features))
        return gate if mask is None else zeroed(gate, mask)


class ObjectPool(nn.Module):
    """The objects of a step as one vector: attention with the query's mean word, so that their order does not matter."""

    def __init__(self, object_dim: int, hidden: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(object_dim, hidden)
        self.value = nn.Linear(object_dim, hidden)

    def forward(self, text: Tensor, objects: Tensor, mask: Tensor) -> Tensor:
        """text [B, D], objects [B, T, K, F], mask [B, T, K] → [B, T, D]; 0 for a step without objects."""
        key, value = self.key(objects), self.value(objects)
        query = self.query(text)[:, None, None].expand(-1, objects.shape[1], 1, -1)
        return attend(query, key, value, mask[:, :, None]).squeeze(2)


class ResidualObjects(nn.Module):
    """features + gate · W(pooled), gate = ObjectGate[pooled; mean word; features]."""

    def __init__(self, object_dim: int, hidden: int) -> None:
        super().__init__()
        self.pool, self.gate = ObjectPool(object_dim, hidden), ObjectGate(3 * hidden, hidden)
        self.project = nn.Linear(hidden, hidden)

    def forward(self, features: Tensor, text: Tensor, objects: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """features [B, T, D], text [B, D], objects [B, T, K, F], mask [B, T, K] → features and gates [B, T, 1]."""
        there = mask.any(-1)
        pooled = self.pool(text, objects, mask)
        gate = self.gate(torch.cat([pooled, text[:, None].expand_as(pooled), features], -1), there)
        return torch.where(there[..., None], features + gate * self.project(pooled), features), gate


class MultipliedObjects(nn.Module):
    """features × ObjectGate(mean object); clips without any object stay as they are."""

    def __init__(self, object_dim: int, hidden: int) -> None:
        super().__init__()
        self.gate = ObjectGate(object_dim, hidden)

    def forward(self, features: Tensor, text: Tensor, objects: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As ResidualObjects."""
        mean = objects.sum(2) / mask.sum(2, keepdim=True).clamp(min=1)
        gate = self.gate(mean, mask.any(-1))
        return torch.where(mask.any(2).any(1)[:, None, None], features * gate, features), gate


class OGSF(MVP):
    """MVP with gated objects and a pyramid."""

    config: OGSFConfig

    def __init__(self, config: OGSFConfig) -> None:
        super().__init__(config)
        if config.use_objects and config.object_dim < 1:
            raise ValueError("object_dim must be above 0 where objects are used. Hint: use_objects=False does without.")
        kind = ResidualObjects if config.gate_mode == "residual" else MultipliedObjects
        self.pyramid = TemporalFPN(config.hidden, config.fpn_levels) if config.use_multiscale else None
        self.objects = (
            kind(config.object_dim, config.hidden) if config.use_objects else None
        )  # last: all else is as without

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """batch: as MVP's; objects [B, T, K, F] and objects_mask [B, T, K] may be missing or None: no objects."""
        mask = batch["video_mask"]
        features, text = self.encode(batch)
        features, gates = self._with_objects(features, text, batch)
        levels = self.pyramid(features, mask) if self.pyramid is not None else [features]
        count = mask.sum(1)
        told = [self.head(level, strided(mask, 2**i), count=count, stride=2**i) for i, level in enumerate(levels)]
        return told[0] | {"features": features, "gates": gates, "multiscale": told[1:]}

    def _with_objects(self, features: Tensor, text: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """In training the branch runs without objects too: ranks of one training must agree on what has gradients."""
        objects, there = batch.get("objects"), batch.get("objects_mask")
        if self.objects is None or (objects is None and not self.training):
            return features, features.new_zeros(*features.shape[:2], 1)
        if objects is None:
            objects = features.new_zeros(*features.shape[:2], 1, self.config.object_dim)
            there = torch.zeros(objects.shape[:3], dtype=torch.bool, device=objects.device)
        there = there & batch["video_mask"][..., None]
        if self.training and self.config.object_dropout:
            there = there & (torch.rand(len(there), 1, 1, device=there.device) >= self.config.object_dropout)
        objects = objects.where(there[..., None], objects.new_zeros(()))
        words = batch["text_mask"].sum(1, keepdim=True).clamp(min=1)
        return self.objects(features, text.sum(1) / words, objects, there)


def build(**knobs: Any) -> OGSF:
    """OGSF with fresh weights; knobs are the fields of OGSFConfig."""
    return OGSF(OGSFConfig(**knobs))
