"""Frames as samples of WebDataset tars, and the private copy of them for YOLO trainers.

Not here: what a sample holds (samples.py), how tars and index are written (tar_writer.py), which samples an arm trains on
(subsample.py), reading (reader.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from lib.config.base import ConfigError, identity, nearest
from lib.config.shard import Shardset
from lib.data.progress import track
from lib.data.reader import ShardReader, verify
from lib.data.samples import Labelled, Sample, labelled, samples_of, yolo_lines
from lib.data.tar_index import FRAMES, INDEX_SCHEMA, read_index
from lib.data.tar_writer import JSON, Packed, write_packed, write_shardset
from lib.files import DataError

__all__ = ["INDEX_SCHEMA", "ShardReader", "export_yolo", "read_index", "verify", "write_shards", "write_tar"]


def write_shards(
    manifest: pd.DataFrame,
    frames: pd.DataFrame,
    boxes: pd.DataFrame,
    tracks: pd.DataFrame | None,
    classes: Sequence[str],
    settings: Shardset,
    out: Path,
) -> dict[str, Any]:
    """Pack the labelled frames of settings.splits into `out` and return what manifest.json holds.

    manifest, frames, boxes, tracks: tables as lib/tables.py describes them. ConfigError: a split without labelled frames.
    DataError: a class outside `classes`, media that do not decode, two samples of one key.
    """
    chosen = labelled(frames, boxes, tracks, settings)
    _check_classes(chosen, classes)
    videos = {split: _videos_of(manifest, split, chosen) for split in settings.splits}
    return write_shardset(
        out,
        {split: _packed_split(split, rows, chosen, settings) for split, rows in videos.items()},
        FRAMES,
        settings.samples_per_shard,
        lambda: {"classes": list(classes), "settings": identity(settings)},
    )


def _packed_split(split: str, rows: Sequence[Any], chosen: Labelled, settings: Shardset) -> Iterator[Packed]:
    """The samples of one split, made as they are asked for."""
    samples = chain.from_iterable(samples_of(row, chosen, settings) for row in rows)
    total = sum(len(chosen.frames[row.video]) for row in rows)
    return map(_packed, track(samples, total=total, label=f"packing {split}"))


def _check_classes(chosen: Labelled, classes: Sequence[str]) -> None:
    for video, rows in chosen.boxes.items():
        unknown = sorted(set(rows["class"]) - set(classes))
        if unknown:
            raise DataError(f"video {video!r} has boxes of class {unknown[0]!r}. {nearest(unknown[0], classes)}")


def _videos_of(manifest: pd.DataFrame, split: str, chosen: Labelled) -> list[Any]:
    """Manifest rows of a split that have frames to pack."""
    rows = [row for row in manifest[manifest["split"] == split].itertuples() if row.video in chosen.frames]
    if not rows and split not in set(manifest["split"]):
        raise ConfigError(f"splits: the dataset has no split {split!r}. {nearest(split, set(manifest['split']))}")
    if not rows:
        raise ConfigError(f"splits: split {split!r} has no labelled frames. Hint: leave it out of the shardset's `splits`.")
    return rows


def write_tar(path: Path, samples: Iterable[Sample]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write one tar of frames; as lib.data.tar_writer.write_packed."""
    return write_packed(path, map(_packed, samples), FRAMES)


def _packed(sample: Sample) -> Packed:
    facts = {name: sample.data[name] for name in ("video", "frame", "time_s", "width", "height")}
    members = {"jpg": sample.jpg, "json": JSON.encode(sample.data).encode()}
    return Packed(sample.key, members, facts | _class_counts(sample.data))


def _class_counts(data: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, int] = {}
    for name, ignore in zip(data["labels"], data["ignore"], strict=True):
        if not ignore:
            found[name] = found.get(name, 0) + 1
    names = sorted(found)
    return {"classes": names, "instances": [found[name] for name in names], "ignored": sum(data["ignore"])}


def export_yolo(
    reader: ShardReader, keys_by_split: Mapping[str, Sequence[str]], classes: Sequence[str], folder: Path
) -> dict[str, list[Path]]:
    """Copy samples as YOLO trainers want them: images/{split}/{key}.jpg, labels/{split}/{key}.txt; returns the images.

    classes: in the order of their numbers; boxes of other classes and ignored ones are left out. A key stated twice is
    copied once and returned twice (a repeated sample). ConfigError: a class that the dataset lacks.
    """
    for name in classes:
        if name not in reader.classes:
            raise ConfigError(f"classes: the shards have no class {name!r}. {nearest(name, reader.classes)}")
    numbers = {name: number for number, name in enumerate(classes)}
    images: dict[str, list[Path]] = {}
    for split, keys in keys_by_split.items():
        pictures, labels = folder / "images" / split, folder / "labels" / split
        pictures.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for sample in reader.iterate(dict.fromkeys(keys)):
            (pictures / f"{sample.key}.jpg").write_bytes(sample.jpg)
            (labels / f"{sample.key}.txt").write_text(yolo_lines(sample.data, numbers), encoding="utf-8")
        images[split] = [pictures / f"{key}.jpg" for key in keys]
    return images
