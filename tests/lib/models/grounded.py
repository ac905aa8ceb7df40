"""Small batches of temporal grounding whose answers can be found, and the models of all presets at a size for tests.

Not a test itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lib.config.train_grounding import GroundingSettings
from lib.models import build_network

VIDEO, TEXT, OBJECT = 12, 10, 6
MODELS = ("mvp", "ogsf", "groundnlq")
SHRUNK = {"hidden": 16, "heads": 2, "dropout": 0.0}
Batch = dict[str, Any]


def tiny(model: str, **more: Any) -> GroundingSettings:
    return GroundingSettings.model_validate({"preset": "tiny", "model": model} | more)


def network(settings: GroundingSettings, *, seed: int = 0, objects: bool = True) -> nn.Module:
    torch.manual_seed(seed)
    widths = {"video_dim": VIDEO, "text_dim": TEXT, "object_dim": OBJECT if objects else 0}
    return build_network(settings.model, **settings.network(**widths))


def batch(steps: tuple[int, ...] = (40, 29, 33), words: tuple[int, ...] = (4, 2, 3), *, seed: int = 0) -> Batch:
    """Queries with the sum of their words added to the steps inside the answer, and to one object of each of those."""
    draw = torch.Generator().manual_seed(seed)
    many, longest = len(steps), max(steps)
    video_mask = torch.arange(longest) < torch.tensor(steps)[:, None]
    text_mask = torch.arange(max(words)) < torch.tensor(words)[:, None]
    text = torch.randn(many, max(words), TEXT, generator=draw) * text_mask[..., None]
    length = torch.rand(many, generator=draw) * 8 + 1.2
    start = torch.rand(many, generator=draw) * (torch.tensor(steps) - 12)
    segments = torch.stack([start, start + length], 1)
    place = torch.arange(longest)
    inside = (place >= segments[:, :1]) & (place <= segments[:, 1:])
    told = text.sum(1) @ torch.randn(TEXT, VIDEO, generator=draw)
    video = torch.randn(many, longest, VIDEO, generator=draw) * 0.3 + inside[..., None] * told[:, None]
    objects = torch.randn(many, longest, 3, OBJECT, generator=draw)
    objects_mask = (torch.rand(many, longest, 3, generator=draw) < 0.6) & video_mask[..., None]
    return {
        "video": video * video_mask[..., None],
        "video_mask": video_mask,
        "text": text,
        "text_mask": text_mask,
        "objects": objects * objects_mask[..., None],
        "objects_mask": objects_mask,
        "segments": segments,
    }


def levels(outputs: Batch) -> list[Batch]:
    return [outputs, *outputs.get("multiscale", [])]


def tensors(outputs: Batch) -> dict[str, torch.Tensor]:
    """Every tensor of a model's outputs by level and name."""
    return {
        f"{place} {name}": value
        for place, level in enumerate(levels(outputs))
        for name, value in level.items()
        if isinstance(value, torch.Tensor)
    }
