"""Tiny labelled images drawn for the tests of training: a bright square and a dark bar on noise. No test itself."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

NAMES = ["square", "bar"]
SIDE = 64


def draw(folder: Path, count: int, *, seed: int) -> list[Path]:
    """Write `count` images (64 px) into folder/images with YOLO labels in folder/labels; every fifth is background."""
    rng = np.random.default_rng(seed)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        image, boxes = picture(rng, empty=number % 5 == 4)
        path = folder / "images" / f"{number:04d}.png"
        cv2.imwrite(str(path), image)
        lines = [
            f"{c} {(x1 + x2) / 2 / SIDE} {(y1 + y2) / 2 / SIDE} {(x2 - x1) / SIDE} {(y2 - y1) / SIDE}"
            for c, x1, y1, x2, y2 in boxes
        ]
        (folder / "labels" / f"{number:04d}.txt").write_text("\n".join(lines))
        paths.append(path)
    return paths


def picture(rng: np.random.Generator, *, empty: bool = False) -> tuple[np.ndarray, list[tuple[int, int, int, int, int]]]:
    """An image (64, 64, 3) uint8 BGR and its boxes: class, x1, y1, x2, y2 px (exclusive edges)."""
    image = rng.integers(90, 150, (SIDE, SIDE, 3), dtype=np.uint8)
    boxes: list[tuple[int, int, int, int, int]] = []
    if not empty:
        side = int(rng.integers(18, 28))
        x, y = (int(rng.integers(0, SIDE - side)) for _ in range(2))
        image[y : y + side, x : x + side] = (60, 240, 250)
        boxes.append((0, x, y, x + side, y + side))
        if rng.random() < 0.5:
            x, y = int(rng.integers(0, SIDE - 40)), int(rng.integers(0, SIDE - 14))
            image[y : y + 14, x : x + 40] = (20, 10, 60)
            boxes.append((1, x, y, x + 40, y + 14))
    return image, boxes
