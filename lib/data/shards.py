"""Samples in plain WebDataset tars with an offset index: writing, reading by key, a private copy for YOLO trainers.

Not here: what a sample holds (samples.py), which samples an arm trains on (subsample.py).

`manifest.json` names the tars of each split with size and sha256; `index.parquet` says where each sample lies. Members are
flat, `{key}.jpg` then `{key}.json`, with normalised headers, so that packing the same data again gives the same bytes. All
tars are written under temporary names and get their own only when the last one is whole; then come index and manifest, then
the tars of an older build go.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.config.base import ConfigError, identity, nearest
from lib.config.shard import Shardset
from lib.data.progress import track
from lib.data.samples import Labelled, Sample, labelled, samples_of, yolo_lines
from lib.files import DataError, atomic, read_json, sha256_file, write_json

VERSION = 1
INDEX_FILE = "index.parquet"
INDEX_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "video")]
    + [("frame", pa.int64())]
    + [(name, pa.string()) for name in ("split", "shard")]
    + [(name, pa.int64()) for name in ("jpg_offset", "jpg_size", "json_offset", "json_size", "width", "height")]
    + [("classes", pa.list_(pa.string())), ("instances", pa.list_(pa.int64())), ("ignored", pa.int64())],
    metadata={b"vipersight_kind": b"index"},
)
"""Columns of index.parquet. Offsets and sizes in bytes; classes: the distinct ones of the sample, instances: how many
boxes of each, ignored: boxes that are neither object nor background."""

_AGAIN = "Hint: pack the shards again (delete manifest.json and ask for it)."


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
    DataError: a class outside `classes`, media that do not decode.
    """
    chosen = labelled(frames, boxes, tracks, settings)
    _check_classes(chosen, classes)
    videos = {split: _videos_of(manifest, split, chosen) for split in settings.splits}
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
        (out / "manifest.json").unlink(missing_ok=True)  # from here to its writing neither old nor new set stands whole
    with atomic(out / INDEX_FILE) as temporary:
        pq.write_table(pa.Table.from_pylist(places, schema=INDEX_SCHEMA), temporary, compression="zstd")
    described = {"version": VERSION, "classes": list(classes), "splits": splits, "index": INDEX_FILE}
    described["settings"] = identity(settings)
    write_json(out / "manifest.json", described)
    standing = {shard["file"] for shard in _shards(described)}
    for stale in out.glob("*.tar"):
        if stale.name not in standing:
            stale.unlink()
    return described


def _split_packed(
    split: str, samples: Iterator[Sample], samples_per_shard: int, out: Path, until_all_are_whole: ExitStack
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write the tars of one split under temporary names; (what the manifest says of each, index row of each sample)."""
    shards: list[dict[str, Any]] = []
    places: list[dict[str, Any]] = []
    while first := list(islice(samples, 1)):
        file = f"{split}-{len(shards):06d}.tar"
        temporary = until_all_are_whole.enter_context(atomic(out / file))
        found = _packed(temporary, chain(first, islice(samples, samples_per_shard - 1)))
        size, digest = temporary.stat().st_size, sha256_file(temporary)
        shards.append({"file": file, "samples": len(found), "bytes": size, "sha256": digest})
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


def _packed(path: Path, samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """Write one tar; returns the index row of each sample, without split and shard."""
    places = []
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for sample in samples:
            text = json.dumps(sample.data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            place = {"key": sample.key, "video": sample.data["video"], "frame": sample.data["frame"]}
            place |= {"width": sample.data["width"], "height": sample.data["height"]} | _class_counts(sample.data)
            for suffix, content in (("jpg", sample.jpg), ("json", text.encode())):
                place[f"{suffix}_offset"] = _added(tar, f"{sample.key}.{suffix}", content)
                place[f"{suffix}_size"] = len(content)
            places.append(place)
    return places


def _class_counts(data: Mapping[str, Any]) -> dict[str, Any]:
    found = Counter(name for name, ignore in zip(data["labels"], data["ignore"], strict=True) if not ignore)
    names = sorted(found)
    return {"classes": names, "instances": [found[name] for name in names], "ignored": sum(data["ignore"])}


def _added(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Add a member; returns the offset of its content."""
    member = tarfile.TarInfo(name)  # its defaults: no owner, time 0, mode 0644
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def read_index(path: str | Path) -> pd.DataFrame:
    """The offset index (columns: INDEX_SCHEMA); DataError when it is missing, damaged or of another shape."""
    if not Path(path).is_file():
        raise DataError(f"{path}: file not found. {_AGAIN}")
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet table ({error}). {_AGAIN}") from error
    if not table.schema.equals(INDEX_SCHEMA):
        raise DataError(f"{path}: columns are {table.schema.names}, expected {INDEX_SCHEMA.names}. {_AGAIN}")
    return table.to_pandas()


class ShardReader:
    """Samples by key from the tars that a manifest.json names; safe to share with forked and spawned workers.

    classes: those of the dataset, in the order that models use; index: DataFrame with the columns of INDEX_SCHEMA.
    DataError: a tar that is missing or has another size than recorded, an index that does not belong to the manifest.
    """

    def __init__(self, manifest: str | Path) -> None:
        self.folder = Path(manifest).parent
        self.manifest = _read_manifest(manifest)
        self.classes: list[str] = self.manifest["classes"]
        self.index = read_index(self.folder / self.manifest["index"])
        samples = sum(split["samples"] for split in self.manifest["splits"].values())
        if samples != len(self.index):
            raise DataError(f"{manifest}: states {samples} samples, its index lists {len(self.index)}. {_AGAIN}")
        for shard in _shards(self.manifest):
            _check_size(self.folder / shard["file"], shard["bytes"])
        self._rows = pd.Index(self.index["key"])
        self._shards = self.index["shard"].to_numpy(dtype=object)
        self._spans = self.index[["jpg_offset", "jpg_size", "json_offset", "json_size"]].to_numpy(dtype=np.int64)
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self, key: str) -> Sample:
        """One sample; DataError when the key is unknown, or the tar holds something else where the index points."""
        data = self.labels(key)
        row = self._row(key)
        offset, size = self._spans[row, :2].tolist()
        return Sample(key, self._member(self._shards[row], f"{key}.jpg", offset, size), data)

    def labels(self, key: str) -> dict[str, Any]:
        """Labels of one sample without its image; errors as of `read`."""
        row = self._row(key)
        offset, size = self._spans[row, 2:].tolist()
        text = self._member(self._shards[row], f"{key}.json", offset, size)
        try:
            return json.loads(text)
        except ValueError as error:
            raise DataError(
                f"{self.folder / self._shards[row]}: labels of {key!r} are damaged ({error}). {_AGAIN}"
            ) from error

    def _row(self, key: str) -> int:
        try:
            return int(self._rows.get_loc(key))
        except KeyError:
            hint = "Hint: were the frames chosen from other shards? Run subsample again."
            raise DataError(f"{self.folder}: holds no sample {key!r}. {hint}") from None

    def iterate(self, keys: Iterable[str] | None = None) -> Iterator[Sample]:
        """Samples in the order given (default: that of the shards)."""
        return map(self.read, self.index["key"] if keys is None else keys)

    def _member(self, shard: str, name: str, offset: int, size: int) -> bytes:
        """Content of a member, after its tar header was seen to carry this name and size."""
        path = self.folder / shard
        if self._file is None or self._file.name != str(path):
            self.__exit__()
            try:
                self._file = open(path, "rb")  # noqa: SIM115  # stays open for the next sample of the same shard
            except OSError as error:
                raise DataError(f"{path}: cannot be opened ({error}). {_AGAIN}") from error
        header = tarfile.BLOCKSIZE
        # pread leaves the file position alone: forked workers share it
        raw = os.pread(self._file.fileno(), header + size, offset - header)
        if len(raw) != header + size:
            raise DataError(f"{path}: ends before {name!r} does (the file is cut). {_AGAIN}")
        try:
            member = tarfile.TarInfo.frombuf(raw[:header], "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise DataError(
                f"{path}: no tar member where {name!r} should be ({error}): damaged or swapped. {_AGAIN}"
            ) from error
        if (member.name, member.size) != (name[: tarfile.LENGTH_NAME], size):  # longer names are cut in this header
            raise DataError(f"{path}: holds {member.name!r} where {name!r} should be: damaged or swapped. {_AGAIN}")
        return raw[header:]


def verify(manifest: str | Path) -> None:
    """Read all tars of a manifest.json and compare their sha256; DataError names the first that differs."""
    for shard in _shards(_read_manifest(manifest)):
        path = Path(manifest).parent / shard["file"]
        _check_size(path, shard["bytes"])
        if sha256_file(path) != shard["sha256"]:
            raise DataError(f"{path}: its sha256 is not the recorded one: damaged or swapped. {_AGAIN}")


def _read_manifest(path: str | Path) -> dict[str, Any]:
    manifest = read_json(path)
    if manifest.get("version") != VERSION:
        raise DataError(f"{path}: has version {manifest.get('version')!r}, expected {VERSION}. {_AGAIN}")
    return manifest


def _shards(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [shard for split in manifest["splits"].values() for shard in split["shards"]]


def _check_size(path: Path, size: int) -> None:
    if not path.is_file():
        raise DataError(f"{path}: the shard is missing. {_AGAIN}")
    if path.stat().st_size != size:
        raise DataError(f"{path}: {path.stat().st_size} bytes, recorded are {size}: cut or swapped. {_AGAIN}")


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
