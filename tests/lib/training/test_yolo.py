"""Trainings on tiny drawn images: learning against floor and untrained model, and kills against an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from shapes import NAMES, SIDE, draw, picture
from test_round_loggers import shown

from lib.config.running import LoggerSettings
from lib.config.train import TrainingSettings
from lib.files import DataError
from lib.models import floors, load_predictor
from lib.models.loading import load_checkpoint
from lib.training import yolo
from lib.training.round_loggers import RoundLoggers

SHORT: dict[str, Any] = {
    "imgsz": 64,
    "batch": 4,
    "budget": {"iterations": 12, "evaluations": 4},
    "lr0": 0.003,
}


def train(
    folder: Path, *, images: int = 12, fingerprint: str = "f", seed: int = 0, on_log: Any = None, **settings: Any
) -> yolo.TrainResult:
    """A training in folder/state on images drawn into folder; with `sampling` every second image counts double and more."""
    drawn = draw(folder / "train", images, seed=0)
    return yolo.train(
        TrainingSettings.model_validate(SHORT | settings),
        names=NAMES,
        train_images=drawn,
        val_images=draw(folder / "val", 6, seed=1),
        state=folder / "state",
        seed=seed,
        threads=1,
        fingerprint=fingerprint,
        loggers=RoundLoggers(LoggerSettings(), state=folder / "state", name="a", config={}),
        factors={path.stem: 1 + number % 2 * 1.3 for number, path in enumerate(drawn)} if "sampling" in settings else None,
        on_log=on_log,
    )


def weights(result: yolo.TrainResult) -> dict[str, torch.Tensor]:
    return load_checkpoint(result.weights)["model"].state_dict()


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first)


def hits(predictor: Any) -> float:
    """Share of squares in 40 new pictures whose best-scored box of class square overlaps them by IoU ≥ 0.5."""
    rng = np.random.default_rng(99)
    found = 0
    for number in range(40):
        image, boxes = picture(rng)
        asked = {"videos": ["v"], "frame_indices": [number]} if getattr(predictor, "blind", False) else {}
        frame = np.ascontiguousarray(image[:, :, ::-1])
        (rows,) = predictor.predict([frame], conf=0.001, iou=0.7, max_det=50, imgsz=64, **asked)
        squares = rows[rows[:, 5] == 0]
        if len(squares):
            truth = np.array([boxes[0][1:]], dtype=float)
            found += bool(floors._iou(squares[:1, :4].astype(float), truth)[0, 0] >= 0.5)
    return found / 40


@pytest.mark.slow
def test_training_beats_the_floors(tmp_path: Path) -> None:
    result = train(tmp_path, images=60, batch=4, budget={"iterations": 160, "evaluations": 2}, lr0=0.005)
    learnt = hits(load_predictor(result.weights, {"format": "ultralytics", "class_names": NAMES}))
    before = yolo.untrained(TrainingSettings(imgsz=64), names=NAMES, seed=0, folder=tmp_path)
    untrained = hits(load_predictor(before, {"format": "ultralytics", "class_names": NAMES}))
    rows = []
    for path in sorted((tmp_path / "train" / "labels").glob("*.txt")):
        for line in path.read_text().splitlines():
            label, *numbers = line.split()
            x, y, w, h = (float(number) * SIDE for number in numbers)
            rows.append((path.stem, NAMES[int(label)], x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    boxes = pd.DataFrame(rows, columns=["key", "class", "x1", "y1", "x2", "y2"])
    frames = pd.DataFrame({"key": [f"{n:04d}" for n in range(60)], "width": SIDE, "height": SIDE})
    prior = hits(floors.FloorPredictor(floors.fit("prior", boxes, frames, NAMES, seed=0)))
    assert learnt > 0.7 and learnt > prior + 0.3 and learnt > untrained + 0.3
    assert result.status == "finished" and result.best["AP50"] > 0.3


@pytest.mark.slow
def test_arms_of_any_size_are_trained_alike(tmp_path: Path) -> None:
    results = [train(tmp_path / str(images), images=images) for images in (3, 23)]
    for result in results:
        assert (result.iterations, result.epochs, result.status) == (12, 4, "finished")
        assert result.history["iteration"].tolist() == [3, 6, 9, 12]
        wanted = {
            "epoch",
            "iteration",
            "seconds",
            "train/box_loss",
            "val/AP50",
            "val/AP",
            "val/precision",
            "val/recall",
            "lr",
        }
        assert wanted <= set(result.history.columns)
    assert results[0].history["lr"].tolist() == results[1].history["lr"].tolist()


@pytest.mark.slow
def test_learning_rates_do_not_depend_on_the_number_of_evaluations(tmp_path: Path) -> None:
    first = train(tmp_path / "a", warmup=4, budget={"iterations": 12, "evaluations": 4}).history.set_index("iteration")[
        "lr"
    ]
    second = train(tmp_path / "b", warmup=4, budget={"iterations": 12, "evaluations": 2}).history.set_index("iteration")[
        "lr"
    ]
    assert first[6] == pytest.approx(second[6]) and first[12] == pytest.approx(second[12])
    assert first[3] == pytest.approx(0.003 * 3 / 4 * (0.01 + 0.99 * (1 + np.cos(np.pi * 2 / 12)) / 2))


@pytest.mark.slow
def test_repeated_images_change_a_training_which_still_goes_on_exactly(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"budget": {"iterations": 12, "evaluations": 2}}
    sampled = settings | {"sampling": {"kind": "repeat_factor", "threshold": 0.9}}
    whole = train(tmp_path / "whole", **sampled)
    plain = train(tmp_path / "plain", **settings)
    assert not equal(weights(whole), weights(plain))

    def kill(facts: dict[str, Any]) -> None:
        if facts.get("round") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", on_log=kill, **sampled)
    again = train(tmp_path / "killed", **sampled)
    assert again.resumed_from == 1
    assert equal(weights(again), weights(whole))


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Against an undisturbed run: the same weights, bit for bit, and the same history but for the seconds."""
    whole = train(tmp_path / "whole")
    killed = tmp_path / "killed"
    program = f"import sys; sys.path[:0] = {sys.path!r}; import test_yolo; test_yolo.train(test_yolo.Path({str(killed)!r}))"
    running = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (killed / "state" / "last.pt").exists() and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    resumed = train(killed)
    assert 1 <= resumed.resumed_from < 4
    assert (resumed.iterations, resumed.epochs, resumed.status) == (12, 4, "finished")
    pd.testing.assert_frame_equal(resumed.history.drop(columns="seconds"), whole.history.drop(columns="seconds"))
    assert resumed.history["seconds"].is_monotonic_increasing
    assert equal(weights(resumed), weights(whole))
    told = dict(shown(killed, "val/AP"))
    assert list(told) == [3, 6, 9, 12] and list(told.values()) == pytest.approx(resumed.history["val/AP"], abs=1e-4)
    again = train(killed)  # killed after its last round: nothing is left to train
    assert (again.resumed_from, again.iterations) == (4, 12) and equal(weights(again), weights(whole))


