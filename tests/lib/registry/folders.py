"""Runs as they lie on disk, written in the exact shapes that their tools use: RF-DETR's metrics.csv and log.txt, an
experiment manager's registry.json, and what a training of ours leaves. Not a test itself.

metrics.csv: first a row of val, then one of training per epoch, cells of the other empty, as Lightning's CSVLogger of
rfdetr 1.11.2 writes them; log.txt: one JSON per epoch, as rfdetr 1.4.1 wrote it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib import provenance
from lib.config.train_rfdetr import RfdetrSegSettings, RfdetrSettings
from lib.files import write_json

HEADER = (
    "epoch,step,train/loss,train/lr,val/AP/vessel,val/F1,val/ema_mAP_50,val/ema_mAP_50_95,val/ema_segm_mAP_50,"
    "val/ema_segm_mAP_50_95,val/loss,val/mAP_50,val/mAP_50_95,val/mAR,val/segm_mAP_50,val/segm_mAP_50_95"
)
CODE = {"code": {"commit": "c0ffee", "dirty": False}, "packages": {"rfdetr": "1.11.2"}, "study": "sizes"}


def course(last: float, epochs: int, rate: float = 0.4) -> list[float]:
    """Scores that rise towards `last`."""
    return [round(last * (1 - math.exp(-rate * (epoch + 1))), 4) for epoch in range(epochs)]


def metrics_csv(folder: Path, masks: Sequence[float], *, boxes: float = 1.2) -> Path:
    """An output folder of RF-DETR since 1.6 with these scores of masks; boxes are so many times as good."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [HEADER]
    for epoch, mask in enumerate(masks):
        box, step = mask * boxes, 10 * epoch + 9
        told = [0.5 * box, 0.4, 1.5 * box, box, 1.4 * mask, mask, 5.0, 1.5 * box, box, 0.6, 1.4 * mask, mask]
        lines.append(f"{epoch},{step},,," + ",".join(f"{one:.6f}" for one in told))
        lines.append(f"{epoch},{step},{12 - 8 * mask:.6f},0.0001" + "," * 12)
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


def training_config(folder: Path, config: str = "RFDETRSegNanoConfig", **settings: Any) -> None:
    """What RFDETR.train() writes of its settings."""
    told = {"lr": 1e-4, "batch_size": 4, "grad_accum_steps": 4, "epochs": 50, "lr_scheduler": "step", "seed": None}
    told |= {"dataset_dir": "data/lars_rfdetr", "output_dir": str(folder)}
    values = {"train_config": told | settings, "model_config": {"resolution": 312}, "model_config_type": config}
    write_json(folder / "training_config.json", values | {"class_names": ["vessel"], "num_classes": 1})


def log_txt(folder: Path, masks: Sequence[float], *, averaged: bool = True) -> Path:
    """An output folder of RF-DETR before 1.6."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for epoch, mask in enumerate(masks):
        boxes, segments = [1.2 * mask, 1.5 * mask, *[0.0] * 10], [mask, 1.4 * mask, *[0.0] * 10]
        told: dict[str, Any] = {"train_lr": 1e-4, "train_loss": 12 - 8 * mask, "test_loss": 5.0, "epoch": epoch}
        told |= {"test_coco_eval_bbox": boxes, "test_coco_eval_masks": segments, "n_parameters": 33_600_000}
        if averaged:
            told |= {"ema_test_coco_eval_bbox": boxes, "ema_test_coco_eval_masks": segments}
        lines.append(json.dumps(told | {"now_time": "2026-01-28 14:30:22.123456", "epoch_time": "0:01:05"}))
    (folder / "log.txt").write_text("\n".join(lines) + "\n")
    return folder


def experiment(name: str, output: str, **more: Any) -> dict[str, Any]:
    """An entry of an experiment manager's registry."""
    settings = {
        "epochs": 50,
        "lr": 1e-4,
        "lr_encoder": 1.5e-4,
        "lr_scheduler": "step",
        "batch_size": 2,
        "grad_accum_steps": 8,
    }
    told = {"name": name, "description": f"{name} with default hyperparameters", "model_size": "nano"}
    told |= {"hyperparameters": settings, "slurm_job_id": "4711", "status": "completed", "output_dir": output}
    told |= {"log_path": f"{output}/slurm.out", "created_at": "2026-01-28T14:30:22", "best_metrics": None}
    return told | more


