"""What is known of a model file: the card beside it, or what the file itself says. Not here: loading the model
(`load_predictor`), and how a card of a training is written (workflow_scripts/train.py).

A card is the JSON that travels with weights: `format`, `class_names`, `input_size` (px), `sha256`, and after a training
`status`, `seed`, `train_videos` and more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.config.base import ConfigError
from lib.files import DataError, read_json, sha256_file
from lib.models import inspect_weights

SUFFIXES = {".pt": "ultralytics", ".onnx": "onnx", ".pth": "rfdetr"}
"""Suffix of a pretrained file -> its format."""


def card_of_file(file: Path, sha256: str | None = None) -> dict[str, Any]:
    """Format, class names, input size and sha256 of a model file without a card.

    sha256: what it must be, None = anything. Raises ConfigError for an unknown suffix, DataError for another sha256.
    """
    if file.suffix not in SUFFIXES:
        raise ConfigError(f"weights {file.name!r}: unknown kind of file. Known suffixes: {', '.join(sorted(SUFFIXES))}.")
    digest = sha256_file(file)
    if sha256 and digest != sha256:
        raise DataError(f"{file}: sha256 is {digest}, expected {sha256}. Hint: another version, or a cut download.")
    card = {"format": SUFFIXES[file.suffix], "sha256": digest}
    return card | inspect_weights(file, card)


def find_model(given: Path) -> tuple[Path, dict[str, Any]]:
    """The weights file and the card of a model as a person names it.

    given: `model.json` of a training, the `model.weights` (or model.pt, .onnx, .pth) beside it, `weights.json` of a weights
    entry, a folder that holds one of them, or any .pt / .onnx / .pth file. Raises DataError when there is nothing, or when
    file and card are not the same model; ConfigError when its training diverged.
    """
    if given.is_dir():
        cards = [given / name for name in ("model.json", "weights.json") if (given / name).is_file()]
        if not cards:
            raise DataError(f"{given}: this folder holds no model.json. Hint: name the model file, or …/seed=0/model.json.")
        given = cards[0]
    if not given.is_file():
        raise DataError(f"{given}: no such model. Hint: a trained one is results/train/DATASET/VARIANT/seed=N/model.json.")
    beside = given if given.suffix == ".json" else given.with_name("model.json")
    ours = given.suffix == ".json" or given.name in ("model.weights", "model.pt", "model.onnx", "model.pth")
    if not ours or not beside.is_file():
        return given, card_of_file(given)
    card = read_json(beside)
    if not isinstance(card, dict) or "format" not in card:
        raise DataError(
            f"{beside}: not a model's card (it states no format). Hint: name model.json, or a .pt / .onnx / .pth file."
        )
    weights = beside.parent / str(card.get("file", "model.weights"))
    if not weights.is_file():
        raise DataError(f"{weights}: no such file, though {beside.name} stands for it. Hint: let its rule make it again.")
    if card.get("sha256") and sha256_file(weights) != card["sha256"]:
        raise DataError(
            f"{weights}: the file is not the one that {beside.name} describes (another sha256). Hint: damaged, or "
            "exchanged; let its rule make it again."
        )
    if card.get("status", "finished") != "finished":
        raise ConfigError(f"{given}: its training {card['status']}. Hint: train it with other settings first.")
    return weights, card
