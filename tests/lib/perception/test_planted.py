"""Planted features: noise of length 1, and what the words of a query say in the steps of its answer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.config.embed import Planted
from lib.data.time_grid import TimeGrid
from lib.perception.planted import plant
from lib.perception.text_light import name_direction

VIDEOS = pd.DataFrame({"video": ["a", "b"], "original": ["a", "b"], "kind": ["none", "none"], "fps": 25.0, "frames": 2000})
QUERIES = pd.DataFrame(
    [("a", "q0", "cut the bread", "", "", 10.0, 30.0), ("a", "q1", "rinse a knife", "", "", 50.0, 61.0)],
    columns=["video", "query", "text", "template", "evidence", "start_s", "end_s"],
)
PLAIN = {"kind": "planted", "stride": 25, "window": 25, "width": 256}


def planted(**how: object) -> dict[str, np.ndarray]:
    return plant(VIDEOS, QUERIES, Planted.model_validate(PLAIN | how), "featuresets.p").tensors


def test_the_steps_of_an_answer_show_its_words() -> None:
    values, noise = planted(strength=3.0), planted(strength=0.0)
    centres = TimeGrid(25, 25, 25.0, 80.0).seconds(np.arange(80))
    inside = (centres >= 10) & (centres <= 30)
    shown = values["a"] - noise["a"]
    np.testing.assert_allclose(
        shown[inside], np.tile(3 * name_direction("cut the bread", 256), (inside.sum(), 1)), atol=1e-5
    )
    assert not shown[~inside & ((centres < 50) | (centres > 61))].any() and (values["b"] == noise["b"]).all()
    assert abs(np.linalg.norm(noise["a"], axis=1).mean() - 1) < 0.05 and values["a"].dtype == np.float32


def test_one_object_carries_an_answer_and_mixing_keeps_all_steps() -> None:
    tokens, noise = planted(objects=4, strength=3.0), planted(objects=4, strength=0.0)
    changed = np.abs(tokens["a"] - noise["a"]).max(axis=2) > 1e-6
    assert tokens["a"].shape == (80, 4, 256) and changed.sum(axis=1).max() == 1 and tokens["a.mask"].all()
    mixed, plain = planted(shuffled=True), planted()
    assert not np.array_equal(mixed["a"], plain["a"])
    assert np.array_equal(np.sort(mixed["a"], axis=0), np.sort(plain["a"], axis=0))


def test_a_video_is_the_same_whatever_else_is_in_the_chunk() -> None:
    alone = plant(VIDEOS.iloc[1:], QUERIES, Planted.model_validate(PLAIN), "p").tensors
    np.testing.assert_array_equal(alone["b"], planted()["b"])
