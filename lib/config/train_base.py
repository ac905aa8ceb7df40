"""What the settings of every training can say of it, whatever its engine: its budget, its scores on val, a shorter one.

Not here: the settings themselves (train.py for YOLO, train_loop.py for our own loop), and who asks (lib/tuning).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from lib.config.base import ConfigError, Section
from lib.config.train_optim import Mode


class Training(Section):
    """Settings of one training. A subclass has a field `budget`, whose class tells its `amount` and `unit`."""

    budget_keys: ClassVar[tuple[str, ...]] = ("budget",)
    """Keys by which a person may state how long is trained."""

    @property
    def title(self) -> str:
        """What the model is called on cards."""
        return str(getattr(self, "model", ""))

    @property
    def learning_rate(self) -> float | None:
        """The highest one, of all but a backbone; None where it is told elsewhere than in `lr` or `lr0`."""
        told = getattr(self, "lr", getattr(self, "lr0", None))
        return float(told) if isinstance(told, int | float) else None

    def resolved(self) -> Self:
        """With everything stated that depends on other settings, once these are known."""
        return self

    def of_size(self, size: str) -> Self:
        """The same training of another size of its model. ConfigError where models have none, or none such."""
        raise ConfigError(f"--model-size {size}: models of this task have no sizes. Hint: set the variant's `training`.")

    @abstractmethod
    def val_scores(self) -> Mapping[str, Mode]:
        """Scores on val that `best` in model.json holds → whether low (min) or high (max) is good; the main one first."""

    @abstractmethod
    def shortened(self, share: float) -> dict[str, Any]:
        """Settings (key → value) that make this training one of a share of its budget, 0 < share < 1.

        The budget, at least one step or epoch, with evaluations as dense as before; and None for what could not act any
        more within it. Learning rate and its schedule are those of a training of that length, from start to end.
        """
