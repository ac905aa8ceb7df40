"""Floors against training truth where the best blind boxes and the count of boxes are known by construction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.config.base import ConfigError
from lib.files import DataError, write_json
from lib.models import floors, load_predictor

CALL = {"conf": 0.001, "iou": 0.7, "max_det": 100, "imgsz": 64}


def truth() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ten frames of 100 x 50 px: `a` at one of two places (seven and three times), `b` in two frames, two without box."""
    rows = []
    for frame in range(8):
        x = 10 if frame < 6 else 60
        rows.append((f"k{frame}", "a", x, 10, x + 20, 30))
        if frame < 2:
            rows.append((f"k{frame}", "b", 40, 0, 50, 50))
    boxes = pd.DataFrame(rows, columns=["key", "class", "x1", "y1", "x2", "y2"])
    return boxes, pd.DataFrame({"key": [f"k{n}" for n in range(10)], "width": 100, "height": 50})


def load(tmp_path: Path, kind: str, seed: int = 0) -> floors.FloorPredictor:
    write_json(tmp_path / "model.weights", floors.fit(kind, *truth(), ["a", "b"], seed=seed))
    return load_predictor(tmp_path / "model.weights", {"format": "floor", "class_names": ["a", "b"]})


def test_prior_gives_typical_boxes_by_frequency_scaled_to_the_frame(tmp_path: Path) -> None:
    frame = np.zeros((100, 400, 3), np.uint8)
    (found,) = load(tmp_path, "prior").predict([frame], videos=["v"], frame_indices=[3], **CALL)
    wanted = [[40, 20, 120, 60, 0.6, 0], [240, 20, 320, 60, 0.2, 0], [160, 0, 200, 100, 0.2, 1]]
    np.testing.assert_allclose(sorted(found.tolist()), sorted(wanted), rtol=1e-6)
    assert found.dtype == np.float32 and found[0, 4] == found[:, 4].max()


def test_prior_is_blind(tmp_path: Path) -> None:
    predictor = load(tmp_path, "prior")
    images = [np.full((50, 100, 3), value, np.uint8) for value in (0, 255)]
    first, second = predictor.predict(images, videos=["v", "w"], frame_indices=[0, 9], **CALL)
    assert np.array_equal(first, second) and predictor.blind


def test_chance_depends_on_video_and_frame_only(tmp_path: Path) -> None:
    predictor = load(tmp_path, "chance")
    frame = np.zeros((50, 100, 3), np.uint8)
    asked = [("v", 0), ("v", 1), ("w", 0), ("w", 1)]

    def look(pairs: list[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
        videos, indices = zip(*pairs, strict=True)
        found = predictor.predict([frame] * len(pairs), videos=videos, frame_indices=indices, **CALL)
        return {pair: boxes.tobytes() for pair, boxes in zip(pairs, found, strict=True)}

    assert look(asked) == look(asked[::-1]) == look(asked[:1]) | look(asked[1:])
    assert len(set(look([("v", n) for n in range(20)]).values())) > 5
    other = load(tmp_path, "chance", seed=1)
    found = [other.predict([frame], videos=["v"], frame_indices=[n], **CALL)[0].tobytes() for n in range(20)]
    assert found != [look([("v", n)])["v", n] for n in range(20)]


def test_chance_has_as_many_boxes_as_training_frames(tmp_path: Path) -> None:
    frame = np.zeros((50, 100, 3), np.uint8)
    found = load(tmp_path, "chance").predict([frame] * 2000, videos=["v"] * 2000, frame_indices=range(2000), **CALL)
    shares = np.bincount([len(boxes) for boxes in found]) / 2000
    assert shares == pytest.approx([0.2, 0.6, 0.2], abs=0.04)
    boxes = np.concatenate(found)
    assert {tuple(box) for box in boxes[:, :4].round(3).tolist()} == {(10, 10, 30, 30), (60, 10, 80, 30), (40, 0, 50, 50)}


def test_a_floor_is_plain_json_and_the_same_every_time() -> None:
    texts = {json.dumps(floors.fit("prior", *truth(), ["a", "b"], seed=0), allow_nan=False) for _ in range(2)}
    assert len(texts) == 1


def test_limits_hold(tmp_path: Path) -> None:
    frame = np.zeros((50, 100, 3), np.uint8)
    given = CALL | {"conf": 0.5, "max_det": 1}
    (found,) = load(tmp_path, "prior").predict([frame], videos=["v"], frame_indices=[0], **given)
    assert found[:, 4].tolist() == pytest.approx([0.6])


def test_wrong_input_is_named(tmp_path: Path) -> None:
    boxes, frames = truth()
    with pytest.raises(ConfigError, match="did you mean 'prior'"):
        floors.fit("priors", boxes, frames, ["a"], seed=0)
    with pytest.raises(DataError, match="no training frame"):
        floors.fit("prior", boxes, frames.iloc[:0], ["a"], seed=0)
    with pytest.raises(DataError, match="no frame"):
        floors.fit("prior", boxes, frames.iloc[1:], ["a"], seed=0)
    write_json(tmp_path / "model.weights", {"format": "else"})
    with pytest.raises(DataError, match=r"model\.weights: not a fitted floor"):
        load_predictor(tmp_path / "model.weights", {"format": "floor", "class_names": ["a"]})


def test_a_floor_of_an_arm_without_boxes_finds_nothing() -> None:
    boxes, frames = truth()
    for kind in ("prior", "chance"):
        predictor = floors.FloorPredictor(floors.fit(kind, boxes.iloc[:0], frames, ["a", "b"], seed=0))
        (found,) = predictor.predict([np.zeros((5, 5, 3), np.uint8)], videos=["v"], frame_indices=[0], **CALL)
        assert found.shape == (0, 6)
