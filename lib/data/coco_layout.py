"""The folder layout that RF-DETR reads: train | valid | test, each with images and `_annotations.coco.json` beside them.

A private copy of samples is written in it (export_coco); one that stands already is checked and read in place
(read_layout). Not here: YOLO's layout (shards.py), COCO files as a source of a dataset (sources/coco.py).

The library numbers classes by the categories of `train` and applies that to all splits, so these must be the same in each.
Ids start at 1: COCO's evaluators write 0 for “not matched”, so a box with id 0 would be a miss even when it is found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.config.base import ConfigError, nearest
from lib.data.reader import ShardReader
from lib.data.samples import Sample
from lib.files import DataError, read_json

ANNOTATIONS = "_annotations.coco.json"
FOLDERS = {"train": "train", "val": "valid", "test": "test"}
"""Split → folder of the layout."""


@dataclass(frozen=True)
class Layout:
    """One checked layout. classes: names in the order of the labels; images: split → how many images it lists."""

    folder: Path
    classes: list[str]
    images: dict[str, int]


def export_coco(
    reader: ShardReader,
    keys_by_split: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    folder: Path,
    *,
    masks: bool = False,
) -> Layout:
    """Copy samples, read by offset index, into the layout below `folder`.

    keys_by_split: split (train, val, test) → keys. Every key given becomes an image, with boxes or without: which empty
    frames take part is the arm's `background`. A key stated twice is copied once and listed twice (a repeated sample).
    classes: in the order of their labels, the same `categories` in each split; boxes of other classes are left out, ignored
    ones are `iscrowd`. masks: each box has one (polygons or RLE), else DataError. ConfigError: a class that the dataset
    lacks, an unknown split.
    """
    for name in classes:
        if name not in reader.classes:
            raise ConfigError(f"classes: the shards have no class {name!r}. {nearest(name, reader.classes)}")
    for split in keys_by_split:
        if split not in FOLDERS:
            raise ConfigError(f"split {split!r} has no folder in RF-DETR's layout. {nearest(split, FOLDERS)}")
    for split, keys in keys_by_split.items():
        inside = folder / FOLDERS[split]
        inside.mkdir(parents=True, exist_ok=True)
        labels = {sample.key: _written(sample, inside) for sample in reader.iterate(dict.fromkeys(keys))}
        text = json.dumps(_split(keys, labels, classes, masks=masks), ensure_ascii=False, allow_nan=False)
        (inside / ANNOTATIONS).write_text(text, encoding="utf-8")
    return Layout(folder, list(classes), {split: len(keys) for split, keys in keys_by_split.items()})


def _written(sample: Sample, folder: Path) -> dict[str, Any]:
    """Write the image; its labels."""
    (folder / f"{sample.key}.jpg").write_bytes(sample.jpg)
    return sample.data


def _split(
    keys: Sequence[str], labels: Mapping[str, Mapping[str, Any]], classes: Sequence[str], *, masks: bool
) -> dict[str, Any]:
    """What the annotation file of one split says."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    # a category that another one names as its supercategory is dropped by the library when it has no box: none has any
    categories = [{"id": number, "name": name, "supercategory": "none"} for name, number in numbers.items()]
    images, annotations = [], []
    for image, key in enumerate(keys, start=1):
        data = labels[key]
        images.append({"id": image, "file_name": f"{key}.jpg", "width": data["width"], "height": data["height"]})
        for box in _boxes(key, data, numbers, masks=masks):
            annotations.append({"id": len(annotations) + 1, "image_id": image} | box)
    return {"images": images, "annotations": annotations, "categories": categories}


