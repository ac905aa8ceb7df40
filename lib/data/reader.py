"""Reading samples by key from WebDataset tars through their offset index, and finding what is damaged in them.

Not here: writing (shards.py), the order of a training and its workers (epochs.py, loader.py).

What is checked when. On opening: manifest.json against the digest it carries, index.parquet against the sha256 in the
manifest, the index in itself (each key once, samples in the order of the tars, none over another), the size of every tar.
On reading a sample: CRC-32 of its members with header and padding, so that a flipped bit, a cut tail or another tar under
the same name is noticed at the sample that it hits, for a few per cent of the time of a decode. `verify` reads everything:
sha256 of every tar, and its list of members against the index.
"""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.config.base import canonical
from lib.data.samples import Sample
from lib.files import DataError, read_json, sha256_file, sha256_text

VERSION = 2
INDEX_FILE = "index.parquet"
INDEX_SCHEMA = pa.schema(
    [("key", pa.string()), ("video", pa.string()), ("frame", pa.int64()), ("time_s", pa.float64())]
    + [(name, pa.string()) for name in ("split", "shard")]
    + [(name, pa.int64()) for name in ("offset", "jpg_offset", "jpg_size", "jpg_crc32")]
    + [(name, pa.int64()) for name in ("json_offset", "json_size", "json_crc32", "width", "height")]
    + [("classes", pa.list_(pa.string())), ("instances", pa.list_(pa.int64())), ("ignored", pa.int64())],
    metadata={b"vipersight_kind": b"index"},
)
"""Columns of index.parquet. Offsets and sizes in bytes; offset: where the sample's first header starts; crc32: of a member
with its header and padding; classes: the distinct ones of the sample, instances: how many boxes of each, ignored: boxes
that are neither object nor background."""

OPEN_FILES = 32
_AGAIN = "Hint: pack the shards again (delete manifest.json and ask for it)."
_BLOCK = tarfile.BLOCKSIZE


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """sha256 of what a manifest.json says, which it carries as `sha256`."""
    return sha256_text(canonical({key: value for key, value in manifest.items() if key != "sha256"}))


def read_manifest(path: str | Path) -> dict[str, Any]:
    """A shardset's manifest.json; DataError when it is missing, of another version, or not what was written."""
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
        found = manifest.get("version") if isinstance(manifest, dict) else None
        raise DataError(f"{path}: has version {found!r}, expected {VERSION}. {_AGAIN}")
    if manifest.get("sha256") != manifest_digest(manifest):
        raise DataError(f"{path}: was changed after it was written (its digest differs). {_AGAIN}")
    return manifest


