"""Repeat-factor sampling in numbers: how often an image is seen in a pass over all. Not here: the order (sampling.py).

r(c) = max(1, sqrt(t / f(c))), an image's factor is the largest of its classes' (LVIS, arXiv 1908.03195, appendix B; as in
detectron2's RepeatFactorTrainingSampler). f(c): the share of images that show c; instance-aware: the geometric mean of that
and of the class's share of all boxes (arXiv 2305.08069). Letters: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.config.train_sampling import Sampling


def frequencies(boxes: np.ndarray, kind: str) -> np.ndarray:
    """How frequent each class is. boxes (N, C) int: of each class in each image → (C,) float64, 0 to 1."""
    images = (boxes > 0).mean(axis=0) if len(boxes) else np.zeros(boxes.shape[1])
    if kind == "repeat_factor":
        return images
    return np.sqrt(images * boxes.sum(axis=0) / max(1, boxes.sum()))


def class_factors(boxes: np.ndarray, sampling: Sampling) -> np.ndarray:
    """r(c) of each class: (N, C) int → (C,) float64, at least 1; 1 for a class that no image shows."""
    frequent = frequencies(boxes, sampling.kind)
    return np.sqrt(np.maximum(1.0, sampling.threshold / np.where(frequent > 0, frequent, 1.0)))


def image_factors(boxes: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """The largest r(c) of the classes that an image shows: (N, C) int, (C,) → (N,) float64; 1 for one without any."""
    return np.where(boxes > 0, of_class, 1.0).max(axis=1, initial=1.0)


def counted(classes: Sequence[Sequence[str]], instances: Sequence[Sequence[int]], names: Sequence[str]) -> np.ndarray:
    """(N, C) int64 boxes from the lists of a shard index: distinct classes of each image, and how many boxes of each."""
    column = {name: number for number, name in enumerate(names)}
    boxes = np.zeros((len(classes), len(names)), dtype=np.int64)
    for row, (shown, of_each) in enumerate(zip(classes, instances, strict=True)):
        for name, count in zip(shown, of_each, strict=True):
            boxes[row, column[name]] = count
    return boxes


def without_effect(boxes: np.ndarray, sampling: Sampling, names: Sequence[str]) -> str | None:
    """Why no image is repeated, or None where some are."""
    frequent = frequencies(boxes, sampling.kind)
    shown = [number for number in range(len(names)) if frequent[number] > 0]
    if any(frequent[number] < sampling.threshold for number in shown):
        return None
    if not shown:
        return f"sampling {sampling.kind} changes nothing: no image of the arm shows a class"
    rarest = min(shown, key=lambda number: frequent[number])
    return (
        f"sampling {sampling.kind} changes nothing: its threshold {sampling.threshold:g} is not above the frequency of the "
        f"rarest class, {names[rarest]} ({frequent[rarest]:.3g})"
    )
