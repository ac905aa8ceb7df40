"""`training:` — what a YOLO detector is trained with. Not here: the engine that obeys it (lib/training/yolo.py), which arm
is trained (variants.py), RF-DETR's settings (train_rfdetr.py).

Every knob reaches ultralytics unchanged; the engine reads them back from the built trainer and refuses to start where one
differs (lib/training/yolo_knobs.py). One iteration is one batch and one optimizer step.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lib.config.base import ConfigError, Name, Section, added, nearest
from lib.config.train_base import Training
from lib.config.train_optim import Mode
from lib.config.train_sampling import Sampling

ENGINES = ("yolo", "rfdetr")
"""What trains detectors; the settings of rfdetr are in train_rfdetr.py."""
INPUT_STEP = 32  # YOLO's input sizes are multiples of its coarsest stride, px

_SIZES: dict[str, str] = {
    "yolov5{}": "nsmlx",
    "yolov5{}-p6": "nsmlx",
    "yolov6{}": "nsmlx",
    "yolov8{}": "nsmlx",
    "yolov8{}-p2": "nsmlx",
    "yolov8{}-p6": "nsmlx",
    "yolov8{}-ghost": "nsmlx",
    "yolov9{}": "tsmce",
    "yolov10{}": "nsmblx",
    "yolo11{}": "nsmlx",
    "yolo12{}": "nsmlx",
    "yolo26{}": "nsmlx",
    "yolo26{}-p2": "nsmlx",
    "yolo26{}-p6": "nsmlx",
}
MODELS = (
    "yolov3",
    "yolov3-tiny",
    "yolov3-spp",
    *(family.format(size) for family, sizes in _SIZES.items() for size in sizes),
)
"""Detection models that ultralytics builds from its own descriptions; a test asks the installed package for each."""


class Budget(Section):
    """How long is trained: exactly one of {iterations, evaluations} and {epochs}.

    Iterations are the fair budget between arms of different sizes: every arm gets as many steps, the same learning rates
    and as many evaluations, whatever the number of its frames. Epochs give a larger arm more steps.
    """

    iterations: int | None = Field(None, ge=1, description="Batches trained in all; higher costs time.")
    evaluations: int | None = Field(
        None, ge=1, description="How many times, evenly spread, val is scored and the state is kept; divides `iterations`."
    )
    epochs: int | None = Field(None, ge=1, description="Passes over the arm's frames, val being scored after each.")

    @model_validator(mode="after")
    def _one_form(self) -> Budget:
        in_steps = (self.iterations is not None, self.evaluations is not None)
        if self.epochs is not None and any(in_steps):
            raise ValueError("state {iterations, evaluations} or {epochs}, not both. Hint: set the others to null.")
        if self.epochs is None and not all(in_steps):
            raise ValueError("state both `iterations` and `evaluations`, or `epochs` alone")
        if self.epochs is None and self.iterations % self.evaluations:
            near = max(1, round(self.iterations / self.evaluations)) * self.evaluations
            raise ValueError(
                f"iterations {self.iterations} cannot be split into {self.evaluations} equal parts. Hint: {near} can."
            )
        return self

    @property
    def rounds(self) -> int:
        """Number of evaluations: what ultralytics counts as epochs."""
        return self.epochs or self.evaluations or 1

    @property
    def amount(self) -> int:
        """How much is trained, in `unit`."""
        return self.iterations or self.epochs or 0

    @property
    def unit(self) -> str:
        return "iterations" if self.iterations else "epochs"

    def part(self, share: float) -> Budget:
        """A share of it, 0 < share ≤ 1, in the same unit; evaluations as far apart as before, one at least."""
        if self.epochs:
            return Budget(epochs=max(1, round(self.epochs * share)))
        evaluations = max(1, math.floor(self.rounds * share + 1e-9))
        each = max(1, round(self.amount * share / evaluations))
        return Budget(iterations=each * evaluations, evaluations=evaluations)


def epochs_alone(data: Any) -> Any:
    """Settings as they were written, with `epochs: N` as what it is short for: `budget: {epochs: N}`."""
    if not isinstance(data, dict) or "epochs" not in data:
        return data
    if data.get("budget") is not None:
        raise ValueError("state `epochs` or `budget`, not both: `epochs: N` is short for `budget: {epochs: N}`")
    return {key: value for key, value in data.items() if key != "epochs"} | {"budget": {"epochs": data["epochs"]}}


class TrainingSettings(Training):
    """One YOLO training: model, budget, optimizer, augmentation and loss."""

    shorthands: ClassVar[tuple[str, ...]] = ("epochs",)
    budget_keys: ClassVar[tuple[str, ...]] = ("budget", "epochs")

    engine: Literal["yolo"] = Field("yolo", description="Which engine trains: yolo = ultralytics.")
    model: str = Field("yolo11n", description="Ultralytics detection model, such as yolo11n, yolov8s or yolo26m.")
    weights: Name | None = Field(
        None, description="Entry of `weights:` (a .pt) to start from; null = from scratch with the seed's weights."
    )
    imgsz: int = Field(
        640,
        ge=INPUT_STEP,
        le=4096,
        description="Side of the square input, px, a multiple of 32; higher sees smaller objects.",
    )
    batch: int = Field(16, ge=1, description="Images per iteration; higher is steadier and costs memory.")
    budget: Budget = Field(
        default_factory=lambda: Budget(epochs=100),
        description="{iterations, evaluations} (the same for all arms) or {epochs}; `epochs: N` in place of `budget` is "
        "short for {epochs: N}.",
    )
    sampling: Sampling | None = added(
        None, "{kind, threshold}: images with rare classes come more often; null = every image as often as any other."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many evaluations without a better AP on val; null = use the whole budget."
    )
    optimizer: Literal["AdamW", "Adam", "NAdam", "RAdam", "Adamax", "RMSprop", "SGD"] = Field(
        "AdamW", description="torch optimizer; never chosen automatically, so that lr0 always counts."
    )
    lr0: float = Field(0.002, gt=0, le=1, description="Highest learning rate, reached after the warm-up.")
    lrf: float = Field(0.01, ge=0, le=1, description="Last learning rate as a share of lr0.")
    cosine: bool = Field(True, description="true = the learning rate falls along a cosine, false = along a line.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD and RMSprop, first beta of the Adam family.")
    weight_decay: float = Field(
        5e-4, ge=0, le=1, description="Pull of the weights towards zero (biases and norms excepted)."
    )
    warmup: int = Field(
        0, ge=0, description="Iterations over which the learning rate rises from 0; higher is steadier at first."
    )
    freeze: int = Field(
        0, ge=0, description="First layers of the model that are not trained; useful with `weights` on little data."
    )
    amp: bool = Field(True, description="true = bfloat16 arithmetic on a GPU; a CPU always calculates in float32.")

    hsv_h: float = Field(0.015, ge=0, le=1, description="Random change of hue, ± share of the colour circle.")
    hsv_s: float = Field(0.4, ge=0, le=1, description="Random change of saturation, ± share.")
    hsv_v: float = Field(0.4, ge=0, le=1, description="Random change of brightness, ± share.")
    degrees: float = Field(0.0, ge=0, le=180, description="Random rotation, ± degrees.")
    translate: float = Field(0.1, ge=0, lt=1, description="Random shift, ± share of the image.")
    scale: float = Field(0.2, ge=0, lt=1, description="Random change of size, ± share.")
    fliplr: float = Field(0.5, ge=0, le=1, description="Probability of mirroring left to right.")
    flipud: float = Field(0.0, ge=0, le=1, description="Probability of mirroring top to bottom.")
    mosaic: float = Field(
        0.0, ge=0, le=1, description="Probability of joining four images into one; it shows objects smaller than they are."
    )
    mixup: float = Field(0.0, ge=0, le=1, description="Probability of blending two images.")
    close_mosaic: int = Field(
        0, ge=0, description="Last evaluations (or epochs) without mosaic and mixup; 0 = keep both on."
    )

    box: float = Field(7.5, gt=0, description="Weight of the box loss.")
    cls: float = Field(0.5, gt=0, description="Weight of the class loss.")
    dfl: float = Field(1.5, gt=0, description="Weight of the box distribution loss.")

    @model_validator(mode="before")
    @classmethod
    def _epochs_alone(cls, data: Any) -> Any:
        return epochs_alone(data)

    @field_validator("engine", mode="before")
    @classmethod
    def _known_engine(cls, engine: Any) -> Any:
        if engine not in ENGINES:
            raise ValueError(f"unknown engine {engine!r}. {nearest(str(engine), ENGINES)}")
        return engine

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: str) -> str:
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}. {nearest(model, MODELS)}")
        return model

    @field_validator("imgsz")
    @classmethod
    def _whole_strides(cls, imgsz: int) -> int:
        if imgsz % INPUT_STEP:
            raise ValueError(f"must be a multiple of {INPUT_STEP}. Hint: {round(imgsz / INPUT_STEP) * INPUT_STEP} is near.")
        return imgsz

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSettings:
        rounds = self.budget.rounds
        if self.budget.iterations is not None and self.warmup >= self.budget.iterations:
            raise ValueError(f"warmup {self.warmup} must be shorter than the budget of {self.budget.iterations} iterations")
        if self.close_mosaic and not (self.mosaic or self.mixup):
            raise ValueError("close_mosaic has no effect without mosaic or mixup. Hint: set it to 0.")
        if self.close_mosaic > rounds:
            raise ValueError(f"close_mosaic {self.close_mosaic} exceeds the {rounds} evaluations of the budget")
        if self.patience is not None and self.patience >= rounds:
            raise ValueError(f"patience {self.patience} has no effect with {rounds} evaluations. Hint: lower it, or null.")
        return self

    def of_size(self, size: str) -> Self:
        """As above; size: its letter within the family, such as s, or a whole name such as yolo11s."""
        family = next((name for name, sizes in _SIZES.items() if self.model in {name.format(one) for one in sizes}), "")
        model = family.format(size) if len(size) == 1 and family else size
        if model not in MODELS:
            raise ConfigError(f"--model-size {size}: model {model} is unknown. {nearest(model, MODELS)}")
        return self.model_copy(update={"model": model})

    def val_scores(self) -> dict[str, Mode]:
        """What ultralytics scores on val; the checkpoint that is kept is the best by AP."""
        return {"AP50": "max", "AP": "max", "precision": "max", "recall": "max"}

    def shortened(self, share: float) -> dict[str, Any]:
        budget = self.budget.part(share)
        idle = self.patience is not None and self.patience >= budget.rounds
        return {"budget": budget} | ({"patience": None} if idle else {})
