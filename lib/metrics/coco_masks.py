"""Masks of tables as COCO's evaluator takes them. Not here: the evaluation (coco.py), checking masks that people bring
(lib/scoring/masks.py)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

_AT_ONCE = 255  # pycocotools counts the masks of a call in 8 bits, which NumPy 2 refuses beyond that


def run_lengths(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """COCO's RLE of every row (mask, height, width, x1, y1, x2, y2; ignore where the table has it).

    An ignored region without a mask is its box. DataError: a box without a mask.
    """
    from lib.files import DataError

    found = []
    for row in rows.itertuples():
        size, counts = [int(row.height), int(row.width)], row.mask
        if not counts and getattr(row, "ignore", False):
            counts = _outline(row, size)
        if not counts:
            raise DataError(
                f"video {row.video!r}, frame {row.frame}: masks are compared, but a box has none. Hint: score task "
                "detection on these data, or take a source with masks (COCO `segmentation`)."
            )
        found.append({"size": size, "counts": counts})
    return found


def _outline(row: Any, size: list[int]) -> str:
    """Run-length text of a row's box."""
    from pycocotools import mask

    corners = [[row.x1, row.y1, row.x2, row.y1, row.x2, row.y2, row.x1, row.y2]]
    return mask.merge(mask.frPyObjects(corners, *size))["counts"].decode("ascii")


def areas(masks: list[dict[str, Any]]) -> np.ndarray:
    """(N,) float64: pixels of each mask."""
    from pycocotools import mask

    pieces = [mask.area(masks[first : first + _AT_ONCE]) for first in range(0, len(masks), _AT_ONCE)]
    return np.concatenate([np.zeros(0), *pieces])


def results(rows: pd.DataFrame, boxes: np.ndarray) -> bytes:
    """Predicted masks as COCO results, which the evaluator takes as JSON only. boxes: (N, 4) x, y, width, height in px."""
    columns = [rows[name].tolist() for name in ("image", "class_index", "score")]
    keys = ("image_id", "category_id", "score", "bbox", "segmentation")
    found = [
        dict(zip(keys, (image, number + 1, score, box, mask), strict=True))
        for image, number, score, box, mask in zip(*columns, boxes.tolist(), run_lengths(rows), strict=True)
    ]
    return json.dumps(found).encode()
