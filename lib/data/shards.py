"""Writing samples into plain WebDataset tars with an offset index, and the private copy of them for YOLO trainers.

Not here: what a sample holds (samples.py), which samples an arm trains on (subsample.py), reading (reader.py).

`manifest.json` names the tars of each split with size and sha256; `index.parquet` says where each sample lies and what its
bytes sum up to. Members are flat, `{key}.jpg` then `{key}.json`, with normalised headers, so that packing the same data
again gives the same bytes. All tars are written under temporary names and get their own only when the last one is whole;
then come index and manifest, then the tars of an older build go.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.config.base import ConfigError, identity, nearest
from lib.config.shard import Shardset
from lib.data.progress import track
from lib.data.reader import INDEX_FILE, INDEX_SCHEMA, VERSION, ShardReader, manifest_digest, read_index, verify
from lib.data.samples import Labelled, Sample, labelled, samples_of, yolo_lines
from lib.files import DataError, atomic, sha256_file, write_json

__all__ = ["INDEX_SCHEMA", "ShardReader", "export_yolo", "read_index", "verify", "write_shards", "write_tar"]

_ONE_ROW = "a video has one row in manifest.parquet; run download again."
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_BLOCK = tarfile.BLOCKSIZE
_TEMPLATE = tarfile.TarInfo().tobuf(tarfile.GNU_FORMAT)  # its defaults: no owner, time 0, mode 0644
_SIZE, _SUM = slice(124, 136), slice(148, 156)  # fields of a header that depend on the member, beside its name
_TEMPLATE_SUM = sum(_TEMPLATE) - sum(_TEMPLATE[_SIZE]) - sum(_TEMPLATE[_SUM]) + 8 * ord(" ")


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
    # in the order that manifest.json has them in (its keys are sorted): the index follows the tars
    videos = {split: _videos_of(manifest, split, chosen) for split in sorted(settings.splits)}
    out.mkdir(parents=True, exist_ok=True)
    for leftover in out.glob(".writing-*.tar"):  # of a build that was killed
        leftover.unlink()
    splits: dict[str, Any] = {}
    places: list[dict[str, Any]] = []
    with ExitStack() as until_all_are_whole:
        for split, rows in videos.items():
            samples = chain.from_iterable(samples_of(row, chosen, settings) for row in rows)
            total = sum(len(chosen.frames[row.video]) for row in rows)
            shown = track(samples, total=total, label=f"packing {split}")
            shards, found = _split_packed(split, shown, settings.samples_per_shard, out, until_all_are_whole)
            splits[split] = {"shards": shards, "samples": len(found)}
            places += found
        _check_keys(places)
        (out / "manifest.json").unlink(missing_ok=True)  # from here to its writing neither old nor new set stands whole
    with atomic(out / INDEX_FILE) as temporary:
        pq.write_table(pa.Table.from_pylist(places, schema=INDEX_SCHEMA), temporary, compression="zstd")
    described: dict[str, Any] = {"version": VERSION, "classes": list(classes), "splits": splits, "index": INDEX_FILE}
    described |= {"index_sha256": sha256_file(out / INDEX_FILE), "settings": identity(settings)}
    described["sha256"] = manifest_digest(described)
    write_json(out / "manifest.json", described)
    remove_stale(out, described)
    return described


def remove_stale(out: Path, described: Mapping[str, Any]) -> None:
    """Remove tars in `out` that a manifest.json does not name: those of an older build."""
    standing = {shard["file"] for split in described["splits"].values() for shard in split["shards"]}
    for stale in out.glob("*.tar"):
        if stale.name not in standing:
            stale.unlink()


def _check_keys(places: Sequence[Mapping[str, Any]]) -> None:
    shard_of: dict[str, str] = {}
    for place in places:
        key, shard = place["key"], place["shard"]
        if shard_of.setdefault(key, shard) != shard:
            raise DataError(f"sample {key!r} would lie in {shard_of[key]} and in {shard}. Hint: {_ONE_ROW}")


def _split_packed(
    split: str, samples: Iterator[Sample], samples_per_shard: int, out: Path, until_all_are_whole: ExitStack
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write the tars of one split under temporary names; (what the manifest says of each, index row of each sample)."""
    shards: list[dict[str, Any]] = []
    places: list[dict[str, Any]] = []
    while first := list(islice(samples, 1)):
        file = f"{split}-{len(shards):06d}.tar"
        temporary = until_all_are_whole.enter_context(atomic(out / file))
        found, written = write_tar(temporary, chain(first, islice(samples, samples_per_shard - 1)))
        shards.append({"file": file, "samples": len(found)} | written)
        places += [place | {"split": split, "shard": file} for place in found]
    return shards, places


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
    """Write one tar; (index row of each sample without split and shard, size in `bytes` and `sha256` of the tar).

    Byte for byte what `tarfile` writes in GNU format, at a fraction of its cost. DataError: two samples of one key.
    """
    places: dict[str, dict[str, Any]] = {}
    offset, whole = 0, hashlib.sha256()
    with open(path, "wb") as file:
        for sample in samples:
            if sample.key in places:
                raise DataError(f"sample {sample.key!r} would be packed twice. Hint: {_ONE_ROW}")
            places[sample.key], parts = _packed(sample, offset)
            for part in parts:
                file.write(part)
                whole.update(part)
                offset += len(part)
        end = bytes(2 * _BLOCK + -(offset + 2 * _BLOCK) % tarfile.RECORDSIZE)
        file.write(end)
        whole.update(end)
    return list(places.values()), {"bytes": offset + len(end), "sha256": whole.hexdigest()}


def _packed(sample: Sample, offset: int) -> tuple[dict[str, Any], list[bytes]]:
    """(index row without split and shard of a sample that starts at `offset`, the parts of its two members)."""
    text = _JSON.encode(sample.data)
    place = {"key": sample.key} | {name: sample.data[name] for name in ("video", "frame", "time_s", "width", "height")}
    place |= _class_counts(sample.data) | {"offset": offset}
    parts = []
    for suffix, content in (("jpg", sample.jpg), ("json", text.encode())):
        header, padding = tar_header(f"{sample.key}.{suffix}", len(content)), bytes(-len(content) % _BLOCK)
        place |= {f"{suffix}_offset": offset + len(header), f"{suffix}_size": len(content)}
        place[f"{suffix}_crc32"] = zlib.crc32(padding, zlib.crc32(content, zlib.crc32(header)))
        parts += [header, content, padding]
        offset += len(header) + len(content) + len(padding)
    return place, parts


def tar_header(name: str, size: int) -> bytes:
    """What stands before a member of `size` bytes: as tarfile.TarInfo(name).tobuf(GNU_FORMAT) with that size."""
    encoded = name.encode()
    if len(encoded) > 100 or size >= 8**11 or "\0" in name:
        member = tarfile.TarInfo(name)
        member.size = size
        return member.tobuf(tarfile.GNU_FORMAT)
    digits = b"%011o\0" % size
    header = bytearray(_TEMPLATE)
    header[: len(encoded)] = encoded
    header[_SIZE] = digits
    header[_SUM] = b"%06o\0 " % (_TEMPLATE_SUM + sum(encoded) + sum(digits))
    return bytes(header)


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
