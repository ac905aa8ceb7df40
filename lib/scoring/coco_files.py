"""COCO instances and results, read and checked entry by entry. Not here: COCO as a dataset (lib/data/sources/coco.py),
scores.

What cannot be scored is refused with file, entry, value, what is allowed and a hint; what can, but is often a mistake,
becomes a warning. Annotation ids are renumbered from 1: evaluators write 0 for “not matched”, so a match with id 0 would
be a miss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.config.base import nearest
from lib.scoring.checks import is_real, is_whole, read_json, refuse
from lib.scoring.masks import area_of, bounding_box, to_rle

Entry = dict[str, Any]
_LARGEST_SIDE = 100_000
_FAR = 1e9
"""Lengths and places beyond this many px are an error, and overflow areas."""


@dataclass(frozen=True)
class Truth:
    """A checked dataset: images, categories, annotations (all with bbox, area, iscrowd; masks as RLE when asked for)."""

    dataset: dict[str, Any]
    images: dict[int, Entry]
    categories: dict[int, str]
    warnings: list[str]


@dataclass(frozen=True)
class Results:
    """Checked results, in the file's order, with id from 1 and area."""

    entries: list[Entry]
    warnings: list[str]


def read_truth(path: Path, *, masks: bool) -> Truth:
    """Read COCO instances; with `masks` every annotation needs a segmentation and every image its size. Raises
    DataError.
    """
    raw = read_json(path)
    if not isinstance(raw, dict):
        refuse(path, "", type(raw).__name__, "an object with images, categories and annotations", "is it a results file?")
    for key in ("images", "categories", "annotations"):
        if not isinstance(raw.get(key), list):
            refuse(path, key, raw.get(key, "absent"), "a list", nearest(key, raw))
    images = _by_id(path, "images", raw["images"])
    if masks:
        for number, image in enumerate(raw["images"]):
            _size(path, f"images[{number}]", image)
    categories = {one: str(entry.get("name", one)) for one, entry in _by_id(path, "categories", raw["categories"]).items()}
    if not images or not categories:
        refuse(path, "images" if not images else "categories", "[]", "at least one entry", "is it the whole file?")
    annotations, zero = [], False
    _by_id(path, "annotations", raw["annotations"])
    for number, given in enumerate(raw["annotations"]):
        place = f"annotations[{number}]"
        entry = _common(path, place, given, images, categories)
        zero |= given["id"] == 0
        entry["id"] = number + 1
        entry["iscrowd"] = _crowd(path, place, given)
        entry["area"] = _number(path, place, given, "area", lambda value: value >= 0, "a number ≥ 0 (px²)", _AREA_HINT)
        if masks:
            entry["segmentation"] = _mask(path, place, given, images[entry["image_id"]])
        annotations.append(entry)
    warnings = [f"{path}: an annotation has id 0, which pycocotools never counts as found; ids are renumbered here"]
    kept = [
        {"id": one, **{key: image[key] for key in ("width", "height") if key in image}} for one, image in images.items()
    ]
    listed = [{"id": one, "name": name} for one, name in categories.items()]
    dataset = {"images": kept, "categories": listed, "annotations": annotations}
    return Truth(dataset, images, categories, warnings if zero else [])


_AREA_HINT = "COCO's size classes need it: the mask's pixels, or width × height"


def read_results(path: Path, truth: Truth, *, masks: bool) -> Results:
    """Read COCO results of the truth's images and categories; with `masks` every entry needs a segmentation. Raises
    DataError.
    """
    raw = read_json(path)
    if not isinstance(raw, list):
        refuse(
            path, "", type(raw).__name__, "a list of detections", "results are `[{image_id, category_id, bbox, score}, …]`"
        )
    entries, seen, twice = [], set(), []
    boxed = 0
    for number, given in enumerate(raw):
        place = f"entry {number}"
        mask_only = masks and isinstance(given, dict) and "bbox" not in given
        entry = _common(path, place, given, truth.images, truth.categories, boxless=mask_only)
        entry["id"] = number + 1
        entry["score"] = _number(
            path, place, given, "score", math.isfinite, "a finite number", "is the model's output NaN?"
        )
        if masks:
            entry["segmentation"] = _mask(path, place, given, truth.images[entry["image_id"]])
        if mask_only:
            entry["bbox"], entry["area"] = bounding_box(entry["segmentation"]), area_of(entry["segmentation"])
        else:
            boxed += 1
            entry["area"] = entry["bbox"][2] * entry["bbox"][3]
        key = (entry["image_id"], entry["category_id"], entry["score"], *entry["bbox"])
        if key in seen:
            twice.append(place)
        seen.add(key)
        entries.append(entry)
    return Results(entries, _result_warnings(path, truth, entries, twice, masked_boxes=boxed if masks else 0))


