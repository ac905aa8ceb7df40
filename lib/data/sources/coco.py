"""COCO JSON (images) and CocoVID (videos, frames, tracks) as a Source. Not here: COCO's captions and keypoints files; what
lies beside the annotations in words (language.py).

Boxes: xywh px, x1 = x, x2 = x + w. Polygons and uncompressed RLE become compressed RLE (pycocotools). `iscrowd` and
`ignore` become ignore. Ids are only names (0 is fine). CocoVID's frame index is `frame_index` or `frame_id`, from 0; in a
folder of frames the position of the file counts, because that is the order in which frames are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lib.config.download import CocoSource
from lib.data.sources import Item, Source, add_item, boxes_table, frames_table, images_in, language_table, media_kind
from lib.data.sources.language import Rows, read_language
from lib.files import DataError, read_json
from lib.tables import LANGUAGE


@dataclass
class _Place:
    """Where an entry of `images` lies: a frame of a video, or an image of its own (frame 0)."""

    original: str
    frame: int
    width: int
    height: int


@dataclass
class _Reading:
    """What has been read so far, over all splits."""

    items: dict[str, Item] = field(default_factory=dict)
    classes: dict[str, None] = field(default_factory=dict)  # an ordered set
    frames: list[tuple[str, int]] = field(default_factory=list)
    boxes: list[tuple[Any, ...]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)


def read(root: Path, options: CocoSource) -> Source:
    """Read every split's JSON. DataError names file and entry of what is malformed or listed twice."""
    reading = _Reading()
    for split, name in options.annotations.items():
        _read_split(root, options, split, root / name, reading)
    return Source(
        items=list(reading.items.values()),
        classes=list(reading.classes),
        frames=frames_table(reading.frames),
        boxes=boxes_table(reading.boxes),
        dropped=reading.dropped,
        **{kind: language_table(kind, rows) for kind, rows in _language(root, options, reading).items()},
    )


def _language(root: Path, options: CocoSource, reading: _Reading) -> Rows:
    """Queries, relations, captions and answers of all splits."""
    names = {split: {item.original for item in reading.items.values() if item.split == split} for split in options.language}
    found = [read_language(root / name, names[split]) for split, name in options.language.items()]
    return {kind: [row for rows in found for row in rows[kind]] for kind in LANGUAGE}


def _read_split(root: Path, options: CocoSource, split: str, path: Path, reading: _Reading) -> None:
    data = read_json(path)
    if not isinstance(data, dict):
        raise DataError(f"{path}: must be an object with images, annotations, categories; got {type(data).__name__}.")
    categories = {key: str(_need(entry, "name", path)) for key, entry in _by_id(data, "categories", path).items()}
    reading.classes.update(dict.fromkeys(categories.values()))
    images = _by_id(data, "images", path)
    folder = root / _folder(options.images, split)
    if data.get("videos"):
        videos = _by_id(data, "videos", path)
        places = _video_places(
            images, videos, folder, root / _folder(options.videos, split), split, options.fps, path, reading
        )
    else:
        places = _image_places(images, root, folder, split, path, reading)
    reading.frames.extend((place.original, place.frame) for place in places.values())
    for key, entry in _by_id(data, "annotations", path).items():
        _add_box(key, entry, places, categories, path, reading)


def _folder(folders: dict[str, str] | str, split: str) -> str:
    return folders if isinstance(folders, str) else folders[split]


def _by_id(data: dict[str, Any], key: str, path: Path) -> dict[Any, dict[str, Any]]:
    entries = data.get(key)
    if not isinstance(entries, list):
        raise DataError(f"{path}: {key!r} must be a list. Hint: is this a COCO instances file?")
    found: dict[Any, dict[str, Any]] = {}
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or isinstance(entry.get("id"), (list, dict, type(None))):
            raise DataError(f"{path}: {key}[{place}] must be an object with an `id`.")
        if entry["id"] in found:
            raise DataError(f"{path}: {key}: id {entry['id']!r} occurs twice. Hint: ids must be unique within a list.")
        found[entry["id"]] = entry
    return found


