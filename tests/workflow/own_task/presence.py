"""The tests' own task `presence`: which classes does a frame show, told from it and the frames before it.

Small, but real: it reads the shards, learns from pixels and is scored on val. Copied into lib/tasks of a copy of the
project.

Letters: B samples, T frames, H = 48 and W = 80 px, C classes.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from lib.config.train_presence import PresenceTraining
from lib.data.loader import ShardLoader, decoded
from lib.data.reader import ShardReader
from lib.data.samples import Sample
from lib.tables import read_table
from lib.tasks import Trained, TrainJob, loop
from lib.training.contracts import LossSums
from lib.training.evaluator import Evaluator
from lib.training.run import Parts

HEIGHT, WIDTH = 48, 80


class Clips:
    """Makes an item of a sample: itself and the samples before it in its video, small; and what it shows."""

    def __init__(self, reader: ShardReader, frames: int) -> None:
        self.reader, self.frames = reader, frames
        order = reader.index.sort_values(["video", "frame"])
        self.before = {
            key: keys[max(0, place - frames + 1) : place + 1]
            for keys in (part.tolist() for _, part in order.groupby("video")["key"])
            for place, key in enumerate(keys)
        }

    def __call__(self, sample: Sample, random: np.random.Generator) -> dict[str, Any]:
        samples = [sample if key == sample.key else self.reader.read(key) for key in self.before[sample.key]]
        pictures = [cv2.resize(decoded(one), (WIDTH, HEIGHT)).transpose(2, 0, 1) for one in samples]
        pictures = [pictures[0]] * (self.frames - len(pictures)) + pictures
        shows = [name in sample.data["labels"] for name in self.reader.classes]
        return {"key": sample.key, "x": np.stack(pictures).astype(np.float32) / 127.5 - 1, "y": np.array(shows, np.float32)}


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """x (B, T, 3, H, W) from -1 to 1, y (B, C), keys."""
    stacked = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in ("x", "y")}
    return stacked | {"keys": [item["key"] for item in items]}


class Recurrent(nn.Module):
    """(B, T, 3, H, W) → (B, C) logits: convolutions per frame, a recurrent unit over frames."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.frame = nn.Sequential(
            nn.Conv2d(3, width // 2, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveMaxPool2d((3, 5)), nn.Flatten(), nn.Linear(15 * width, width),
        )  # fmt: skip
        self.over_time, self.dropout = nn.GRU(width, width, batch_first=True), nn.Dropout(0.1)
        self.out = nn.Linear(width, classes)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        x = batch["x"]
        frames = self.frame(x.flatten(0, 1)).reshape(*x.shape[:2], -1)
        return self.out(self.dropout(self.over_time(frames)[0][:, -1]))


def loss(outputs: Tensor, batch: dict[str, Any]) -> LossSums:
    """Sum of binary cross-entropies over samples and classes, and how many there are."""
    total = nn.functional.binary_cross_entropy_with_logits(outputs, batch["y"], reduction="sum")
    return {"loss": total}, batch["y"].numel()


def train(job: TrainJob) -> Trained | None:
    settings = PresenceTraining.model_validate(job.settings["training"])
    reader = ShardReader(job.shards)
    keys = read_table(job.subset, "subset")["key"].tolist()
    val = reader.index[reader.index["split"] == "val"]["key"].tolist()
    given = {"transform": Clips(reader, settings.frames), "collate": collate, "batch": settings.batch}

    def evaluator(ranks: int, rank: int) -> Evaluator:
        truth = {key: [name in reader.labels(key)["labels"] for name in reader.classes] for key in val}
        loader = ShardLoader(reader, val, seed=0, shuffle=False, tail="pad", ranks=ranks, rank=rank, **given)

        def score(found: dict[str, Any]) -> dict[str, float]:
            right = np.array([[(value > 0) == shown for value, shown in zip(found[key], truth[key], strict=True)]
                              for key in val])  # fmt: skip
            return {"val/accuracy": float(right.mean())}

        return Evaluator(
            loader=loader,
            decode=lambda outputs, batch: dict(zip(batch["keys"], outputs.tolist(), strict=True)),
            score=score,
        )

    parts = Parts(
        build=lambda: Recurrent(len(reader.classes), settings.width),
        loss=loss,
        loader=lambda ranks, rank: ShardLoader(
            reader, keys, seed=job.seed, ranks=ranks, rank=rank, tail="drop" if ranks > 1 else "keep", **given
        ),
        evaluator=evaluator,
    )
    card = {"task": "presence", "model": settings.model, "class_names": reader.classes, "input_size": WIDTH}
    return loop.train(job, settings, parts, card=card)
