"""The settings of an RF-DETR training in the library's words, and the proof that they arrived. Not here: the training
itself (rfdetr.py, rfdetr_rounds.py)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.config.train_rfdetr import RfdetrSegSettings, RfdetrSettings

if TYPE_CHECKING:
    import torch
    from pytorch_lightning import Trainer

NEVER = 10**9
"""Epoch of a drop that does not come."""
MASKS = ("mask_ce_loss_coef", "mask_dice_loss_coef", "mask_point_sample_ratio")
FIXED: dict[str, Any] = {
    "dataset_file": "roboflow",
    "augmentation_backend": "torchvision",  # else it depends on what is installed beside the lock
    "optimizer": "adamw",
    "compute_val_loss": False,
    "log_per_class_metrics": True,
    "eval_backend": "vernier",
    "eval_max_dets": 500,
    "eval_interval": 1,
    "run_test": False,
    "progress_bar": None,
    "tensorboard": False,  # our loggers are added to the built trainer
    "wandb": False,
    "checkpoint_interval": 1,  # its own checkpoints are taken out of the built trainer
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
}


def pieces(settings: RfdetrSettings, running: Running) -> int:
    """Into how many parts a batch is cut: halves where cuDNN is off. ConfigError: a batch that has no halves."""
    if running.cudnn or settings.batch == 1:
        return 1
    if settings.batch % 2:
        raise ConfigError(
            f"training.batch: {settings.batch} is odd, and running.cudnn: false trains in halves of it. Hint: an even "
            "batch, or train where cuDNN works."
        )
    return 2


def train_config(
    settings: RfdetrSettings, *, data: Path, state: Path, seed: int, device: str, threads: int, cut: int
) -> Any:
    """The library's training settings; every knob is stated, also where it is its default."""
    from rfdetr import config

    schedule = {"lr_drop": settings.lr_drop or NEVER} if settings.lr_scheduler == "step" else {}
    values = FIXED | {
        "dataset_dir": str(data),
        "output_dir": str(state),
        "epochs": settings.budget.rounds,
        "batch_size": settings.batch // cut,
        "grad_accum_steps": settings.accumulate * cut,
        "lr": settings.lr,
        "lr_encoder": settings.lr_encoder,
        "lr_vit_layer_decay": settings.lr_vit_layer_decay,
        "lr_component_decay": settings.lr_component_decay,
        "weight_decay": settings.weight_decay,
        "clip_max_norm": settings.clip_max_norm,
        "warmup_epochs": settings.warmup_epochs,
        "lr_scheduler": settings.lr_scheduler,
        "lr_scheduler_kwargs": schedule or {"min_factor": settings.lr_min_factor},
        "use_ema": settings.ema,
        "ema_decay": settings.ema_decay,
        "ema_tau": settings.ema_tau,
        "early_stopping": settings.patience is not None,
        "early_stopping_patience": settings.patience or NEVER,
        "early_stopping_min_delta": settings.min_delta,
        "best_model_metric": {"AP": "map", "AR": "mar"}[settings.best_metric],
        "amp_dtype": "bf16" if settings.amp and device != "cpu" else None,
        "accelerator": "cpu" if device == "cpu" else "gpu",
        "multi_scale": settings.multi_scale,
        "expanded_scales": settings.expanded_scales,
        "scale_jitter": settings.scale_jitter,
        "aug_config": None if settings.fliplr else {},
        "num_workers": min(8, threads - 1) if threads > 2 else 0,
        "seed": seed,
    }
    if not isinstance(settings, RfdetrSegSettings):
        return _made(config.TrainConfig, values)
    return _made(config.SegmentationTrainConfig, values | {name: getattr(settings, name) for name in MASKS})


def _made(kind: Any, values: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**values)


