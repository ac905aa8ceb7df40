"""Test-time augmentation: looking at a frame in several ways and making one set of boxes. Not here: running over videos
(predict.py).

Boxes are mapped back to the plain frame first and merged then, so the merge knows nothing of views. A scaled view changes
the size of the model's input, not the frame, so only mirrored boxes need mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lib.config.base import ConfigError
from lib.config.predict import Merge, Tta, View
from lib.perception.streaming import clipped

INPUT_STEP = 32
"""Of what a model's input sizes are multiples, px, unless it says so itself (`step`); YOLO's coarsest stride."""

Run = Callable[[list[np.ndarray], int], list[np.ndarray]]
"""Frames (H, W, 3) uint8 RGB and the input size in px → per frame (N, 6): x1, y1, x2, y2 in px, score, class index."""


def look_in_views(run: Run, frames: list[np.ndarray], tta: Tta, *, imgsz: int, step: int = INPUT_STEP) -> list[np.ndarray]:
    """Boxes (N, 6) float64 of each frame over all views. One plain view gives exactly what `run` gives.

    imgsz: the model's input size, px; step: of what its input sizes are multiples, px.
    Raises ConfigError when a scale leaves the input size as it is.
    """
    per_view = []
    for view in tta.views:
        shown = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames] if view.flip else frames
        found = run(shown, view_imgsz(view, imgsz, step))
        per_view.append([back(boxes, view, width=frame.shape[1]) for boxes, frame in zip(found, frames, strict=True)])
    return [
        merge(list(boxes), tta.merge, width=frame.shape[1], height=frame.shape[0])
        for boxes, frame in zip(zip(*per_view, strict=True), frames, strict=True)
    ]


def view_imgsz(view: View, imgsz: int, step: int = INPUT_STEP) -> int:
    """The model's input size, px, in this view: the nearest multiple of `step` to imgsz × scale."""
    size = max(step, round(imgsz * view.scale / step) * step) if view.scale != 1 else imgsz
    if view.scale != 1 and size == imgsz:
        raise ConfigError(
            f"tta views: scale {view.scale} of input size {imgsz} px is {size} px again (sizes are multiples of "
            f"{step}). Hint: use at least {1 + step / imgsz:.2f} or at most {1 - step / imgsz:.2f}."
        )
    return size


def back(boxes: np.ndarray, view: View, *, width: int) -> np.ndarray:
    """Boxes (N, 6) px of a view in px of the plain frame, float64 (mirroring twice is then exact to 2⁻⁴⁰ px)."""
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 6)
    if view.flip:
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return boxes


def merge(views: Sequence[np.ndarray], settings: Merge, *, width: int, height: int) -> np.ndarray:
    """One set of boxes (N, 6) from V sets of one frame, by weighted box fusion (Solovyev, Wang, Gabruseva 2021).

    Boxes of one class that overlap become their score-weighted average; its score is their mean score times the share of
    views that found it, so it never exceeds the best. The order of views and of boxes within a view does not matter. One
    view is returned as it is.
    """
    if len(views) == 1:
        return views[0]
    from ensemble_boxes import weighted_boxes_fusion

    ordered = sorted((_canonical(boxes, width, height) for boxes in views), key=lambda boxes: boxes.tobytes())
    size = np.array([width, height, width, height], dtype=np.float64)
    boxes, scores, labels = weighted_boxes_fusion(
        [boxes[:, :4] / size for boxes in ordered],
        [boxes[:, 4] for boxes in ordered],
        [boxes[:, 5] for boxes in ordered],
        iou_thr=settings.iou,
        skip_box_thr=settings.skip,
        conf_type="box_and_model_avg",  # the default counts two boxes of one view as two views
    )
    return np.column_stack([boxes * size, scores, labels]).reshape(-1, 6)


def _canonical(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Rows cut at the frame's edges (fusion takes coordinates inside [0, 1]) ordered by their values only."""
    boxes = clipped(boxes, width=width, height=height)
    return np.ascontiguousarray(boxes[np.lexsort(boxes.T)])
