"""What a shardset says of itself: its manifest.json and the offset index of its samples, checked against each other.

Not here: reading the tars (reader.py), writing (shards.py, clip_shards.py).

Two kinds: a sample of `frames` is a picture and its labels, one of `clips` the features of a clip and its queries. Kinds
differ in the members of a sample and in what the index says of it; offsets, sizes and sums of members are the same.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.config.base import canonical
from lib.files import DataError, read_json, sha256_file, sha256_text

VERSION = 2
INDEX_FILE = "index.parquet"
AGAIN = "Hint: pack the shards again (delete manifest.json and ask for it)."
BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Layout:
    """What the samples of one kind consist of.

    members: beginning of their columns -> suffix of their names, in the order in which they lie. place: the columns that
    say where a sample lies: its start, then offset, size and sum of each member. schema: all columns of index.parquet.
    """

    members: Mapping[str, str]
    place: list[str]
    schema: pa.Schema


def _layout(members: Mapping[str, str], before: Mapping[str, pa.DataType], after: Mapping[str, pa.DataType]) -> Layout:
    place = ["offset", *(f"{name}_{what}" for name in members for what in ("offset", "size", "crc32"))]
    columns = {"key": _TEXT, "video": _TEXT, "frame": _WHOLE, **before, "split": _TEXT, "shard": _TEXT}
    columns |= dict.fromkeys(place, _WHOLE) | dict(after)
    return Layout(members, place, pa.schema(columns, metadata={b"vipersight_kind": b"index"}))


_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TEXTS, _WHOLES = pa.list_(_TEXT), pa.list_(_WHOLE)
FRAMES = _layout(
    {"jpg": "jpg", "json": "json"},
    {"time_s": _REAL},
    {"width": _WHOLE, "height": _WHOLE, "classes": _TEXTS, "instances": _WHOLES, "ignored": _WHOLE},
)
INDEX_SCHEMA = FRAMES.schema
"""Columns of index.parquet. Offsets and sizes in bytes; offset: where the sample's first header starts; crc32: of a member
with its header and padding; classes: the distinct ones of the sample, instances: how many boxes of each, ignored: boxes
that are neither object nor background."""

_CLIP = {"json": "json", "video": "video.npy", "text": "text.npy"}
_OBJECTS = {"objects": "objects.npy", "objects_mask": "objects_mask.npy"}


def clip_layout(*, objects: bool, paraphrases: int = 0) -> Layout:
    """Of clips, with their queries in so many other words. steps: of its features; annotated: how many of its queries have
    a window; templates: the distinct ones, template_queries: how many queries of each; frame: 0."""
    counted = {"steps": _WHOLE, "queries": _WHOLE, "annotated": _WHOLE, "templates": _TEXTS, "template_queries": _WHOLES}
    others = {f"text{number}": f"text{number}.npy" for number in range(1, paraphrases + 1)}
    return _layout(_CLIP | others | (_OBJECTS if objects else {}), {"duration_s": _REAL}, counted)


def kind_of(manifest: Mapping[str, Any]) -> str:
    """What the samples of a shardset are: frames or clips."""
    return str(manifest.get("kind", "frames"))


def layout_of(manifest: Mapping[str, Any]) -> Layout:
    """Members and index columns of the shardset that a manifest.json describes."""
    if kind_of(manifest) == "frames":
        return FRAMES
    objects = manifest["widths"]["objects"] is not None
    return clip_layout(objects=objects, paraphrases=len(manifest["settings"].get("paraphrases", ())))


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """sha256 of what a manifest.json says, which it carries as `sha256`."""
    return sha256_text(canonical({key: value for key, value in manifest.items() if key != "sha256"}))


def read_manifest(path: str | Path) -> dict[str, Any]:
    """A shardset's manifest.json; DataError when it is missing, of another version, or not what was written."""
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
        found = manifest.get("version") if isinstance(manifest, dict) else None
        raise DataError(f"{path}: has version {found!r}, expected {VERSION}. {AGAIN}")
    if manifest.get("sha256") != manifest_digest(manifest):
        raise DataError(f"{path}: was changed after it was written (its digest differs). {AGAIN}")
    return manifest


