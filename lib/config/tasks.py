"""Tasks as settings know them: what a training of each is told. Not here: what a task does (lib/tasks).

A task whose model we write has a class of its own, made from LoopSettings (train_loop.py), with the model's settings.
"""

from __future__ import annotations

from lib.config.base import Section
from lib.config.train import TrainingSettings

TRAINING: dict[str, type[Section]] = {"detection": TrainingSettings}
"""Task -> class of its trainings' settings."""
