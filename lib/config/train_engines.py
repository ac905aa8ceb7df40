"""The settings of a detector's training, whichever engine trains it. Not here: the settings themselves (train.py for YOLO,
train_rfdetr.py for RF-DETR)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from lib.config.train import TrainingSettings
from lib.config.train_base import Training
from lib.config.train_rfdetr import RfdetrSettings


def _engine(value: Any) -> str:
    """Which of both: YOLO where nothing is said, and where an unknown engine is named (it refuses that)."""
    engine = value.get("engine") if isinstance(value, dict) else getattr(value, "engine", None)
    return "RfdetrSettings" if engine == "rfdetr" else "TrainingSettings"


DetectorTraining = Annotated[
    Annotated[TrainingSettings, Tag("TrainingSettings")] | Annotated[RfdetrSettings, Tag("RfdetrSettings")],
    Discriminator(_engine),
]


def detector_settings(values: Mapping[str, Any]) -> type[Training]:
    """The class of the settings of a detector's training."""
    return RfdetrSettings if values.get("engine") == "rfdetr" else TrainingSettings
