"""One run in one file: what was trained on which frames with which settings, what it scored, took and left.

Made from what the stages wrote, so that a reader, or a program that knows no study, needs nothing else. Not here: several
runs beside each other (leaderboard.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRAINED = ("engine", "model", "parameters", "status", "iterations", "epochs", "micro_batch", "effective_batch", "sampling",
           "best", "warnings")  # fmt: skip
_OF_TEST = ("metrics", "per_class", "per_length", "coverage", "boxes", "counts", "warnings")
COST = ("seconds", "attempts", "peak_memory_mb", "peak_gpu_memory_mb")
MADE = ("code", "packages", "hardware", "finished", "rebuild", "identity")


def summary(
    told: Mapping[str, Any],
    *,
    card: Mapping[str, Any],
    meta: Mapping[str, Any],
    scores: Mapping[str, Any],
    counts: Mapping[str, Any] | None,
    exported: Mapping[str, Any] | None,
    model: str,
    exports: str | None,
) -> dict[str, Any]:
    """The summary of one run.

    told: name, dataset, seed, tta, description, arm (its name and settings) and so on, as the job was told. card, meta: of
    the training. scores: of the test. counts: of the arm. exported: index of the drawn videos, `exports` its folder. model:
    path of the weights.
    """
    found: dict[str, Any] = dict(told)
    found["frames"] = {key: value for key, value in (counts or {}).items() if key not in ("arm", "seed")} or None
    found["training"] = meta.get("settings", {}).get("training")
    found |= {key: card[key] for key in TRAINED if key in card}
    found["test"] = {key: scores[key] for key in _OF_TEST if key in scores}
    found["cost"] = {key: card[key] for key in COST if key in card}
    found["model_file"] = {"path": model, "sha256": card.get("sha256"), "format": card.get("format")}
    files = (exported or {}).get("files", ())
    keys = ("video", "original", "detections")
    found["inference"] = [
        {key: one[key] for key in keys} | {key: f"{exports}/{one[key]}" for key in ("json", "media") if one.get(key)}
        for one in files
    ]
    return found | {key: meta[key] for key in MADE if key in meta}


def class_info(card: Mapping[str, Any], counts: Mapping[str, Any] | None) -> dict[str, Any]:
    """The classes of a model: names in the order of its labels, their ids in JSON files (from 1), their training frames."""
    names = list(card["class_names"])
    frames = {name: (counts or {}).get("classes", {}).get(name, {}).get("frames") for name in names}
    return {
        "num_classes": len(names),
        "class_names": names,
        "category_ids": {name: number for number, name in enumerate(names, start=1)},
        "training_frames": frames if counts else None,
    }
