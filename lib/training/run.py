"""One training by our own loop, from settings to weights: what the tasks whose models we write call. Not here: the loop
itself (trainer.py), and what a task's model, loss, batches and scores are (lib/tasks).

`state` outlives a kill: the same fingerprint goes on at the exact step, another one starts afresh.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.config.train_loop import LoopSettings
from lib.devices import use_cudnn
from lib.models.weights import save_weights
from lib.training import processes
from lib.training.callbacks import Averaging, Callback, EarlyStopping, Logging, NonFiniteGuard, Plateau, Progress, Required
from lib.training.checkpoint import CheckpointStore
from lib.training.contracts import Elsewhere, LossSums
from lib.training.ema import Ema
from lib.training.evaluator import Evaluator
from lib.training.loggers import make_loggers
from lib.training.memory import Halving, without_cudnn
from lib.training.optim import make_optimizer, make_schedule
from lib.training.preemption import StopRequest
from lib.training.randomness import seed_everything
from lib.training.shortage import Shortage, StartAgain
from lib.training.stall import StallGuard
from lib.training.trainer import Outcome, Trainer, optimizer_step


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a task brings to a training; `ranks` and `rank` say which share of the samples a loader gives.

    build: makes the model, from the seeded random numbers. loss: (outputs, batch) → sums and number of targets. loader,
    evaluator: (ranks, rank) → batches to train on, scores on val. step: how one optimizer step is made. halving: whether
    micro-batches may be split when memory runs out, and why not.
    """

    build: Callable[[], nn.Module]
    loss: Callable[[Any, Any], LossSums]
    loader: Callable[[int, int], Any]
    evaluator: Callable[[int, int], Evaluator]
    step: Callable[..., Any] = optimizer_step
    halving: Callable[[], Halving] = Halving


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """What a training leaves in its state folder, and how it went."""

    weights: Path  # safetensors: the best by the first metric of `best`; the average where one was kept
    history: Path  # csv
    status: str  # "finished" or "diverged at step N"
    best: dict[str, Any]  # step and scores of the delivered weights; empty when val was never scored
    steps: int  # optimizer steps, over all attempts
    epochs: float  # passes over the samples, over all attempts
    parameters: int
    resumed_from: int  # steps that earlier attempts had done
    facts: dict[str, Any]  # for the model's card: micro-batch, effective batch, halvings, precision, device, reason


