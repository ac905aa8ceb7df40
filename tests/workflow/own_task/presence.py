"""Presence: which classes does a frame show, told from it and the frames before it.

The tests' own task, small but real: it reads the shards, learns from pixels, and goes the whole way to its board. Copied
into lib/tasks of a copy of the project.

Letters: B samples, T frames, H = 48 and W = 80 px, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from lib.config.running import Running
from lib.config.train_presence import PresenceTraining
from lib.data.reader import ShardReader
from lib.data.samples import Sample
from lib.files import read_json, write_json
from lib.history import no_history
from lib.tables import COLUMNS, empty, read_table
from lib.tasks import PredictJob, Scored, ScoreJob, Trained, TrainJob, loop

if TYPE_CHECKING:
    from torch import Tensor

    from lib.training.contracts import LossSums
    from lib.training.evaluator import Evaluator

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
        from lib.data.loader import decoded

        samples = [sample if key == sample.key else self.reader.read(key) for key in self.before[sample.key]]
        pictures = [cv2.resize(decoded(one), (WIDTH, HEIGHT)).transpose(2, 0, 1) for one in samples]
        pictures = [pictures[0]] * (self.frames - len(pictures)) + pictures
        shows = [name in sample.data["labels"] for name in self.reader.classes]
        return {"key": sample.key, "x": np.stack(pictures).astype(np.float32) / 127.5 - 1, "y": np.array(shows, np.float32)}


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """x (B, T, 3, H, W) from -1 to 1, y (B, C), keys."""
    import torch

    stacked = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in ("x", "y")}
    return stacked | {"keys": [item["key"] for item in items]}


def loss(outputs: Tensor, batch: dict[str, Any]) -> LossSums:
    """Sum of binary cross-entropies over samples and classes, and how many there are."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    return {"loss": binary_cross_entropy_with_logits(outputs, batch["y"], reduction="sum")}, batch["y"].numel()


def decode(outputs: Tensor, batch: dict[str, Any]) -> dict[str, list[float]]:
    """Key → C scores from 0 to 1."""
    return dict(zip(batch["keys"], outputs.sigmoid().tolist(), strict=True))


def train(job: TrainJob) -> Trained | None:
    """Train the network, or fit the floor: what most training frames show."""
    settings = PresenceTraining.model_validate(job.settings["training"])
    reader = ShardReader(job.shards)
    keys = read_table(job.subset, "subset")["key"].tolist()
    if job.settings["floor"] == "prior":
        return _fit_floor(job, reader, keys)
    from lib.data.loader import ShardLoader
    from lib.models import build_network
    from lib.training.run import Parts

    given = {"transform": Clips(reader, settings.frames), "collate": collate, "batch": settings.batch}
    given["workers"] = Running.of_this_run().workers
    network = {"classes": len(reader.classes), "width": settings.width}
    parts = Parts(
        build=lambda: build_network(settings.model, **network),
        loss=loss,
        loader=lambda ranks, rank: ShardLoader(
            reader, keys, seed=job.seed, ranks=ranks, rank=rank, tail="drop" if ranks > 1 else "keep", **given
        ),
        evaluator=lambda ranks, rank: _evaluator(reader, given, ranks, rank),
    )
    card = {"task": "presence", "model": settings.model, "network": network, "frames": settings.frames}
    return loop.train(job, settings, parts, card=card | {"class_names": reader.classes, "input_size": WIDTH})


def _evaluator(reader: ShardReader, given: dict[str, Any], ranks: int, rank: int) -> Evaluator:
    from lib.data.loader import ShardLoader
    from lib.training.evaluator import Evaluator

    val = reader.index[reader.index["split"] == "val"]["key"].tolist()
    truth = {key: [name in reader.labels(key)["labels"] for name in reader.classes] for key in val}

    def score(found: dict[str, list[float]]) -> dict[str, float]:
        return {"val/accuracy": float(np.mean([(np.array(found[key]) > 0.5) == truth[key] for key in val]))}

    loader = ShardLoader(reader, val, seed=0, shuffle=False, tail="pad", ranks=ranks, rank=rank, **given)
    return Evaluator(loader=loader, decode=decode, score=score)


def _fit_floor(job: TrainJob, reader: ShardReader, keys: Sequence[str]) -> Trained:
    shows = np.array([[name in reader.labels(key)["labels"] for name in reader.classes] for key in keys])
    weights = job.folder / "state" / "floor.json"
    write_json(weights, {"scores": shows.mean(axis=0).tolist()})
    card = {"task": "presence", "format": "floor", "engine": "floor", "model": "prior", "class_names": reader.classes}
    return Trained(weights=weights, card=card | {"status": "finished", "iterations": 0}, history=no_history())


def predict(job: PredictJob) -> pd.DataFrame:
    """The predictions table for every sample of the chosen splits; a diverged model predicts nothing."""
    if job.card["status"] != "finished":
        return empty("presence")
    reader = ShardReader(job.shards)
    samples = reader.index[reader.index["split"].isin(job.settings["predict"]["splits"])]
    if job.card["format"] == "floor":
        found = dict.fromkeys(samples["key"], read_json(job.model)["scores"])
    else:
        found = loop.predict(
            job,
            reader,
            samples["key"].tolist(),
            transform=Clips(reader, job.card["frames"]),
            collate=collate,
            decode=decode,
        )
    rows = [
        (video, frame, name, score)
        for key, video, frame in samples[["key", "video", "frame"]].itertuples(index=False)
        for name, score in zip(reader.classes, found[key], strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS["presence"]))


def score(job: ScoreJob) -> Scored:
    """Share of frames of which it is rightly said whether they show a class (a score above 0.5 = it does): 0–1."""
    boxes = job.truth["boxes"]
    shown = set(boxes[["video", "frame", "class"]].itertuples(index=False, name=None))
    table = job.predictions
    says = [row in shown for row in table[["video", "frame", "class"]].itertuples(index=False, name=None)]
    table = table.assign(right=(table["score"] > 0.5) == np.array(says, dtype=bool))
    videos = job.manifest[job.manifest["split"].isin(job.settings["splits"])]["video"]
    counted = table.pivot_table(index="video", columns="class", values="right", aggfunc=["sum", "count"])
    counted = counted.reindex(index=videos, columns=pd.MultiIndex.from_product([["sum", "count"], job.classes])).fillna(0)
    sums, counts = counted["sum"].to_numpy(dtype=float), counted["count"].to_numpy(dtype=float)
    units = pd.DataFrame({"video": videos.tolist(), "accuracy:sum": list(sums), "accuracy:count": list(counts)})
    per_class = {
        name: {"n_truth": int(total), "accuracy": float(right / total) if total else None}
        for name, right, total in zip(job.classes, sums.sum(axis=0), counts.sum(axis=0), strict=True)
    }
    known = [one["accuracy"] for one in per_class.values() if one["accuracy"] is not None]
    return Scored(
        scores={
            "metrics": {"accuracy": float(np.mean(known)) if known else None},
            "classes": job.classes,
            "per_class": per_class,
            "counts": {"n_videos": len(videos)},
            "warnings": [],
        },
        units=units,
    )
