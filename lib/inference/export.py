"""What people and other tools take away: COCO-results JSON and an annotated video per video. Not here: drawing (draw.py),
predicting (predict.py), and encoding (lib/data/video.py)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.config.export import ExportSettings
from lib.data.video import write_video
from lib.files import DataError, atomic, write_json
from lib.inference.draw import Painter, drawn_size
from lib.perception.streaming import ahead, decode, frame_times, progress_bar, rate


def export_videos(
    videos: pd.DataFrame,
    rows: pd.DataFrame,
    settings: ExportSettings,
    folder: Path,
    *,
    classes: Sequence[str],
    model: dict[str, Any],
    stride: int = 1,
    progress: bool = True,
    whole_folder: bool = True,
) -> dict[str, Any]:
    """Write `{video}_detections.json` for all videos and `detected_{video}.mp4` (.jpg for images) for the first ones.

    videos: MANIFEST rows. rows: DETECTIONS, SEGMENTS or TRACKS of them. classes: their order gives category ids (from 1)
    and colours. model: what `info.model` says of the origin (names, sha256, …). stride: every how many frames was looked
    at; the drawn video holds those frames only and plays at its natural speed. Returns what it also writes to
    `index.json`, last: one entry per video with its files. Files of an earlier export that are no longer named there are
    removed. whole_folder: false = the folder is somebody's own: nothing is removed and no `index.json` is written.

    Raises DataError when a row has a class that is not in `classes`.
    """
    strangers = sorted(set(rows["class"]) - set(classes))
    if strangers:
        raise DataError(
            f"export: boxes of classes {strangers}, known are {list(classes)}. Hint: are table and model a pair?"
        )
    folder.mkdir(parents=True, exist_ok=True)
    ordered = videos.sort_values("video").reset_index(drop=True)
    pictured = ordered[ordered["kind"] != "none"]
    drawn = set(pictured["video"].iloc[: settings.videos])
    by_video = dict(tuple(rows.groupby("video")))
    frames = int(np.ceil(pictured.loc[pictured["video"].isin(drawn), "frames"] / stride).sum())
    entries = []
    with progress_bar("draw", frames, shown=progress) as advance:
        for place, video in enumerate(ordered.itertuples(index=False)):
            table = by_video.get(video.video, rows.iloc[:0])
            name = f"{video.video}_detections.json"
            written = table[table["score"] >= settings.json_threshold]
            write_json(folder / name, coco_results(video, written, settings, classes=classes, model=model, stride=stride))
            entry = {
                "video": video.video,
                "original": video.original,
                "json": name,
                "detections": len(written),
                "media": None,
            }
            if video.video in drawn:
                entry["media"] = draw_video(ordered.iloc[[place]], table, settings, folder, classes=classes, stride=stride)
                advance(math.ceil(video.frames / stride))
            entries.append(entry)
    index = {"model": model, "classes": list(classes), "stride": stride, "files": entries} | settings.model_dump(
        mode="json"
    )
    if whole_folder:
        _remove_others(folder, {entry[key] for entry in entries for key in ("json", "media") if entry[key]})
        write_json(folder / "index.json", index)
    return index


def coco_results(
    video: Any, rows: pd.DataFrame, settings: ExportSettings, *, classes: Sequence[str], model: dict[str, Any], stride: int
) -> dict[str, Any]:
    """One video as COCO JSON: image ids from 1 in frame order (also frames without boxes), bbox = [x, y, width, height] px.

    video: its MANIFEST row as a named tuple. Tracks have `track_id`, segments their mask as `segmentation` (RLE), whose
    pixels are the area. Loads as it is with pycocotools' COCO. Raises
    DataError when a row lies in a frame that was not looked at.
    """
    frames = range(0, int(video.frames), stride)
    strangers = sorted(set(rows["frame"]) - set(frames))
    if strangers:
        raise DataError(
            f"export of {video.video}: boxes in frame {strangers[0]}, which stride {stride} of {video.frames} frames "
            "does not hold. Hint: is the stride that of the predictions?"
        )
    times = frame_times(rows, frames, fps=video.fps)
    image_id = {frame: number for number, frame in enumerate(frames, start=1)}
    category_id = {name: number for number, name in enumerate(classes, start=1)}
    single = video.kind == "image"
    images = [
        {
            "id": image_id[frame],
            "frame_index": frame,
            "time_s": round(float(time_s), 6),
            "file_name": Path(video.path).name if single else f"{video.video}/{frame:06d}.jpg",
            "width": int(video.width),
            "height": int(video.height),
        }
        for frame, time_s in zip(frames, times, strict=True)
    ]
    info = {
        "video": video.video,
        "original": video.original,
        "fps": float(video.fps) if math.isfinite(video.fps) else None,
        "frames": int(video.frames),
        "stride": stride,
        "threshold": settings.json_threshold,
        "model": model,
    }
    size = [int(video.height), int(video.width)]
    annotations = [
        _annotation(number, row, image_id, category_id) | _segmentation(row, size)
        for number, row in enumerate(rows.to_dict("records"), start=1)
    ]
    categories = [{"id": number, "name": name} for name, number in category_id.items()]
    return {"info": info, "images": images, "categories": categories, "annotations": annotations}


def _annotation(number: int, row: dict[str, Any], image_id: dict[int, int], category_id: dict[str, int]) -> dict[str, Any]:
    width, height = row["x2"] - row["x1"], row["y2"] - row["y1"]
    annotation = {
        "id": number,
        "image_id": image_id[row["frame"]],
        "category_id": category_id[row["class"]],
        "bbox": [round(float(value), 3) for value in (row["x1"], row["y1"], width, height)],
        "area": round(float(width * height), 3),
        "iscrowd": 0,
        "score": round(float(row["score"]), 6),
    }
    return annotation | ({"track_id": int(row["track"])} if "track" in row else {})


def _segmentation(row: dict[str, Any], size: list[int]) -> dict[str, Any]:
    """The mask of a row of SEGMENTS and its area, px; size: [height, width]."""
    if "mask" not in row:
        return {}
    from pycocotools import mask

    coded = {"size": size, "counts": row["mask"]}
    return {"area": float(mask.area(coded)), "segmentation": coded}


def draw_video(
    video: pd.DataFrame, rows: pd.DataFrame, settings: ExportSettings, folder: Path, *, classes: Sequence[str], stride: int
) -> str:
    """Write the annotated copy of one video (a MANIFEST of one row): mp4, or jpg for an image. Returns its file name."""
    facts = next(video.itertuples(index=False))
    shown = dict(tuple(rows[rows["score"] >= settings.threshold].groupby("frame")))
    none = rows.iloc[:0]
    size = drawn_size(int(facts.width), int(facts.height), settings.min_width)
    painter = Painter(list(classes), size=size)

    def painted() -> Iterator[np.ndarray]:
        with closing(ahead(decode(video, stride=stride), depth=8)) as frames:
            for frame in frames:
                yield painter.paint(frame.image, shown.get(frame.index, none))

    if facts.kind == "image":
        name = f"detected_{facts.video}.jpg"
        _write_picture(folder / name, next(painted()))
        return name
    name = f"detected_{facts.video}.mp4"
    write_video(folder / name, painted(), rate(facts.fps) / stride, size)
    return name


def _write_picture(path: Path, image: np.ndarray) -> None:
    import cv2

    done, coded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise DataError(f"{path}: a picture of {image.shape} could not be encoded.")
    with atomic(path, need=coded.nbytes) as temporary:  # not cv2.imwrite: it does not say what fails
        temporary.write_bytes(coded.tobytes())


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Remove pictures and JSON of an earlier export of this folder that the new one does not name."""
    for pattern in ("detected_*.mp4", "detected_*.jpg", "*_detections.json"):
        for path in folder.glob(pattern):
            if path.name not in kept:
                path.unlink()
