"""Pascal VOC (one XML per image, lists of names per split) as a Source. Not here: its segmentation PNGs and actions.

Corners are pixel numbers from 1, both inclusive: x1 = xmin - 1, x2 = xmax (the same for y). `difficult` becomes ignore.
Images are found by the XML's own stem, because many sets carry a stale `<filename>`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lib.config.download import VocSource
from lib.data.sources import IMAGE_SUFFIXES, Item, Source, add_item, boxes_table, frames_table
from lib.files import DataError


def read(root: Path, options: VocSource) -> Source:
    """Read the lists of `options.sets` and the XML of every name in them. DataError names file and entry."""
    lists = {split: root / options.imagesets / "Main" / f"{split}.txt" for split in options.sets}
    lists = {split: path for split, path in lists.items() if path.is_file()}
    if not lists:
        folder = root / options.imagesets / "Main"
        raise DataError(f"{folder}: holds none of {[f'{name}.txt' for name in options.sets]}. Hint: set imagesets or sets.")
    files = _images_by_stem(root / options.images)
    items: dict[str, Item] = {}
    boxes: list[tuple[Any, ...]] = []
    dropped: list[dict[str, Any]] = []
    classes: dict[str, None] = {}
    for split, listed in lists.items():
        for name in _names(listed):
            path = root / options.annotations / f"{name}.xml"
            tree = _parse(path)
            image = files.get(name, root / options.images / f"{name}.jpg")
            size = {key: _integer(tree.findtext(f"size/{key}")) for key in ("width", "height")}
            add_item(items, Item(name, image, "image", split, frames=1, **size), listed)
            for place, entry in enumerate(tree.iter("object"), 1):
                _add_box(name, entry, f"{path}: object {place}", boxes, dropped, classes)
    return Source(
        items=list(items.values()),
        classes=list(classes),
        frames=frames_table([(name, 0) for name in items]),
        boxes=boxes_table(boxes),
        dropped=dropped,
    )


def _images_by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Hint: check `images` in the dataset's `source:` block.")
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES}


def _names(listed: Path) -> list[str]:
    """The first word of each line (VOC's per-class lists add a flag after it)."""
    names = [line.split()[0] for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    for name in names:
        if name.startswith("/") or ".." in Path(name).parts:
            raise DataError(f"{listed}: {name!r} must be a name below the annotations folder.")
    return names


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: file not found, though a list names it. Hint: check `annotations` and the lists."
        ) from error
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not valid XML ({error}). Hint: fetch this file again.") from error


def _integer(text: str | None) -> int | None:
    """A size in px; None where the XML states none (0 is what some tools write for unknown)."""
    return int(text) if text and text.strip().isdigit() and int(text) > 0 else None


def _add_box(
    name: str,
    entry: ElementTree.Element,
    where: str,
    boxes: list[tuple[Any, ...]],
    dropped: list[dict[str, Any]],
    classes: dict[str, None],
) -> None:
    label = (entry.findtext("name") or "").strip()
    if not label:
        raise DataError(f"{where}: has no <name>.")
    classes[label] = None
    texts = [entry.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
    try:
        xmin, ymin, xmax, ymax = (float(text or "") for text in texts)
    except ValueError as error:
        raise DataError(f"{where} ({label}): bndbox needs numbers xmin, ymin, xmax, ymax, got {texts}.") from error
    if not all(math.isfinite(value) for value in (xmin, ymin, xmax, ymax)):
        raise DataError(f"{where} ({label}): bndbox must be finite, got {texts}.")
    if xmax <= xmin - 1 or ymax <= ymin - 1:
        dropped.append({"original": name, "what": "box", "value": f"{where}: {texts}", "cause": "no area"})
        return
    ignore = (entry.findtext("difficult") or "0").strip() == "1"
    boxes.append((name, 0, label, xmin - 1, ymin - 1, xmax, ymax, -1, ignore, ""))
