"""The whole state of a training as plain values and tensors, and going on from it. Not here: how it is written
(checkpoint.py), when (trainer.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib.config.base import ConfigError
from lib.training.randomness import random_state, restore_random_state
from lib.training.ranks import from_all_ranks

if TYPE_CHECKING:
    from lib.training.trainer import Trainer


def state_of(trainer: Trainer) -> dict[str, Any]:
    """All that going on needs. Every rank must call it, for each has its own random numbers.

    Taken between optimizer steps, so no gradient is part of it: a window that was interrupted is made again, the same.
    """
    return {
        "model": trainer.module.state_dict(),
        "optimizer": trainer.optimizer.optimizer.state_dict(),
        "schedule": trainer.schedule.state_dict(),
        "scaler": trainer.fabric.strategy.precision.state_dict(),
        "loader": trainer.loader.state_dict(),
        "callbacks": {type(one).__name__: one.state_dict() for one in trainer.callbacks if hasattr(one, "state_dict")},
        "random": from_all_ranks(trainer.fabric, random_state()),
        "step": trainer.step,
        "updates": trainer.updates,
        "evaluated_at": trainer.evaluated_at,
        "halvings": trainer.halving.halvings if trainer.halving is not None else 0,
        "scores": dict(trainer.scores),
        "reason": trainer.reason,
        "ranks": trainer.fabric.world_size,
        "accumulate": trainer.accumulate,
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Go on from a state. ConfigError when it was written with other ranks or micro-batches: its windows were others."""
    for name, here in (("ranks", trainer.fabric.world_size), ("accumulate", trainer.accumulate)):
        if state[name] != here:
            raise ConfigError(
                f"the state was written with {name} {state[name]}, here it is {here}. Hint: set it as it was, or remove "
                "the state to start afresh."
            )
    trainer.module.load_state_dict(state["model"])
    trainer.optimizer.optimizer.load_state_dict(state["optimizer"])
    trainer.schedule.load_state_dict(state["schedule"])
    trainer.fabric.strategy.precision.load_state_dict(state["scaler"])
    trainer.loader.load_state_dict(state["loader"])
    for callback in trainer.callbacks:
        if type(callback).__name__ in state["callbacks"]:
            callback.load_state_dict(state["callbacks"][type(callback).__name__])
    if trainer.halving is not None:
        trainer.halving.halvings = max(trainer.halving.halvings, state["halvings"])  # memory that ran out is no larger now
    trainer.step = trainer.resumed_from = state["step"]
    trainer.updates, trainer.evaluated_at = state["updates"], state["evaluated_at"]
    trainer.scores, trainer.reason = dict(state["scores"]), state["reason"]
    restore_random_state(state["random"][trainer.fabric.global_rank])
