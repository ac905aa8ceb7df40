"""What an RF-DETR is trained with, as detector or with masks. Not here: the engine that obeys it (lib/training/rfdetr.py).

Names are the library's where it has one word for one thing; `batch`, `budget`, `imgsz`, `patience` are called as in YOLO's
settings. One iteration is one optimizer step: `batch` x `accumulate` images. One epoch of schedules is one evaluation.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from lib.config.base import ConfigError, Name, added, nearest, refuse_idle
from lib.config.train import Budget, epochs_alone
from lib.config.train_base import Training
from lib.config.train_optim import Mode
from lib.config.train_sampling import Sampling

PML = "PML-1.0"
_log = logging.getLogger(__name__)


class Size(NamedTuple):
    """A model size. config: its class in rfdetr.config; px: its own input size; step: what input sizes are multiples of, px
    (patch x windows); licence: of its code and weights."""

    config: str
    px: int
    step: int
    licence: str = "Apache-2.0"


DETECTORS: dict[str, Size] = {
    "nano": Size("RFDETRNanoConfig", 384, 32),
    "small": Size("RFDETRSmallConfig", 512, 32),
    "medium": Size("RFDETRMediumConfig", 576, 32),
    "base": Size("RFDETRBaseConfig", 560, 56),
    "large": Size("RFDETRLargeConfig", 704, 32),
    "xlarge": Size("RFDETRXLargeConfig", 700, 20, PML),
    "2xlarge": Size("RFDETR2XLargeConfig", 880, 40, PML),
}
SEGMENTERS: dict[str, Size] = {
    "nano": Size("RFDETRSegNanoConfig", 312, 12),
    "small": Size("RFDETRSegSmallConfig", 384, 24),
    "medium": Size("RFDETRSegMediumConfig", 432, 24),
    "large": Size("RFDETRSegLargeConfig", 504, 24),
    "xlarge": Size("RFDETRSegXLargeConfig", 624, 24),
    "2xlarge": Size("RFDETRSeg2XLargeConfig", 768, 24),
}
"""Size of the model → what it is; a test asks the installed library for each."""


class RfdetrSettings(Training):
    """One RF-DETR training: model, budget, optimizer, schedule, average of the weights, augmentation."""

    shorthands: ClassVar[tuple[str, ...]] = ("epochs",)
    budget_keys: ClassVar[tuple[str, ...]] = ("budget", "epochs")
    sizes: ClassVar[Mapping[str, Size]] = DETECTORS
    family: ClassVar[str] = "rfdetr"

    engine: Literal["rfdetr"] = Field("rfdetr", description="Which engine trains: rfdetr = RF-DETR.")
    model: str = Field(
        "nano",
        description="Size: nano, small, medium, large, base (its first model, which asks a model hub when it is built), "
        "xlarge, 2xlarge (detection: see accept_licences).",
    )
    accept_licences: list[str] = Field(
        default_factory=list,
        description="Licences that you accept. The detectors xlarge and 2xlarge are under PML-1.0 and need rfdetr_plus "
        "beside the lock; every other size is Apache-2.0.",
    )
    weights: Name | None = Field(
        None, description="Entry of `weights:` (a .pth) to start from; null = from scratch with the seed's weights."
    )
    imgsz: int = Field(
        0,
        ge=0,
        le=4096,
        description="Side of the square input, px; 0 = the model's own. What is no multiple of its patch x windows becomes "
        "the nearest one, with a warning. Higher sees smaller objects.",
    )
    num_queries: int | None = Field(
        None, ge=1, le=3000, description="Most objects that are found in an image; null = the model's own (100 to 300)."
    )
    group_detr: int = Field(
        13, ge=1, le=100, description="Groups of queries that learn side by side; higher learns faster and costs memory."
    )
    freeze_encoder: bool = Field(False, description="true = the backbone is not trained; useful with `weights`.")
    gradient_checkpointing: bool = Field(
        False, description="true = activations are calculated again in the backward pass: less memory, slower."
    )
    batch: int = Field(4, ge=1, description="Images per forward pass; higher is steadier and costs memory.")
    accumulate: int = Field(
        4,
        ge=1,
        description="Batches whose gradients make one step. Not quite one larger batch: the loss of each is divided by "
        "its own number of boxes.",
    )
    budget: Budget = Field(
        default_factory=lambda: Budget(epochs=50),
        description="{iterations, evaluations} (the same for all arms) or {epochs}; `epochs: N` in place of `budget` is "
        "short for {epochs: N}.",
    )
    sampling: Sampling | None = added(
        None, "{kind, threshold}: images with rare classes come more often; null = every image as often as any other."
    )
    lr: float = Field(1e-4, gt=0, le=1, description="Highest learning rate of all but the backbone.")
    lr_encoder: float = Field(1.5e-4, gt=0, le=1, description="Highest learning rate of the backbone's last layer.")
    lr_vit_layer_decay: float = Field(
        0.8, gt=0, le=1, description="Learning rate of a backbone layer as a share of the next one's; 1 = all alike."
    )
    lr_component_decay: float = Field(
        0.7, gt=0, le=1, description="Learning rate of decoder and (squared) backbone as a share; 1 = as lr and lr_encoder."
    )
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Pull of the weights towards zero (AdamW).")
    clip_max_norm: float = Field(0.1, ge=0, description="Longest gradient; longer ones are shortened, 0 = never.")
    warmup_epochs: float = Field(
        0.0, ge=0, description="Epochs over which the learning rate rises from 0 (of an iterations budget: evaluations)."
    )
    lr_scheduler: Literal["step", "cosine"] = Field(
        "step", description="step = a tenth from lr_drop on; cosine = falls along half a cosine to lr_min_factor."
    )
    lr_drop: int | None = Field(
        None, ge=1, description="step: epochs (evaluations) after which the learning rate drops; null = it stays."
    )
    lr_min_factor: float = Field(0.0, ge=0, lt=1, description="cosine: last learning rate as a share of the highest.")
    ema: bool = Field(True, description="true = an average of the weights is scored, kept as best and delivered.")
    ema_decay: float = Field(0.993, gt=0, lt=1, description="Share of the average kept at each step; higher is slower.")
    ema_tau: int = Field(100, ge=0, description="Steps over which the average begins to be slow; 0 = at once.")
    patience: int | None = Field(
        None, ge=1, description="Stop after this many evaluations without a better score on val; null = the whole budget."
    )
    min_delta: float = Field(0.001, ge=0, lt=1, description="With patience: the least gain that counts as better.")
    best_metric: Literal["AP", "AR"] = Field(
        "AP", description="Score on val (masks: AP of masks) by which weights are kept and training is stopped."
    )
    checkpoint_interval: int | None = Field(
        None, ge=1, description="Keep weights of every so many evaluations in `checkpoints/`; null = only the best."
    )
    amp: bool = Field(True, description="true = bfloat16 arithmetic on a GPU; a CPU always calculates in float32.")
    multi_scale: Literal["off", "per-batch", "per-sample"] = Field(
        "per-batch", description="Input size drawn around imgsz for every batch or image; off = always imgsz."
    )
    expanded_scales: bool = Field(True, description="With multi_scale: true = a wider range of sizes.")
    scale_jitter: bool = Field(True, description="true = half of the images are random crops, scaled.")
    fliplr: bool = Field(True, description="true = half of the images are mirrored left to right.")

    @model_validator(mode="before")
    @classmethod
    def _epochs_alone(cls, data: Any) -> Any:
        return epochs_alone(data)

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: str) -> str:
        if model not in cls.sizes:
            raise ValueError(f"unknown size {model!r}. {nearest(model, cls.sizes)}")
        return model

    @model_validator(mode="after")
    def _licence_accepted(self) -> RfdetrSettings:
        needed = self.sizes[self.model].licence
        if needed == PML and PML not in self.accept_licences:
            raise ValueError(
                f"model {self.model}: its code and weights (rfdetr_plus) are under the licence {PML}, not Apache-2.0. "
                f"Hint: read it, then state accept_licences: [{PML}]; or take large."
            )
        strange = [one for one in self.accept_licences if one != PML]
        if strange:
            raise ValueError(f"accept_licences: {strange[0]!r} is asked for by no size. {nearest(strange[0], [PML])}")
        return self

    @model_validator(mode="after")
    def _possible(self) -> RfdetrSettings:
        images = self.batch * self.accumulate
        if images > _MOST_IMAGES:
            raise ValueError(
                f"batch {self.batch} x accumulate {self.accumulate} = {images} images per step, at most {_MOST_IMAGES}. "
                "Hint: an epoch would be a step or two; lower one of both."
            )
        least = 2 * self.sizes[self.model].step
        if 0 < self.imgsz < least:
            raise ValueError(f"imgsz {self.imgsz}: model {self.model} needs {least} px at least. Hint: imgsz: {least}")
        rounds = self.budget.rounds
        for key in ("warmup_epochs", "lr_drop", "patience"):
            value = getattr(self, key)
            if value is not None and value >= rounds:
                raise ValueError(
                    f"{key} {value:g} has no effect with {rounds} evaluations (epochs): it must be shorter. Hint: lower it."
                )
        if self.checkpoint_interval is not None and self.checkpoint_interval > rounds:
            raise ValueError(
                f"checkpoint_interval {self.checkpoint_interval} exceeds the {rounds} evaluations of the budget"
            )
        return self

    @model_validator(mode="after")
    def _no_idle_knobs(self) -> RfdetrSettings:
        if self.lr_scheduler != "step":
            refuse_idle(self, "lr_drop", needs="lr_scheduler: step")
        else:
            refuse_idle(self, "lr_min_factor", needs="lr_scheduler: cosine")
        if not self.ema:
            refuse_idle(self, "ema_decay", "ema_tau", needs="ema: true")
        if self.patience is None:
            refuse_idle(self, "min_delta", needs="patience")
        if self.multi_scale == "off":
            refuse_idle(self, "expanded_scales", needs="multi_scale: per-batch | per-sample")
        if self.freeze_encoder:
            refuse_idle(self, "lr_encoder", "lr_vit_layer_decay", needs="freeze_encoder: false")
        return self

    @property
    def title(self) -> str:
        return f"{self.family}-{self.model}"

    def resolved(self) -> RfdetrSettings:
        """With the input size that is used: the model's own where none is stated, else the nearest that it takes."""
        size = self.sizes[self.model]
        return self.model_copy(update={"imgsz": _fitted(self.imgsz, self.model, size) if self.imgsz else size.px})

    def of_size(self, size: str) -> Self:
        """As above; an input size that is the model's own becomes the other one's own."""
        if size not in self.sizes:
            raise ConfigError(f"--model-size {size}: unknown. {nearest(size, self.sizes)}")
        own = self.imgsz in (0, self.sizes[self.model].px)
        values = self.model_dump(mode="json", exclude_unset=True) | {"model": size}
        return type(self).model_validate(values | {"imgsz": 0 if own else self.imgsz}).resolved()

    def val_scores(self) -> dict[str, Mode]:
        """What RF-DETR scores on val, the score that chooses the weights first."""
        rest = ("AP", "AP50", "AP75", "AR", "F1", "precision", "recall")
        return dict.fromkeys((self.best_metric, *rest), "max")

    def shortened(self, share: float) -> dict[str, Any]:
        """A shorter training of the same shape: drop and warm-up stay at their share of it."""
        budget = self.budget.part(share)
        rounds, part = budget.rounds, budget.rounds / self.budget.rounds
        changes: dict[str, Any] = {"budget": budget}
        if self.lr_drop is not None:
            drop = max(1, round(self.lr_drop * part))
            changes["lr_drop"] = drop if drop < rounds else None
        if self.warmup_epochs:
            changes["warmup_epochs"] = self.warmup_epochs * part
        if self.patience is not None and self.patience >= rounds:
            changes |= {"patience": None, "min_delta": type(self).model_fields["min_delta"].default}
        if self.checkpoint_interval is not None and self.checkpoint_interval > rounds:
            changes["checkpoint_interval"] = None
        return changes


