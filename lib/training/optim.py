"""Optimizers, their parameter groups and learning-rate schedules by name. Not here: the loop that calls them (trainer.py).

Everything counts optimizer steps. t is the number of steps done, so step t+1 is taken with the learning rate of t.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lib.config.base import ConfigError, nearest
from lib.config.train_optim import OptimizerSettings, ScheduleSettings
from lib.files import DataError

NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._NormBase,  # batch and instance norms, of any dimension, synchronised ones too
)
OPTIMIZERS = ("adamw", "adam", "sgd", "adamw8bit")
SCHEDULES = ("constant", "cosine", "step", "plateau")


# -- optimizers -----------------------------------------------------------------------------------------------------------


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """The optimizer over the trainable parameters of a model, in the groups of `parameter_groups`.

    Raises ConfigError when nothing is trainable, for an unknown name, and for adamw8bit where bitsandbytes is missing.
    """
    if settings.name not in OPTIMIZERS:  # settings that passed no validation
        raise ConfigError(f"optimizer.name: unknown optimizer {settings.name!r}. {nearest(settings.name, OPTIMIZERS)}")
    groups = parameter_groups(model, settings.weight_decay)
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov)
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    kind: Any = kinds.get(settings.name) or _adamw_in_8_bits()
    return kind(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)


def _adamw_in_8_bits() -> Any:
    """bitsandbytes' AdamW (Dettmers et al. 2022, arXiv:2110.02861): state in 8 bits, small tensors (below 4,096) in 32."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "optimizer.name: adamw8bit needs the package bitsandbytes, which is not installed. Hint: `pip install "
            "bitsandbytes` into this environment (it is not part of the lock), or optimizer.name: adamw."
        )
    try:
        from bitsandbytes.optim import AdamW8bit
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"optimizer.name: adamw8bit: bitsandbytes is installed but does not start ({error}). Hint: a version for this "
            "torch and CUDA (`python -m bitsandbytes` tells), or optimizer.name: adamw."
        ) from error
    return AdamW8bit


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in two groups: those that weight decay pulls to zero, and the others; no empty one.

    Without weight decay: parameters of norms (torch's, and modules whose class name ends in “Norm”), all parameters with
    fewer than two dimensions (biases, scales, temperatures), and those that a module names in `no_weight_decay()`, a method
    that gives names below that module, such as {"token.weight"} or {"token"} for all below `token` (timm's convention).
    Embeddings are pulled like any matrix unless they are named so. A tied parameter is there once, without decay if any of
    its places says so; frozen parameters are in no group. Raises ConfigError when nothing is trainable.
    """
    excepted = {id(parameter) for parameter in _without_decay(model)}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]  # tied ones once
    if not trainable:
        raise ConfigError(
            f"{type(model).__name__}: none of its {sum(1 for _ in model.parameters())} parameters is trainable. Hint: "
            "is everything frozen?"
        )
    pulled = [one for one in trainable if id(one) not in excepted]
    others = [one for one in trainable if id(one) in excepted]
    groups = [{"params": pulled, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _without_decay(model: nn.Module) -> Iterator[nn.Parameter]:
    for module in model.modules():
        norm = isinstance(module, NORMS) or type(module).__name__.endswith("Norm")
        yield from (one for one in module.parameters(recurse=False) if norm or one.ndim < 2)
        named = getattr(module, "no_weight_decay", None)
        if callable(named):
            yield from _named(module, set(named()))


def _named(module: nn.Module, names: set[str]) -> Iterator[nn.Parameter]:
    """Parameters of a module by their names or by those of modules that hold them; a name without any is a mistake."""
    known = dict(module.named_parameters(remove_duplicate=False))
    for name in sorted(names):
        found = [one for place, one in known.items() if place == name or place.startswith(f"{name}.")]
        if not found:
            raise ConfigError(f"{type(module).__name__}.no_weight_decay names {name!r}. {nearest(name, known)}")
        yield from found


# -- schedules ------------------------------------------------------------------------------------------------------------


def make_schedule(optimizer: Optimizer, settings: ScheduleSettings, *, total_steps: int, steps_per_epoch: int) -> Schedule:
    """The schedule of a training of so many optimizer steps; the learning rate of step 1 is set at once.

    ConfigError when the warm-up is not shorter than the training, or for an unknown name.
    """
    if settings.name not in SCHEDULES:
        raise ConfigError(f"schedule.name: unknown schedule {settings.name!r}. {nearest(settings.name, SCHEDULES)}")
    if total_steps < 1 or steps_per_epoch < 1:
        raise ConfigError(
            f"a training of {total_steps} steps, {steps_per_epoch} an epoch. Hint: is the training data empty?"
        )
    warmup = _in_steps(settings, "warmup", steps_per_epoch) or round((settings.warmup_ratio or 0.0) * total_steps)
    if warmup >= total_steps:
        raise ConfigError(
            f"schedule: a warm-up of {warmup} steps must be shorter than the {total_steps} steps of the training "
            f"({steps_per_epoch} an epoch). Hint: fewer warm-up steps, or a larger budget."
        )
    drop_every = max(1, _in_steps(settings, "drop_every", steps_per_epoch)) if settings.name == "step" else 0
    return Schedule(optimizer, settings, total_steps=total_steps, warmup=warmup, drop_every=drop_every)


def _in_steps(settings: ScheduleSettings, what: str, steps_per_epoch: int) -> int:
    steps, epochs = getattr(settings, f"{what}_steps"), getattr(settings, f"{what}_epochs")
    return steps if steps is not None else round((epochs or 0.0) * steps_per_epoch)


class Schedule:
    """The learning rate after t optimizer steps: lr · f(t), with W steps of warm-up and T in all, for every group.

    While t < W:  f = (t + 1) / W · s. The first step is taken with lr / W, not with 0 (Goyal et al. 2017, arXiv:1706.02677,
    section 2.2, whose ramp starts above 0 as well). From t = W on, with u = t - W, U = T - W and the floor m:

    constant  f = 1
    cosine    f = m + (1 - m) · (1 + cos(π · min(u / U, 1))) / 2      (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5
              without restarts; torch's CosineAnnealingLR with eta_min = m · lr)
    step      f = max(m, drop_factor ** (u // drop_every))            (torch's StepLR, with a floor)
    plateau   f = s, where s starts at 1 and becomes max(m, s · drop_factor) at a drop     (torch's ReduceLROnPlateau with
              threshold_mode "rel" and min_lr = m · lr; its eps, which ignores drops below 1e-8, is not taken over)

    s is 1 but for plateau. `observe` counts an evaluation that does not improve on the best score by the share `threshold`;
    more than `patience` of them in a row, cooldown aside, make a drop. While the warm-up lasts, scores may become the best
    but are not counted, as the learning rate itself still rises. A score that is no number is no improvement.
    """

    def __init__(
        self, optimizer: Optimizer, settings: ScheduleSettings, *, total_steps: int, warmup: int, drop_every: int = 0
    ) -> None:
        self._optimizer = optimizer
        self._settings = settings
        self.total_steps, self.warmup, self.drop_every = total_steps, warmup, drop_every
        self.steps = 0
        self._base = [float(group["lr"]) for group in optimizer.param_groups]
        self._scale, self._bad, self._cooling = 1.0, 0, 0
        self._best = math.inf if settings.mode == "min" else -math.inf
        self._apply()

    @property
    def lr(self) -> float:
        """Learning rate of the first group, that of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def factor(self, steps: int) -> float:
        """f(t) of this class's formula, for t = steps (a plateau's as things stand)."""
        if steps < self.warmup:
            return (steps + 1) / self.warmup * self._scale
        since, floor = steps - self.warmup, self._settings.floor
        if self._settings.name == "cosine":
            done = min(since / (self.total_steps - self.warmup), 1.0)
            return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
        if self._settings.name == "step":
            return max(floor, self._settings.drop_factor ** (since // self.drop_every))
        return self._scale

    def step(self) -> None:
        """Count one optimizer step; to be called after each one that was really taken."""
        self.steps += 1
        self._apply()

    def observe(self, score: float) -> None:
        """Tell the score of an evaluation; it matters to a plateau only."""
        if self._settings.name != "plateau":
            return
        better = self._improves(float(score))
        if better:
            self._best = float(score)
        if self.steps < self.warmup:
            return
        self._bad = 0 if better else self._bad + 1
        if self._cooling > 0:
            self._cooling, self._bad = self._cooling - 1, 0
        if self._bad > self._settings.patience:
            self._scale = max(self._settings.floor, self._scale * self._settings.drop_factor)
            self._bad, self._cooling = 0, self._settings.cooldown
            self._apply()

    def _improves(self, score: float) -> bool:
        share = self._settings.threshold
        return score < self._best * (1 - share) if self._settings.mode == "min" else score > self._best * (1 + share)

    def _apply(self) -> None:
        factor = self.factor(self.steps)
        for base, group in zip(self._base, self._optimizer.param_groups, strict=True):
            if isinstance(group["lr"], torch.Tensor):  # a capturable optimizer keeps it on the device
                group["lr"].fill_(base * factor)
            else:
                group["lr"] = base * factor

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next learning rates depend on: numbers and texts only."""
        return {**self._form(), "steps": self.steps, "base": list(self._base), **self._plateau()}

    def _form(self) -> dict[str, Any]:
        return {
            "name": self._settings.name,
            "total_steps": self.total_steps,
            "warmup": self.warmup,
            "drop_every": self.drop_every,
            "floor": self._settings.floor,
        }

    def _plateau(self) -> dict[str, Any]:
        return {"scale": self._scale, "bad": self._bad, "cooling": self._cooling, "best": self._best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken, learning rates of the optimizer included.

        ConfigError when the schedule has another form now: with another number of steps in all, the rest of the curve would
        fit neither the old training nor the new one.
        """
        form = self._form()
        for key, now in form.items():
            if state.get(key) != now:
                raise ConfigError(
                    f"schedule: {key} is {now} now and was {state.get(key)} when the training was stopped; its learning "
                    "rate would jump. Hint: the same settings and data go on; for others, start afresh (another variant)."
                )
        if len(state["base"]) != len(self._base):
            raise DataError(f"schedule: {len(self._base)} parameter groups now, {len(state['base'])} in the saved state.")
        self.steps, self._base = int(state["steps"]), [float(base) for base in state["base"]]
        self._scale, self._best = float(state["scale"]), float(state["best"])
        self._bad, self._cooling = int(state["bad"]), int(state["cooling"])
        self._apply()
