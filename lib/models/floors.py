"""Floors of detection: what can be had without looking at a frame. Not here: the untrained model (lib/training/yolo.py).

prior: the boxes that meet most training boxes, the same in every frame, so the best blind guess by this measure. chance: as
many boxes as some training frame has, drawn from the training boxes. Both go through the same predict as a trained model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import ConfigError, nearest
from lib.files import DataError, read_json

FORMAT = "vipersight-floor-1"
TYPICAL = 10  # boxes of a class in the prior
CANDIDATES = 400  # training boxes of a class that may become typical
KEPT = 5000  # training boxes that chance draws from
MATCH = 0.5  # IoU from which a typical box meets a training box, as in AP50


def fit(kind: str, boxes: pd.DataFrame, frames: pd.DataFrame, classes: Sequence[str], *, seed: int) -> dict[str, Any]:
    """A floor as plain values for JSON.

    kind: prior or chance. boxes: key, class, x1, y1, x2, y2 (px); frames: key, width, height (px), also frames without a
    box. Raises ConfigError for an unknown kind, DataError when there is no frame or a box without its frame.
    """
    makers = {"prior": _prior, "chance": _chance}
    if kind not in makers:
        raise ConfigError(f"floor: unknown kind {kind!r}. {nearest(kind, makers)}")
    if frames.empty:
        raise DataError("floor: no training frame. Hint: does the arm hold any?")
    joined = boxes.merge(frames[["key", "width", "height"]], on="key", how="left", validate="many_to_one")
    if joined["width"].isna().any():
        raise DataError("floor: a training box has no frame; boxes and frames must come from the same samples.")
    known = {name: index for index, name in enumerate(classes)}
    joined = joined[joined["class"].isin(known)].reset_index(drop=True)
    size = joined[["width", "height", "width", "height"]].to_numpy(dtype=np.float64)
    shares = joined[["x1", "y1", "x2", "y2"]].to_numpy(dtype=np.float64) / size
    labels = joined["class"].map(known).to_numpy(dtype=np.int64)
    places = pd.factorize(joined["key"])[0]
    found = makers[kind](shares, labels, places, frames, seed)
    return {"format": FORMAT, "kind": kind, "names": list(classes), "seed": seed, **found}


def _prior(shares: np.ndarray, labels: np.ndarray, places: np.ndarray, frames: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Typical boxes (K, 6): x1, y1, x2, y2 as shares of the frame, score, class."""
    rows: list[list[float]] = []
    for label in np.unique(labels):
        mine = labels == label
        for box, score in _typical(shares[mine], places[mine], len(frames), seed):
            rows.append([*box.tolist(), score, int(label)])
    return {"boxes": sorted(rows, key=lambda row: -row[4])}


def _typical(boxes: np.ndarray, places: np.ndarray, n_frames: int, seed: int) -> list[tuple[np.ndarray, float]]:
    """Greedy: next comes the candidate that meets most boxes not met yet; its score is the share of frames it meets."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(boxes), size=min(CANDIDATES, len(boxes)), replace=False))
    meets = _iou(boxes[chosen], boxes) >= MATCH
    open_boxes = np.ones(len(boxes), dtype=bool)
    found: list[tuple[np.ndarray, float]] = []
    while len(found) < TYPICAL and open_boxes.any():
        best = int((meets & open_boxes).sum(axis=1).argmax())
        newly = meets[best] & open_boxes
        if not newly.any():
            break
        found.append((boxes[chosen[best]], len(np.unique(places[newly])) / n_frames))
        open_boxes &= ~newly
    return found


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of boxes (A, 4) and (B, 4) → (A, B)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return shared / (areas[0][:, None] + areas[1][None, :] - shared)


def _chance(shares: np.ndarray, labels: np.ndarray, places: np.ndarray, frames: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Training boxes (K, 5) with their class, and how many boxes the training frames have."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(len(shares), size=min(KEPT, len(shares)), replace=False))
    per_frame = np.bincount(places, minlength=len(frames)) if len(places) else np.zeros(len(frames), dtype=np.int64)
    counts = np.bincount(per_frame)
    return {
        "boxes": [[*shares[row].tolist(), int(labels[row])] for row in kept],
        "frames_by_count": counts.tolist(),
    }


class FloorPredictor:
    """A fitted floor. It is blind: it wants to know which frames are asked for, not what they show."""

    blind = True
    fixed_batch: int | None = None

    def __init__(self, values: dict[str, Any]) -> None:
        self.names: list[str] = list(values["names"])
        self._kind: str = values["kind"]
        self._seed: int = values["seed"]
        width = 6 if self._kind == "prior" else 5
        self._boxes = np.array(values["boxes"], dtype=np.float64).reshape(-1, width)
        self._counts = np.array(values.get("frames_by_count", [1]), dtype=np.float64)

    def predict(
        self,
        frames: list[np.ndarray],
        *,
        videos: Sequence[str],
        frame_indices: Sequence[int],
        conf: float,
        iou: float,
        max_det: int,
        imgsz: int,
    ) -> list[np.ndarray]:
        """Boxes of each frame (N, 6) float32 as a detector gives them, from its size, video and frame index only.

        iou and imgsz belong to the common call and change nothing: nothing is looked at or suppressed.
        """
        found = []
        for frame, video, index in zip(frames, videos, frame_indices, strict=True):
            rows = self._boxes if self._kind == "prior" else self._drawn(video, index)
            height, width = frame.shape[:2]
            boxes = rows * np.array([width, height, width, height, 1, 1], dtype=np.float64)
            boxes = boxes[boxes[:, 4] >= conf]
            found.append(boxes[np.argsort(-boxes[:, 4], kind="stable")][:max_det].astype(np.float32))
        return found

    def _drawn(self, video: str, index: int) -> np.ndarray:
        """Boxes (N, 6) of one frame; they depend on seed, video and frame only, so order and batches do not matter."""
        text = f"{self._seed}/{video}/{index}"
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
        count = rng.choice(len(self._counts), p=self._counts / self._counts.sum())
        if not count or not len(self._boxes):
            return np.zeros((0, 6))
        rows = self._boxes[rng.integers(len(self._boxes), size=count)]
        return np.column_stack([rows[:, :4], rng.random(count), rows[:, 4]])


def load(path: Path) -> FloorPredictor:
    """The floor in a JSON file that `fit` made; DataError when it is something else."""
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f"{path}: not a fitted floor ({FORMAT}). Hint: let the train rule write it again.")
    return FloorPredictor(values)


def inspect(path: Path) -> dict[str, Any]:
    """Class names of a floor; it has no input size of its own and no parameters."""
    return {"class_names": load(path).names, "input_size": 0, "parameters": 0}
