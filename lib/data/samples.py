"""One training sample: a JPEG and its labels, made from media and tables, one pass per video. Not here: packing
(shards.py).

Labels of a sample (plain values, px of the stored image): video, frame, time_s, width, height, split, boxes [[x1, y1, x2,
y2]], labels (class per box), tracks (-1 = none), ignore (bool per box: neither object nor background), masks (COCO RLE or
null per box; absent where no box has one), objects (tracked boxes of the DAG with class, score, track; absent where none
were given).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from lib.config.shard import Shardset
from lib.data.sources import images_in
from lib.data.video import read_frames
from lib.files import DataError

_EXIF_ORIENTATION = 0x0112
_CORNERS = ["x1", "y1", "x2", "y2"]


@dataclass(frozen=True)
class Sample:
    """key: `{video}-{frame:06d}`; jpg: the image file's bytes; data: its labels (see the module's docstring)."""

    key: str
    jpg: bytes
    data: dict[str, Any]


@dataclass(frozen=True)
class Labelled:
    """What samples are made from, by video: frames (frame, time_s), boxes (BOXES columns), objects (TRACKS columns)."""

    frames: dict[str, pd.DataFrame]
    boxes: dict[str, pd.DataFrame]
    objects: dict[str, pd.DataFrame] | None


def sample_key(video: str, frame: int) -> str:
    """Name of a sample; without a dot, because WebDataset ends the key at the first one."""
    return f"{video}-{frame:06d}"


def labelled(frames: pd.DataFrame, boxes: pd.DataFrame, tracks: pd.DataFrame | None, settings: Shardset) -> Labelled:
    """Choose the frames that become samples and the boxes that label them, as `settings` says."""
    if settings.tracks is not None and tracks is None:
        raise DataError("the shardset asks for tracked boxes, but none were given. Hint: pass the chunks of its tracker.")
    if settings.labels == "tracks":
        boxes = tracks.assign(ignore=False, mask="")
        frames = tracks
    frames = frames[["video", "frame", "time_s"]].drop_duplicates(["video", "frame"]).sort_values(["video", "frame"])
    by_video = {video: rows.iloc[:: settings.stride] for video, rows in frames.groupby("video", sort=False)}
    objects = dict(list(tracks.groupby("video"))) if settings.tracks is not None else None
    return Labelled(by_video, dict(list(boxes.groupby("video"))), objects)


def samples_of(row: Any, chosen: Labelled, settings: Shardset) -> Iterator[Sample]:
    """Samples of one video in order of frames. row: its manifest row (named tuple)."""
    if row.video not in chosen.frames:
        return
    frames = chosen.frames[row.video]
    boxes = _by_frame(chosen.boxes, row.video)
    objects = _by_frame(chosen.objects, row.video) if chosen.objects is not None else None
    size = stored_size(row.width, row.height, settings.max_side)
    times = dict(zip(frames["frame"].tolist(), frames["time_s"].tolist(), strict=True))
    for frame, jpg in _images(row, list(times), size, settings.quality):
        data: dict[str, Any] = {"video": row.video, "frame": frame, "time_s": times[frame], "split": row.split}
        data |= {"width": size[0], "height": size[1]} | _labels(boxes.get(frame), row, size)
        if objects is not None:
            data["objects"] = _objects(objects.get(frame), row, size)
        yield Sample(sample_key(row.video, frame), jpg, data)


def stored_size(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height) px of the stored image: scaled down so that the longer side is `max_side`, never up."""
    longest = max(width, height)
    if max_side is None or longest <= max_side:
        return int(width), int(height)
    return max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest))


def _by_frame(tables: dict[str, pd.DataFrame], video: str) -> dict[int, pd.DataFrame]:
    return {int(frame): rows for frame, rows in tables[video].groupby("frame")} if video in tables else {}


def _scaled(rows: pd.DataFrame, row: Any, size: tuple[int, int]) -> list[list[float]]:
    """Boxes (N, 4) in px of the stored image."""
    scale = np.array([size[0] / row.width, size[1] / row.height] * 2)
    return (rows[_CORNERS].to_numpy(dtype=np.float64) * scale).tolist()


