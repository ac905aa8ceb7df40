"""How weights are changed step by step: optimizer and learning rate of our training loop. Not here: what runs them
(lib/training/optim.py), and how long and with what is trained (train_loop.py).

One step is one optimizer step, whatever number of batches is accumulated for it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lib.config.base import Section, refuse_idle

Beta = Annotated[float, Field(ge=0, lt=1)]
Mode = Literal["min", "max"]
ADAMS = ("adamw", "adam", "adamw8bit")


class OptimizerSettings(Section):
    """One optimizer of torch, or AdamW with its state in 8 bits. A knob without effect for the chosen one is refused."""

    name: Literal["adamw", "adam", "sgd", "adamw8bit"] = Field(
        "adamw",
        description="adamw, adam, sgd = torch's; adamw8bit = bitsandbytes' AdamW (has to be installed beside the lock): "
        "about a quarter of the memory for the optimizer's state, slightly noisier steps.",
    )
    lr: float = Field(
        1e-3,
        gt=0,
        le=10,
        description="Highest learning rate, reached after the warm-up; higher learns faster until it breaks.",
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Pull of the weights towards zero (norms, biases and what a model excepts are left alone); higher "
        "overfits less. With adam and sgd it is added to the gradient, with adamw taken off the weights (times lr).",
    )
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.999),
        description="Only the adam family: memory of the mean gradient and of its square, each from 0 to below 1; higher "
        "averages over more steps.",
    )
    eps: float = Field(
        1e-8,
        gt=0,
        le=1,
        description="Only the adam family: keeps the division finite; higher damps steps of small gradients.",
    )
    momentum: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Only sgd: share of the last direction that is kept; higher is smoother and slower to turn.",
    )
    nesterov: bool = Field(False, description="Only sgd with momentum: true = Nesterov's look-ahead.")

    @model_validator(mode="after")
    def _no_idle_knobs(self) -> OptimizerSettings:
        if self.name in ADAMS:
            refuse_idle(self, "momentum", "nesterov", needs="name: sgd")
            return self
        refuse_idle(self, "betas", "eps", needs=f"name: {' | '.join(ADAMS)}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0. Hint: momentum: 0.9, or nesterov: false.")
        return self


class ScheduleSettings(Section):
    """How the learning rate goes: up along a line (warm-up), then as `name` says, by steps. Idle knobs are refused."""

    name: Literal["constant", "cosine", "step", "plateau"] = Field(
        "cosine",
        description="constant = stays at lr; cosine = falls along half a cosine to the floor at the end of the budget; "
        "step = times drop_factor every so often; plateau = times drop_factor when the metric stops to improve.",
    )
    floor: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Lowest learning rate as a share of lr (not with constant); higher keeps learning longer.",
    )
    drop_factor: float = Field(
        0.1, gt=0, lt=1, description="step, plateau: the learning rate is multiplied by this at a drop; higher drops less."
    )
    drop_every_steps: int | None = Field(
        None, ge=1, description="step: steps between drops, counted from the end of the warm-up; higher drops less often."
    )
    drop_every_epochs: float | None = Field(
        None, gt=0, description="step: epochs between drops, counted likewise; instead of drop_every_steps."
    )
    metric: str | None = Field(
        None, min_length=1, description="plateau: the logged value that is watched, such as val/loss or val/AP."
    )
    mode: Mode = Field("min", description="plateau: whether a lower (min) or a higher (max) value of the metric is better.")
    patience: int = Field(
        5, ge=0, description="plateau: evaluations without improvement that are borne before a drop; higher drops later."
    )
    threshold: float = Field(
        1e-4,
        ge=0,
        lt=1,
        description="plateau: what counts as an improvement, share of the best value; higher drops sooner.",
    )
    cooldown: int = Field(
        0, ge=0, description="plateau: evaluations after a drop that are not counted; higher leaves more time to settle."
    )
    warmup_steps: int | None = Field(
        None, ge=0, description="Steps over which the learning rate rises along a line; higher is steadier at first."
    )
    warmup_epochs: float | None = Field(None, ge=0, description="The same in epochs; instead of warmup_steps.")
    warmup_ratio: float | None = Field(
        None, ge=0, lt=1, description="The same as a share of all steps of the budget; instead of the other two."
    )

    @model_validator(mode="after")
    def _one_form(self) -> ScheduleSettings:
        stated = [name for name in ("warmup_steps", "warmup_epochs", "warmup_ratio") if getattr(self, name) is not None]
        if len(stated) > 1:
            raise ValueError(f"state one of {', '.join(stated)}: they say the same thing. Hint: set the others to null.")
        drops = [name for name in ("drop_every_steps", "drop_every_epochs") if getattr(self, name) is not None]
        if self.name == "step" and len(drops) != 1:
            raise ValueError("name: step needs drop_every_steps or drop_every_epochs, and only one of them")
        if self.name == "plateau" and self.metric is None:
            raise ValueError("name: plateau needs `metric`, the value that is watched. Hint: metric: val/loss")
        return self

    @model_validator(mode="after")
    def _no_idle_knobs(self) -> ScheduleSettings:
        if self.name == "constant":
            refuse_idle(self, "floor", needs="name: cosine | step | plateau")
        if self.name != "step":
            refuse_idle(self, "drop_every_steps", "drop_every_epochs", needs="name: step")
        if self.name != "plateau":
            refuse_idle(self, "metric", "mode", "patience", "threshold", "cooldown", needs="name: plateau")
        if self.name not in ("step", "plateau"):
            refuse_idle(self, "drop_factor", needs="name: step | plateau")
        return self
