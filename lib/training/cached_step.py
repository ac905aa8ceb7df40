"""An optimizer step for losses that compare samples with each other, over more samples than fit at once.

Plain accumulation compares samples within a micro-batch only, so a window of W gives not the gradients of the joint batch.
Here every micro-batch runs twice: once without gradients, for its features; once more with them, after the loss on the
features of the whole window, and of all ranks, has said how each feature should change.
Source: GradCache (Gao et al. 2021, arXiv 2101.06983, section 3.2; `accum_freq` of open_clip is the same idea).

The price is one more forward pass. Both must see the same random numbers (dropout), which the first step checks. What a
model computes across samples itself (batch norm) stays that of a micro-batch. Not here: any loss (lib/models), what a step
is made of (trainer.py).

Letters: W micro-batches of a window, b samples of one, R ranks, N samples of all windows of all ranks, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lib.config.base import ConfigError
from lib.training.callbacks import Step
from lib.training.contracts import LossSums
from lib.training.randomness import numbers_from, same_numbers
from lib.training.ranks import rows_of_all_ranks
from lib.training.trainer import Trainer

Features = dict[str, Tensor]
"""Per name (b, …), one row per sample; or a number of the model's own, without dimensions, such as a temperature."""

_ALIKE = 0.01


def model_outputs(trainer: Trainer, batch: Any) -> Features:
    """Features as the model gives them: its outputs, a mapping of tensors."""
    return trainer.outputs(trainer.model, batch)


def cached_step(
    loss: Callable[[Features], LossSums], encode: Callable[[Trainer, Any], Features] = model_outputs
) -> Callable[[Trainer, Sequence[Any]], Step]:
    """How Trainer (`step`) makes its optimizer steps.

    loss: features of N samples → sums and the number of targets, such as both directions of a contrastive loss; every rank
    calculates the whole of it. It must depend on nothing but its argument: what has to be known of samples beside their
    features (ids of equal captions) is among them, and so is a learned temperature. encode: (trainer, batch) → features;
    every trained parameter must play a part in them, through `trainer.model`.

    ConfigError at the first step: features that are no mapping of tensors, or that differ between the two passes.
    """
    compared = False

    def step(trainer: Trainer, window: Sequence[Any]) -> Step:
        """One optimizer step over a window of W micro-batches on each of R ranks, from top to bottom."""
        nonlocal compared
        trainer.optimizer.zero_grad()
        begins, cached = [], []
        with torch.no_grad(), trainer.gradients_stay_local(True):
            for batch in window:
                begins.append(numbers_from(trainer.fabric.device))
                cached.append(_checked(encode(trainer, batch)))
        sums, own_targets, changes = _loss_of_all(trainer, cached, loss)
        for place, batch in enumerate(window):
            with trainer.gradients_stay_local(place + 1 < len(window)):  # ranks exchange gradients once, with the last one
                with same_numbers(begins[place], trainer.fabric.device):
                    features = encode(trainer, batch)
                if not compared:
                    _refuse_others(cached[place], features)
                trainer.fabric.backward(_surrogate(features, changes[place]))
        compared = True
        share = 1 / trainer.fabric.world_size  # every rank has calculated the whole loss
        reached = trainer.mean_gradients(sums["loss"] * share, own_targets * share, window)
        trainer.update(reached.finite)
        return trainer.made(reached, sums, window)

    return step


def _loss_of_all(
    trainer: Trainer, cached: Sequence[Features], loss: Callable[[Features], LossSums]
) -> tuple[dict[str, Tensor], float | Tensor, list[Features]]:
    """The loss on the features of all ranks, its targets, and its gradients by the features of each own micro-batch.

    A number of the model's own (no dimensions) is in all micro-batches of all ranks: each gets 1 / (W R) of its gradient.
    """
    own: Features = {}
    for name, first in cached[0].items():
        value = torch.cat([one[name] for one in cached]) if first.dim() else first
        own[name] = value.detach().requires_grad_(value.is_floating_point())
    sizes = {name: [len(one[name]) for one in cached] for name, first in cached[0].items() if first.dim()}
    with torch.enable_grad():
        joint = {name: rows_of_all_ranks(trainer.fabric, one) if one.dim() else one for name, one in own.items()}
        sums, targets = loss(joint)
    wanted = [name for name, one in own.items() if one.requires_grad]
    found = torch.autograd.grad(sums["loss"], [own[name] for name in wanted], allow_unused=True, materialize_grads=True)
    changes: list[Features] = [{} for _ in cached]
    for name, gradient in zip(wanted, found, strict=True):
        if name in sizes:
            pieces = list(gradient.split(sizes[name]))
        else:
            pieces = [gradient / (len(cached) * trainer.fabric.world_size)] * len(cached)
        for change, piece in zip(changes, pieces, strict=True):
            change[name] = piece
    return {name: value.detach() for name, value in sums.items()}, targets, changes


def _surrogate(features: Features, change: Features) -> Tensor:
    """A sum whose gradient by every feature is what the loss on all features wants: Σ f · ∂L/∂f."""
    return torch.stack([(features[name] * wanted).sum() for name, wanted in change.items()]).sum()


def _checked(features: Any) -> Features:
    """Features; ConfigError where they are no mapping of tensors, or none could learn."""
    if not isinstance(features, Mapping) or not all(isinstance(one, Tensor) for one in features.values()):
        kind = type(features).__name__
        raise ConfigError(f"cached_step: features must be a mapping of tensors, got {kind}. Hint: encode=…, see there.")
    if not any(one.is_floating_point() for one in features.values()):
        raise ConfigError(f"cached_step: features {', '.join(features) or 'none'}: none is of floating point.")
    return dict(features)


def _refuse_others(first: Features, second: Features) -> None:
    """ConfigError where the second pass saw other random numbers than the first, so that its gradients would be wrong."""
    for name, one in first.items():
        apart = (second[name].detach() - one).double().norm() if one.is_floating_point() else torch.zeros(())
        if apart > _ALIKE * one.double().norm():
            raise ConfigError(
                f"cached_step: {name} differs between the two passes over the same batch (by {float(apart):.3g}). Hint: "
                "random numbers must come from torch, numpy or random; a generator of the model's own, or a state that "
                "each pass changes, gives others. With compile: true dropout may be such: compile: false."
            )