@pytest.mark.slow
def test_another_fingerprint_or_a_damaged_state_starts_afresh(tmp_path: Path) -> None:
    first = train(tmp_path)
    (tmp_path / "state" / "left-over").touch()
    second = train(tmp_path, fingerprint="other", seed=1)
    assert second.resumed_from == 0 and len(second.history) == 4
    assert not (tmp_path / "state" / "left-over").exists()
    assert second.history["train/box_loss"].tolist() != first.history["train/box_loss"].tolist()
    (tmp_path / "state" / "last.pt").write_bytes(b"cut")
    assert train(tmp_path, fingerprint="other", seed=1).resumed_from == 0


@pytest.mark.slow
def test_divergence_is_a_result_with_finite_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = train(tmp_path / "at-once", box=1e40)  # more than float32 can hold
    assert (result.status, result.iterations, result.epochs) == ("diverged at step 1", 0, 0)
    assert all(torch.isfinite(value).all() for value in weights(result).values())

    from lib.training.yolo_trainer import Trainer

    step = Trainer.optimizer_step

    def breaks(trainer: Trainer) -> None:
        if trainer.step == 7:
            trainer.loss = trainer.loss * float("nan")
        step(trainer)

    monkeypatch.setattr(Trainer, "optimizer_step", breaks)
    later = train(tmp_path / "later")
    assert (later.status, later.iterations, later.epochs, len(later.history)) == ("diverged at step 8", 7, 2, 2)
    assert all(torch.isfinite(value).all() for value in weights(later).values())


@pytest.mark.slow
def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    start = yolo.untrained(TrainingSettings(imgsz=64), names=NAMES, seed=5, folder=tmp_path)
    given = {"names": NAMES, "state": tmp_path / "state", "seed": 0, "threads": 1, "fingerprint": "f", "start": start}
    images = draw(tmp_path / "train", 8, seed=0)
    frozen = TrainingSettings.model_validate(SHORT | {"freeze": 4, "budget": {"iterations": 2, "evaluations": 1}})
    result = yolo.train(frozen, train_images=images, val_images=images[:4], **given)
    before, after = load_checkpoint(start)["model"].state_dict(), weights(result)
    assert torch.equal(before["model.0.conv.weight"], after["model.0.conv.weight"])
    assert not torch.equal(before["model.8.cv1.conv.weight"], after["model.8.cv1.conv.weight"])


def test_missing_and_damaged_images_are_named(tmp_path: Path) -> None:
    images = draw(tmp_path / "train", 4, seed=0)
    given = {"names": NAMES, "state": tmp_path / "state", "seed": 0, "threads": 1, "fingerprint": "f"}
    settings = TrainingSettings.model_validate(SHORT)
    with pytest.raises(DataError, match="no image in split 'train'"):
        yolo.train(settings, train_images=[], val_images=images, **given)
    with pytest.raises(DataError, match="gone"):
        yolo.train(settings, train_images=[*images, tmp_path / "gone.png"], val_images=images, **given)
    label = tmp_path / "train" / "labels" / "0001.txt"
    label.write_text("0 1.5 0.5 0.1 0.1")
    with pytest.raises(DataError, match="1 of 4 are damaged"):
        yolo.train(settings, train_images=images, val_images=images[2:], **given)
    assert cv2.imread(str(images[1])) is not None
