"""Small shardsets for tests: samples made of seeded bytes, packed by write_tar. Not a test itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.samples import Sample
from lib.data.shards import write_tar
from lib.data.tar_index import INDEX_SCHEMA, VERSION, manifest_digest
from lib.files import atomic, read_json, sha256_file, write_json


def sample(number: int, size: int = 700) -> Sample:
    jpg = np.random.default_rng(number).bytes(size + 37 * (number % 29))
    data = {"video": f"v{number // 10}", "frame": number % 10, "time_s": number % 10 / 10, "width": 8, "height": 8}
    data |= {"split": "train", "boxes": [[0.0, 0.0, 4.0, 4.0]], "labels": ["person"], "tracks": [-1], "ignore": [False]}
    return Sample(f"v{number // 10}-{number % 10:06d}", jpg, data)


def write(folder: Path, count: int, per_shard: int = 7, size: int = 700) -> Path:
    """Pack `count` samples; returns the manifest.json."""
    folder.mkdir(parents=True, exist_ok=True)
    shards, places = [], []
    for number, first in enumerate(range(0, count, per_shard)):
        file = f"train-{number:06d}.tar"
        with atomic(folder / file) as temporary:
            found, written = write_tar(
                temporary, [sample(one, size) for one in range(first, min(count, first + per_shard))]
            )
        shards.append({"file": file, "samples": len(found)} | written)
        places += [place | {"split": "train", "shard": file} for place in found]
    return seal(folder, shards, places)


def seal(folder: Path, shards: list[dict[str, Any]], places: list[dict[str, Any]]) -> Path:
    """Write index and manifest that agree with each other, whatever they say."""
    pq.write_table(pa.Table.from_pylist(places, schema=INDEX_SCHEMA), folder / "index.parquet")
    described = {"version": VERSION, "classes": ["person"], "index": "index.parquet", "settings": {}}
    described["splits"] = {"train": {"shards": shards, "samples": sum(shard["samples"] for shard in shards)}}
    described["index_sha256"] = sha256_file(folder / "index.parquet")
    described["sha256"] = manifest_digest(described)
    write_json(folder / "manifest.json", described)
    return folder / "manifest.json"


def unsealed(manifest: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(shards, places) of a packed shardset, to be changed and sealed again."""
    places = pq.read_table(manifest.with_name("index.parquet")).to_pylist()
    return read_json(manifest)["splits"]["train"]["shards"], places
