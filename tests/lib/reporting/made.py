"""Made results for the tests of reporting: a results folder whose scores can be worked out by hand. Not a test itself.

Every video has one frame with one true box per class. A variant finds the boxes of its `hits` first videos exactly and
predicts nothing else, so that AP50 of a class with h of n boxes found is (1 + floor(100·h/n)) / 101 for h > 0, else 0.
Scores and units are made by the real evaluator.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from lib.files import write_json
from lib.metrics.detection import evaluate, match_units

BOX = [10.0, 10.0, 50.0, 50.0]
EVALUATE = {"f1_threshold": 0.5, "max_det": 100, "draws": 300, "level": 0.95, "seed": 0}
MEANS = ("AP", "AP50", "AP75", "AR", "F1", "precision", "recall", "best_F1")


def ap(hits: int, videos: int) -> float:
    """AP of a class with `hits` of `videos` boxes found and no false alarm (101 recall points)."""
    return (1 + 100 * hits // videos) / 101 if hits else 0.0


def truth_of(videos: int, classes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """BOXES and FRAMES of the made videos."""
    names = [f"v{number:03d}" for number in range(videos)]
    frames = pd.DataFrame({"video": names, "frame": 0, "time_s": 0.0})
    rows = [
        {"video": video, "frame": 0, "time_s": 0.0, "class": name}
        | dict(zip(("x1", "y1", "x2", "y2"), BOX, strict=True))
        | {"track": 0, "ignore": False, "mask": ""}
        for video in names
        for name in classes
    ]
    return pd.DataFrame(rows), frames


def write_cell(
    results: Path,
    variant: str,
    found: dict[str, list[int]],
    *,
    videos: int,
    seed: int = 0,
    tta: str = "none",
    dataset: str = "world",
    kind: str = "model",
    jitter: float = 0.0,
) -> dict[str, Any]:
    """Scores, units and model card of one cell; found: class -> numbers of the videos whose box is found. Gives the scores.

    jitter: standard deviation of the corners of found boxes in px, to lower AP at high IoU.
    """
    classes = list(found)
    truth, frames = truth_of(videos, classes)
    keep = [int(video[1:]) in found[name] for video, name in zip(truth["video"], truth["class"], strict=True)]
    predictions = truth[keep].drop(columns=["track", "ignore", "mask"]).reset_index(drop=True)
    rng = np.random.default_rng(seed)
    predictions[["x1", "y1", "x2", "y2"]] += rng.normal(0.0, jitter, (len(predictions), 4))
    predictions.insert(4, "score", 0.9 - 0.4 * rng.random(len(predictions)))
    scores = evaluate(truth, predictions, frames, classes, f1_threshold=0.5)
    folder = results / "metrics" / dataset / variant / f"seed={seed}"
    write_json(
        folder / f"tta={tta}.json",
        {
            "metrics": {key: scores[key] for key in MEANS},
            "classes": classes,
            "per_class": scores["per_class"],
            "warnings": scores["warnings"],
            "status": "finished",
        },
    )
    units = match_units(truth, predictions, frames, classes)
    pq.write_table(pa.Table.from_pandas(units, preserve_index=False), folder / f"tta={tta}.units.parquet")
    write_card(results, variant, seed=seed, dataset=dataset, iterations=0 if kind != "model" else 300)
    return scores


def write_card(
    results: Path,
    variant: str,
    *,
    seed: int = 0,
    dataset: str = "world",
    status: str = "finished",
    iterations: int = 300,
    **more: Any,
) -> None:
    """model.json of one training that took 90 s in two attempts."""
    card = {"status": status, "iterations": iterations, "seconds": 90.0, "attempts": 2} | more
    write_json(results / "train" / dataset / variant / f"seed={seed}" / "model.json", card)


def write_counts(
    results: Path, arm: str, frames: dict[str, int], *, seed: int = 0, dataset: str = "world", control: bool = False
) -> None:
    """counts.json of one arm, out of a pool of 100 frames per class; a control asks for no number of frames."""
    classes = {
        name: {
            "pool_frames": 100,
            "frames": number,
            **({} if control else {"fraction": number / 100, "requested_frames": number}),
            "achieved_fraction": number / 100,
            "pool_instances": 200,
            "instances": 2 * number,
        }
        for name, number in frames.items()
    }
    counts = {"arm": arm, "seed": seed, "frames": sum(frames.values()), "classes": classes}
    write_json(results / "subsets" / dataset / arm / f"seed={seed}.counts.json", counts)


def captured(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved from now on."""
    kept: list[Figure] = []
    saved = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (kept.append(self), saved(self, *a, **k))[1])
    return kept


def settings(variants: dict[str, dict[str, Any]], **board: Any) -> dict[str, Any]:
    """Settings of a board as a job gets them; variants: name -> what differs from {kind: model, seeds: [0]}."""
    facts = {name: {"kind": "model", "arm": None, "train_on": None, "seeds": [0]} | own for name, own in variants.items()}
    given = {"dataset": "world", "variants": list(variants), "metric": "AP50"} | board
    return json.loads(json.dumps({"task": "detection", "board": given, "variants": facts, "evaluate": EVALUATE}))
