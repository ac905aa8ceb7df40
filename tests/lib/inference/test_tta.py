"""Properties that test-time augmentation must have (hypothesis), and weighted box fusion against hand-computed values."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lib.config.base import ConfigError
from lib.config.predict import Merge, Tta, View
from lib.inference.tta import back, look_in_views, merge, view_imgsz

WIDTH, HEIGHT = 320, 192


@st.composite
def box_sets(draw: st.DrawFn, most: int = 12) -> np.ndarray:
    """Boxes (N, 6) float32 inside the frame, as a model gives them."""
    rows = []
    for _ in range(draw(st.integers(0, most))):
        x1, y1 = draw(st.integers(0, (WIDTH - 8) * 64)) / 64, draw(st.integers(0, (HEIGHT - 8) * 64)) / 64
        width, height = draw(st.floats(2, 100, width=16)), draw(st.floats(2, 100, width=16))
        score, index = draw(st.floats(0.0078125, 1, width=32)), draw(st.integers(0, 2))
        rows.append([x1, y1, min(x1 + width, WIDTH), min(y1 + height, HEIGHT), score, index])
    return np.array(rows, dtype=np.float32).reshape(-1, 6)


def canonical(boxes: np.ndarray) -> np.ndarray:
    return boxes[np.lexsort(boxes.T)]


@given(box_sets())
def test_mirroring_twice_is_exact(boxes: np.ndarray) -> None:
    flip = View(flip=True)
    once = back(boxes, flip, width=WIDTH)
    assert (once[:, 0] <= once[:, 2]).all()
    assert np.array_equal(back(once, flip, width=WIDTH), boxes.astype(np.float64))


@given(box_sets())
def test_one_plain_view_is_the_model_itself(boxes: np.ndarray) -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    (seen,) = look_in_views(lambda frames, imgsz: [boxes], [frame], Tta(views=[{}]), imgsz=160)
    assert np.array_equal(seen, boxes.astype(np.float64))


@given(st.lists(box_sets(8), min_size=2, max_size=4), st.randoms())
def test_order_of_views_and_of_boxes_does_not_matter(views: list[np.ndarray], rng: random.Random) -> None:
    shuffled = [boxes[rng.sample(range(len(boxes)), len(boxes))] for boxes in rng.sample(views, len(views))]
    one = merge(views, Merge(), width=WIDTH, height=HEIGHT)
    two = merge(shuffled, Merge(), width=WIDTH, height=HEIGHT)
    assert np.array_equal(canonical(one), canonical(two))


@given(box_sets())
def test_a_view_that_sees_the_same_adds_nothing(boxes: np.ndarray) -> None:
    """Two equal views give the boxes of fusing one alone; scores never exceed the best and boxes stay in the frame."""
    two = merge([boxes, boxes], Merge(), width=WIDTH, height=HEIGHT)
    three = merge([boxes, boxes, boxes], Merge(), width=WIDTH, height=HEIGHT)
    assert two.shape == three.shape and len(two) <= len(boxes)
    if len(boxes):
        assert two[:, 4].max() <= boxes[:, 4].max() + 1e-6
        assert two[:, :4].min() >= 0 and two[:, 2].max() <= WIDTH + 1e-3 and two[:, 3].max() <= HEIGHT + 1e-3
        assert set(two[:, 5]) == set(boxes[:, 5].astype(float))


def test_fusion_by_hand() -> None:
    """Coordinates weigh by score: (0.9 · 10 + 0.6 · 13) / 1.5 = 11.2; found by one of two views = half the score."""
    one = np.array([[10, 10, 110, 110, 0.9, 0], [200, 20, 240, 60, 0.8, 1]])
    two = np.array([[13, 10, 113, 110, 0.6, 0]])
    fused = merge([one, two], Merge(), width=WIDTH, height=HEIGHT)
    assert np.allclose(fused, [[11.2, 10, 111.2, 110, 0.75, 0], [200, 20, 240, 60, 0.4, 1]], atol=1e-4)
    apart = merge([one, two], Merge(iou=0.99), width=WIDTH, height=HEIGHT)
    assert sorted(apart[:, 4].round(3)) == [0.3, 0.4, 0.45]
    other_class = two + np.array([0, 0, 0, 0, 0, 1])
    assert len(merge([one, other_class], Merge(), width=WIDTH, height=HEIGHT)) == 3
    assert len(merge([one, two], Merge(skip=0.85), width=WIDTH, height=HEIGHT)) == 1


def test_two_boxes_of_one_view_are_not_two_views() -> None:
    doubles = np.array([[10, 10, 110, 110, 0.8, 0], [11, 10, 111, 110, 0.8, 0]])
    fused = merge([doubles, np.zeros((0, 6))], Merge(), width=WIDTH, height=HEIGHT)
    assert fused[:, 4].tolist() == pytest.approx([0.4])


def test_no_boxes_at_all() -> None:
    assert merge([np.zeros((0, 6))] * 2, Merge(), width=WIDTH, height=HEIGHT).shape == (0, 6)


def test_views_are_really_looked_at() -> None:
    """A model that finds the brightest column: mirrored views map back onto the plain one, sizes follow the scale."""
    sizes = []

    def brightest(frames: list[np.ndarray], imgsz: int) -> list[np.ndarray]:
        sizes.append(imgsz)
        columns = [int(frame[:, :, 0].sum(axis=0).argmax()) for frame in frames]
        return [np.array([[x, 0, x + 1, HEIGHT, 0.9, 0]], np.float32) for x in columns]

    frames = []
    for column in (5, 300):
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        frame[:, column] = 255
        frames.append(frame)
    tta = Tta(views=[{}, {"flip": True}, {"scale": 0.75}, {"scale": 1.5, "flip": True}])
    seen = look_in_views(brightest, frames, tta, imgsz=160)
    assert sizes == [160, 160, 128, 256]
    assert np.allclose(np.concatenate(seen), [[5, 0, 6, HEIGHT, 0.9, 0], [300, 0, 301, HEIGHT, 0.9, 0]], atol=1e-4)


def test_a_scale_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"scale 0\.95 of input size 160 px is 160 px again"):
        view_imgsz(View(scale=0.95), 160)
    assert view_imgsz(View(scale=0.75), 560, 56) == 448, "RF-DETR base takes multiples of 56 px"
    with pytest.raises(ConfigError, match=r"scale 1\.04 .*multiples of 56\).*at least 1\.10 or at most 0\.90"):
        view_imgsz(View(scale=1.04), 560, 56)


def test_settings_refuse_a_view_twice() -> None:
    with pytest.raises(ValidationError, match="count double"):
        Tta(views=[{}, {"flip": False}])
    assert Tta().views == [View()]