def _need(entry: dict[str, Any], key: str, path: Path) -> Any:
    if entry.get(key) is None:
        raise DataError(f"{path}: entry with id {entry.get('id')!r} has no `{key}`.")
    return entry[key]


def _inside(name: Any, path: Path) -> PurePosixPath:
    """A file name of the JSON, which must stay below its folder."""
    pure = PurePosixPath(str(name))
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise DataError(f"{path}: file_name {str(name)!r} must stay below its folder (no leading `/`, no `..`).")
    return pure


def _image_places(
    images: dict[Any, dict[str, Any]], root: Path, folder: Path, split: str, path: Path, reading: _Reading
) -> dict[Any, _Place]:
    places: dict[Any, _Place] = {}
    for key, entry in images.items():
        file = folder / _inside(_need(entry, "file_name", path), path)
        original = file.relative_to(root).as_posix()
        width, height = _size(entry, {}, path)
        item = Item(original, file, "image", split, frames=1, width=width or None, height=height or None)
        add_item(reading.items, item, path)
        places[key] = _Place(original, 0, width, height)
    return places


def _video_places(
    images: dict[Any, dict[str, Any]],
    videos: dict[Any, dict[str, Any]],
    images_folder: Path,
    videos_folder: Path,
    split: str,
    fps: float,
    path: Path,
    reading: _Reading,
) -> dict[Any, _Place]:
    """Places of CocoVID frames; adds one item per video (video file, folder of frames, or none)."""
    of_video: dict[Any, list[tuple[Any, dict[str, Any]]]] = {key: [] for key in videos}
    for key, entry in images.items():
        video = _need(entry, "video_id", path)
        if video not in of_video:
            raise DataError(f"{path}: image {key!r} names video_id {video!r}, which is not among `videos`.")
        of_video[video].append((key, entry))
    places: dict[Any, _Place] = {}
    for video, frames in of_video.items():
        entry = videos[video]
        name = str(entry.get("file_name") or entry.get("name") or video)
        indices = [_frame_index(frame, path) for _, frame in frames]
        width, height = _size(entry, frames[0][1] if frames else {}, path)
        if media_kind(Path(name)) == "video":
            item = Item(
                name, videos_folder / _inside(name, path), "video", split, width=width or None, height=height or None
            )
        else:
            item, indices = _frames_item(
                name, entry, [frame for _, frame in frames], indices, images_folder, split, fps, path
            )
        add_item(reading.items, item, path)
        if len(set(indices)) != len(indices):
            raise DataError(f"{path}: video {name!r} lists a frame twice. Hint: frame_index must be unique within a video.")
        for (key, frame), index in zip(frames, indices, strict=True):
            places[key] = _Place(name, index, *_size(frame, entry, path))
    return places


def _frame_index(entry: dict[str, Any], path: Path) -> int:
    value = entry.get("frame_index", entry.get("frame_id"))
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(
            f"{path}: image {entry['id']!r}: frame_index (or frame_id) must be an integer from 0, got {value!r}."
        )
    return value


def _frames_item(
    name: str,
    entry: dict[str, Any],
    frames: list[dict[str, Any]],
    indices: list[int],
    folder: Path,
    split: str,
    fps: float,
    path: Path,
) -> tuple[Item, list[int]]:
    """The item of a video that is a folder of frames (or has no media), and the frames' positions in it."""
    width, height = _size(entry, frames[0] if frames else {}, path)
    size = {"width": width or None, "height": height or None}
    rate = float(entry.get("fps") or fps)
    if not frames or any(not frame.get("file_name") for frame in frames):
        length = int(entry.get("length") or max(indices, default=-1) + 1)
        return Item(name, None, "none", split, frames=length, fps=rate, **size), indices
    files = [folder / _inside(frame["file_name"], path) for frame in frames]
    parents = {file.parent for file in files}
    if len(parents) != 1:
        raise DataError(f"{path}: the frames of video {name!r} lie in {len(parents)} folders; they must lie in one.")
    parent = parents.pop()
    order = {file.name: position for position, file in enumerate(images_in(parent))}
    absent = [file for file in files if file.name not in order]
    if order and absent:
        raise DataError(
            f"{path}: {absent[0]}: frame of video {name!r} not found ({len(absent)} absent). Hint: check `images`."
        )
    positions = [order[file.name] for file in files] if order else indices
    return Item(name, parent, "frames", split, frames=len(order) or None, fps=rate, **size), positions