def shards_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tars that a manifest names: file, samples, bytes, sha256 of each."""
    return [shard for split in manifest["splits"].values() for shard in split["shards"]]


def read_shardset(manifest: str | Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """(what manifest.json says, its offset index), checked against each other without looking at the tars."""
    described = read_manifest(manifest)
    path = Path(manifest).parent / described["index"]
    if path.is_file() and sha256_file(path) != described["index_sha256"]:
        raise DataError(f"{path}: its sha256 is not the one in {Path(manifest).name}: damaged or swapped. {_AGAIN}")
    index = read_index(path)
    _check_index(path, index, described)
    return described, index


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
    """Samples by key from the tars that a manifest.json names; for one thread, and for forked and spawned workers.

    classes: those of the dataset, in the order that models use; index: DataFrame with the columns of INDEX_SCHEMA.
    check: compare the CRC-32 of what is read (turn it off only to measure its cost).
    DataError: a tar that is missing or has another size than recorded, an index that does not belong to the manifest or
    contradicts itself.
    """

    def __init__(self, manifest: str | Path, *, check: bool = True) -> None:
        self.folder = Path(manifest).parent
        self.check = check
        self.manifest, self.index = read_shardset(manifest)
        self.classes: list[str] = self.manifest["classes"]
        for shard in shards_of(self.manifest):
            _check_size(self.folder / shard["file"], shard["bytes"])
        self._rows = pd.Index(self.index["key"])
        self._names = pa.array(self.index["key"], pa.string())  # no Python objects: workers would copy pages to count them
        self._shards, names = pd.factorize(self.index["shard"])
        self._paths = [self.folder / name for name in names]
        self._places = self.index[_PLACE].to_numpy(dtype=np.int64)
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def read(self, key: str) -> Sample:
        """One sample; DataError when the key is unknown, or its bytes are not those that were packed."""
        return self.read_row(self.row(key))

    def read_row(self, row: int) -> Sample:
        """One sample by its row in the index; errors as of `read`."""
        key, path = self._names[row].as_py(), self._paths[self._shards[row]]
        offset, jpg_offset, jpg_size, jpg_crc, json_offset, json_size, json_crc = self._places[row].tolist()
        middle, end = _end(jpg_offset, jpg_size) - offset, _end(json_offset, json_size) - offset
        raw = memoryview(self._bytes(path, offset, end, key))
        if self.check:
            _check_member(path, raw[:middle], f"{key}.jpg", jpg_crc)
            _check_member(path, raw[middle:], f"{key}.json", json_crc)
        jpg = bytes(raw[jpg_offset - offset :][:jpg_size])
        return Sample(key, jpg, self._parsed(path, key, bytes(raw[json_offset - offset :][:json_size])))

    def labels(self, key: str) -> dict[str, Any]:
        """Labels of one sample without reading its image; errors as of `read`."""
        row = self.row(key)
        path = self._paths[self._shards[row]]
        _, jpg_offset, jpg_size, _, json_offset, json_size, json_crc = self._places[row].tolist()
        start = _end(jpg_offset, jpg_size)
        raw = self._bytes(path, start, _end(json_offset, json_size) - start, key)
        if self.check:
            _check_member(path, raw, f"{key}.json", json_crc)
        return self._parsed(path, key, raw[json_offset - start :][:json_size])

    def row(self, key: str) -> int:
        """Row of a key in the index; DataError when there is none."""
        try:
            return int(self._rows.get_loc(key))
        except KeyError:
            raise self._unknown(key) from None

    def rows(self, keys: Iterable[str]) -> np.ndarray:
        """(N,) int64: rows of keys in the index; DataError names the first that is unknown."""
        keys = list(keys)
        rows = self._rows.get_indexer(keys)
        if (rows < 0).any():
            raise self._unknown(keys[int(np.argmax(rows < 0))])
        return rows.astype(np.int64)

    def iterate(self, keys: Iterable[str] | None = None) -> Iterator[Sample]:
        """Samples in the order given (default: that of the shards)."""
        return map(self.read, self.index["key"] if keys is None else keys)

    def damaged(self, shard: str) -> list[str]:
        """Read every sample of one tar; what is wrong with each one that is damaged, in words."""
        found = []
        for row in np.flatnonzero(self.index["shard"] == shard).tolist():
            try:
                self.read_row(row)
            except DataError as error:
                found.append(str(error))
        return found

    def _unknown(self, key: str) -> DataError:
        hint = "Hint: were the frames chosen from other shards? Run subsample again."
        return DataError(f"{self.folder}: holds no sample {key!r}. {hint}")

    def _bytes(self, path: Path, offset: int, size: int, key: str) -> bytes:
        try:
            # pread leaves the file position alone: forked workers share it
            raw = os.pread(self._file(path).fileno(), size, offset)
        except OSError as error:
            raise DataError(f"{path}: sample {key!r} cannot be read ({error}). {_AGAIN}") from error
        if len(raw) != size:
            raise DataError(f"{path}: ends before sample {key!r} does (the file is cut). {_AGAIN}")
        return raw

    def _file(self, path: Path) -> BinaryIO:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        self._open[path] = open(path, "rb", buffering=0)  # noqa: SIM115  # stays open for the next sample of it
        return self._open[path]

    def _parsed(self, path: Path, key: str, text: bytes) -> dict[str, Any]:
        try:
            return json.loads(text)
        except ValueError as error:
            raise DataError(f"{path}: labels of {key!r} are damaged ({error}). {_AGAIN}") from error


_PLACE = ["offset", "jpg_offset", "jpg_size", "jpg_crc32", "json_offset", "json_size", "json_crc32"]


def _end(offset: int | np.ndarray, size: int | np.ndarray) -> Any:
    """Where the padding of a member ends."""
    return offset + -(-size // _BLOCK) * _BLOCK


def _check_member(path: Path, raw: bytes | memoryview, name: str, crc: int) -> None:
    """Refuse bytes that are not the member `name` as it was packed, header and padding included."""
    encoded = name.encode()
    start = 0 if len(encoded) <= tarfile.LENGTH_NAME else _BLOCK  # GNU tar: a long name stands in a block of its own
    if zlib.crc32(raw) == crc and raw[start : start + len(encoded)] == encoded:
        return
    try:
        member = tarfile.TarInfo.frombuf(bytes(raw[:_BLOCK]), "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        found = f"no tar member where {name!r} should be ({error})"
    else:
        found = f"the bytes of {name!r} are not those that were packed (CRC-32)"
        if member.type == tarfile.REGTYPE and member.name != name:
            found = f"holds {member.name!r} where {name!r} should be"
    raise DataError(f"{path}: {found}: damaged or swapped. {_AGAIN}")


def _check_size(path: Path, size: int) -> None:
    if not path.is_file():
        raise DataError(f"{path}: the shard is missing. {_AGAIN}")
    if path.stat().st_size != size:
        raise DataError(f"{path}: {path.stat().st_size} bytes, recorded are {size}: cut or swapped. {_AGAIN}")


def _check_index(path: Path, index: pd.DataFrame, manifest: Mapping[str, Any]) -> None:
    """Refuse an index that does not belong to its manifest or contradicts itself; DataError names shard and key."""
    shards = shards_of(manifest)
    stated = sum(shard["samples"] for shard in shards)
    if stated != len(index):
        raise DataError(f"{path}: lists {len(index)} samples, its manifest states {stated}. {_AGAIN}")
    twice = index["key"].duplicated(keep=False)
    if twice.any():
        first = index[index["key"] == index["key"][twice.idxmax()]]
        raise DataError(f"{path}: {first['key'].iloc[0]!r} stands twice: in {' and in '.join(first['shard'])}. {_AGAIN}")
    runs = [shard["file"] for shard in shards for _ in range(shard["samples"])]
    elsewhere = index["shard"].to_numpy() != np.asarray(runs, dtype=object)
    if elsewhere.any():
        row = index.iloc[int(np.argmax(elsewhere))]
        raise DataError(
            f"{path}: puts {row['key']!r} into {row['shard']}, the manifest into {runs[row.name]}: wrong order. {_AGAIN}"
        )
    _check_spans(path, index, {shard["file"]: shard["bytes"] for shard in shards})


def _check_spans(path: Path, index: pd.DataFrame, sizes: Mapping[str, int]) -> None:
    """Samples of a tar follow each other from its start, jpg before json, and end before the tar does."""
    starts, ends = index["offset"].to_numpy(), _end(index["json_offset"], index["json_size"]).to_numpy()
    new = index["shard"].to_numpy() != index["shard"].shift().to_numpy(dtype=object)
    expected = np.where(new, 0, np.concatenate([[0], ends[:-1]]))
    jpg_ends = _end(index["jpg_offset"], index["jpg_size"]).to_numpy()
    wrong = (starts != expected) | (index["jpg_offset"] < starts + _BLOCK) | (index["json_offset"] < jpg_ends + _BLOCK)
    wrong |= (index["jpg_size"] < 0) | (index["json_size"] < 0) | (ends > index["shard"].map(sizes).to_numpy())
    if wrong.any():
        row = index.iloc[int(np.argmax(wrong))]
        raise DataError(f"{path}: {row['key']!r} cannot lie there in {row['shard']}: wrong order or damaged. {_AGAIN}")


def verify(manifest: str | Path) -> None:
    """Read all tars of a manifest.json: sha256, and members against the index; DataError names shard and key."""
    with ShardReader(manifest) as reader:
        for shard in shards_of(reader.manifest):
            path = reader.folder / shard["file"]
            if sha256_file(path) != shard["sha256"]:
                damaged = reader.damaged(shard["file"]) or [f"{path}: damaged outside of all samples. {_AGAIN}"]
                raise DataError(f"{path}: its sha256 is not the recorded one; {len(damaged)} damaged. First: {damaged[0]}")
            _check_members(path, reader.index[reader.index["shard"] == shard["file"]]["key"].tolist())


def _check_members(path: Path, keys: list[str]) -> None:
    """Refuse a tar whose members are not those of the index, each once and in its order."""
    with tarfile.open(path) as tar:
        found = [member.name for member in tar]
    expected = [f"{key}.{suffix}" for key in keys for suffix in ("jpg", "json")]
    if found == expected:
        return
    twice = pd.Index(found)[pd.Index(found).duplicated()]
    if len(twice):
        raise DataError(f"{path}: holds {twice[0]!r} twice. {_AGAIN}")
    place = next((n for n, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other), len(found))
    if place >= len(expected):
        raise DataError(f"{path}: holds {found[len(expected)]!r}, which the index does not know. {_AGAIN}")
    instead = repr(found[place]) if place < len(found) else "nothing"
    raise DataError(f"{path}: holds {instead} where {expected[place]!r} should be: missing or in wrong order. {_AGAIN}")
