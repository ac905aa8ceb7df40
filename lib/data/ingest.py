"""From a Source to the manifest and the truth tables that every later stage reads. Not here: formats, downloads.

Takes the chosen classes, assigns splits, makes ids, looks at the media, clips boxes to the picture, and counts in
quality.csv whatever is left out. Nothing is left out silently, and no video is in two splits, not even as a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import tables
from lib.config.base import ConfigError, nearest
from lib.config.download import Dataset
from lib.data.ids import unique_ids
from lib.data.language import language_tables
from lib.data.probing import Media, look
from lib.data.quality import how_cut, quality_table, told_of_texts, with_notes
from lib.data.sources import Item, Source
from lib.data.splits import check_leaks, draw_splits
from lib.data.truth import Video, boxes_table, class_counts, detections_table, frames_table, write_truth
from lib.files import DataError, csv_cell, write_json, write_text

_LISTED = 10
_OTHER_S, _OTHER_SHARE = 1.0, 0.01  # s, and share of the stated duration, by which a file may differ from it unnoted


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
    language: dict[str, int]
    warnings: list[str]

    def text(self) -> str:
        """One line for a person."""
        words = "".join(f", {count} {kind}" for kind, count in self.language.items() if count)
        return (
            f"{self.videos} videos ({self.skipped} skipped), {self.frames} labelled frames, {self.boxes} boxes "
            f"({self.boxes_clipped} clipped, {self.boxes_dropped} dropped) of {len(self.classes)} classes{words}; "
            "see quality.csv"
        )


def ingest(source: Source, dataset: Dataset, out: Path, *, workers: int = 4) -> Summary:
    """Write manifest.parquet, quality.csv, classes.json and truth/*.parquet of one dataset under `out`.

    workers: threads that look at media. Raises ConfigError for an unknown class or split, DataError for media that are
    missing or broken (with `on_missing: fail`) and for one file in two splits.
    """
    names = choose_classes(dataset.classes, source.classes)
    splits = _splits(source.items, dataset)
    ids = unique_ids(item.original for item in source.items)
    chosen = [item for item in source.items if splits[item.original] is not None]
    media = look(
        [item for item in chosen if item.original not in source.refused],
        stream=dataset.stream,
        cache=out / "state" / "probe.jsonl",
        workers=workers,
        check=dataset.check == "frames",
    )
    furthest = _furthest(source)
    causes = {
        item.original: source.refused.get(item.original) or _cause(item, media.get(item.original), furthest)
        for item in chosen
    }
    _refuse_broken(causes, dataset.on_missing)
    causes = _with_damaged(causes, media, dataset.on_damaged)
    videos = [
        _video(item, ids[item.original], str(splits[item.original]), media.get(item.original, Media(None)))
        for item in chosen
        if not causes[item.original]
    ]
    if not videos:
        raise DataError(
            f"{out.name}: no usable video is left of {len(source.items)}. Hint: check `splits` and the source's root."
        )
    manifest = _manifest(videos)
    check_leaks(manifest)
    causes |= {item.original: "in no split" for item in source.items if splits[item.original] is None}

    boxes, changes = boxes_table(source.boxes, videos, names, clip=dataset.clip)
    frames = frames_table(source.frames, videos, everything=dataset.labelled == "all")
    given = None if source.detections is None else detections_table(source.detections, videos, names)
    used = {video.item.original: video for video in videos}
    language, notes = language_tables(
        source,
        {name: video.video for name, video in used.items()},
        {name: video.duration_s for name, video in used.items()},
        boxes,
    )
    write_truth(out / "truth", frames, boxes, given, language)
    order = list(dict.fromkeys(names.values()))
    counts = class_counts(boxes, videos, order)
    grouped = {name: [old for old, new in names.items() if new == name] for name in order}
    write_json(out / "classes.json", {"classes": order, "source_classes": grouped, "counts": counts})
    changes = with_notes(changes, [*source.dropped, *notes, *_other_durations(videos)])
    held = {"boxes": boxes, **language}
    quality = quality_table(source, videos, ids, splits, causes, held, changes)
    write_text(out / "quality.csv", quality.map(csv_cell).to_csv(index=False))
    tables.write_table(out / "manifest.parquet", manifest, tables.MANIFEST)
    return Summary(
        videos=len(videos),
        skipped=len(source.items) - len(videos),
        frames=len(frames),
        boxes=len(boxes),
        boxes_clipped=sum(changes["clipped"].values()),
        boxes_dropped=sum(changes["dropped"].values()),
        classes=order,
        language={kind: len(table) for kind, table in language.items()},
        warnings=_warnings(source, counts, order) + _cut_short(videos) + told_of_texts([*source.dropped, *notes]),
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


def _splits(items: list[Item], dataset: Dataset) -> dict[str, str | None]:
    """Original name -> split, None = in none."""
    if not isinstance(dataset.splits, str):
        drawn = draw_splits([item.original for item in items], dataset.splits, dataset.split_seed)
        return {item.original: drawn.get(item.original) for item in items}
    unstated = [item.original for item in items if item.split is None]
    if unstated:
        raise ConfigError(
            f"splits: 'source', but the source states no split for {unstated[0]!r}. Hint: give patterns or fractions."
        )
    return {item.original: item.split for item in items}


def _furthest(source: Source) -> dict[str, int]:
    """Original name -> last frame that the truth names."""
    return source.frames.groupby("original")["frame"].max().to_dict()


def _cause(item: Item, media: Media | None, furthest: dict[str, int]) -> str:
    """Why this item cannot be used ("" = it can)."""
    if media is not None and media.probe is None:
        return media.cause
    last = furthest.get(item.original, -1)
    frames = (item.frames or 0) if media is None or media.probe is None else media.probe.frames
    if last >= frames:
        return f"{item.path or item.original}: the truth names frame {last}, but there are {frames} frames"
    seen = media.probe if media is not None else None
    if seen is None:
        return ""
    if item.width and item.height and (item.width, item.height) != (seen.width, seen.height):
        return f"{item.path}: the source states {item.width}x{item.height} px, the file is {seen.width}x{seen.height}"
    return ""


def _with_damaged(causes: dict[str, str], media: dict[str, Media], on_damaged: str) -> dict[str, str]:
    """The causes, with those of damaged videos where the policy is not to keep what comes before the damage."""
    damaged = {
        name: f"{name}: {how_cut(found)}"
        for name, found in media.items()
        if found.probe is not None and found.probe.cut and not causes[name]
    }
    if on_damaged == "keep" or not damaged:
        return causes
    if on_damaged == "fail":
        listed = "\n  ".join(list(damaged.values())[:_LISTED])
        more = f"\n  ... and {len(damaged) - _LISTED} more" if len(damaged) > _LISTED else ""
        raise DataError(
            f"{len(damaged)} videos are cut or damaged inside:\n  {listed}{more}\nHint: fetch them again, or set "
            "`on_damaged: keep` (use what comes before the damage) or `on_damaged: skip` (leave them out)."
        )
    return causes | damaged


def _refuse_broken(causes: dict[str, str], on_missing: str) -> None:
    broken = [cause for cause in causes.values() if cause]
    if broken and on_missing == "fail":
        more = f"\n  ... and {len(broken) - _LISTED} more" if len(broken) > _LISTED else ""
        listed = "\n  ".join(broken[:_LISTED])
        raise DataError(
            f"{len(broken)} of {len(causes)} files are missing or broken:\n  {listed}{more}\n"
            f"Hint: fetch them again, or set `on_missing: skip` to leave them out and count them in quality.csv."
        )


def _video(item: Item, video: str, split: str, media: Media) -> Video:
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
    return Video(item, video, split, media, frames, fps, width, height, times)


def _warnings(source: Source, counts: dict[str, dict[str, dict[str, int]]], order: list[str]) -> list[str]:
    if not source.classes:
        return []
    absent = [name for name in order if not any(split[name]["instances"] for split in counts.values())]
    return [f"class {name!r} does not occur in any video that is used" for name in absent]


def _cut_short(videos: list[Video]) -> list[str]:
    """A video that lost its end is used as far as it goes, and said to be so."""
    cut = [(video.item.original, how_cut(video.media)) for video in videos]
    return [f"{name!r} is {what}; it is used as far as it goes" for name, what in cut if what]


def _other_durations(videos: list[Video]) -> list[dict[str, Any]]:
    """Notes on files that last longer or shorter than the source states: the windows of their queries may be off."""
    cause = "another one than the source states; the file's counts"
    return [
        {"original": video.item.original, "what": "duration", "value": "", "cause": cause}
        for video in videos
        if video.media.probe is not None
        and video.item.duration_s is not None
        and abs(video.duration_s - video.item.duration_s) > max(_OTHER_S, _OTHER_SHARE * video.item.duration_s)
    ]


def _manifest(videos: list[Video]) -> pd.DataFrame:
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
            "duration_s": video.duration_s,
        }
        for video in videos
    ]
    return pd.DataFrame(rows).sort_values("video", ignore_index=True)