def check(trainer: Trainer, settings: RfdetrSettings, *, iterations: int) -> None:
    """Compare the settings with what the built trainer holds; ConfigError names the first knob that differs.

    iterations: optimizer steps of one round. To be asked when the training begins: the optimizer is there then.
    """
    found = reached(trainer, settings, iterations=iterations)
    for knob, value in expected(settings, trainer, iterations=iterations).items():
        same = abs(found[knob] - value) <= 1e-9 * max(1.0, abs(value)) if isinstance(value, float) else found[knob] == value
        if not same:
            raise ConfigError(
                f"training.{knob}: set to {value!r}, but RF-DETR would train with {found[knob]!r}. "
                f"Hint: leave {knob} at its default, or use the locked version of rfdetr."
            )


def expected(settings: RfdetrSettings, trainer: Trainer, *, iterations: int) -> dict[str, Any]:
    """What `reached` must give for these settings."""
    values = settings.model_dump()
    for name in ("engine", "weights", "accept_licences", "budget", "num_queries"):
        values.pop(name)  # the engine runs; a start is checked where it is read; a licence is no knob; see below
    idle = [] if settings.ema else ["ema_decay", "ema_tau"]
    idle += [] if settings.patience else ["min_delta"]
    idle += ["lr_encoder", "lr_vit_layer_decay"] if settings.freeze_encoder else []
    idle += ["lr_min_factor"] if settings.lr_scheduler == "step" else ["lr_drop"]
    idle += ["expanded_scales"] if settings.multi_scale == "off" else []
    idle += ["checkpoint_interval"]  # ours, not the library's
    for name in idle:
        values.pop(name)
    if settings.num_queries is not None:
        values["num_queries"] = settings.num_queries
    values["amp"] = settings.amp and trainer.strategy.root_device.type != "cpu"
    values["rounds"] = settings.budget.rounds
    values["sampling"] = settings.sampling is not None
    values["iterations"] = settings.budget.iterations or iterations * settings.budget.rounds
    values["warmup_epochs"] = int(iterations * settings.warmup_epochs) / iterations  # whole steps
    if settings.warmup_epochs and not values["warmup_epochs"]:
        raise ConfigError(
            f"training.warmup_epochs: {settings.warmup_epochs:g} of {iterations} iterations is no whole one. Hint: "
            f"{1.0 / iterations:.2g} at least, or 0."
        )
    return values


