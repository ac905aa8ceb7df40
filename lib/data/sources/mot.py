"""MOTChallenge sequences (seqinfo.ini, gt/gt.txt, det/det.txt, frames in img1/) as a Source. Not here: 3D, MOTS masks.

Rows are `frame,id,left,top,width,height,flag,class,visibility`; frame n is the n-th frame present, counted from 0 (seqinfo
may state more frames than lie in img1). MOT15 has class -1: every row is a pedestrian. MOT16/17/20: class 1 counts; person
on vehicle, static person, distractor and reflection become ignore, as the official evaluation neither asks for them nor
counts them as false alarms (Milan et al. 2016, "MOT16"); the other classes are no people and are left out, counted by
class. A pedestrian with flag 0 is not considered: ignore.
"""

from __future__ import annotations

import configparser
import math
from collections import Counter
from pathlib import Path
from typing import Any

from lib.config.download import MotSource
from lib.data.sources import Item, Source, add_item, boxes_table, detections_table, frames_table, images_in
from lib.files import DataError

PEDESTRIAN = "pedestrian"
_IGNORED = {2: "person on vehicle", 7: "static person", 8: "distractor", 12: "reflection"}
_OTHERS = {
    3: "car",
    4: "bicycle",
    5: "motorbike",
    6: "non-motorised vehicle",
    9: "occluder",
    10: "occluder on the ground",
    11: "occluder full",
    13: "crowd",
}


def read(root: Path, options: MotSource) -> Source:
    """Read every sequence. DataError names file:line of a malformed row."""
    items: dict[str, Item] = {}
    frames: list[tuple[str, int]] = []
    boxes: list[tuple[Any, ...]] = []
    detections: list[tuple[Any, ...]] = []
    dropped: list[dict[str, Any]] = []
    given = False
    for name, place in options.sequences.items():
        folder = root / place
        item, numbers = _item(name, folder, options, dropped)
        add_item(items, item, folder)
        truth = folder / "gt" / "gt.txt"
        if truth.is_file():
            frames.extend((name, index) for index in range(len(numbers)))
            boxes.extend(_boxes(name, truth, numbers, dropped))
        path = root / options.detections[name] if name in options.detections else folder / "det" / "det.txt"
        if name in options.detections or path.is_file():
            given = True
            detections.extend(_detections(name, path, numbers, dropped))
    return Source(
        items=list(items.values()),
        classes=[PEDESTRIAN],
        frames=frames_table(frames),
        boxes=boxes_table(boxes),
        detections=detections_table(detections) if given else None,
        dropped=dropped,
    )


def _item(name: str, folder: Path, options: MotSource, dropped: list[dict[str, Any]]) -> tuple[Item, dict[int, int]]:
    """The sequence's item and its frames: number in the text files -> index from 0 in presentation order."""
    info = _seqinfo(folder / "seqinfo.ini")
    fps = info.get("frameRate")
    if fps is None:
        cause = f"seqinfo.ini states none: {options.fps:g} assumed (source.fps)"
        dropped.append({"original": name, "what": "frame rate", "value": str(options.fps), "cause": cause})
    images_folder = folder / str(info.get("imDir", "img1"))
    stems = [path.stem for path in images_in(images_folder)]
    odd = [stem for stem in stems if not stem.isdigit()]
    if odd:
        raise DataError(f"{images_folder}: frame {odd[0]!r} must be named by its number, as 000001.jpg.")
    numbers = {int(stem): index for index, stem in enumerate(stems)}
    if not numbers:
        numbers = {index + 1: index for index in range(int(info.get("seqLength", 0)))}
    if not numbers:
        raise DataError(f"{folder}: neither frames in {images_folder.name}/ nor a seqLength in seqinfo.ini.")
    item = Item(
        original=name,
        path=images_folder if stems else None,
        kind="frames" if stems else "none",
        split=options.split,
        frames=len(numbers),
        fps=float(fps or options.fps),
        width=int(info["imWidth"]) if "imWidth" in info else None,
        height=int(info["imHeight"]) if "imHeight" in info else None,
    )
    return item, numbers