def train(
    settings: LoopSettings,
    parts: Parts,
    *,
    state: Path,
    fingerprint: str,
    seed: int,
    name: str,
    running: Running | None = None,
    stop: StopRequest | None = None,
    on_progress: Callable[..., None] | None = None,
) -> LoopResult | None:
    """Train with these settings; every rank calls it, and all but the first get None.

    state: folder of this training alone. name: what loggers call it. running: on what and with which logs, null = as the
    run was told (VIPERSIGHT_RUNNING). stop: asks to leave early; then Preempted is raised, with the state saved.
    on_progress: told facts after each evaluation, and `cause` and `error` when memory ran out on one of several ranks; the
    process then ends at once with preemption.PREEMPTED, to be started again.
    """
    running = running or Running.of_this_run()
    fabric, model = _begin(settings, parts, running, seed)
    loader = parts.loader(fabric.world_size, fabric.global_rank)
    per_epoch = max(1, -(-len(loader) // settings.accumulate))
    total = settings.budget.total_steps(per_epoch)
    optimizer = make_optimizer(model, settings.optimizer)
    with ExitStack() as opened:
        store: CheckpointStore | Elsewhere = Elsewhere()
        if fabric.is_global_zero:
            kept = CheckpointStore(state, fingerprint=fingerprint, keep_last=running.keep_last, best=settings.best)
            store = opened.enter_context(kept)
        halving = _halving(settings, parts, running, on_progress if fabric.is_global_zero else None)
        shortage = None
        if fabric.world_size > 1 and halving.allowed:
            shortage = Shortage(state, fingerprint=fingerprint, fabric=fabric, tell=on_progress)
        ema = Ema(model, decay=settings.ema.decay, warmup=settings.ema.warmup) if settings.ema else None
        trainer = Trainer(
            model=model,
            loss=parts.loss,
            optimizer=optimizer,
            schedule=make_schedule(optimizer, settings.schedule, total_steps=total, steps_per_epoch=per_epoch),
            loader=loader,
            total_steps=total,
            fabric=fabric,
            evaluator=parts.evaluator(fabric.world_size, fabric.global_rank),
            store=store,
            callbacks=_callbacks(settings, running, fabric, ema, state, name, total, on_progress),
            stop=stop,
            halving=halving,
            shortage=shortage,
            step=parts.step,
            evaluate_every=settings.budget.evaluation_interval(per_epoch),
            accumulate=settings.accumulate,
            clip_norm=settings.clip_norm,
            compile_model=settings.compile,
        )
        try:
            outcome = trainer.train_loop()
        except StartAgain as short:
            if shortage is None:
                raise
            shortage.leave(str(short))
        return None if isinstance(store, Elsewhere) else _deliver(settings, trainer, ema, store, outcome, state)


def _begin(settings: LoopSettings, parts: Parts, running: Running, seed: int) -> tuple[Fabric, nn.Module]:
    """The processes of the training, and on each the same model on its device, but other random numbers from now on."""
    use_cudnn(running)
    fabric = processes.start(
        device=running.device,
        devices=settings.devices,
        nodes=settings.nodes,
        precision=settings.precision,
        launcher=running.launcher,
    )
    seed_everything(seed)
    model = parts.build()
    if settings.gradient_checkpointing:
        switch_checkpointing_on(model)
    seed_everything(seed + fabric.global_rank)  # the same weights everywhere, other dropout on every rank
    return fabric, fabric.to_device(model)


def _halving(settings: LoopSettings, parts: Parts, running: Running, tell: Callable[..., None] | None) -> Halving:
    """How micro-batches are split. Where cuDNN is off they are from the start, which the log and `tell` get to know."""
    halving = parts.halving()
    if not running.cudnn:
        halving.without_cudnn(settings.batch)
        micro = halving.largest(settings.batch)
        if running.is_first():
            print(without_cudnn(settings.batch, micro), file=sys.stderr)
        if tell is not None:
            tell(cudnn=False, micro_batch=micro)
    return halving


def _callbacks(
    settings: LoopSettings,
    running: Running,
    fabric: Fabric,
    ema: Ema | None,
    state: Path,
    name: str,
    total: int,
    on_progress: Callable[..., None] | None,
) -> list[Callback]:
    """In the order in which they act: the average before it is logged, the guard before anything is counted on."""
    made: list[Callback] = [
        StallGuard(running.stall_seconds),
        NonFiniteGuard(skips=settings.nan_skips, folder=state),
        Required(settings.best, setting="best"),
    ]
    if ema is not None:
        made.append(Averaging(ema))
    if settings.schedule.name == "plateau":
        made.append(Plateau(str(settings.schedule.metric)))
    if settings.stopping is not None:
        made.append(EarlyStopping(**settings.stopping.model_dump()))
    if fabric.is_global_zero:
        samples = settings.batch * settings.accumulate * fabric.world_size
        loggers = make_loggers(
            running.loggers,
            history=state / "history.csv",
            folder=state.parent,  # they outlive the state, which goes away once the results stand
            name=name,
            total_steps=total,
            best=settings.best,
            samples_per_step=samples,
            config=settings.model_dump(mode="json"),
        )
        made.append(Logging(loggers, every=running.loggers.log_every))
        if on_progress is not None:
            made.append(Progress(on_progress))
    return made


def _deliver(
    settings: LoopSettings, trainer: Trainer, ema: Ema | None, store: CheckpointStore, outcome: Outcome, state: Path
) -> LoopResult:
    """Write the weights that the training is for."""
    metric = next(iter(settings.best))
    found = store.best_step(metric)
    best: dict[str, Any] = {}
    if found is not None:
        kept = store.load_best(metric)
        trainer.module.load_state_dict(kept["model"])
        if ema is not None:
            ema.load_state_dict(kept["callbacks"]["Averaging"])
        best = {"step": kept["step"], **kept["scores"]}
    weights = state / "weights.safetensors"
    with ema.averaged(trainer.module) if ema is not None and ema.updates else ExitStack():
        save_weights(weights, trainer.module.state_dict())
    return LoopResult(
        weights=weights,
        history=state / "history.csv",
        status=outcome.status,
        best=best,
        steps=outcome.step,
        epochs=outcome.step / trainer.steps_per_epoch,
        parameters=sum(one.numel() for one in trainer.module.parameters()),
        resumed_from=trainer.resumed_from,
        facts={
            "micro_batch": trainer.halving.largest(settings.batch) if trainer.halving else settings.batch,
            "effective_batch": settings.batch * settings.accumulate * trainer.fabric.world_size,
            "halvings": trainer.halving.halvings if trainer.halving else 0,
            "updates": trainer.updates,
            "precision": settings.precision,
            "device": trainer.fabric.device.type,
            "cudnn": torch.backends.cudnn.enabled,
            "ranks": trainer.fabric.world_size,
            "stopped_early": outcome.reason,
        },
    )


def switch_checkpointing_on(model: nn.Module) -> None:
    """Activations are calculated again in the backward pass. ConfigError for a model that cannot.

    Never the reentrant kind, where a model of transformers leaves the choice: with frozen first layers it gives no gradient
    at all, and DDP takes its parameters as ready twice.
    """
    hint = "Hint: gradient_checkpointing: false, or give the model a method gradient_checkpointing_enable()."
    names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")  # transformers from 5.24 on, and before
    enable = next((found for name in names if (found := getattr(model, name, None)) is not None), None)
    if enable is None:
        raise ConfigError(f"gradient_checkpointing: {type(model).__name__} cannot do that. {hint}")
    options = [name for name in inspect.signature(enable).parameters if name.endswith("_checkpointing_kwargs")]
    try:
        enable(**{name: {"use_reentrant": False} for name in options})
    except ValueError as refusal:  # how transformers says that an architecture does not support it
        raise ConfigError(f"gradient_checkpointing: {refusal} {hint}") from refusal
