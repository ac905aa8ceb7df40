"""COCO segmentations as compressed RLE, checked before pycocotools' C code sees them. Not here: any score.

Polygons and both kinds of RLE are accepted. Run lengths are counted first: they must fill the image exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_FAR = 10
"""Polygon corners may lie this many image sides outside; beyond that the outline is an error (and costs its length)."""


def to_rle(segmentation: Any, *, height: int, width: int) -> dict[str, Any]:
    """{"size": [height, width], "counts": text}. Raises ValueError that says what is wrong."""
    from pycocotools import mask

    if isinstance(segmentation, list):
        _check_polygons(segmentation, height, width)
        merged = mask.merge(mask.frPyObjects(segmentation, height, width))
        return {"size": [height, width], "counts": merged["counts"].decode("ascii")}
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        raise ValueError(f"{'is absent' if segmentation is None else 'is neither polygons nor RLE'}")
    if segmentation["size"] != [height, width]:
        raise ValueError(f"size {segmentation['size']} is not the image's [height, width] = [{height}, {width}]")
    counts = segmentation["counts"]
    if isinstance(counts, str):
        _check_runs(_runs(counts), height * width)
        return {"size": [height, width], "counts": counts}
    if not isinstance(counts, list) or not all(isinstance(run, int) and not isinstance(run, bool) for run in counts):
        raise ValueError("counts must be a text or a list of whole numbers")
    _check_runs(np.array(counts, dtype=np.int64), height * width)
    packed = mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode("ascii")}


def area_of(rle: dict[str, Any]) -> float:
    """Pixels of a mask."""
    from pycocotools import mask

    return float(mask.area(rle))


def bounding_box(rle: dict[str, Any]) -> list[float]:
    """x, y, width, height in px of a mask, as pycocotools gives it to results without a box."""
    from pycocotools import mask

    return [float(value) for value in mask.toBbox(rle)]


def _check_polygons(polygons: list[Any], height: int, width: int) -> None:
    if not polygons:
        raise ValueError("no polygon")
    for number, polygon in enumerate(polygons):
        numbers = isinstance(polygon, list) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in polygon
        )
        if not numbers or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"polygon {number} must be a list of at least three x, y pairs")
        corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        if not (np.abs(corners) <= _FAR * np.array([width, height])).all():  # also false for NaN
            raise ValueError(f"polygon {number} has a corner far outside the {width}x{height} image, or not finite")


def _check_runs(runs: np.ndarray, pixels: int) -> None:
    if not len(runs) or (runs < 0).any() or int(runs.sum()) != pixels:
        raise ValueError(f"counts cover {int(runs.sum()) if len(runs) else 0} pixels, the image has {pixels}")


def _runs(counts: str) -> np.ndarray:
    """Run lengths of COCO's compressed text: 5 bits a character, a sign bit, from the fourth run on differences to the run
    two before (maskApi.c, rleFrString)."""
    codes = np.frombuffer(counts.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    if not len(codes) or (codes < 0).any() or (codes > 63).any() or codes[-1] & 0x20:
        raise ValueError("counts is no COCO run-length text (cut, or another encoding)")
    last = np.flatnonzero((codes & 0x20) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first >= 7).any():
        raise ValueError("counts holds a run too long for any image")
    shift = 5 * (np.arange(len(codes)) - np.repeat(first, last - first + 1))
    values = np.add.reduceat((codes & 0x1F) << shift, first)
    values -= np.where(codes[last] & 0x10, 1 << 5 * (last - first + 1), 0)
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs
