"""A YOLO training on a GPU: bfloat16, loader workers, a kill and going on, memory that runs out, weights without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.config.base import ConfigError
from lib.config.train import TrainingSettings
from lib.models import load_predictor
from lib.training import yolo
from tests.conftest import PROJECT
from tests.lib.training.shapes import NAMES, draw, picture

SHORT: dict[str, Any] = {"imgsz": 64, "batch": 8, "budget": {"iterations": 40, "evaluations": 4}, "lr0": 0.003}
ON_CPU = """
import sys, torch
import numpy as np
from pathlib import Path
from lib.models import load_predictor
from tests.lib.training.shapes import picture
assert not torch.cuda.is_available()
pictures = [picture(np.random.default_rng(number))[0] for number in range(8)]
predictor = load_predictor(Path(sys.argv[1]), {"format": "ultralytics"})
found = predictor.predict(pictures, conf=0.001, iou=0.6, max_det=5, imgsz=64)
print([boxes[:, 4].tolist() for boxes in found])
"""


class Killed(Exception):
    """A kill."""


def train(folder: Path, state: str, on_log: Any = None, **settings: Any) -> yolo.TrainResult:
    return yolo.train(
        TrainingSettings.model_validate(SHORT | settings),
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
        if facts.get("epoch") == 3:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, "killed", kill)
    resumed = train(tmp_path, "killed")
    assert resumed.resumed_from == 3 and resumed.iterations == 40
    for column in (name for name in whole.history if name.startswith("train/")):
        assert resumed.history[column].tolist() == pytest.approx(whole.history[column].tolist(), rel=0.02), column
    pictures = [picture(np.random.default_rng(number))[0] for number in range(8)]
    asked = {"conf": 0.001, "iou": 0.6, "max_det": 5, "imgsz": 64}
    found = load_predictor(resumed.weights, {"format": "ultralytics"}).predict(pictures, **asked)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ":".join([str(PROJECT), *sys.path])}
    words = [sys.executable, "-c", ON_CPU, str(resumed.weights)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    for gpu, cpu in zip(found, scores, strict=True):
        assert gpu[:, 4].tolist() == pytest.approx(cpu, abs=2e-3)


@pytest.mark.usefixtures("memory")
def test_a_batch_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Ultralytics would train with a smaller one, and arms would no longer be trained alike."""
    draw(tmp_path / "train", 48, seed=0)
    draw(tmp_path / "val", 12, seed=1)
    torch.cuda.set_per_process_memory_fraction(1200 * 2**20 / torch.cuda.mem_get_info()[1])
    with pytest.raises(ConfigError, match=r"48 images of 640 px do not fit into GPU memory. Hint: batch: 24"):
        train(tmp_path, "state", imgsz=640, batch=48)
