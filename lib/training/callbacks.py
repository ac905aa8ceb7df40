"""What may happen between the steps of a training: a small protocol, and the callbacks that every training uses.

Trainer calls them in the order in which they were given. Those with something to remember have `state_dict` and
`load_state_dict`; what they remember is part of every checkpoint, by the name of their class. Not here: the loop
(trainer.py).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lib.config.base import ConfigError, VipersightError, nearest

if TYPE_CHECKING:
    from lib.training.ema import Ema
    from lib.training.loggers import Loggers
    from lib.training.trainer import Trainer


class Diverged(VipersightError):
    """The loss is no number any more, more often than is allowed. A result, not a failure."""

    def __init__(self, step: int) -> None:
        super().__init__(f"diverged at step {step}")
        self.step = step


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one optimizer step was.

    values: train/loss and its components, each the mean over the targets of all ranks, as they come from the device.
    """

    step: int  # counted from 1
    epoch: int  # counted from 0
    updated: bool  # False: the loss or a gradient was no finite number, and the weights stay as they were
    targets: float  # over all micro-batches and ranks
    overflow: bool = False  # not updated because float16 did not hold the gradient; its scale is lower from now on
    norm: float  # of the gradient before clipping
    lr: float
    values: Mapping[str, Any] = field(default_factory=dict)
    batches: Sequence[Any] = ()  # this rank's micro-batches