def _seqinfo(path: Path) -> dict[str, Any]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys are camelCase
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
        section = parser["Sequence"]
        info: dict[str, Any] = {key: value for key, value in section.items() if key == "imDir"}
        for key in ("frameRate", "seqLength", "imWidth", "imHeight"):
            if key in section:
                info[key] = float(section[key])
                if not (math.isfinite(info[key]) and info[key] > 0):
                    raise ValueError(f"{key} must exceed 0, got {section[key]}")
    except FileNotFoundError as error:
        raise DataError(f"{path}: file not found. Hint: check `sequences` in the dataset's `source:` block.") from error
    except (configparser.Error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable seqinfo.ini with a [Sequence] section ({error}).") from error
    return info


def _rows(path: Path, least: int) -> list[tuple[int, list[float]]]:
    """(line number, numbers) of every row; DataError names the line that is not at least `least` finite numbers."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path}: file not found. Hint: check `detections` in the dataset's `source:` block.") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = [float(word) for word in line.split(",")]
        except ValueError as error:
            raise DataError(f"{path}:{number}: must hold numbers and commas only, got {line.strip()!r}.") from error
        if len(values) < least or not all(math.isfinite(value) for value in values):
            raise DataError(f"{path}:{number}: needs at least {least} finite numbers, got {line.strip()!r}.")
        if not values[0].is_integer() or values[0] < 1 or not values[1].is_integer():
            raise DataError(f"{path}:{number}: frame (from 1) and id must be integers, got {line.strip()!r}.")
        rows.append((number, values))
    return rows


def _boxes(name: str, path: Path, numbers: dict[int, int], dropped: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    boxes: list[tuple[Any, ...]] = []
    left_out: Counter[str] = Counter()
    seen: set[tuple[float, float]] = set()
    for line, values in _rows(path, 6):
        frame, track, left, top, width, height = values[:6]
        flag = values[6] if len(values) > 6 else 1.0
        label = int(values[7]) if len(values) > 7 else -1
        cause = _left_out(int(frame), label, numbers)
        if cause:
            left_out[cause] += 1
            continue
        if width <= 0 or height <= 0:
            dropped.append({"original": name, "what": "box", "value": f"{path}:{line}", "cause": "no area"})
            continue
        if track < 0 or (frame, track) in seen:
            why = "must be at least 0" if track < 0 else "occurs twice in this frame"
            raise DataError(f"{path}:{line}: id {track:g} {why} (frame {frame:g}).")
        seen.add((frame, track))
        ignore = flag == 0 or label in _IGNORED
        box = (left, top, left + width, top + height)
        boxes.append((name, numbers[int(frame)], PEDESTRIAN, *box, int(track), ignore, ""))
    dropped.extend({"original": name, "what": "rows", "value": count, "cause": cause} for cause, count in left_out.items())
    return boxes


def _left_out(frame: int, label: int, numbers: dict[int, int]) -> str:
    """Why a row of gt.txt is not used at all ("" = it is used)."""
    if frame not in numbers:
        return "truth of frames that are not present"
    if label == 1 or label < 0 or label in _IGNORED:
        return ""
    return f"class {label} ({_OTHERS.get(label, 'unknown')}) is not evaluated"


def _detections(name: str, path: Path, numbers: dict[int, int], dropped: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Given detections; scores outside 0..1 are mapped to it by the file's own range, which keeps their order."""
    rows = _rows(path, 7)
    scores = [values[6] for _, values in rows]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    else:
        cause = "scores outside 0..1: mapped by the file's range"
        dropped.append({"original": name, "what": "scores", "value": f"{low:g}..{high:g}", "cause": cause})
    found: list[tuple[Any, ...]] = []
    absent = 0
    for line, (frame, _, left, top, width, height, score, *_) in rows:
        if int(frame) not in numbers:
            absent += 1
        elif width <= 0 or height <= 0:
            dropped.append({"original": name, "what": "detection", "value": f"{path}:{line}", "cause": "no area"})
        else:
            share = (score - low) / (high - low) if high > low else 1.0
            found.append((name, numbers[int(frame)], PEDESTRIAN, share, left, top, left + width, top + height))
    if absent:
        cause = "detections of frames that are not present"
        dropped.append({"original": name, "what": "rows", "value": absent, "cause": cause})
    return found
