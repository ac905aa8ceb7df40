"""Reading samples by key from WebDataset tars through their offset index, and finding what is damaged in them.

Not here: manifest and index (tar_index.py), writing (shards.py), the order of a training and its workers (epochs.py,
loader.py), what a sample of clips is (clip_samples.py).

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Generic, Self, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from lib.data.samples import Sample
from lib.data.tar_index import AGAIN, BLOCK, end_of, kind_of, layout_of, read_shardset, shards_of
from lib.files import DataError, sha256_file

OPEN_FILES = 32
Read = TypeVar("Read")


class TarReader(Generic[Read]):
    """Samples by key from the tars that a manifest.json names; for one thread, and for forked and spawned workers.

    kind: of the samples that a class reads, None = any. index: DataFrame with the columns of the kind (tar_index.py).
    check: compare the CRC-32 of what is read (turn it off only to measure its cost).
    DataError: a shardset of another kind, a tar that is missing or has another size than recorded, an index that does not
    belong to the manifest or contradicts itself.
    """

    kind: str | None = None

    def __init__(self, manifest: str | Path, *, check: bool = True) -> None:
        self.folder = Path(manifest).parent
        self.check = check
        self.manifest, self.index = read_shardset(manifest)
        if self.kind not in (None, kind_of(self.manifest)):
            raise DataError(
                f"{manifest}: holds samples of kind {kind_of(self.manifest)}, wanted is {self.kind}. "
                f"Hint: name a shardset of kind {self.kind}."
            )
        self.layout = layout_of(self.manifest)
        for shard in shards_of(self.manifest):
            _check_size(self.folder / shard["file"], shard["bytes"])
        self._rows = pd.Index(self.index["key"])
        self._names = pa.array(self.index["key"], pa.string())  # no Python objects: workers would copy pages to count them
        self._shards, names = pd.factorize(self.index["shard"])
        self._paths = [self.folder / name for name in names]
        self._places = self.index[self.layout.place].to_numpy(dtype=np.int64)
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def read(self, key: str) -> Read:
        """One sample; DataError when the key is unknown, or its bytes are not those that were packed."""
        return self.read_row(self.row(key))

    def read_row(self, row: int) -> Read:
        """One sample by its row in the index; errors as of `read`."""
        return self.made(row, self.contents(row))

    def made(self, row: int, contents: dict[str, memoryview]) -> Any:
        """The sample of a row from the contents of its members; here nothing but these."""
        return contents

    def contents(self, row: int, members: Sequence[str] = ()) -> dict[str, memoryview]:
        """Member (as the layout names it) -> its bytes, in one read; members: neighbours in the tar, default all."""
        key, path = self._names[row].as_py(), self._paths[self._shards[row]]
        place = self._places[row].tolist()
        numbers = dict(zip(self.layout.members, zip(place[1::3], place[2::3], place[3::3], strict=True), strict=True))
        known, wanted = list(numbers), list(members or numbers)
        before = known.index(wanted[0]) - 1
        start = place[0] if before < 0 else end_of(*numbers[known[before]][:2])
        first, behind = start, end_of(*numbers[wanted[-1]][:2])
        raw = memoryview(self._bytes(path, first, behind - first, key))
        found = {}
        for member in wanted:
            offset, size, crc = numbers[member]
            end = end_of(offset, size)
            if self.check:
                _check_member(path, raw[start - first : end - first], f"{key}.{self.layout.members[member]}", crc)
            found[member] = raw[offset - first :][:size]
            start = end
        return found

    def key(self, row: int) -> str:
        """The key of a row."""
        return self._names[row].as_py()

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

    def iterate(self, keys: Iterable[str] | None = None) -> Iterator[Read]:
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
            raise DataError(f"{path}: sample {key!r} cannot be read ({error}). {AGAIN}") from error
        if len(raw) != size:
            raise DataError(f"{path}: ends before sample {key!r} does (the file is cut). {AGAIN}")
        return raw

    def _file(self, path: Path) -> BinaryIO:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        self._open[path] = open(path, "rb", buffering=0)  # noqa: SIM115  # stays open for the next sample of it
        return self._open[path]

    def parsed(self, row: int, text: memoryview) -> dict[str, Any]:
        """What a JSON member says; DataError names tar and sample of one that is damaged."""
        try:
            return json.loads(bytes(text))
        except ValueError as error:
            path = self._paths[self._shards[row]]
            raise DataError(f"{path}: labels of {self.key(row)!r} are damaged ({error}). {AGAIN}") from error


class ShardReader(TarReader[Sample]):
    """Samples of frames: pictures and their labels.

    classes: those of the dataset, in the order that models use.
    """

    kind = "frames"

    def __init__(self, manifest: str | Path, *, check: bool = True) -> None:
        super().__init__(manifest, check=check)
        self.classes: list[str] = self.manifest["classes"]

    def made(self, row: int, contents: dict[str, memoryview]) -> Sample:
        """A picture with its labels."""
        return Sample(self.key(row), bytes(contents["jpg"]), self.parsed(row, contents["json"]))

    def labels(self, key: str) -> dict[str, Any]:
        """Labels of one sample without reading its image; errors as of `read`."""
        row = self.row(key)
        return self.parsed(row, self.contents(row, ["json"])["json"])


def _check_member(path: Path, raw: bytes | memoryview, name: str, crc: int) -> None:
    """Refuse bytes that are not the member `name` as it was packed, header and padding included."""
    encoded = name.encode()
    start = 0 if len(encoded) <= tarfile.LENGTH_NAME else BLOCK  # GNU tar: a long name stands in a block of its own
    if zlib.crc32(raw) == crc and raw[start : start + len(encoded)] == encoded:
        return
    try:
        member = tarfile.TarInfo.frombuf(bytes(raw[:BLOCK]), "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        found = f"no tar member where {name!r} should be ({error})"
    else:
        found = f"the bytes of {name!r} are not those that were packed (CRC-32)"
        if member.type == tarfile.REGTYPE and member.name != name:
            found = f"holds {member.name!r} where {name!r} should be"
    raise DataError(f"{path}: {found}: damaged or swapped. {AGAIN}")


def _check_size(path: Path, size: int) -> None:
    if not path.is_file():
        raise DataError(f"{path}: the shard is missing. {AGAIN}")
    if path.stat().st_size != size:
        raise DataError(f"{path}: {path.stat().st_size} bytes, recorded are {size}: cut or swapped. {AGAIN}")


def verify(manifest: str | Path) -> None:
    """Read all tars of a manifest.json: sha256, and members against the index; DataError names shard and key."""
    with TarReader(manifest) as reader:
        for shard in shards_of(reader.manifest):
            path = reader.folder / shard["file"]
            if sha256_file(path) != shard["sha256"]:
                damaged = reader.damaged(shard["file"]) or [f"{path}: damaged outside of all samples. {AGAIN}"]
                raise DataError(f"{path}: its sha256 is not the recorded one; {len(damaged)} damaged. First: {damaged[0]}")
            keys = reader.index[reader.index["shard"] == shard["file"]]["key"].tolist()
            _check_members(path, keys, reader.layout.members)


def _check_members(path: Path, keys: list[str], members: Mapping[str, str]) -> None:
    """Refuse a tar whose members are not those of the index, each once and in its order."""
    with tarfile.open(path) as tar:
        found = [member.name for member in tar]
    expected = [f"{key}.{suffix}" for key in keys for suffix in members.values()]
    if found == expected:
        return
    twice = pd.Index(found)[pd.Index(found).duplicated()]
    if len(twice):
        raise DataError(f"{path}: holds {twice[0]!r} twice. {AGAIN}")
    place = next((n for n, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other), len(found))
    if place >= len(expected):
        raise DataError(f"{path}: holds {found[len(expected)]!r}, which the index does not know. {AGAIN}")
    instead = repr(found[place]) if place < len(found) else "nothing"
    raise DataError(f"{path}: holds {instead} where {expected[place]!r} should be: missing or in wrong order. {AGAIN}")