class Callback(Protocol):
    """The hooks; a class that inherits from this has those that it does not write as no-ops."""

    def on_start(self, trainer: Trainer) -> None:
        """Once, before the first step, behind what a state has restored (trainer.resumed_from says whether one has)."""

    def on_step(self, trainer: Trainer, step: Step) -> None:
        """After every optimizer step, also one that was skipped."""

    def on_batch(self, trainer: Trainer) -> None:
        """After every batch of an evaluation."""

    def on_epoch(self, trainer: Trainer, epoch: int) -> None:
        """After the last step of an epoch (counted from 0)."""

    def on_evaluate(self, trainer: Trainer, scores: dict[str, float]) -> None:
        """After an evaluation; `trainer.finish(reason)` ends the training after it."""

    def on_checkpoint(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Before a state is written: the last chance to add to it."""

    def on_stop(self, trainer: Trainer, status: str) -> None:
        """Once, at the end, whatever ended it: finished, diverged at step N, stopped (it will go on), failed."""

    def weights(self, trainer: Trainer) -> AbstractContextManager[Any]:
        """Around an evaluation: a context in which the model has the weights that shall be evaluated."""
        return nullcontext()


class Averaging(Callback):
    """EMA: the average follows every update, is evaluated, and is saved with the state."""

    def __init__(self, ema: Ema) -> None:
        self.ema = ema

    def on_step(self, trainer: Trainer, step: Step) -> None:
        if step.updated:
            self.ema.update(trainer.module)

    def weights(self, trainer: Trainer) -> AbstractContextManager[Any]:
        return self.ema.averaged(trainer.module)

    def state_dict(self) -> dict[str, Any]:
        return self.ema.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ema.load_state_dict(state)


class NonFiniteGuard(Callback):
    """Ends a training as diverged when more than `skips` steps in a row had a loss or gradient that is no finite number.

    Steps that overflowed in float16 are told, and neither counted nor taken as the end of a row: finding the scale that the
    gradients bear takes some at the start, and one now and then.
    The samples of such a step are kept in `folder`/not-finite.jsonl, one line each, for a look at the data.
    """

    def __init__(self, *, skips: int, folder: Path | None = None) -> None:
        if skips < 0:
            raise ConfigError(f"nan_skips must be at least 0, got {skips}.")
        self.skips, self.folder, self.in_a_row = skips, folder, 0

    def on_step(self, trainer: Trainer, step: Step) -> None:
        """Counts steps without an update; Diverged when there are more than `skips` in a row."""
        if step.updated:
            self.in_a_row = 0
            return
        if step.overflow:
            print(
                f"step {step.step}: the gradient overflowed in float16; skipped, the loss is scaled less", file=sys.stderr
            )
            return
        self.in_a_row += 1
        keys = [key for batch in step.batches for key in keys_of(batch)]
        named = f", samples {', '.join(keys[:8])}{' …' if len(keys) > 8 else ''}" if keys else ""
        print(f"warning: step {step.step}: loss or gradient is no finite number{named}; skipped", file=sys.stderr)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            line = json.dumps({"step": step.step, "rank": trainer.fabric.global_rank, "keys": keys})
            with open(self.folder / "not-finite.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")
        if self.in_a_row > self.skips:
            raise Diverged(step.step)

    def state_dict(self) -> dict[str, Any]:
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.in_a_row = state["in_a_row"]


class EarlyStopping(Callback):
    """Ends the training after `patience` evaluations in which `metric` was not better by more than `min_delta`.

    A score that is no number counts as not better. ConfigError when the evaluation has no such metric.
    """

    def __init__(self, metric: str, *, mode: Literal["min", "max"], patience: int, min_delta: float = 0.0) -> None:
        if patience < 1 or min_delta < 0:
            raise ConfigError(f"stopping: patience {patience} must be at least 1 and min_delta {min_delta} at least 0.")
        self.metric, self.mode, self.patience, self.min_delta = metric, mode, patience, min_delta
        self.best, self.waited = math.nan, 0

    def on_evaluate(self, trainer: Trainer, scores: dict[str, float]) -> None:
        value = score_of(scores, self.metric, "stopping.metric")
        gain = (value - self.best) if self.mode == "max" else (self.best - value)
        first = math.isnan(self.best) and not math.isnan(value)
        if first or gain > self.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.finish(f"{self.metric} was not better for {self.waited} evaluations")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]


class Required(Callback):
    """ConfigError at the first evaluation that lacks one of `metrics`, not only when the best weights are asked for."""

    def __init__(self, metrics: Iterable[str], *, setting: str) -> None:
        self.metrics, self.setting = tuple(metrics), setting

    def on_evaluate(self, trainer: Trainer, scores: dict[str, float]) -> None:
        for metric in self.metrics:
            score_of(scores, metric, self.setting)


class Plateau(Callback):
    """Tells a plateau schedule the value of its metric after every evaluation."""

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def on_evaluate(self, trainer: Trainer, scores: dict[str, float]) -> None:
        trainer.schedule.observe(score_of(scores, self.metric, "schedule.metric"))


class Logging(Callback):
    """Tells the loggers the course: every `every` steps the means since the last time, and all scores.

    Values stay on the device until they are told, so that logging does not make the device wait at every step.
    """

    def __init__(self, loggers: Loggers, *, every: int) -> None:
        self.loggers, self.every = loggers, every
        self._sums: dict[str, Any] = {}
        self._count, self._restored = 0, False

    def on_start(self, trainer: Trainer) -> None:
        if not self._restored:  # an older attempt of other settings may have left its rows
            self.loggers.load_state_dict({})

    def on_step(self, trainer: Trainer, step: Step) -> None:
        for name, value in step.values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        if step.step % self.every == 0 or step.step == trainer.total_steps:
            means = {name: float(value) / self._count for name, value in self._sums.items()}
            self.loggers.log(step.step, {"epoch": float(step.epoch), "lr": step.lr, "grad_norm": step.norm} | means)
            self._sums, self._count = {}, 0

    def on_evaluate(self, trainer: Trainer, scores: dict[str, float]) -> None:
        self.loggers.log(trainer.step, scores)

    def on_stop(self, trainer: Trainer, status: str) -> None:
        self.loggers.close(status)

    def state_dict(self) -> dict[str, Any]:
        sums = {name: float(value) for name, value in self._sums.items()}
        return {"loggers": self.loggers.state_dict(), "sums": sums, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loggers.load_state_dict(state["loggers"])
        self._sums, self._count, self._restored = dict(state["sums"]), state["count"], True


class Progress(Callback):
    """Tells a function how far the training is and its last scores, after every evaluation: what `status` reads."""

    def __init__(self, keep: Callable[..., None]) -> None:
        self.keep = keep

    def on_evaluate(self, trainer: Trainer, scores: dict[str, float]) -> None:
        told = {name.replace("/", "_"): round(value, 6) for name, value in scores.items()}
        self.keep(steps=trainer.step, of_steps=trainer.total_steps, **told)


def score_of(scores: Mapping[str, float], metric: str, setting: str) -> float:
    """A score by name; ConfigError with the nearest name when the evaluation does not give it."""
    if metric not in scores:
        raise ConfigError(f"{setting}: the evaluation gives no {metric!r}. {nearest(metric, scores)}")
    return float(scores[metric])


def keys_of(batch: Any) -> list[str]:
    """Names of a batch's samples, as far as it states them under `keys`."""
    return [str(key) for key in batch["keys"]] if isinstance(batch, Mapping) and "keys" in batch else []
