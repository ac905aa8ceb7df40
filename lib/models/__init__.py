"""Models by name and by the format of their file: one line each. Not here: any model (one file per family beside this one).

A predictor has `names` and `predict(frames, conf=, iou=, max_det=, imgsz=)`; see lib/perception/detectors.py.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from lib.config.base import ConfigError, nearest

FORMATS = {
    "ultralytics": "lib.models.yolo",
    "onnx": "lib.models.yolo_onnx",
    "rfdetr": "lib.models.rfdetr",
    "floor": "lib.models.floors",
}
"""Format -> module with `load(path)` and `inspect(path)`."""

NETWORKS: dict[str, str] = {
    "mvp": "lib.models.mvp",
    "ogsf": "lib.models.ogsf",
    "groundnlq": "lib.models.groundnlq",
}
"""Network that our own loop trains -> module with `build(**knobs)`, which makes it with fresh weights."""


def build_network(name: str, **knobs: Any) -> Any:
    """A network (torch module) by name, with weights from the current random numbers. ConfigError for an unknown name."""
    if name not in NETWORKS:
        raise ConfigError(f"network {name!r} is unknown. {nearest(name, NETWORKS)}")
    return import_module(NETWORKS[name]).build(**knobs)


def load_predictor(model_file: Path, card: dict[str, Any]) -> Any:
    """The predictor in a weights file.

    card: model.json, with at least `format` and `class_names`. Raises ConfigError for an unknown format, DataError for a
    damaged file or one whose classes are not the card's.
    """
    from lib.files import DataError

    predictor = _module(card).load(Path(model_file))
    if list(predictor.names) != list(card.get("class_names", predictor.names)):
        raise DataError(
            f"{model_file}: the file knows classes {list(predictor.names)}, its card says {list(card['class_names'])}. "
            "Hint: file and card come from different runs; let their rule write both again."
        )
    return predictor


def inspect_weights(model_file: Path, card: dict[str, Any]) -> dict[str, Any]:
    """`class_names`, `input_size` (px) and `parameters` (a count, null when unknown) of a file of the card's format."""
    return _module(card).inspect(Path(model_file))


def _module(card: dict[str, Any]) -> Any:
    if card.get("format") not in FORMATS:
        raise ConfigError(f"model format {card.get('format')!r} is unknown. {nearest(str(card.get('format')), FORMATS)}")
    return import_module(FORMATS[card["format"]])