def shards_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tars that a manifest names: file, samples, bytes, sha256 of each."""
    return [shard for split in manifest["splits"].values() for shard in split["shards"]]


def read_shardset(manifest: str | Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """(what manifest.json says, its offset index), checked against each other without looking at the tars."""
    described = read_manifest(manifest)
    path = Path(manifest).parent / described["index"]
    if path.is_file() and sha256_file(path) != described["index_sha256"]:
        raise DataError(f"{path}: its sha256 is not the one in {Path(manifest).name}: damaged or swapped. {AGAIN}")
    layout = layout_of(described)
    index = read_index(path, layout)
    _check_index(path, index, described, layout)
    return described, index


def read_index(path: str | Path, layout: Layout = FRAMES) -> pd.DataFrame:
    """The offset index (columns: layout.schema); DataError when it is missing, damaged or of another shape."""
    if not Path(path).is_file():
        raise DataError(f"{path}: file not found. {AGAIN}")
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet table ({error}). {AGAIN}") from error
    if not table.schema.equals(layout.schema):
        raise DataError(f"{path}: columns are {table.schema.names}, expected {layout.schema.names}. {AGAIN}")
    return table.to_pandas()


def _check_index(path: Path, index: pd.DataFrame, manifest: Mapping[str, Any], layout: Layout) -> None:
    """Refuse an index that does not belong to its manifest or contradicts itself; DataError names shard and key."""
    shards = shards_of(manifest)
    stated = sum(shard["samples"] for shard in shards)
    if stated != len(index):
        raise DataError(f"{path}: lists {len(index)} samples, its manifest states {stated}. {AGAIN}")
    twice = index["key"].duplicated(keep=False)
    if twice.any():
        first = index[index["key"] == index["key"][twice.idxmax()]]
        raise DataError(f"{path}: {first['key'].iloc[0]!r} stands twice: in {' and in '.join(first['shard'])}. {AGAIN}")
    runs = [shard["file"] for shard in shards for _ in range(shard["samples"])]
    elsewhere = index["shard"].to_numpy() != np.asarray(runs, dtype=object)
    if elsewhere.any():
        row = index.iloc[int(np.argmax(elsewhere))]
        raise DataError(
            f"{path}: puts {row['key']!r} into {row['shard']}, the manifest into {runs[row.name]}: wrong order. {AGAIN}"
        )
    _check_spans(path, index, {shard["file"]: shard["bytes"] for shard in shards}, layout)


def end_of(offset: int | np.ndarray, size: int | np.ndarray) -> Any:
    """Where the padding of a member ends."""
    return offset + -(-size // BLOCK) * BLOCK


def _check_spans(path: Path, index: pd.DataFrame, sizes: Mapping[str, int], layout: Layout) -> None:
    """Samples of a tar follow each other from its start, members in their order, and end before the tar does."""
    starts = ends = index["offset"].to_numpy()
    wrong = np.zeros(len(index), bool)
    for member in layout.members:
        offset, size = index[f"{member}_offset"].to_numpy(), index[f"{member}_size"].to_numpy()
        wrong |= (offset < ends + BLOCK) | (size < 0)
        ends = end_of(offset, size)
    new = index["shard"].to_numpy() != index["shard"].shift().to_numpy(dtype=object)
    expected = np.where(new, 0, np.concatenate([[0], ends[:-1]]))
    wrong |= (starts != expected) | (ends > index["shard"].map(sizes).to_numpy())
    if wrong.any():
        row = index.iloc[int(np.argmax(wrong))]
        raise DataError(f"{path}: {row['key']!r} cannot lie there in {row['shard']}: wrong order or damaged. {AGAIN}")
