"""Presets of `training:` for temporal grounding, and how one fills in what is not stated. Not here: what a knob means
(train_grounding.py).

groundnlq: Hou et al. 2023, arXiv:2306.15255, and its configuration for features of 2560 steps; batches are per device. mvp,
ogsf: the public tree Hyunwoojooo/ogsf, with a local window, by which a step sees past its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LOCALISER: dict[str, Any] = {
    "hidden": 256,
    "heads": 4,
    "layers": 2,
    "dropout": 0.1,
    "window": 9,
    "batch": 4,
    "optimizer": {"lr": 2e-4},
    "schedule": {"warmup_ratio": 0.1},
}
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden": 32,
        "heads": 2,
        "layers": 1,
        "dropout": 0.0,
        "max_steps": 512,
        "precision": "fp32",
        "optimizer": {"lr": 2e-3},
        "schedule": {"warmup_ratio": 0.1},
    },
    "mvp": {"model": "mvp"} | _LOCALISER,
    "ogsf": {"model": "ogsf", "levels": 3} | _LOCALISER | {"loss": {"sensitivity": 0.5}},
    "groundnlq": {
        "model": "groundnlq",
        "hidden": 384,
        "heads": 4,
        "layers": 4,
        "text_layers": 4,
        "embed_convs": 2,
        "head_layers": 3,
        "levels": 7,
        "window": 9,
        "dropout": 0.0,
        "drop_path": 0.1,
        "max_steps": 2560,
        "batch": 2,
        "budget": {"epochs": 10},
        "optimizer": {"name": "adamw", "lr": 1e-4, "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup_ratio": 0.4, "floor": 1e-4},
        "clip_norm": 1.0,
        "ema": {"decay": 0.999},
        "assign": {"centre_radius": 1.5},
        "loss": {"balance": "points", "smoothing": 0.1, "overlap": "diou", "l1": 0.0},
        "candidates": {"min_score": 0.001, "per_level": 2000},
    },
}
_OF_MODEL: dict[tuple[str, str], dict[str, Any]] = {
    ("tiny", "mvp"): {"window": 9},
    ("tiny", "ogsf"): {"window": 9},
    ("tiny", "groundnlq"): {
        "text_layers": 1,
        "embed_convs": 1,
        "head_layers": 1,
        "levels": 4,
        "window": 9,
        "drop_path": 0.0,
        "loss": {"balance": "points", "overlap": "diou", "l1": 0.0},
    },
}
_WHOLE = ("budget",)
"""Blocks that are taken whole from the one who states them: half of a budget is none."""
_WARMUPS = ("warmup_steps", "warmup_epochs", "warmup_ratio")


def filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with their preset under them, block by block; what is stated wins, also null.

    A block that names another kind (`name: sgd`) replaces the preset's, and a stated warm-up its form of a warm-up.
    """
    preset = PRESETS[data["preset"]]
    model = data.get("model", preset.get("model", "mvp"))
    if model != preset.get("model", model):
        raise ValueError(
            f"preset {data['preset']} is one of model {preset['model']}, not of {model}. Hint: leave `model` out, or take "
            f"preset: {model}."
        )
    under = _laid(preset, _OF_MODEL.get((data["preset"], model), {}))
    return _laid(under, data)


def _laid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(under)
    for key, value in over.items():
        block = found.get(key)
        value = value.model_dump(exclude_unset=True) if hasattr(value, "model_dump") else value
        if isinstance(block, dict) and isinstance(value, dict) and key not in _WHOLE and _alike(block, value):
            stated = [name for name in _WARMUPS if name in value]
            found[key] = {name: one for name, one in block.items() if name not in _WARMUPS or not stated} | value
        else:
            found[key] = value
    return found


def _alike(block: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return "name" not in value or value["name"] == block.get("name", value["name"])
