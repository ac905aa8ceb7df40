"""A YOLO training on a GPU: bfloat16, loader workers, a kill and going on, weights that need no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lib.config.train import TrainingSettings
from lib.training import yolo
from tests.conftest import PROJECT
from tests.lib.training.shapes import NAMES, draw

SHORT: dict[str, Any] = {"imgsz": 64, "batch": 8, "budget": {"iterations": 40, "evaluations": 4}, "lr0": 0.003}
ON_CPU = """
import sys, torch
import numpy as np
from pathlib import Path
from lib.models import load_predictor
assert not torch.cuda.is_available()
predictor = load_predictor(Path(sys.argv[1]), {"format": "ultralytics"})
found = predictor.predict([np.zeros((64, 64, 3), np.uint8)], conf=0.001, iou=0.6, max_det=5, imgsz=64)
print(predictor.names, found[0].shape[1])
"""


class Killed(Exception):
    """A kill."""


def train(folder: Path, state: str, on_log: Any = None) -> yolo.TrainResult:
    return yolo.train(
        TrainingSettings.model_validate(SHORT),
        names=NAMES,
        train_images=sorted((folder / "train" / "images").glob("*.png")),
        val_images=sorted((folder / "val" / "images").glob("*.png")),
        state=folder / state,
        seed=0,
        threads=4,
        fingerprint="f",
        on_log=on_log,
    )


def test_it_learns_goes_on_after_a_kill_and_its_weights_need_no_gpu(tmp_path: Path) -> None:
    draw(tmp_path / "train", 48, seed=0)
    draw(tmp_path / "val", 12, seed=1)
    whole = train(tmp_path, "whole")
    assert whole.status == "finished" and whole.iterations == 40 and len(whole.history) == 4
    losses = whole.history.filter(like="train/").sum(axis=1)
    assert losses.iloc[-1] < losses.iloc[0]

    def kill(facts: dict[str, Any]) -> None:
        if facts["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, "killed", kill)
    resumed = train(tmp_path, "killed")
    assert resumed.resumed_from == 2 and resumed.iterations == 40
    for column in (name for name in whole.history if name.startswith("train/")):
        assert resumed.history[column].tolist() == pytest.approx(whole.history[column].tolist(), rel=0.02), column
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ":".join([str(PROJECT), *sys.path])}
    words = [sys.executable, "-c", ON_CPU, str(resumed.weights)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{NAMES} 6"