def training(
    root: Path,
    variant: str,
    masks: Sequence[float],
    *,
    seed: int = 0,
    dataset: str = "site",
    task: str = "segmentation",
    status: str = "finished",
    day: int = 1,
    **settings: Any,
) -> Path:
    """A finished training of ours of RF-DETR; masks: the scores of its rounds (of boxes for task detection)."""
    folder = root / f"results/train/{dataset}/{variant}/seed={seed}"
    kind = RfdetrSegSettings if task == "segmentation" else RfdetrSettings
    told = kind.model_validate({"budget": {"epochs": max(len(masks), 1)}} | settings)
    values = {"task": task, "kind": "model", "floor": None, "seed": seed, "weights": None}
    values |= {"training": told.resolved().model_dump(mode="json")}
    (folder / "attempts").mkdir(parents=True, exist_ok=True)
    pairs = list(enumerate(masks, start=1))
    best = max(pairs, key=lambda pair: pair[1], default=None)
    scores = {"AP": best[1], "AP50": 1.4 * best[1], "box_AP": 1.2 * best[1], "box_AP50": 1.5 * best[1]} if best else {}
    print_ = provenance.identity("train", 1, values, {"shards": "shards-1"})
    cost = {"attempts": 1, "seconds": 100.0 + seed, "peak_memory_mb": 2000.0, "peak_gpu_memory_mb": 900.0}
    card = {"task": task, "engine": "rfdetr", "model": told.title, "status": status, "fingerprint": print_} | cost
    card |= {"effective_batch": told.batch * told.accumulate, "micro_batch": told.batch, "iterations": 10 * len(masks)}
    card |= {"best": {"epoch": best[0], "iteration": 10 * best[0], **scores} if best else {}}
    write_json(folder / "model.json", card)
    made = {"identity": print_, "settings": values, "inputs": {"shards": "shards-1", "subset": f"subset-{seed}"}, **CODE}
    made |= {"input_files": {"subset": f"results/subsets/{dataset}/all/seed={seed}.parquet"}}
    write_json(folder / "meta.json", made | {"finished": f"2026-11-{day:02d}T12:00:00+00:00"})
    record = {
        "attempt": 1,
        "fingerprint": print_,
        "cause": "finished",
        "host": "elsewhere",
        "pid": 1,
        "job": f"{100 + seed}",
    }
    write_json(folder / "attempts/1.json", record | {"start": f"2026-11-{day:02d}T11:00:00+00:00", "seconds": 100.0})
    lines = ["epoch,iteration,seconds,lr,train/loss,val/AP,val/AP50,val/box_AP,val/box_AP50"]
    lines += [
        f"{epoch},{10 * epoch},{epoch},0.0001,{12 - 8 * mask:.5f},{mask},{1.4 * mask},{1.2 * mask},{1.5 * mask}"
        for epoch, mask in pairs
    ]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    return folder


def attempt_alone(root: Path, variant: str, cause: str, *, dataset: str = "site", **facts: Any) -> Path:
    """A training of ours that has left nothing but an attempt, which says what it is of."""
    folder = root / f"results/train/{dataset}/{variant}/seed=0"
    settings = {"task": "segmentation", "kind": "model", "floor": None, "seed": 0, "weights": None}
    settings |= {"training": RfdetrSegSettings().resolved().model_dump(mode="json")}
    told = {"attempt": 1, "fingerprint": "f", "cause": cause, "host": "elsewhere", "pid": 1, "job": None, "seconds": 5.0}
    told |= {"start": "2026-11-01T11:00:00+00:00", "of": {"settings": settings, "inputs": {"shards": "shards-1"}, **CODE}}
    write_json(folder / "attempts/1.json", told | facts)
    return folder
