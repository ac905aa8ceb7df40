"""YOLO (data.yaml, a text file of normalised boxes or polygons per image) as a Source. Not here: keypoints, rotated boxes.

A row `class cx cy w h` is a box; a row with at least three points `class x1 y1 x2 y2 x3 y3 ...` is a polygon, which gives a
box and a mask. As everywhere in that format, an image without a label file is background (counted in `dropped`). Sizes of
images, needed for px, are those seen after turning by EXIF, as trainers of this format read them.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.config.base import ConfigError
from lib.config.download import YoloSource
from lib.config.safe_yaml import load_yaml
from lib.data.images import image_size
from lib.data.sources import Item, Source, add_item, boxes_table, frames_table, images_in, media_kind
from lib.files import DataError

_SPLITS = ("train", "val", "test")
_PLAUSIBLE = 2.0  # beyond this a "normalised" number is surely px


@dataclass
class _Reading:
    """What has been read so far, over all splits."""

    names: dict[int, str]
    items: dict[str, Item] = field(default_factory=dict)
    boxes: list[tuple[Any, ...]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)


def read(root: Path, options: YoloSource) -> Source:
    """Read data.yaml, the image folders of its splits and their labels. DataError names file and line."""
    path = root / options.data
    data = _load(path)
    reading = _Reading(_names(data, path))
    base = path.parent / str(data.get("path") or "")
    if not base.is_dir():  # a `path` of the machine that wrote the file
        base = path.parent
    splits = {split: data[split] for split in _SPLITS if data.get(split)}
    if not splits:
        raise DataError(f"{path}: names none of the splits {', '.join(_SPLITS)}.")
    for split, listed in splits.items():
        for entry in listed if isinstance(listed, list) else [listed]:
            for image in _images(base, str(entry), path):
                _add_image(root, image, split, reading)
    return Source(
        items=list(reading.items.values()),
        classes=[reading.names[key] for key in sorted(reading.names)],
        frames=frames_table([(name, 0) for name in reading.items]),
        boxes=boxes_table(reading.boxes),
        dropped=reading.dropped,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        data = load_yaml(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: file not found. Hint: set `data` in the dataset's `source:` block.") from error
    except ConfigError as error:
        raise DataError(str(error)) from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: must be a mapping with names, train, val, test.")
    return data


def _names(data: dict[str, Any], path: Path) -> dict[int, str]:
    names = data.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(str(key).isdigit() for key in names):
        raise DataError(f"{path}: `names` must be a list of classes or a mapping number -> class, got {names!r}.")
    found = {int(key): str(value) for key, value in names.items()}
    if len(set(found.values())) != len(found):
        raise DataError(f"{path}: `names` states a class twice: {sorted(found.values())}.")
    return found


def _images(base: Path, entry: str, path: Path) -> list[Path]:
    """Images of one entry of a split: a folder (searched at every depth) or a text file that lists images."""
    place = base / entry
    if not place.exists() and entry.startswith("../"):  # one popular exporter writes paths one level too high
        place = base / entry.removeprefix("../")
    if place.is_dir():
        folders = [place, *sorted(folder for folder in place.rglob("*") if folder.is_dir())]
        return [image for folder in folders for image in images_in(folder)]
    if place.is_file() and place.suffix == ".txt":
        lines = [line.strip() for line in place.read_text(encoding="utf-8").splitlines()]
        return [(place.parent / line) if line.startswith("./") else (base / line) for line in lines if line]
    raise DataError(f"{path}: {place}: no such folder of images. Hint: check `path` and the split's entry.")


def _label_file(image: Path) -> Path:
    """The label beside an image: the last folder `images` of its path becomes `labels`, the suffix .txt."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _add_image(root: Path, image: Path, split: str, reading: _Reading) -> None:
    if media_kind(image) != "image":
        raise DataError(f"{image}: is listed as an image of split {split!r}, but its suffix is not an image's.")
    original = (image.relative_to(root) if image.is_relative_to(root) else image).as_posix()
    label = _label_file(image)
    lines = label.read_text(encoding="utf-8").splitlines() if label.is_file() else []
    if not label.parent.is_dir():
        raise DataError(f"{label.parent}: no such folder of labels. Hint: labels lie in `labels` beside `images`.")
    if not label.is_file():
        note = {"original": original, "what": "label file", "value": str(label), "cause": "absent: taken as background"}
        reading.dropped.append(note)
    width, height = 0, 0
    with suppress(DataError):  # a missing or broken image is ingest's to judge, by the dataset's policy
        width, height = image_size(image)
    add_item(reading.items, Item(original, image, "image", split, 1, None, width or None, height or None), label)
    for number, line in enumerate(lines, 1):
        if line.strip() and width:
            _add_row(original, line, f"{label}:{number}", (width, height), reading)


def _add_row(original: str, line: str, where: str, size: tuple[int, int], reading: _Reading) -> None:
    label, values = _numbers(line, where)
    name = reading.names.get(label)
    if name is None:
        raise DataError(f"{where}: class {label} is not among `names` (0..{max(reading.names)}).")
    width, height = size
    mask = ""
    if len(values) == 4:
        cx, cy, w, h = values
        box = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
    else:
        points = np.asarray(values).reshape(-1, 2) * (width, height)
        box = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
        mask = _polygon_mask(points, width, height)
    if box[2] <= box[0] or box[3] <= box[1]:
        reading.dropped.append(
            {"original": original, "what": "box", "value": f"{where}: {line.strip()}", "cause": "no area"}
        )
        return
    reading.boxes.append((original, 0, name, *box, -1, False, mask))


def _numbers(line: str, where: str) -> tuple[int, list[float]]:
    try:
        label, *values = (float(word) for word in line.split())
    except ValueError as error:
        raise DataError(f"{where}: must hold numbers only, got {line.strip()!r}.") from error
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise DataError(
            f"{where}: needs `class cx cy w h` or `class` and at least three points, got {len(values) + 1} numbers."
        )
    if not label.is_integer() or any(not math.isfinite(value) for value in values):
        raise DataError(f"{where}: the class must be an integer and coordinates finite, got {line.strip()!r}.")
    if any(abs(value) > _PLAUSIBLE for value in values):
        raise DataError(
            f"{where}: coordinates must be normalised to 0..1, got {line.strip()!r}. Hint: divide px by the size."
        )
    return int(label), values


def _polygon_mask(points: np.ndarray, width: int, height: int) -> str:
    from pycocotools import mask as rle

    return rle.merge(rle.frPyObjects([points.ravel().tolist()], height, width))["counts"].decode("utf-8")
