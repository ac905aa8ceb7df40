"""What our own training loop is told: budget, batches, precision, averages, stopping.

Not here: optimizer and learning rate (train_optim.py), devices, workers and logs, which change no result (running.py), the
loop that obeys (lib/training/trainer.py), YOLO's settings (train.py). Nothing here imports torch.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lib.config.base import Section
from lib.config.train_base import Training
from lib.config.train_optim import Mode, OptimizerSettings, ScheduleSettings


class LoopBudget(Section):
    """How long is trained, in epochs or in optimizer steps, and how often val is scored."""

    epochs: int | None = Field(None, ge=1, description="Passes over the training samples; higher costs time.")
    steps: int | None = Field(
        None, ge=1, description="Optimizer steps in all, the same for arms of any size; instead of epochs."
    )
    evaluate_every_epochs: int | None = Field(
        None, ge=1, description="Epochs between evaluations on val; 1 where neither is stated. The end is always evaluated."
    )
    evaluate_every_steps: int | None = Field(
        None, ge=1, description="Optimizer steps between evaluations; instead of evaluate_every_epochs. Lower costs time."
    )

    @model_validator(mode="after")
    def _one_form(self) -> LoopBudget:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                "state `epochs` or `steps`, exactly one of them. Hint: steps gives arms of any size equal work."
            )
        if self.evaluate_every_epochs is not None and self.evaluate_every_steps is not None:
            raise ValueError("state evaluate_every_epochs or evaluate_every_steps, not both. Hint: set one to null.")
        for unit in ("epochs", "steps"):
            whole, every = getattr(self, unit), getattr(self, f"evaluate_every_{unit}")
            if whole is not None and every is not None and every > whole:
                raise ValueError(
                    f"evaluate_every_{unit} {every} exceeds the budget of {whole} {unit}. Hint: {whole} or less."
                )
        return self

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole training, for so many optimizer steps per epoch."""
        return self.steps if self.steps is not None else int(self.epochs or 0) * steps_per_epoch

    def evaluation_interval(self, steps_per_epoch: int) -> int:
        """Optimizer steps from one evaluation to the next."""
        return self.evaluate_every_steps or (self.evaluate_every_epochs or 1) * steps_per_epoch

    @property
    def evaluations(self) -> int | None:
        """Number of evaluations where budget and interval are in the same unit, else None (it depends on the data)."""
        if self.steps is not None:
            return math.ceil(self.steps / self.evaluate_every_steps) if self.evaluate_every_steps else None
        return None if self.evaluate_every_steps else math.ceil((self.epochs or 1) / (self.evaluate_every_epochs or 1))

    @property
    def amount(self) -> int:
        """How much is trained, in `unit`."""
        return self.steps or self.epochs or 0

    @property
    def unit(self) -> str:
        return "steps" if self.steps else "epochs"

    def part(self, share: float) -> LoopBudget:
        """A share of it, 0 < share ≤ 1, in the same unit; evaluated as often as before, and at the end."""
        amount = max(1, round(self.amount * share))
        stated = {key: value for key, value in self.model_dump().items() if value is not None} | {self.unit: amount}
        every = f"evaluate_every_{self.unit}"
        return LoopBudget.model_validate(stated | ({every: min(stated[every], amount)} if every in stated else {}))


class EmaSettings(Section):
    """An exponential moving average of the weights, kept in fp32; it is what is scored, kept as best and delivered."""

    decay: float = Field(
        0.999,
        gt=0,
        lt=1,
        description="Share of the average kept at each step; higher averages over more, about 1/(1-decay) steps.",
    )
    warmup: int = Field(
        10,
        ge=0,
        description="w in min(decay, (1+n)/(w+n)), n = steps so far: the average follows fast at first; higher for longer, "
        "0 = full decay at once.",
    )


class StoppingSettings(Section):
    """Early stopping: end when the metric has not improved for a while."""

    metric: str = Field("val/loss", min_length=1, description="The logged value that is watched.")
    mode: Mode = Field("min", description="Whether a lower (min) or a higher (max) value is better.")
    patience: int = Field(
        5, ge=1, description="Evaluations without improvement after which training ends; higher waits longer."
    )
    min_delta: float = Field(
        0.0, ge=0, description="Smallest change that counts as an improvement, in the metric's unit; higher stops sooner."
    )


