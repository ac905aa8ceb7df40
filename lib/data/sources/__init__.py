"""What every dataset format is read into, and the choice of the reader by format. Not here: any format itself.

A reader only reads and validates. Choosing classes and splits, making ids, probing media, clipping boxes and writing tables
is lib/data/ingest.py. Adding a format is one file here with `read(root, options) -> Source`, one settings class in
lib/config/download.py, named in `AnySource`; docs/recipes.md shows it.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lib.config.base import ConfigError, nearest
from lib.data.confine import refusal, text_of
from lib.data.decoding.kinds import IMAGE_SUFFIXES as IMAGE_SUFFIXES  # readers take these from here
from lib.data.decoding.kinds import images_in as images_in
from lib.data.decoding.kinds import media_kind as media_kind
from lib.files import DataError
from lib.tables import ANSWERS, CAPTIONS, COLUMNS, LANGUAGE, QUERIES, RELATIONS

_FRAME_TYPES = {"original": "object", "frame": "int64"}
_BOX_TYPES = _FRAME_TYPES | {
    "class": "object",
    "x1": "float64",
    "y1": "float64",
    "x2": "float64",
    "y2": "float64",
    "track": "int64",
    "ignore": "bool",
    "mask": "object",
}
_DETECTION_TYPES = {key: _BOX_TYPES[key] for key in ("original", "frame", "class")} | {"score": "float64"}
_DETECTION_TYPES |= {key: "float64" for key in ("x1", "y1", "x2", "y2")}
_PANDAS = {"string": "object"}  # names of types that differ from those of the table contracts
_LANGUAGE_TYPES = {
    kind: {"original" if column == "video" else column: _PANDAS.get(name, name) for column, name in COLUMNS[kind].items()}
    for kind in LANGUAGE
}


@dataclass(frozen=True)
class Item:
    """One video, image or folder of frames. `path` is None for kind "none" (truth without media).

    frames, fps, width (px), height (px), duration_s are what the source states; None = unknown. Probing checks them. Of
    kind "none" they are all there is, and duration_s counts before frames / fps.
    """

    original: str
    path: Path | None
    kind: str
    split: str | None
    frames: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


@dataclass
class Source:
    """All that a format states. `classes` holds source names in file order.

    frames: original, frame (frames an annotator looked at). boxes: original, frame, class, x1, y1, x2, y2, track, ignore,
    mask. detections (given ones): original, frame, class, score, x1, y1, x2, y2. dropped: dicts with original, what, value,
    cause; what = "box" for each box that was left out. queries, relations, captions, answers: the columns of lib/tables.py
    with `original` for `video`; made by `language_table`. refused: original -> why its file may not
    be opened at all.
    """

    items: list[Item]
    classes: list[str]
    frames: pd.DataFrame
    boxes: pd.DataFrame
    detections: pd.DataFrame | None = None
    dropped: list[dict[str, Any]] = field(default_factory=list)
    queries: pd.DataFrame = field(default_factory=lambda: language_table(QUERIES, []))
    relations: pd.DataFrame = field(default_factory=lambda: language_table(RELATIONS, []))
    captions: pd.DataFrame = field(default_factory=lambda: language_table(CAPTIONS, []))
    answers: pd.DataFrame = field(default_factory=lambda: language_table(ANSWERS, []))
    refused: dict[str, str] = field(default_factory=dict)


def read_source(root: Path, options: Any) -> Source:
    """Read the source under `root` by the reader of `options.format`. DataError names what is missing or malformed."""
    readers = [module.name for module in pkgutil.iter_modules(__path__)]
    if options.format not in readers:
        raise ConfigError(f"source.format {options.format!r} has no reader. {nearest(options.format, readers)}")
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder. Hint: check `root` in the dataset's `source:` block, or download it first."
        )
    source = importlib.import_module(f"lib.data.sources.{options.format}").read(root, options)
    return _confined(source, root, options)


def _confined(source: Source, root: Path, options: Any) -> Source:
    """Notes the items whose files may not be opened; fetched files (no `root`) are links of our own into the mirror."""
    own = options.root is None
    for place, item in enumerate(source.items):
        cause = refusal(item.path, root, item.kind, follow_links=own or options.follow_links) if item.path else ""
        if not cause:
            continue
        original = text_of(item.original)
        source.items[place] = replace(item, original=original)
        source.refused[original] = cause
    return source


def frames_table(rows: list[tuple[str, int]]) -> pd.DataFrame:
    """Rows (original, frame) as the `frames` table of a Source."""
    return pd.DataFrame(rows, columns=list(_FRAME_TYPES)).astype(_FRAME_TYPES)


def boxes_table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows (original, frame, class, x1, y1, x2, y2, track, ignore, mask) as the `boxes` table of a Source."""
    return pd.DataFrame(rows, columns=list(_BOX_TYPES)).astype(_BOX_TYPES)


def detections_table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows (original, frame, class, score, x1, y1, x2, y2) as the `detections` table of a Source."""
    return pd.DataFrame(rows, columns=list(_DETECTION_TYPES)).astype(_DETECTION_TYPES)


def language_table(kind: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of one of tables.LANGUAGE as a table of a Source; strings that a row does not state are ""."""
    types = _LANGUAGE_TYPES[kind]
    table = pd.DataFrame(rows, columns=list(types))
    texts = [column for column, name in types.items() if name == "object"]
    return table.fillna(dict.fromkeys(texts, "")).astype(types)


def add_item(items: dict[str, Item], item: Item, where: Path | str) -> None:
    """Put an item into `items` by its original name; the same name in two splits, or twice in one, is a DataError."""
    known = items.setdefault(item.original, item)
    if known is item:
        return
    if known.split != item.split:
        raise DataError(
            f"{where}: {item.original!r} is in split {known.split!r} and in split {item.split!r}. "
            f"Hint: a video belongs to one split only; remove it from one of them."
        )
    raise DataError(f"{where}: {item.original!r} is listed twice. Hint: remove the repeated entry.")