def _labels(rows: pd.DataFrame | None, row: Any, size: tuple[int, int]) -> dict[str, Any]:
    if rows is None:
        return {"boxes": [], "labels": [], "tracks": [], "ignore": []}
    found: dict[str, Any] = {"boxes": _scaled(rows, row, size), "labels": rows["class"].tolist()}
    found |= {"tracks": rows["track"].tolist(), "ignore": rows["ignore"].tolist()}
    if (rows["mask"] != "").any():
        found["masks"] = [_mask(counts, row, size) if counts else None for counts in rows["mask"]]
    return found


def _objects(rows: pd.DataFrame | None, row: Any, size: tuple[int, int]) -> list[dict[str, Any]]:
    if rows is None:
        return []
    corners = [dict(zip(_CORNERS, box, strict=True)) for box in _scaled(rows, row, size)]
    others = rows[["class", "score", "track"]].to_dict("records")
    return [box | other for box, other in zip(corners, others, strict=True)]


def _mask(counts: str, row: Any, size: tuple[int, int]) -> dict[str, Any]:
    if size == (row.width, row.height):
        return {"size": [size[1], size[0]], "counts": counts}
    from pycocotools import mask as rle

    whole = rle.decode({"size": [row.height, row.width], "counts": counts.encode()})
    small = cv2.resize(whole, size, interpolation=cv2.INTER_NEAREST)
    return {"size": [size[1], size[0]], "counts": rle.encode(np.asfortranarray(small))["counts"].decode()}


def _images(row: Any, frames: list[int], size: tuple[int, int], quality: int) -> Iterator[tuple[int, bytes]]:
    """(frame, JPEG bytes) of the wanted frames of one video, image or folder of frames."""
    if row.kind not in ("video", "image", "frames"):
        raise DataError(
            f"video {row.original!r} has labels but no media (kind {row.kind!r}). Hint: leave it out of the splits."
        )
    scaled = size if size != (row.width, row.height) else None
    if row.kind == "video":
        for frame, _, picture in read_frames(row.path, kind="video", indices=frames, stream=row.stream, size=scaled):
            yield frame, _encoded(picture, size, quality, row.path)
        return
    files = [Path(row.path)] if row.kind == "image" else images_in(Path(row.path))
    for frame in frames:
        if frame >= len(files):
            raise DataError(f"{row.path}: frame {frame} is labelled, but there are {len(files)} frames.")
        jpg = _as_it_is(files[frame], size) if scaled is None else None
        if jpg is None:
            picture = next(read_frames(files[frame], kind="image", size=scaled))[2]
            jpg = _encoded(picture, size, quality, files[frame])
        yield frame, jpg


def _as_it_is(file: Path, size: tuple[int, int]) -> bytes | None:
    """The file's bytes when they are a JPEG of this size that no reader would turn, else None."""
    try:
        with Image.open(file) as image:
            upright = image.getexif().get(_EXIF_ORIENTATION, 1) == 1
            fits = image.format == "JPEG" and image.size == size and upright
    except OSError as error:
        raise DataError(f"{file}: not a readable image ({error}). Hint: fetch it again, or leave it out.") from error
    return file.read_bytes() if fits else None


def _encoded(picture: np.ndarray, size: tuple[int, int], quality: int, path: str | Path) -> bytes:
    """JPEG of (H, W, 3) uint8 RGB."""
    if picture.shape[1::-1] != size:
        raise DataError(
            f"{path}: decodes to {picture.shape[1]}x{picture.shape[0]} px, but the manifest led to {size[0]}x{size[1]}. "
            "Hint: the file changed; run download again."
        )
    done, jpg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"{path}: a frame of {size[0]}x{size[1]} px cannot be encoded as JPEG (at most 65535 px a side).")
    return jpg.tobytes()


def yolo_lines(data: Mapping[str, Any], numbers: Mapping[str, int]) -> str:
    """Labels of a sample in YOLO's form: class number, centre x, centre y, width, height as shares of the image's size.

    numbers: class -> number; other classes and ignored boxes are left out, boxes are cut at the image's edge.
    """
    lines = []
    for box, name, ignore in zip(data["boxes"], data["labels"], data["ignore"], strict=True):
        x1, x2 = (min(max(x / data["width"], 0.0), 1.0) for x in box[0::2])
        y1, y2 = (min(max(y / data["height"], 0.0), 1.0) for y in box[1::2])
        if not ignore and name in numbers and x2 > x1 and y2 > y1:
            values = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
            lines.append(" ".join([str(numbers[name]), *(f"{value:.6f}" for value in values)]) + "\n")
    return "".join(lines)