class LoopSettings(Training):
    """One training by our own loop, whatever the task."""

    budget: LoopBudget = Field(
        default_factory=lambda: LoopBudget(epochs=10), description="How long is trained and how often val is scored."
    )
    batch: int = Field(
        16,
        ge=1,
        description="Samples per forward pass on each device; higher is steadier and costs memory. Where that runs out, "
        "passes are halved and their number doubled.",
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Batches whose gradients are summed for one step; higher acts like a larger batch without its memory. "
        "Samples per step = batch x accumulate x devices x nodes.",
    )
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings, description="What changes the weights.")
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings, description="How the learning rate goes.")
    clip_norm: float | None = Field(
        1.0,
        gt=0,
        description="Longest gradient (norm over all weights); longer ones are shortened. null = never; lower is steadier.",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "bf16",
        description="Arithmetic of the forward pass; weights stay fp32. bf16 suits most; fp16 scales the loss on a GPU.",
    )
    ema: EmaSettings | None = Field(None, description="Average of the weights over the training; null = none.")
    stopping: StoppingSettings | None = Field(None, description="Early stopping; null = use the whole budget.")
    best: dict[str, Mode] = Field(
        default_factory=lambda: {"val/loss": "min"},
        description="Logged values whose best checkpoint is kept, and whether low (min) or high (max) is good; the first "
        "one chooses the delivered weights.",
    )
    nan_skips: int = Field(
        0,
        ge=0,
        description="Steps in a row that may be skipped because loss or gradient is no finite number; one more and the "
        "training has diverged. Higher bears rare bad batches.",
    )
    compile: bool = Field(
        False,
        description="true = torch.compile: minutes at the start and when a batch of another size comes first, then faster "
        "steps. Evaluations run without it.",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="true = activations are calculated again in the backward pass: the same gradients with less memory, "
        "about a third slower.",
    )
    devices: int = Field(1, ge=1, description="Processes on each node, one per device; higher is faster, same samples.")
    nodes: int = Field(1, ge=1, description="Machines that train together.")

    @field_validator("accumulate", mode="before")
    @classmethod
    def _at_least_one_batch(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and value < 1:
            raise ValueError("a step needs at least one batch. Hint: 1 = no accumulation.")
        return value

    @field_validator("best")
    @classmethod
    def _something_is_best(cls, best: dict[str, Mode]) -> dict[str, Mode]:
        if not best or "" in best:
            raise ValueError("name at least one logged value, by which weights are chosen. Hint: {val/loss: min}")
        return best

    @model_validator(mode="after")
    def _one_direction_per_metric(self) -> LoopSettings:
        """A metric is either good when low or when high, wherever it is named."""
        known = dict(self.best)
        for place, metric, mode in self.named_scores():
            if metric.rpartition("/")[2].startswith("loss") and mode == "max":
                raise ValueError(f"{place}: {metric} is good when it is low. Hint: min, or name another score.")
            if known.setdefault(metric, mode) != mode:
                raise ValueError(
                    f"{place}.mode: {metric} is {mode} here and {known[metric]} elsewhere. Hint: make them equal."
                )
        return self

    @model_validator(mode="after")
    def _inside_the_budget(self) -> LoopSettings:
        """What would never come to pass within the budget is refused, where that does not depend on the data."""
        for unit in ("steps", "epochs"):
            whole = getattr(self.budget, unit)
            for key in (f"warmup_{unit}", f"drop_every_{unit}"):
                value = getattr(self.schedule, key)
                if whole is not None and value is not None and value >= whole:
                    raise ValueError(f"schedule.{key} {value:g} must be shorter than the budget of {whole} {unit}.")
        rounds = self.budget.evaluations
        if rounds is None:
            return self
        waits = {"stopping.patience": self.stopping.patience} if self.stopping else {}
        if self.schedule.name == "plateau":
            waits["schedule.patience"] = self.schedule.patience + 1
        for key, patience in waits.items():
            if patience >= rounds:
                raise ValueError(f"{key} has no effect with {rounds} evaluations. Hint: lower it, or evaluate more often.")
        return self

    def named_scores(self) -> list[tuple[str, str, Mode]]:
        """Every (place, score, mode) by which something is decided: the best weights, the end, the learning rate."""
        named = [("best", metric, mode) for metric, mode in self.best.items()]
        if self.stopping:
            named.append(("stopping", self.stopping.metric, self.stopping.mode))
        if self.schedule.name == "plateau":
            named.append(("schedule", str(self.schedule.metric), self.schedule.mode))
        return named

    def val_scores(self) -> dict[str, Mode]:
        """The metrics of `best`: their values at the delivered weights are in model.json."""
        return dict(self.best)

    def shortened(self, share: float) -> dict[str, Any]:
        budget = self.budget.part(share)
        rounds = budget.evaluations
        idle = self.stopping is not None and rounds is not None and self.stopping.patience >= rounds
        return {"budget": budget} | ({"stopping": None} if idle else {})
