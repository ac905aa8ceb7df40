"""Writing samples of any kind into plain WebDataset tars with an offset index.

Not here: what a sample holds (samples.py for frames, clip_shards.py for clips), reading (reader.py).

`manifest.json` names the tars of each split with size and sha256; `index.parquet` says where each sample lies and what its
bytes sum up to. Members are flat, `{key}.{suffix}`, with normalised headers, so that packing the same data again gives the
same bytes. All tars are written under temporary names and get their own only when the last one is whole; then come index
and manifest, then the tars of an older build go.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.tar_index import BLOCK, INDEX_FILE, VERSION, Layout, manifest_digest
from lib.files import DataError, atomic, sha256_file, write_json

JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_ONE_ROW = "a video has one row in manifest.parquet; run download again."
_TEMPLATE = tarfile.TarInfo().tobuf(tarfile.GNU_FORMAT)  # its defaults: no owner, time 0, mode 0644
_SIZE, _SUM = slice(124, 136), slice(148, 156)  # fields of a header that depend on the member, beside its name
_TEMPLATE_SUM = sum(_TEMPLATE) - sum(_TEMPLATE[_SIZE]) - sum(_TEMPLATE[_SUM]) + 8 * ord(" ")


@dataclass(frozen=True)
class Packed:
    """A sample on its way into a tar: the bytes of its members by name (as the layout has them), and what the index says of
    it beside its place."""

    key: str
    members: Mapping[str, bytes]
    facts: Mapping[str, Any]


def write_shardset(
    out: Path,
    splits: Mapping[str, Iterator[Packed]],
    layout: Layout,
    samples_per_shard: int,
    describe: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """Write the samples of every split and return what manifest.json holds. describe: called when all are written, for what
    it says beside version, splits and index. DataError: two samples of one key."""
    out.mkdir(parents=True, exist_ok=True)
    for leftover in out.glob(".writing-*.tar"):  # of a build that was killed
        leftover.unlink()
    written: dict[str, Any] = {}
    places: list[dict[str, Any]] = []
    with ExitStack() as until_all_are_whole:
        for split, samples in sorted(splits.items()):  # the index follows the tars in the order that manifest.json has
            shards, found = _split_packed(split, samples, samples_per_shard, layout, out, until_all_are_whole)
            written[split] = {"shards": shards, "samples": len(found)}
            places += found
        _check_keys(places)
        (out / "manifest.json").unlink(missing_ok=True)  # from here to its writing neither old nor new set stands whole
    with atomic(out / INDEX_FILE) as temporary:
        pq.write_table(pa.Table.from_pylist(places, schema=layout.schema), temporary, compression="zstd")
    described: dict[str, Any] = {"version": VERSION, "splits": written, "index": INDEX_FILE, **describe()}
    described["index_sha256"] = sha256_file(out / INDEX_FILE)
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
    split: str, samples: Iterator[Packed], samples_per_shard: int, layout: Layout, out: Path, until_all_are_whole: ExitStack
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write the tars of one split under temporary names; (what the manifest says of each, index row of each sample)."""
    shards: list[dict[str, Any]] = []
    places: list[dict[str, Any]] = []
    while first := list(islice(samples, 1)):
        file = f"{split}-{len(shards):06d}.tar"
        temporary = until_all_are_whole.enter_context(atomic(out / file))
        found, written = write_packed(temporary, chain(first, islice(samples, samples_per_shard - 1)), layout)
        shards.append({"file": file, "samples": len(found)} | written)
        places += [place | {"split": split, "shard": file} for place in found]
    return shards, places


def write_packed(path: Path, samples: Iterable[Packed], layout: Layout) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write one tar; (index row of each sample without split and shard, size in `bytes` and `sha256` of the tar).

    Byte for byte what `tarfile` writes in GNU format, at a fraction of its cost. DataError: two samples of one key.
    """
    places: dict[str, dict[str, Any]] = {}
    offset, whole = 0, hashlib.sha256()
    with open(path, "wb") as file:
        for sample in samples:
            if sample.key in places:
                raise DataError(f"sample {sample.key!r} would be packed twice. Hint: {_ONE_ROW}")
            places[sample.key], parts = _placed(sample, offset, layout)
            for part in parts:
                file.write(part)
                whole.update(part)
                offset += len(part)
        end = bytes(2 * BLOCK + -(offset + 2 * BLOCK) % tarfile.RECORDSIZE)
        file.write(end)
        whole.update(end)
    return list(places.values()), {"bytes": offset + len(end), "sha256": whole.hexdigest()}


def _placed(sample: Packed, offset: int, layout: Layout) -> tuple[dict[str, Any], list[bytes]]:
    """(index row without split and shard of a sample that starts at `offset`, the parts of its members)."""
    place: dict[str, Any] = {"key": sample.key, **sample.facts, "offset": offset}
    parts = []
    for name, suffix in layout.members.items():
        content = sample.members[name]
        header, padding = tar_header(f"{sample.key}.{suffix}", len(content)), bytes(-len(content) % BLOCK)
        place |= {f"{name}_offset": offset + len(header), f"{name}_size": len(content)}
        place[f"{name}_crc32"] = zlib.crc32(padding, zlib.crc32(content, zlib.crc32(header)))
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
