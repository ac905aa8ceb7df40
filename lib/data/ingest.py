"""From a Source to the manifest and the truth tables that every later stage reads. Not here: formats, downloads.

Takes the chosen classes, assigns splits, makes ids, looks at the media, clips boxes to the picture, and counts in
quality.csv whatever is left out. Nothing is left out silently, and no video is in two splits, not even as a copy.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import tables
from lib.config.base import ConfigError, nearest
from lib.config.download import Dataset
from lib.data.ids import unique_ids
from lib.data.probing import Media, look
from lib.data.sources import Item, Source
from lib.data.splits import assign
from lib.files import DataError, write_json, write_text

_EDGES = ["x1", "y1", "x2", "y2"]
_CLIP_SLACK = 0.01  # px; less is rounding in the source, clipped but not worth counting
_LISTED = 10


@dataclass(frozen=True)
class Summary:
    """What `ingest` did, for the program to print."""

    videos: int
    skipped: int
    frames: int
    boxes: int
    boxes_clipped: int
    boxes_dropped: int
    classes: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class _Video:
    """One item that is used: its id, split and media."""

    item: Item
    video: str
    split: str
    media: Media
    frames: int
    fps: float
    width: int
    height: int
    times: np.ndarray


def ingest(source: Source, dataset: Dataset, out: Path, *, workers: int = 4) -> Summary:
    """Write manifest.parquet, quality.csv, classes.json and truth/*.parquet of one dataset under `out`.

    workers: threads that look at media. Raises ConfigError for an unknown class or split, DataError for media that are
    missing or broken (with `on_missing: fail`) and for one file in two splits.
    """
    names = choose_classes(dataset.classes, source.classes)
    splits = assign(source.items, dataset.splits, dataset.split_seed)
    ids = unique_ids(item.original for item in source.items)
    chosen = [item for item in source.items if splits[item.original] is not None]
    media = look(chosen, stream=dataset.stream, cache=out / "state" / "probe.jsonl", workers=workers)
    furthest = _furthest(source)
    causes = {item.original: _cause(item, media.get(item.original), furthest) for item in chosen}
    _refuse_broken(causes, dataset.on_missing)
    videos = [
        _video(item, ids[item.original], str(splits[item.original]), media.get(item.original, Media(None)))
        for item in chosen
        if not causes[item.original]
    ]
    if not videos:
        raise DataError(
            f"{out.name}: no usable video is left of {len(source.items)}. Hint: check `splits` and the source's root."
        )
    _refuse_leaks(videos)
    causes |= {item.original: "in no split" for item in source.items if splits[item.original] is None}

    boxes, changes = _boxes(source.boxes, videos, names)
    frames = _frames(source.frames, videos, everything=dataset.labelled == "all")
    _write_truth(out / "truth", frames, boxes, _detections(source, videos, names))
    order = list(dict.fromkeys(names.values()))
    counts = _counts(boxes, videos, order)
    grouped = {name: [old for old, new in names.items() if new == name] for name in order}
    write_json(out / "classes.json", {"classes": order, "source_classes": grouped, "counts": counts})
    changes = _with_notes(changes, source)
    write_text(out / "quality.csv", _quality(source, videos, ids, splits, causes, boxes, changes).to_csv(index=False))
    tables.write_table(out / "manifest.parquet", _manifest(videos), tables.MANIFEST)
    return Summary(
        videos=len(videos),
        skipped=len(source.items) - len(videos),
        frames=len(frames),
        boxes=len(boxes),
        boxes_clipped=sum(changes["clipped"].values()),
        boxes_dropped=sum(changes["dropped"].values()),
        classes=order,
        warnings=_warnings(source, counts, order),
    )


def choose_classes(wanted: list[str] | dict[str, list[str]] | None, known: list[str]) -> dict[str, str]:
    """Source class -> class, in the order of the wanted classes. A source without any class (no truth) takes them as given.

    Raises ConfigError naming a wanted class that the source does not have, with the nearest one.
    """
    groups = {name: [name] for name in (known if wanted is None else wanted)} if not isinstance(wanted, dict) else wanted
    if known:
        for name in (old for group in groups.values() for old in group):
            if name not in known:
                raise ConfigError(f"classes: {name!r} is not a class of the source. {nearest(name, known)}")
    return {old: name for name, group in groups.items() for old in group}


def _furthest(source: Source) -> dict[str, int]:
    """Original name -> last frame that the truth names."""
    return source.frames.groupby("original")["frame"].max().to_dict()


def _cause(item: Item, media: Media | None, furthest: dict[str, int]) -> str:
    """Why this item cannot be used ("" = it can)."""
    if media is None:
        return ""
    if media.probe is None:
        return media.cause
    seen = media.probe
    if item.width and item.height and (item.width, item.height) != (seen.width, seen.height):
        return f"{item.path}: the source states {item.width}x{item.height} px, the file is {seen.width}x{seen.height}"
    if furthest.get(item.original, -1) >= seen.frames:
        return f"{item.path}: the truth names frame {furthest[item.original]}, the file has {seen.frames} frames"
    return ""


def _refuse_broken(causes: dict[str, str], on_missing: str) -> None:
    broken = [cause for cause in causes.values() if cause]
    if broken and on_missing == "fail":
        more = f"\n  ... and {len(broken) - _LISTED} more" if len(broken) > _LISTED else ""
        listed = "\n  ".join(broken[:_LISTED])
        raise DataError(
            f"{len(broken)} of {len(causes)} files are missing or broken:\n  {listed}{more}\n"
            f"Hint: fetch them again, or set `on_missing: skip` to leave them out and count them in quality.csv."
        )


def _refuse_leaks(videos: list[_Video]) -> None:
    first: dict[str, _Video] = {}
    for video in videos:
        known = first.setdefault(video.media.sha256, video) if video.media.sha256 else video
        if known.split != video.split:
            raise DataError(
                f"the same file is in two splits: {known.item.original!r} in {known.split!r} and {video.item.original!r} in "
                f"{video.split!r} (sha256 {video.media.sha256[:12]}). Hint: leave one of them out by `splits` patterns."
            )


def _video(item: Item, video: str, split: str, media: Media) -> _Video:
    seen = media.probe
    if seen is None:  # kind "none": what the source states is all there is
        frames, width, height = item.frames or 0, item.width or 0, item.height or 0
    else:
        frames, width, height = seen.frames, seen.width, seen.height
    if seen is not None and item.kind in ("video", "image"):
        fps, times = seen.fps, seen.times
    else:
        fps = float(item.fps or math.nan)
        times = np.arange(frames) / fps
    return _Video(item, video, split, media, frames, fps, width, height, times)


def _frames(listed: pd.DataFrame, videos: list[_Video], *, everything: bool) -> pd.DataFrame:
    """The FRAMES table: listed frames of used videos; with `everything`, all frames of videos that have any."""
    by_name = {video.item.original: video for video in videos}
    rows = listed[listed["original"].isin(by_name)]
    if everything:
        names = rows["original"].unique()
        rows = pd.DataFrame(
            {
                "original": np.repeat(names, [by_name[name].frames for name in names]),
                "frame": np.concatenate(
                    [np.zeros(0, dtype=np.int64), *(np.arange(by_name[name].frames) for name in names)]
                ),
            }
        )
    return _placed(rows, by_name)[["video", "frame", "time_s"]]


def _placed(rows: pd.DataFrame, by_name: dict[str, _Video]) -> pd.DataFrame:
    """Rows with video and time_s added, sorted by video and frame; rows of the same frame keep the source's order."""
    times = [by_name[name].times[frame] for name, frame in zip(rows["original"], rows["frame"], strict=True)]
    ids = [by_name[name].video for name in rows["original"]]
    placed = rows.assign(video=pd.Series(ids, index=rows.index, dtype=object), time_s=np.asarray(times, dtype=np.float64))
    return placed.sort_values(["video", "frame"], kind="stable", ignore_index=True)


def _boxes(
    stated: pd.DataFrame, videos: list[_Video], names: dict[str, str]
) -> tuple[pd.DataFrame, dict[str, Counter[str]]]:
    """The BOXES table of used videos and chosen classes, clipped to the picture, and clipped / dropped by original name."""
    by_name = {video.item.original: video for video in videos}
    rows = stated[stated["original"].isin(by_name) & stated["class"].isin(names)]
    rows = rows.assign(**{"class": rows["class"].map(names)})
    limits = np.array([[by_name[name].width, by_name[name].height] for name in rows["original"]], dtype=np.float64)
    limits = np.where(limits.reshape(-1, 2) > 0, limits.reshape(-1, 2), np.inf)
    before = rows[_EDGES].to_numpy(dtype=np.float64)
    after = before.clip(0.0, np.tile(limits, 2))
    gone = (after[:, 2] - after[:, 0] <= 0) | (after[:, 3] - after[:, 1] <= 0)
    moved = (np.abs(after - before) > _CLIP_SLACK).any(axis=1) & ~gone
    changes = {"clipped": Counter(rows["original"][moved]), "dropped": Counter(rows["original"][gone])}
    rows = rows.assign(**dict(zip(_EDGES, after.T, strict=True)))[~gone]
    return _placed(rows, by_name)[list(tables.COLUMNS[tables.BOXES])], changes


def _detections(source: Source, videos: list[_Video], names: dict[str, str]) -> pd.DataFrame | None:
    if source.detections is None:
        return None
    by_name = {video.item.original: video for video in videos}
    rows = source.detections
    rows = rows[rows["original"].isin(by_name) & rows["class"].isin(names)]
    rows = rows.assign(**{"class": rows["class"].map(names)})
    return _placed(rows, by_name)[list(tables.COLUMNS[tables.DETECTIONS])]


def _write_truth(folder: Path, frames: pd.DataFrame, boxes: pd.DataFrame, detections: pd.DataFrame | None) -> None:
    """All truth tables, empty where the source has none; tracks hold the boxes with a track that are not ignored."""
    tracks = boxes[(boxes["track"] >= 0) & ~boxes["ignore"]].assign(score=1.0)[list(tables.COLUMNS[tables.TRACKS])]
    twice = tracks.duplicated(["video", "frame", "track"])
    if twice.any():
        row = tracks[twice].iloc[0]
        raise DataError(
            f"video {row['video']!r}, frame {row['frame']}: track {row['track']} has two boxes. Hint: one id, one box."
        )
    filled = {tables.FRAMES: frames, tables.BOXES: boxes, tables.TRACKS: tracks.reset_index(drop=True)}
    for kind in (tables.QUERIES, tables.RELATIONS, tables.CAPTIONS, tables.ANSWERS):
        filled[kind] = tables.empty(kind)
    for kind, table in filled.items():
        tables.write_table(folder / f"{kind}.parquet", table, kind)
    if detections is None:
        (folder / "detections.parquet").unlink(missing_ok=True)  # of an earlier state of the source
    else:
        tables.write_table(folder / "detections.parquet", detections, tables.DETECTIONS)


def _counts(boxes: pd.DataFrame, videos: list[_Video], order: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Split -> class -> frames that hold it and instances; ignored boxes are not counted."""
    split_of = {video.video: video.split for video in videos}
    real = boxes[~boxes["ignore"]]
    real = real.assign(split=real["video"].map(split_of))
    instances = real.groupby(["split", "class"]).size().to_dict()
    held = real.drop_duplicates(["video", "frame", "class"]).groupby(["split", "class"]).size().to_dict()
    return {
        split: {
            name: {"frames": int(held.get((split, name), 0)), "instances": int(instances.get((split, name), 0))}
            for name in order
        }
        for split in sorted(set(split_of.values()))
    }


def _warnings(source: Source, counts: dict[str, dict[str, dict[str, int]]], order: list[str]) -> list[str]:
    if not source.classes:
        return []
    absent = [name for name in order if not any(split[name]["instances"] for split in counts.values())]
    return [f"class {name!r} does not occur in any video that is used" for name in absent]


def _with_notes(changes: dict[str, Counter[str]], source: Source) -> dict[str, Any]:
    """Adds the boxes that the reader dropped, and what else it noted per original name."""
    notes: dict[str, Counter[str]] = {}
    for entry in source.dropped:
        if entry["what"] == "box":
            changes["dropped"][entry["original"]] += 1
        amount = entry["value"] if isinstance(entry["value"], int) else 1
        notes.setdefault(entry["original"], Counter())[f"{entry['what']}: {entry['cause']}"] += amount
    texts = {name: "; ".join(f"{count} x {note}" for note, count in found.items()) for name, found in notes.items()}
    return {**changes, "notes": texts}


def _quality(
    source: Source,
    videos: list[_Video],
    ids: dict[str, str],
    splits: dict[str, str | None],
    causes: dict[str, str],
    boxes: pd.DataFrame,
    changes: dict[str, Any],
) -> pd.DataFrame:
    """quality.csv: one row per file of the source, used or not."""
    used = {video.item.original: video for video in videos}
    held = boxes["video"].value_counts().to_dict()
    rows = []
    for item in source.items:
        name = item.original
        row: dict[str, Any] = {"video": ids[name], "original": name, "split": splits[name] or "", "status": "skipped"}
        row |= {"cause": causes[name]}
        if name in used:
            row |= _looks(used[name], changes["notes"].get(name, ""))
        row |= {"boxes": held.get(ids[name], 0)}
        row |= {"boxes_clipped": changes["clipped"][name], "boxes_dropped": changes["dropped"][name]}
        rows.append(row)
    order = ["video", "original", "split", "status", "cause", "frames", "fps", "width", "height", "duration_s"]
    order += ["rotated", "variable_rate", "audio", "boxes", "boxes_clipped", "boxes_dropped"]
    whole = dict.fromkeys(("frames", "width", "height"), "Int64")  # empty for skipped files, never 480.0
    return pd.DataFrame(rows, columns=order).astype(whole).sort_values("video", ignore_index=True)


def _looks(video: _Video, notes: str) -> dict[str, Any]:
    seen = video.media.probe
    cut = "cut: fewer frames than its header states" if seen is not None and seen.cut else ""
    return {
        "status": "ok",
        "cause": "; ".join(part for part in (cut, notes) if part),
        "frames": video.frames,
        "fps": round(video.fps, 6),
        "width": video.width,
        "height": video.height,
        "duration_s": round(_duration(video), 6),
        "rotated": seen is not None and seen.rotated,
        "variable_rate": seen is not None and seen.variable_rate,
        "audio": seen is not None and seen.has_audio,
    }


def _duration(video: _Video) -> float:
    if video.item.kind in ("frames", "none"):
        return video.frames / video.fps
    return video.media.probe.duration_s if video.media.probe is not None else 0.0


def _manifest(videos: list[_Video]) -> pd.DataFrame:
    rows = [
        {
            "video": video.video,
            "original": video.item.original,
            "split": video.split,
            "path": "" if video.item.path is None else str(video.item.path),
            "kind": video.item.kind,
            "sha256": video.media.sha256,
            "stream": -1 if video.media.probe is None else video.media.probe.stream,
            "fps": video.fps,
            "frames": video.frames,
            "width": video.width,
            "height": video.height,
            "duration_s": _duration(video),
        }
        for video in videos
    ]
    return pd.DataFrame(rows).sort_values("video", ignore_index=True)
