"""The settings of a YOLO training in ultralytics' words, and the proof that they arrived. Not here: the training itself
(yolo.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.config.train import TrainingSettings

if TYPE_CHECKING:
    from lib.training.yolo_trainer import Trainer

SAME_NAME = (
    "imgsz", "batch", "optimizer", "lr0", "lrf", "momentum", "weight_decay", "close_mosaic", "hsv_h", "hsv_s", "hsv_v",
    "degrees", "translate", "scale", "fliplr", "flipud", "mosaic", "mixup", "box", "cls", "dfl",
)  # fmt: skip

FIXED: dict[str, Any] = {
    "task": "detect",
    "cls_remap": True,
    "plots": False,
    "save": True,
    "val": True,
    "verbose": False,
    "deterministic": True,
    "augmentations": [],  # else it depends on whether albumentations is installed
    "rect": False,
    "cache": False,
    "multi_scale": 0.0,
    "shear": 0.0,
    "perspective": 0.0,
    "bgr": 0.0,
    "cutmix": 0.0,
    "copy_paste": 0.0,
    "cls_pw": 0.0,
    "warmup_epochs": 0.0,  # the trainer warms up by iterations
    "compile": False,
}


def pieces(settings: TrainingSettings, running: Running) -> int:
    """Into how many parts a batch is cut: halves where cuDNN is off. ConfigError: a batch that has no halves."""
    if running.cudnn or settings.batch == 1:
        return 1
    if settings.batch % 2:
        raise ConfigError(
            f"training.batch: {settings.batch} is odd, and running.cudnn: false trains in halves of it. Hint: an even "
            "batch, or train where cuDNN works."
        )
    return 2


def arguments(settings: TrainingSettings, *, seed: int, device: str, threads: int, pieces: int = 1) -> dict[str, Any]:
    """Ultralytics' arguments for these settings. pieces: of a batch, each a forward and backward pass of its own."""
    values = FIXED | {name: getattr(settings, name) for name in SAME_NAME}
    return values | {
        "epochs": settings.budget.rounds,
        "batch": settings.batch // pieces,
        "nbs": settings.batch // pieces,  # its nominal batch: equal to the real one, so that it accumulates nothing itself
        "cos_lr": settings.cosine,
        "freeze": settings.freeze or None,
        "patience": settings.patience or 0,
        "amp": "bf16" if settings.amp and device != "cpu" else False,  # True would download a model to try it
        "seed": seed,
        "device": device,
        "workers": min(8, threads - 1) if threads > 2 else 0,
        "pretrained": False,
    }


def check(trainer: Trainer, settings: TrainingSettings) -> None:
    """Compare the settings with what the built trainer holds; ConfigError names the first knob that differs."""
    found, wanted = reached(trainer), expected(settings, trainer)
    for knob, value in wanted.items():
        same = abs(found[knob] - value) < 1e-9 if isinstance(value, float) else found[knob] == value
        if not same:
            raise ConfigError(
                f"training.{knob}: set to {value!r}, but ultralytics would train with {found[knob]!r}. "
                f"Hint: leave {knob} at its default, or use the locked version of ultralytics."
            )


def expected(settings: TrainingSettings, trainer: Trainer) -> dict[str, Any]:
    """What `reached` must give for these settings."""
    values = settings.model_dump()
    for name in ("engine", "weights", "budget"):  # the engine runs; a start is checked where it is read; see iterations
        values.pop(name)
    values["amp"] = settings.amp and trainer.device.type != "cpu"
    values["iterations"] = settings.budget.iterations or trainer.iterations_per_round * settings.budget.rounds
    values["evaluations"] = settings.budget.rounds
    values["sampling"] = settings.sampling is not None
    return values


def reached(trainer: Trainer) -> dict[str, Any]:
    """The knobs as the built model, data set, loader, optimizer and stopper hold them."""
    from ultralytics.data import augment

    by_type = {(type(one), getattr(one, "direction", None)): one for one in _flat(trainer.train_loader.dataset.transforms)}
    colour, affine = by_type[augment.RandomHSV, None], by_type[augment.RandomPerspective, None]
    weight = next(group for group in trainer.optimizer.param_groups if group["param_group"] == "weight")
    criterion = trainer.model.init_criterion()
    gains = getattr(criterion, "one2many", criterion).hyp
    return {
        "model": trainer.model.yaml["yaml_file"].removesuffix(".yaml"),
        "imgsz": trainer.train_loader.dataset.imgsz,
        "batch": trainer.train_loader.batch_size * trainer.pieces,
        "iterations": len(trainer.train_loader) // trainer.pieces * trainer.epochs,
        "evaluations": trainer.epochs,
        "sampling": trainer.sampler.factors is not None,
        "patience": None if trainer.stopper.patience == float("inf") else trainer.stopper.patience,
        "optimizer": type(trainer.optimizer).__name__,
        "lr0": weight["initial_lr"],
        "lrf": round(float(trainer.lf(trainer.epochs)), 12),
        "cosine": trainer.args.cos_lr,
        "momentum": weight["betas"][0] if "betas" in weight else weight["momentum"],
        "weight_decay": weight["weight_decay"],
        "warmup": trainer.warmup,
        "freeze": len({name.split(".")[1] for name in _frozen(trainer)}),
        "amp": trainer.amp,
        "hsv_h": colour.hgain,
        "hsv_s": colour.sgain,
        "hsv_v": colour.vgain,
        "degrees": affine.degrees,
        "translate": affine.translate,
        "scale": affine.scale,
        "fliplr": by_type[augment.RandomFlip, "horizontal"].p,
        "flipud": by_type[augment.RandomFlip, "vertical"].p,
        "mosaic": by_type[augment.Mosaic, None].p,
        "mixup": by_type[augment.MixUp, None].p,
        "close_mosaic": trainer.args.close_mosaic,
        "box": gains.box,
        "cls": gains.cls,
        "dfl": gains.dfl,
    }


def _frozen(trainer: Trainer) -> list[str]:
    """Parameters that are not trained, without the fixed ladder of distances that is never trained."""
    return [name for name, one in trainer.model.named_parameters() if not one.requires_grad and ".dfl" not in name]


def _flat(transforms: Any) -> Iterator[Any]:
    """All single transforms inside nested compositions."""
    for one in transforms.transforms:
        if hasattr(one, "transforms"):
            yield from _flat(one)
        else:
            yield one
