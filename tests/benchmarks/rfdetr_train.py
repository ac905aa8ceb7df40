"""Training RF-DETR nano at its own 384 px on the world: our engine against plain `RFDETR.train` with the same settings.

Both sides are processes of their own that draw batches of the same images with the same number of threads. A step is the
time from the begin of one optimizer step to the begin of the next, the first few left out: data, forward, backward, update,
and whatever a side does beside them. Rounds, scoring and checkpoints are not in it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from lib.config.world import CLASSES, WorldSource
from lib.data.coco_layout import ANNOTATIONS, FOLDERS
from lib.data.world.draw import Painter, Seen
from lib.data.world.motion import simulate
from lib.data.world.plan import plan_videos
from tests.benchmarks.measure import Result, Spent, compared, interleaved, main, python

STEPS = {"tiny": 3, "small": 12, "full": 30}
GPU_STEPS = 200
PIXELS = {"tiny": 128, "small": 384, "full": 384}
REPEATS = {"tiny": 1, "small": 2, "full": 5}
GPU_REPEATS = 3
BATCH = 2
GPU_BATCH = 16
PICTURES = {"train": 48, "val": 4}
STRIDE = 6
"""Frames between two pictures of one video."""


def measure(size: str) -> Result:
    on_gpu = torch.cuda.is_available()
    steps, repeats = (GPU_STEPS, GPU_REPEATS) if on_gpu else (STEPS[size], REPEATS[size])
    result = Result("Training RF-DETR, against RFDETR.train")
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        folder = Path(name)
        draw(folder / "data", steps * (GPU_BATCH if on_gpu else BATCH))
        sides = {one: lambda one=one: run(one, folder, steps, PIXELS[size], on_gpu) for one in ("ours", "library")}
        runs = interleaved(sides, repeats)
    sides = {"ours": "ours", "peer": "library"}
    pace = {"figure": "step_s", "unit": "steps/s"} if on_gpu else {"figure": "step_cpu_s", "unit": "steps/CPU s"}
    result.rows.append(compared("optimizer steps", runs, **pace, **sides, rate=1, target=(">=", 0.98)))
    what, figure = ("peak memory of the card", "card_mib") if on_gpu else ("peak memory of the process", "memory")
    result.rows.append(compared(what, runs, figure, **sides, unit="MiB", target=("<=", 1 / 0.98)))
    result.rows.append(compared("CPU, loading and scoring included", runs, "cpu", **sides))
    result.facts["all losses are finite"] = all(spent.get("finite") for some in runs.values() for spent in some)
    batch = GPU_BATCH if on_gpu else BATCH
    result.notes.append(f"The median step of a run; batches of {batch}, one size of input, averaged weights kept.")
    if on_gpu:
        result.notes.append(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bf16.")
    return result


def run(side: str, folder: Path, steps: int, pixels: int, on_gpu: bool) -> Spent:
    figures = folder / f"{side}.json"
    batch = str(GPU_BATCH if on_gpu else BATCH)
    words = [side, folder / "data", folder / side, str(steps), batch, str(pixels), figures]
    return python("tests.benchmarks.rfdetr_train_side", *words, reads=figures)


def draw(folder: Path, images: int) -> None:
    """Pictures of the world in RF-DETR's layout; train lists them again and again, so that one epoch has `images`."""
    options = WorldSource(format="world", videos={split: max(1, count // 8) for split, count in PICTURES.items()})
    for split, count in PICTURES.items():
        inside = folder / FOLDERS[split]
        inside.mkdir(parents=True)
        truths = []
        for number, (picture, seen) in zip(range(count), frames(options, split), strict=False):
            cv2.imwrite(str(inside / f"{number}.jpg"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            truths.append(seen)
        listed, boxes = [], []
        width, height = options.size
        for image in range(1, (images if split == "train" else len(truths)) + 1):
            number = (image - 1) % len(truths)
            listed.append({"id": image, "file_name": f"{number}.jpg", "width": width, "height": height})
            boxes += [box_of(one) | {"image_id": image} for one in truths[number]]
        boxes = [{"id": number} | box for number, box in enumerate(boxes, start=1)]
        names = [{"id": label, "name": name, "supercategory": "none"} for label, name in enumerate(CLASSES, start=1)]
        text = json.dumps({"images": listed, "annotations": boxes, "categories": names})
        (inside / ANNOTATIONS).write_text(text)


def box_of(one: Seen) -> dict[str, Any]:
    x, y, wide, high = one.box
    label = CLASSES.index(one.state.kind) + 1
    return {"category_id": label, "bbox": [x, y, wide, high], "area": wide * high, "iscrowd": 0}


def frames(options: WorldSource, split: str) -> Iterator[tuple[np.ndarray, list[Seen]]]:
    """Pictures with their truth, every STRIDE-th of each video in turn."""
    for plan in plan_videos(options):
        if plan.split == split:
            painter = Painter(plan, options)
            for index, states in enumerate(simulate(plan, options)):
                picture, seen = painter.frame(index, states)
                if index % STRIDE == 0:
                    yield picture, seen


if __name__ == "__main__":
    main(measure, "rfdetr_train")