class RfdetrSegSettings(RfdetrSettings):
    """One training of an RF-DETR with masks: what a detector is trained with, and how its masks learn."""

    sizes: ClassVar[Mapping[str, Size]] = SEGMENTERS
    family: ClassVar[str] = "rfdetr-seg"

    mask_ce_loss_coef: float = Field(5.0, ge=0, description="Weight of the masks' loss per point.")
    mask_dice_loss_coef: float = Field(5.0, ge=0, description="Weight of the masks' loss by overlap.")
    mask_point_sample_ratio: int = Field(
        16, ge=1, description="One in so many pixels of a mask is looked at while training; higher is faster and coarser."
    )

    def val_scores(self) -> dict[str, Mode]:
        """As of a detector, of masks; those of the boxes are called box_AP …"""
        found = {name: mode for name, mode in super().val_scores().items() if name != "AP75"}
        return found | dict.fromkeys(("box_AP", "box_AP50", "box_AP75"), "max")


_MOST_IMAGES = 65_536


def _fitted(px: int, model: str, size: Size) -> int:
    """The nearest input size that the model takes (of two as near, the lower one); a warning where it is another one."""
    fitted = (2 * px + size.step - 1) // (2 * size.step) * size.step
    if fitted != px:
        _tell(model, px, fitted, size.step)
    return fitted


@cache
def _tell(model: str, px: int, fitted: int, step: int) -> None:
    """Said once, however often settings are read."""
    _log.warning("training.imgsz: %d is no multiple of %d, which model %s takes: %d is used", px, step, model, fitted)
