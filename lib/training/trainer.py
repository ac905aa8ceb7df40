"""The training loop of the models that we write: epochs, optimizer steps, evaluations, checkpoints, stopping, going on.

Everything is injected; the loop knows no task. One optimizer step is the function `optimizer_step` below; a task whose
steps are made otherwise (several updates per batch, several passes per update) gives a function of its own instead.
Lightning Fabric brings devices, precision and the collectives. Not here: what a callback does (callbacks.py), how a state
is written (checkpoint.py), starting several processes (processes.py).

Letters: W micro-batches of a window (one optimizer step), R ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lib.config.base import ConfigError
from lib.files import DataError
from lib.training import processes
from lib.training.callbacks import Callback, Diverged, Step, keys_of
from lib.training.contracts import Loader, LossSums, Store, as_float32
from lib.training.memory import Halving, make_room, ran_out
from lib.training.preemption import Preempted, StopRequest
from lib.training.ranks import check_contents, check_lengths, exchanging
from lib.training.shortage import Shortage, StartAgain
from lib.training.state import restore, state_of

LEAST_SCALE = 2.0**-16
"""Of a loss in float16, which starts at 2¹⁶: gradients that are no numbers even under this are so by themselves."""


def optimizer_step(trainer: Trainer, window: Sequence[Any]) -> Step:
    """One optimizer step over a window of W micro-batches on each of R ranks, from top to bottom."""
    sums: dict[str, Tensor] = {}
    targets: float | Tensor = 0.0
    trainer.optimizer.zero_grad()
    for place, batch in enumerate(window):
        with trainer.gradients_stay_local(place + 1 < len(window)):  # ranks exchange gradients once, with the last one
            parts, count = trainer.forward(batch)
            trainer.fabric.backward(parts["loss"])
        for name, value in parts.items():
            sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        targets = targets + count
    reached = trainer.mean_gradients(sums["loss"], targets, window)  # sums become means over all targets, then are clipped
    trainer.update(reached.finite)
    return trainer.made(reached, sums, window)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a step comes to over all ranks before it changes the weights, as numbers of the CPU.

    overflow: the loss is a number and float16 could not hold its gradient, under a scale that can still fall.
    """

    loss: float  # a sum over the targets
    targets: float
    norm: float  # of the gradient before clipping
    overflow: bool = False

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.norm)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended: finished, or diverged at step N; why it finished early ("" = it did not); its last scores."""

    status: str
    step: int
    reason: str
    scores: dict[str, float]


class Trainer:
    """Train a model.

    model: forward(batch) → outputs. loss: (outputs, batch) → LossSums. loader: batches for this rank. total_steps:
    optimizer steps in all. evaluate_every: optimizer steps, null = at the end of every epoch; a state is saved after every
    evaluation, and after every `save_every` steps. accumulate: micro-batches W per optimizer step; an epoch's last window
    may be shorter. clip_norm: largest gradient norm (mean over targets), null = any. step: how one optimizer step is made.
    store: keeps states, null = none are kept; with several ranks the others get Elsewhere(). halving: what happens when the
    device's memory does not suffice, null = the run ends. shortage: how several ranks agree on it, null = they cannot.
    stop: asks to leave early. compile_model: torch.compile, with shapes that may vary (the first other size of a batch is
    compiled once more, for all sizes); evaluations run the model as it is.

    ConfigError: numbers that cannot be; a loader without batches. DataError: a window without a single target.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        loss: Callable[[Any, Any], LossSums],
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        loader: Loader,
        total_steps: int,
        fabric: Fabric | None = None,
        evaluator: Any | None = None,
        store: Store | None = None,
        callbacks: Sequence[Callback] = (),
        stop: StopRequest | None = None,
        halving: Halving | None = None,
        shortage: Shortage | None = None,
        step: Callable[[Trainer, Sequence[Any]], Step] = optimizer_step,
        evaluate_every: int | None = None,
        save_every: int | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        compile_model: bool = False,
    ) -> None:
        numbers = {"total_steps": total_steps, "accumulate": accumulate}
        numbers |= {"evaluate_every": evaluate_every or 1, "save_every": save_every or 1}
        wrong = [f"{name} {value}" for name, value in numbers.items() if value < 1]
        if wrong or (clip_norm is not None and not clip_norm > 0):
            raise ConfigError(f"{', '.join(wrong) or f'clip_norm {clip_norm}'}: must be at least 1 (clip_norm: above 0).")
        self.fabric = fabric or processes.start(device="cpu", devices=1, precision="fp32")
        self.module = self.fabric.to_device(model)
        compiled = torch.compile(self.module) if compile_model else self.module
        self.model = DistributedDataParallel(compiled) if exchanging(self.fabric) else compiled
        self.optimizer = self.fabric.setup_optimizers(optimizer)
        self._scaler = getattr(self.fabric.strategy.precision, "scaler", None)  # of float16
        self._trained = [one for one in self.module.parameters() if one.requires_grad]
        self.loss, self.schedule, self.loader, self.evaluator, self.store = loss, schedule, loader, evaluator, store
        self.callbacks = (*callbacks, shortage) if shortage is not None else tuple(callbacks)
        self.stop, self.halving, self.shortage, self._make_step = stop, halving, shortage, step
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.steps_per_epoch = max(1, -(-len(loader) // accumulate))
        self.total_steps, self.save_every = total_steps, save_every
        self.evaluate_every = evaluate_every or self.steps_per_epoch
        self.step = self.updates = self.resumed_from = 0
        self.reason = ""
        self.scores: dict[str, float] = {}
        self.evaluated_at = -1  # step
        self._leave = ""
        self._compared = not exchanging(self.fabric)

    # -- the loop ---------------------------------------------------------------------------------------------------------

    def train_loop(self) -> Outcome:
        """Train to the end, from the beginning or from where the store's last state left off.

        Raises Preempted when `stop` asked to leave (the state is saved then); a loss that stays no number is no error but
        the outcome `diverged at step N`, with the weights of the last update that was finite.
        """
        status = "failed"
        try:
            check_lengths(self.fabric, len(self.loader))
            self.resume()
            for callback in self.callbacks:
                callback.on_start(self)
            while self.step < self.total_steps and not self.reason:
                self.train_epoch(self.loader.epoch)
            status = "finished"
        except Diverged as diverged:
            status = str(diverged)
        except Preempted:
            status = "stopped"
            raise
        finally:
            for callback in self.callbacks:
                callback.on_stop(self, status)
            if self.store is not None and status != "failed":
                self.store.wait()
        return Outcome(status=status, step=self.step, reason=self.reason, scores=self.scores)

    def train_epoch(self, epoch: int) -> None:
        """The rest of an epoch (counted from 0), or as much of it as the budget has left."""
        self.model.train()
        for window in self._windows():
            made = self.train_step(window)
            for callback in self.callbacks:
                callback.on_step(self, made)
            self._between_steps(epoch)
            if self.step >= self.total_steps or self.reason:
                return

    def train_step(self, window: Sequence[Any]) -> Step:
        """One optimizer step over a window of micro-batches; made again with smaller ones when memory does not suffice."""
        if self.halving is None:
            return self._make_step(self, window)
        while True:
            before = self.updates
            try:
                return self._make_step(self, self.halving.pieces(window))
            except RuntimeError as error:
                if not ran_out(error):  # perhaps the exchange with a rank that has left already
                    if self.shortage is not None and (why := self.shortage.told()):
                        raise StartAgain(why) from error
                    raise
                here = not exchanging(self.fabric) and self.updates == before
                self.halving.halve(window, error, retriable=here or self.shortage is not None)
                if self.shortage is not None:
                    raise self.shortage.record(self.halving.halvings, error) from error
            self.optimizer.zero_grad()
            make_room()  # not before: the error held the frames of the step, and they its activations

    def evaluate_epoch(self, epoch: int) -> dict[str, float]:
        """Scores of the evaluator, with the weights that callbacks choose (an average); told to all callbacks."""
        self.evaluated_at = self.step
        if self.evaluator is None:
            return {}
        with ExitStack() as stack:
            for callback in self.callbacks:
                stack.enter_context(callback.weights(self))
            self.scores = self.evaluator.eval_loop(self)
        self.model.train()
        for callback in self.callbacks:
            callback.on_evaluate(self, self.scores)
        return self.scores

    def finish(self, reason: str) -> None:
        """End the training after this step, as finished."""
        self.reason = reason

    def _windows(self) -> Iterator[list[Any]]:
        """W micro-batches at a time, on the device; the last window of an epoch may be shorter."""
        window = []
        for batch in self.loader:
            if not self._compared:
                check_contents(self.fabric, batch)
                self._compared = True
            window.append(self.fabric.to_device(batch))
            if len(window) == self.accumulate:
                yield window
                window = []
        if window:
            yield window

    def _between_steps(self, epoch: int) -> None:
        """What is due follows from the number of the step alone, so that a run that was interrupted does the same."""
        last = self.step >= self.total_steps
        evaluate = last or self.step % self.evaluate_every == 0
        if evaluate:
            self.evaluate_epoch(epoch)
        if self.step % self.steps_per_epoch == 0:
            for callback in self.callbacks:
                callback.on_epoch(self, epoch)
        leave = bool(self._leave) and not last and not self.reason
        if evaluate or leave or (self.save_every is not None and self.step % self.save_every == 0):
            self.save_checkpoints()
        if leave:
            if self.store is not None:
                self.store.wait()
            raise Preempted(f"stopped at step {self.step} of {self.total_steps}: {self._leave}; the state is saved")

    # -- what a step is made of -------------------------------------------------------------------------------------------

    def gradients_stay_local(self, local: bool) -> AbstractContextManager[Any]:
        """Inside, a backward pass adds to this rank's gradients only; False: it ends in their exchange."""
        return self.model.no_sync() if local and isinstance(self.model, DistributedDataParallel) else nullcontext()

    def forward(self, batch: Any) -> LossSums:
        """The loss of a micro-batch."""
        return self.loss(self.outputs(self.model, batch), batch)

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """What a model says of a batch: calculated in the run's precision, given in float32."""
        with self.fabric.autocast():
            return as_float32(model(batch))

    def mean_gradients(self, loss: Tensor, targets: float | Tensor, window: Sequence[Any]) -> Reached:
        """Gradients of sums become those of means over the targets of all ranks; then they are clipped.

        loss, targets: sums of this rank's window. All that the CPU has to know of the step is read here in one go, the only
        time in a step that it waits for the device; ranks also agree on whether somebody was asked to stop.
        DataError: not a single target.
        """
        gradients = [one.grad for one in self._trained if one.grad is not None]
        if not gradients:
            raise ConfigError("no parameter got a gradient. Hint: is every parameter frozen, or the loss a constant?")
        loss, reason = loss.detach().reshape(()), self.stop.reason if self.stop is not None else ""
        asked: float | Tensor = float(bool(reason))
        targets = targets.double() if isinstance(targets, Tensor) else float(targets)
        if exchanging(self.fabric):
            mine = torch.stack([_tensor(one, loss.device) for one in (loss, targets, asked)])
            loss, targets, asked = self.fabric.all_reduce(mine, reduce_op="sum").unbind()
        elif not isinstance(targets, Tensor) and targets <= 0:
            raise self.no_targets(window)
        share = self.fabric.world_size / targets  # DDP has divided by the number of ranks
        torch._foreach_mul_(gradients, share.float() if isinstance(share, Tensor) else share)
        self.fabric.strategy.precision.unscale_gradients(self.optimizer.optimizer)
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._trained, self.clip_norm, norm)
        found = numbers(loss, targets, norm, asked)
        if found[1] <= 0:
            raise self.no_targets(window)
        self._leave = reason or ("another rank was asked to" if found[3] else "")
        return Reached(loss=found[0], targets=found[1], norm=found[2], overflow=self._overflow(found[0], found[2]))

    def _overflow(self, loss: float, norm: float) -> bool:
        if self._scaler is None or not math.isfinite(loss) or math.isfinite(norm):
            return False
        return self._scaler.get_scale() > LEAST_SCALE

    def update(self, finite: bool) -> None:
        """Change the weights and go on in the schedule; not when loss or gradient were no finite numbers."""
        if finite:
            self.updates += 1  # first: what an optimizer has begun to change cannot be repeated when memory runs out
            (self.optimizer if self._scaler is None else self.optimizer.optimizer).step()
            self.schedule.step()
        if self._scaler is not None:
            self._scaler.update()  # of float16: it scales the loss less after gradients that overflowed, more when none do

    def made(self, reached: Reached, sums: Mapping[str, Tensor], window: Sequence[Any]) -> Step:
        """The record of one optimizer step, which is counted by it. sums: parts of the loss over this rank's targets."""
        self.step += 1
        parts = {f"train/{name}": value / reached.targets for name, value in sums.items() if name != "loss"}
        return Step(
            step=self.step,
            epoch=self.loader.epoch,
            updated=reached.finite,
            overflow=reached.overflow,
            targets=reached.targets,
            norm=reached.norm,
            lr=float(self.optimizer.param_groups[0]["lr"]),
            values=parts | {"train/loss": reached.loss / reached.targets},
            batches=window,
        )

    def no_targets(self, window: Sequence[Any]) -> DataError:
        """The refusal of a window whose loss would be 0.0 for want of targets."""
        keys = [key for batch in window for key in keys_of(batch)]
        named = f" (samples {', '.join(keys[:8])})" if keys else ""
        return DataError(
            f"step {self.step + 1}: not a single valid target in the whole step{named}. Hint: are the labels of these "
            "samples empty or masked? Leave such samples out, or let the step be larger (batch, accumulate)."
        )

    # -- states -----------------------------------------------------------------------------------------------------------

    def save_checkpoints(self) -> None:
        """Keep the whole state; what is kept of older ones is the store's business."""
        if self.store is None:
            return
        state = state_of(self)
        for callback in self.callbacks:
            callback.on_checkpoint(self, state)
        self.store.save(state, step=self.step, scores=self.scores if self.evaluated_at == self.step else None)

    def resume(self) -> None:
        """Go on from the store's newest state, if it has one."""
        if self.store is None:
            return
        state = self.store.load()
        state = self.fabric.broadcast(state) if exchanging(self.fabric) else state
        if state is not None:
            restore(self, state)


def _tensor(value: Tensor | float, device: torch.device) -> Tensor:
    return value.double() if isinstance(value, Tensor) else torch.full((), value, dtype=torch.float64, device=device)


def numbers(*values: Tensor | float) -> list[float]:
    """Numbers, some of which may be tensors without dimensions on one device, which is waited for once."""
    there = [one for one in values if isinstance(one, Tensor)]
    if not any(one.is_cuda for one in there):
        return [float(one) for one in values]
    told = iter(torch.stack(there).tolist())
    return [next(told) if isinstance(one, Tensor) else float(one) for one in values]
