"""The evaluation loop: predictions of a model over a loader, gathered from all ranks, then scored at once.

Not here: what a prediction or a score is (lib/tasks, lib/metrics).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from lib.files import DataError
from lib.training.memory import enough_for
from lib.training.ranks import from_all_ranks

if TYPE_CHECKING:
    from lib.training.trainer import Trainer


class Evaluator:
    """Scores a model on val.

    loader: batches of this rank; iterating gives them all. decode: (outputs, batch) → {key: prediction}, plain values on
    the CPU, so that no tensor of a batch is held back; a key that comes twice (padding of ranks) counts once. score:
    {key: prediction} → scores by name, which are logged as they are (`val/…`). with_loss: also `val/loss` and its
    components, as means over targets, by the trainer's own loss.

    DataError: nothing to score. OutOfMemory: a batch is too large for the device.
    """

    def __init__(
        self,
        *,
        loader: Iterable[Any],
        decode: Callable[[Any, Any], dict[str, Any]],
        score: Callable[[dict[str, Any]], dict[str, float]],
        with_loss: bool = True,
    ) -> None:
        self.loader, self.decode, self.score, self.with_loss = loader, decode, score, with_loss

    @torch.inference_mode()
    def eval_loop(self, trainer: Trainer) -> dict[str, float]:
        """Run the complete evaluation; every rank gets the same scores. The model is left in evaluation mode."""
        trainer.module.eval()
        found: dict[str, Any] = {}
        sums: dict[str, float] = {}
        targets = 0.0
        for batch in self.loader:
            batch = trainer.fabric.to_device(batch)
            with enough_for(batch, trainer.step):
                outputs = trainer.outputs(trainer.module, batch)
                found |= self.decode(outputs, batch)
                parts, count = trainer.loss(outputs, batch) if self.with_loss else ({}, 0)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            targets += float(count)
            for callback in trainer.callbacks:
                callback.on_batch(trainer)
        everything: dict[str, Any] = {}
        for part in from_all_ranks(trainer.fabric, found):
            everything |= part
        if not everything:
            raise DataError("the evaluation has no sample. Hint: does the shardset hold split val?")
        return self.score(everything) | self._losses(trainer, sums, targets)

    def _losses(self, trainer: Trainer, sums: dict[str, float], targets: float) -> dict[str, float]:
        if not self.with_loss:
            return {}
        told = from_all_ranks(trainer.fabric, (sums, targets))
        total = sum(count for _, count in told)
        if total <= 0:
            raise DataError("the evaluation has not a single valid target. Hint: are the labels of split val empty?")
        names = {name for part, _ in told for name in part}
        return {f"val/{name}": sum(part.get(name, 0.0) for part, _ in told) / total for name in sorted(names)}
