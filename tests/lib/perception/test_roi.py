"""Object tokens from tracks on made pictures: which boxes are chosen, what a token holds, and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.config.embed import Objects
from lib.data.features import Features
from lib.perception.roi import chosen_boxes, crops_of, encode_objects
from lib.perception.roi_light import LightLooks
from lib.perception.text_light import name_direction
from lib.tables import COLUMNS, TRACKS, empty
from tests.lib.perception.made_videos import FPS, SIZE, film, moving, square

SETTINGS = {"kind": "objects", "detector": "d", "tracker": "t", "stride": 2, "window": 4, "top": 3}


def track(
    number: int, frames: range, box: tuple[float, ...], *, score: float = 0.9, name: str = "crane hook"
) -> pd.DataFrame:
    rows = [["v", frame, frame / FPS, name, score, *box, number] for frame in frames]
    return pd.DataFrame(rows, columns=list(COLUMNS[TRACKS]))


def tokens(video: pd.DataFrame, tracks: pd.DataFrame, **changes: object) -> tuple[np.ndarray, np.ndarray, Features]:
    settings = Objects.model_validate(SETTINGS | changes)
    found = encode_objects(video, tracks, settings, LightLooks(), "featuresets.f", progress=False)
    return found.tensors["v"], found.tensors["v.mask"].astype(bool), found


def test_a_token_is_looks_place_score_and_name(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", moving(0, 0))
    values, mask, _ = tokens(video, track(1, range(4, 12), (38, 22, 58, 42)))
    assert values.shape == (9, 3, 128 + 4 + 1 + 64) and mask[:, 1:].sum() == 0
    assert mask[:, 0].tolist() == [False, True, True, True, True, True, False, False, False]
    token = values[3, 0]
    assert np.linalg.norm(token[:128]) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(token[128:132], [48 / SIZE[0], 32 / SIZE[1], 20 / SIZE[0], 20 / SIZE[1]], atol=1e-6)
    assert token[132] == pytest.approx(0.9)
    np.testing.assert_array_equal(token[133:], name_direction("crane hook", 64))
    assert not values[~mask].any(), "where nothing is, there is nothing"


def test_looks_tell_colours_apart_and_know_them_again() -> None:
    crops = [square(10, 10, colour)[8:32, 8:32] for colour in ((220, 30, 30), (225, 36, 28), (30, 60, 200))]
    looks = LightLooks().encode(crops)
    assert looks.shape == (3, 128) and looks[0] @ looks[1] > 0.95 and looks[0] @ looks[2] < 0.85
    assert LightLooks().encode([]).shape == (0, 128)


def test_no_tracks_is_no_objects_and_told(tmp_path: Path) -> None:
    values, mask, found = tokens(film(tmp_path / "v.mp4", moving(1, 0)), empty(TRACKS))
    assert not values.any() and not mask.any() and found.notes["without_objects"] == ["v"]


def test_each_track_once_by_the_middle_of_the_window_and_the_best_first() -> None:
    rows = pd.concat(
        [
            track(1, range(0, 4), (0, 0, 9, 9), score=0.5),
            track(2, range(3, 4), (0, 0, 9, 9), score=0.9),
            track(3, range(0, 1), (0, 0, 9, 9), score=0.5),
            track(4, range(0, 4), (0, 0, 9, 9), score=0.1),
        ]
    )
    found = chosen_boxes(rows, [(0, 4), (2, 6)], top=3)
    assert found[found["step"] == 0][["track", "frame", "slot"]].values.tolist() == [[2, 3, 0], [1, 1, 1], [3, 0, 2]]
    assert found[found["step"] == 1]["track"].tolist() == [2, 1, 4]


def test_crops_hold_every_touched_pixel_and_never_none() -> None:
    picture = np.arange(64 * 96 * 3, dtype=np.int64).reshape(64, 96, 3)
    boxes = np.array([[1.2, 2.7, 4.1, 5.0], [95.9, 63.9, 120.0, 80.0], [-9.0, -9.0, -1.0, -1.0], [200.0, 5.0, 220.0, 9.0]])
    shapes = [crop.shape[:2] for crop in crops_of(picture, boxes)]
    assert shapes == [(3, 4), (1, 1), (1, 1), (4, 1)]