def _boxes(key: str, data: Mapping[str, Any], numbers: Mapping[str, int], *, masks: bool) -> Iterator[dict[str, Any]]:
    """Boxes of a sample as COCO has them, cut at the image's edge; those without an area are left out."""
    shapes = data.get("masks") or [None] * len(data["boxes"])
    for box, name, ignore, shape in zip(data["boxes"], data["labels"], data["ignore"], shapes, strict=True):
        x1, x2 = (min(max(x, 0.0), float(data["width"])) for x in box[0::2])
        y1, y2 = (min(max(y, 0.0), float(data["height"])) for y in box[1::2])
        if name not in numbers or x2 <= x1 or y2 <= y1:
            continue
        if masks and not shape and not ignore:
            raise DataError(
                f"sample {key!r}: a box of class {name!r} has no mask, and segmentation is trained with one per box. "
                "Hint: train task detection on these data, or take a source with masks (COCO `segmentation`)."
            )
        found: dict[str, Any] = {"category_id": numbers[name], "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(ignore)}
        yield (
            found
            | {"area": _area(shape, data) if shape else (x2 - x1) * (y2 - y1)}
            | ({"segmentation": shape} if shape else {})
        )


def _area(shape: Any, data: Mapping[str, Any]) -> float:
    """Pixels of a mask: RLE, or a list of polygons."""
    from pycocotools import mask

    if isinstance(shape, Mapping):
        return float(mask.area(dict(shape)))
    return float(mask.area(mask.merge(mask.frPyObjects(list(shape), data["height"], data["width"]))))


def annotation_files(folder: Path, splits: Sequence[str] = ("train", "val")) -> list[Path]:
    """The annotations of a layout that stands. DataError when one is missing."""
    found = [folder / FOLDERS[split] / ANNOTATIONS for split in splits]
    for path in found:
        if not path.is_file():
            raise DataError(
                f"{path}: no such file. Hint: RF-DETR's layout is train, valid and test (not val), each with {ANNOTATIONS}."
            )
    return found


def read_layout(folder: Path, *, splits: Sequence[str] = ("train", "val"), masks: bool = False) -> Layout:
    """Check a layout that stands already, and say what it holds; nothing is copied or changed.

    masks: every box that is no crowd must have one. DataError: a split, a file or an image list that is missing, categories
    that differ between splits (swapped, missing, extra), an id 0, a box of an unknown category, a mask that is missing.
    """
    files = annotation_files(folder, splits)
    found = {split: _read_split(path, masks=masks) for split, path in zip(splits, files, strict=True)}
    first = splits[0]
    names = {split: _categories(data, folder / FOLDERS[split] / ANNOTATIONS) for split, data in found.items()}
    for split in splits[1:]:
        if names[split] != names[first]:
            raise DataError(_differ(folder, first, names[first], split, names[split]))
    return Layout(
        folder, _labels(found[first], names[first]), {split: len(data["images"]) for split, data in found.items()}
    )


def _read_split(path: Path, *, masks: bool) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or not all(
        isinstance(data.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise DataError(f"{path}: must be an object with the lists images, annotations and categories.")
    known = {entry.get("id") for entry in data["categories"]}
    for entry in data["annotations"]:
        _check_box(entry, known, path, masks=masks)
    return data


def _check_box(entry: dict[str, Any], known: set[Any], path: Path, *, masks: bool) -> None:
    if entry.get("id") == 0:
        raise DataError(f"{path}: an annotation has id 0, which COCO's evaluators count as missed. Hint: number from 1.")
    if entry.get("category_id") not in known:
        raise DataError(
            f"{path}: annotation {entry.get('id')!r} is of category {entry.get('category_id')!r}, which is not listed."
        )
    if masks and not entry.get("segmentation") and not entry.get("iscrowd"):
        raise DataError(
            f"{path}: annotation {entry.get('id')!r} has no `segmentation` (polygons or RLE), and segmentation is trained "
            "with one per box. Hint: train task detection on these data."
        )


def _categories(data: dict[str, Any], path: Path) -> dict[Any, str]:
    """Id → name, in the order of the ids, as the library numbers its labels."""
    found: dict[Any, str] = {}
    for entry in sorted(data["categories"], key=lambda entry: int(entry.get("id", -1))):
        if entry.get("id") in found or not entry.get("name") or not isinstance(entry.get("id"), int):
            raise DataError(f"{path}: category {entry!r} needs a name and an id of its own.")
        found[entry["id"]] = str(entry["name"])
    if not found:
        raise DataError(f"{path}: lists no category. Hint: name the classes under `categories`, the same in each split.")
    return found


def _labels(data: dict[str, Any], names: dict[Any, str]) -> list[str]:
    """Names in the order of the labels: without groups (a category that others name as theirs, and no box is of), which
    some exports put first and the library leaves out."""
    groups = {entry.get("supercategory") for entry in data["categories"] if entry.get("supercategory") != entry["name"]}
    boxed = {entry["category_id"] for entry in data["annotations"]}
    return [name for key, name in names.items() if name not in groups or key in boxed]


def _differ(folder: Path, first: str, wanted: dict[Any, str], other: str, given: dict[Any, str]) -> str:
    """What differs between the categories of two splits, in words."""
    missing = [name for name in wanted.values() if name not in given.values()]
    extra = [name for name in given.values() if name not in wanted.values()]
    words = [f"lacks {', '.join(map(repr, missing))}"] if missing else []
    words += [f"has {', '.join(map(repr, extra))} besides"] if extra else []
    swapped = [f"id {key} is {given[key]!r}, not {name!r}" for key, name in wanted.items() if given.get(key, name) != name]
    words = words or swapped or ["numbers them otherwise"]
    return (
        f"{folder}: split {other!r} {'; '.join(words)}, compared with split {first!r}. Its labels would be shifted. Hint: "
        f"write the same `categories` (ids and names) into every {ANNOTATIONS}."
    )