def _size(entry: dict[str, Any], other: dict[str, Any], path: Path) -> tuple[int, int]:
    """Width and height in px, 0 where neither entry states them."""
    sizes = [entry.get(key, other.get(key)) or 0 for key in ("width", "height")]
    if any(isinstance(size, bool) or not isinstance(size, (int, float)) or size < 0 for size in sizes):
        raise DataError(f"{path}: entry with id {entry.get('id')!r}: width and height must be px, got {sizes}.")
    return int(sizes[0]), int(sizes[1])


def _add_box(
    key: Any, entry: dict[str, Any], places: dict[Any, _Place], categories: dict[Any, str], path: Path, reading: _Reading
) -> None:
    place = places.get(_need(entry, "image_id", path))
    if place is None:
        raise DataError(f"{path}: annotation {key!r} names image_id {entry['image_id']!r}, which is not among `images`.")
    name = categories.get(_need(entry, "category_id", path))
    if name is None:
        raise DataError(f"{path}: annotation {key!r} names category_id {entry['category_id']!r}, not among `categories`.")
    mask, cause = _mask(key, entry.get("segmentation"), place, path)
    if cause:
        reading.dropped.append({"original": place.original, "what": "mask", "value": f"annotation {key}", "cause": cause})
    x, y, width, height = _box(key, entry, mask, place, path)
    if width <= 0 or height <= 0:
        value = f"annotation {key}: {[x, y, width, height]}"
        reading.dropped.append({"original": place.original, "what": "box", "value": value, "cause": "no area"})
        return
    ignore = bool(entry.get("iscrowd") or entry.get("ignore"))
    track = entry.get("track_id", entry.get("instance_id"))
    track = -1 if track is None else track
    if isinstance(track, bool) or not isinstance(track, int) or track < -1:
        raise DataError(f"{path}: annotation {key!r}: track_id must be an integer from 0, got {track!r}.")
    reading.boxes.append((place.original, place.frame, name, x, y, x + width, y + height, track, ignore, mask))


def _box(key: Any, entry: dict[str, Any], mask: str, place: _Place, path: Path) -> tuple[float, float, float, float]:
    box = entry.get("bbox")
    if box is None and mask:
        from pycocotools import mask as rle

        box = rle.toBbox({"size": [place.height, place.width], "counts": mask}).tolist()
    numbers = box if isinstance(box, list) and len(box) == 4 else [None]
    if any(isinstance(n, bool) or not isinstance(n, (int, float)) or not math.isfinite(n) for n in numbers):
        raise DataError(f"{path}: annotation {key!r}: bbox must be four numbers [x, y, width, height], got {box!r}.")
    x, y, width, height = (float(number) for number in numbers)
    return x, y, width, height


def _mask(key: Any, shape: Any, place: _Place, path: Path) -> tuple[str, str]:
    """(compressed RLE counts or "", why a stated mask was left out or "")."""
    if not shape:
        return "", ""
    from pycocotools import mask as rle

    if not place.width or not place.height:
        raise DataError(f"{path}: annotation {key!r} has a mask, but its image states no width and height.")
    try:
        if isinstance(shape, list):
            polygons = [polygon for polygon in shape if len(polygon) >= 6 and len(polygon) % 2 == 0]
            if not polygons:
                return "", "a polygon needs at least three points"
            found = rle.merge(rle.frPyObjects(polygons, place.height, place.width))
        elif list(shape["size"]) != [place.height, place.width]:
            raise DataError(
                f"{path}: annotation {key!r}: RLE size {shape['size']} differs from [height, width] of its image "
                f"[{place.height}, {place.width}]."
            )
        else:
            found = shape if isinstance(shape["counts"], str) else rle.frPyObjects(shape, place.height, place.width)
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: annotation {key!r}: segmentation is neither polygons nor RLE ({error!r}).") from error
    counts = found["counts"]
    return (counts.decode("utf-8") if isinstance(counts, bytes) else counts), ""