def reached(trainer: Trainer, settings: RfdetrSettings, *, iterations: int) -> dict[str, Any]:
    """The knobs as the built model, data set, loader, optimizer, schedule and callbacks hold them."""
    module, loader = trainer.lightning_module, trainer.train_dataloader
    model, config = module.model, module.model_config
    found = {
        "model": next((name for name, size in settings.sizes.items() if size.config == type(config).__name__), None),
        "imgsz": config.resolution,
        "num_queries": model.num_queries,
        "group_detr": model.group_detr,
        "freeze_encoder": not any(parameter.requires_grad for parameter in model.backbone[0].encoder.parameters()),
        "gradient_checkpointing": config.gradient_checkpointing,
        "batch": loader.batch_size * (trainer.accumulate_grad_batches // settings.accumulate or 1),
        "accumulate": trainer.accumulate_grad_batches // max(1, settings.batch // loader.batch_size),
        "rounds": trainer.max_epochs,
        "sampling": loader.sampler.factors is not None,
        "iterations": len(loader) // trainer.accumulate_grad_batches * trainer.max_epochs,
        "clip_max_norm": float(trainer.gradient_clip_val or 0.0),
        "amp": "bf16" in str(trainer.precision),
        "multi_scale": module.train_config.multi_scale.value,
        "best_metric": "AR" if module.train_config.best_model_metric == "mar" else "AP",
    }
    found |= _rates(model, trainer.optimizers[0])
    found |= _schedule(trainer.lr_scheduler_configs[0].scheduler, iterations, trainer.max_epochs)
    found |= _callbacks(trainer) | _looks(loader.dataset, config, module.train_config)
    criterion = module.criterion
    weights = {"loss_mask_ce": "mask_ce_loss_coef", "loss_mask_dice": "mask_dice_loss_coef"}
    found |= {knob: criterion.weight_dict.get(name) for name, knob in weights.items()}
    return found | {"mask_point_sample_ratio": getattr(criterion, "mask_point_sample_ratio", None)}


def _rates(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Highest learning rates and decays, told from the rates of single parameters."""
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    rates = {name: groups[id(one)]["initial_lr"] for name, one in model.named_parameters() if id(one) in groups}
    head = rates["class_embed.weight"]
    decoder = next(rate for name, rate in rates.items() if name.startswith("transformer.decoder"))
    found = {"lr": head, "lr_component_decay": decoder / head}
    found["weight_decay"] = max(group["weight_decay"] for group in optimizer.param_groups)
    layers = sorted((_layer(name), rate) for name, rate in rates.items() if _layer(name) >= 0)
    if layers:
        first, last = layers[0], layers[-1]
        norm = next(
            rate
            for name, rate in rates.items()
            if name.startswith("backbone.0.encoder") and "norm" in name and _layer(name) < 0
        )
        found["lr_vit_layer_decay"] = (first[1] / last[1]) ** (1 / (last[0] - first[0]))
        found["lr_encoder"] = norm / found["lr_component_decay"] ** 2
    return found


def _layer(name: str) -> int:
    """Number of the backbone's layer that a parameter belongs to, -1 = none."""
    parts = name.split(".")
    is_layer = name.startswith("backbone") and "layer" in parts and parts[parts.index("layer") + 1].isdigit()
    return int(parts[parts.index("layer") + 1]) if is_layer else -1


def _schedule(scheduler: Any, iterations: int, rounds: int) -> dict[str, Any]:
    """What the schedule does, told from its shares of the highest rate at every step."""
    total = iterations * rounds
    shares = [scheduler.lr_lambdas[0](step) for step in range(total + 1)]
    warm = next(step for step, share in enumerate(shares) if share == 1.0) if 1.0 in shares else 0
    drops = [step for step in range(1, total) if abs(shares[step] - 0.1 * shares[step - 1]) < 1e-12]
    steps = set(shares[warm:]) <= {1.0, 0.1}
    return {
        "warmup_epochs": warm / iterations,
        "lr_scheduler": "step" if steps else "cosine",
        "lr_drop": drops[0] // iterations if steps and drops else None,
        "lr_min_factor": shares[total],
    }


def _callbacks(trainer: Trainer) -> dict[str, Any]:
    from rfdetr.training.callbacks import RFDETREarlyStopping, RFDETREMACallback

    by_type = {type(one): one for one in trainer.callbacks}
    average, stopping = by_type.get(RFDETREMACallback), by_type.get(RFDETREarlyStopping)
    found: dict[str, Any] = {"ema": average is not None, "patience": stopping.patience if stopping else None}
    if average is not None:
        found |= {"ema_decay": average._decay, "ema_tau": average._tau}
    return found | ({"min_delta": abs(stopping.min_delta)} if stopping else {})


def _looks(dataset: Any, config: Any, settings: Any) -> dict[str, Any]:
    """How a training image is changed, told from the built steps of the data set."""
    from rfdetr.datasets import _torchvision as steps
    from rfdetr.datasets.coco import compute_multi_scale_scales

    flat = list(_flat(dataset._transforms))
    wide = compute_multi_scale_scales(config.resolution, True, config.patch_size, config.num_windows)
    narrow = compute_multi_scale_scales(config.resolution, False, config.patch_size, config.num_windows)
    drawn = compute_multi_scale_scales(config.resolution, settings.expanded_scales, config.patch_size, config.num_windows)
    return {
        "fliplr": any(isinstance(one, steps.RandomHorizontalFlip) for one in flat),
        "scale_jitter": any(isinstance(one, steps.RandomSizedCrop) for one in flat),
        "expanded_scales": drawn == wide and (wide != narrow or settings.expanded_scales),
    }


def _flat(step: Any) -> Any:
    """A step of preparation and all steps inside it."""
    yield step
    for name in ("transforms", "transform1", "transform2"):
        inner = getattr(step, name, None)
        for one in inner if isinstance(inner, list | tuple) else [inner] if inner is not None else []:
            yield from _flat(one)
