"""Boxes, masks and labels on frames, legible at any frame size, by supervision. Not here: which ones are drawn, and where
the pictures go (export.py)."""

from __future__ import annotations

import numpy as np
import pandas as pd

COLOURS = ("#56b4e9", "#e69f00", "#35c796", "#f0e442", "#f08bc3", "#ff7a45", "#b39ddb", "#a5d64c", "#80deea", "#ffd180")
"""Light enough for black text on them; the first seven can be told apart with colour-blind eyes (after Okabe and Ito)."""


def drawn_size(width: int, height: int, min_width: int) -> tuple[int, int]:
    """(width, height) in px to draw at: enlarged to min_width where narrower, never smaller, both even (for H.264)."""
    scale = max(1.0, min_width / width)
    return 2 * round(width * scale / 2), 2 * round(height * scale / 2)


class Painter:
    """Draws the boxes of one video. Colours follow the class, or the track where there are tracks."""

    def __init__(self, classes: list[str], *, size: tuple[int, int]) -> None:
        """classes: their order gives the colours. size: (width, height) in px of the drawn frames."""
        import supervision as sv

        self.classes = {name: index for index, name in enumerate(classes)}
        self.size = size
        shorter = min(size)
        palette = sv.ColorPalette.from_hex(list(COLOURS))
        self.masks = sv.MaskAnnotator(color=palette, opacity=0.45)
        self.boxes = sv.BoxAnnotator(color=palette, thickness=max(2, round(shorter / 240)))
        self.labels = sv.LabelAnnotator(
            color=palette,
            text_color=sv.Color.BLACK,
            text_scale=max(0.4, shorter / 1000),
            text_thickness=max(1, round(shorter / 500)),
            text_padding=max(2, round(shorter / 160)),
            smart_position=True,
        )

    def paint(self, image: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """The drawn frame, (h, w, 3) uint8 RGB of `size`.

        image: (H, W, 3) uint8 RGB. rows: DETECTIONS, SEGMENTS or TRACKS of this frame.
        """
        import cv2
        import supervision as sv

        height, width = image.shape[:2]
        enlarging = cv2.INTER_CUBIC if self.size[0] > width else cv2.INTER_AREA
        canvas = image if (width, height) == self.size else cv2.resize(image, self.size, interpolation=enlarging)
        canvas = np.ascontiguousarray(canvas[:, :, ::-1])  # supervision draws in BGR
        if len(rows):
            scale = np.array([self.size[0] / width, self.size[1] / height] * 2)
            tracked = "track" in rows.columns
            colour = rows["track"] if tracked else rows["class"].map(self.classes)
            found = sv.Detections(
                xyxy=rows[["x1", "y1", "x2", "y2"]].to_numpy() * scale,
                class_id=colour.to_numpy(dtype=int) % len(COLOURS),
                confidence=rows["score"].to_numpy(),
                mask=_masks(rows, (height, width), self.size) if "mask" in rows.columns else None,
            )
            if found.mask is not None:
                canvas = self.masks.annotate(canvas, found)
            labels = [_label(row, tracked) for row in rows.to_dict("records")]
            canvas = self.labels.annotate(self.boxes.annotate(canvas, found), found, labels=labels)
        return np.ascontiguousarray(canvas[:, :, ::-1])


def _masks(rows: pd.DataFrame, shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Masks (N, h, w) bool of SEGMENTS rows at the drawn size; shape: (height, width) of the frame, size: (w, h)."""
    import cv2
    from pycocotools import mask

    coded = [{"size": list(shape), "counts": counts} for counts in rows["mask"]]
    return np.stack([cv2.resize(mask.decode(one), size, interpolation=cv2.INTER_NEAREST) > 0 for one in coded])


def _label(row: dict[str, object], tracked: bool) -> str:
    return f"#{row['track']} {row['class']}" if tracked else f"{row['class']} {row['score']:.2f}"