def _result_warnings(path: Path, truth: Truth, entries: list[Entry], twice: list[str], *, masked_boxes: int) -> list[str]:
    texts = []
    if twice:
        texts.append(
            f"{path}: {len(twice)} entries repeat an earlier one exactly (first: {twice[0]}); each is a false alarm"
        )
    if masked_boxes:
        texts.append(
            f"{path}: {masked_boxes} entries hold a box beside the mask: as in pycocotools, the box's area decides their "
            "size class. Leave `bbox` out to have the mask's"
        )
    empty = len(truth.images) - len({entry["image_id"] for entry in entries})
    if entries and empty:
        texts.append(f"{path}: {empty} of {len(truth.images)} images have no prediction")
    return texts


def _by_id(path: Path, key: str, entries: list[Any]) -> dict[int, Entry]:
    found: dict[int, Entry] = {}
    for number, entry in enumerate(entries):
        place = f"{key}[{number}]"
        one = entry.get("id") if isinstance(entry, dict) else None
        if not is_whole(one):
            refuse(path, place, f"id {one!r}", "an object with a whole number `id`", "COCO numbers its entries")
        if one in found:
            refuse(path, place, f"id {one}", "each id once", "merge files only after renumbering them")
        found[one] = entry
    return found


def _common(
    path: Path, place: str, given: Any, images: Mapping[int, Any], categories: Mapping[int, str], *, boxless: bool = False
) -> Entry:
    """What truth and results share: image_id, category_id and bbox, checked."""
    if not isinstance(given, dict):
        refuse(path, place, repr(given), "an object", "each detection is {image_id, category_id, bbox, score}")
    entry: Entry = {}
    for key, known in (("image_id", images), ("category_id", categories)):
        value = given.get(key, "absent")
        if not is_whole(value) or value not in known:
            hint = f"the truth knows {len(known)} of them, such as {_some(known)}; ids are the truth's, not positions"
            refuse(path, place, f"{key} {value!r}", f"one of the truth's {key.replace('_', ' ')}s", hint)
        entry[key] = value
    if not boxless:
        entry["bbox"] = _box(path, place, given.get("bbox", "absent"))
    return entry


def _some(known: Mapping[int, Any]) -> str:
    return ", ".join(f"{key} ({value})" if isinstance(value, str) else str(key) for key, value in list(known.items())[:3])


def _box(path: Path, place: str, box: Any) -> list[float]:
    good = isinstance(box, list) and len(box) == 4 and all(is_real(value) and abs(value) <= _FAR for value in box)
    if not good or box[2] < 0 or box[3] < 0:
        allowed = "[x, y, width, height] in px, finite, width and height ≥ 0"
        refuse(path, place, f"bbox {box!r}", allowed, "corners x1, y1, x2, y2 must become x, y, width, height")
    return [float(value) for value in box]


def _crowd(path: Path, place: str, given: Entry) -> int:
    value = given.get("iscrowd", 0)
    if value not in (0, 1):
        refuse(path, place, f"iscrowd {value!r}", "0 or 1", "leave it out for single objects")
    return int(value)


def _number(
    path: Path, place: str, given: Entry, key: str, good: Callable[[float], bool], allowed: str, hint: str
) -> float:
    value = given.get(key, "absent")
    if not is_real(value) or not good(value):
        refuse(path, place, f"{key} {value!r}", allowed, hint)
    return float(value)


def _size(path: Path, place: str, image: Entry) -> None:
    for key in ("width", "height"):
        value = image.get(key, "absent")
        if not is_whole(value) or not 1 <= value <= _LARGEST_SIDE:
            refuse(path, place, f"{key} {value!r}", f"1 to {_LARGEST_SIDE} px", "masks are read in the image's size")


def _mask(path: Path, place: str, given: Entry, image: Entry) -> dict[str, Any]:
    try:
        return to_rle(given.get("segmentation"), height=image["height"], width=image["width"])
    except ValueError as error:
        allowed = "polygons, or RLE with the image's size"
        refuse(path, place, f"segmentation: {error}", allowed, "for boxes alone leave --masks out")
