"""One side of rfdetr_train: `…rfdetr_train_side ours|library DATA OUTPUT STEPS BATCH PIXELS FIGURES`."""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from lib.config.train_rfdetr import RfdetrSettings
from lib.config.world import CLASSES
from lib.models import rfdetr as models
from lib.models.yolo import device
from lib.training import rfdetr, rfdetr_knobs

THREADS = 2
GPU_THREADS = 9
"""Of which eight read images."""
SEED = 0


class Clock:
    """Notes when each step of RF-DETR's module begins, waiting for a GPU where there is one; both sides train with it."""

    def __init__(self) -> None:
        from rfdetr.training import RFDETRModelModule

        self.begins: list[tuple[float, float]] = []
        self.losses: list[torch.Tensor] = []
        step = RFDETRModelModule.training_step

        def timed(module: Any, batch: Any, batch_idx: int) -> Any:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.begins.append((time.perf_counter(), time.process_time()))
            loss = step(module, batch, batch_idx)
            self.losses.append((loss["loss"] if isinstance(loss, dict) else loss).detach())
            return loss

        RFDETRModelModule.training_step = timed

    def figures(self) -> dict[str, float]:
        wall, cpu = zip(*self.begins, strict=True)
        card = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
        finite = all(bool(torch.isfinite(loss)) for loss in self.losses)
        return {"step_s": _middle(wall), "step_cpu_s": _middle(cpu), "card_mib": card, "finite": finite}


def _middle(begins: tuple[float, ...]) -> float:
    """The median step, without the first quarter, in which kernels are chosen."""
    steps = [after - before for before, after in pairwise(begins)]
    return statistics.median(steps[len(steps) // 4 :])


def ours(settings: RfdetrSettings, data: Path, output: Path, threads: int) -> None:
    """The engine that the train stage calls."""
    told = {"seed": SEED, "threads": threads, "fingerprint": str(time.time_ns())}
    rfdetr.train(settings, names=list(CLASSES), data=data, state=output, **told)


def library(settings: RfdetrSettings, data: Path, output: Path, threads: int) -> None:
    """`RFDETRNano(…).train(…)`, told the same settings."""
    import rfdetr as package

    where = torch.device(device()).type
    told = rfdetr_knobs.train_config(
        settings, data=data, state=output, seed=SEED, device=where, threads=threads, cut=1
    ).model_dump(exclude_unset=True)
    config = models.model_settings(settings, len(CLASSES)).model_dump(exclude_unset=True)
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    getattr(package, models.library_name(settings))(**config).train(**told)


def main() -> None:
    side, data, output, steps, batch, pixels, figures = sys.argv[1:]
    models.quiet_rfdetr()
    warnings.simplefilter("ignore")
    clock = Clock()
    budget = {"iterations": int(steps), "evaluations": 1}
    told = {
        "model": "nano",
        "batch": int(batch),
        "accumulate": 1,
        "budget": budget,
        "imgsz": int(pixels),
        "multi_scale": "off",
    }
    settings = RfdetrSettings.model_validate(told)
    threads = GPU_THREADS if torch.cuda.is_available() else THREADS
    {"ours": ours, "library": library}[side](settings.resolved(), Path(data), Path(output), threads)
    Path(figures).write_text(json.dumps(clock.figures()))


if __name__ == "__main__":
    main()
