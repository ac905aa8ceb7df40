"""Pack images and labels, or clips' features and queries, of chosen splits into WebDataset tars with an offset index.

python -m workflow_scripts.shard --settings JSON --manifest results/videos/D/manifest.parquet [--tracks CHUNK …] \
    --output results/shards/D/SHARDSET/manifest.json
python -m workflow_scripts.shard --settings JSON --manifest results/videos/D/manifest.parquet --queries QUERIES \
    --clips CHUNK … --text CHUNK … [--objects CHUNK …] --output results/shards/D/SHARDSET/manifest.json

Where WDS_SHARDS names a folder that holds D/SHARDSET/manifest.json, those shards are checked and linked instead of packed,
and refused when they are not the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter

from lib import provenance
from lib.config.shard import AnyShardset, ClipShardset, Shardset
from lib.data.clip_shards import ROLES, write_clip_shards
from lib.data.shards import write_shards
from lib.data.standing import standing_shards, take_over
from lib.files import read_json
from lib.tables import read_table
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--manifest", type=Path, required=True)
    arguments.add_argument("--tracks", type=Path, nargs="*", default=[], help="tracked boxes of all chunks")
    arguments.add_argument("--queries", type=Path, help="queries.parquet, for clips")
    for role, of in zip(ROLES, ("clips", "queries", "tracked objects"), strict=True):
        arguments.add_argument(f"--{role}", type=Path, nargs="*", default=[], help=f"features of {of}, of all chunks")
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    shardset = TypeAdapter(AnyShardset).validate_python(given.settings["shardset"])
    features = {role: getattr(given, role) for role in ROLES}
    inputs = {"manifest": given.manifest, "tracks": given.tracks}
    if isinstance(shardset, ClipShardset):
        inputs = {"manifest": given.manifest, "queries": given.queries, **features}
    standing = standing_shards(given.output)
    if standing is None and isinstance(shardset, ClipShardset):
        pack_clips(given, shardset, features)
    elif standing is None:
        pack(given, shardset)
    else:
        take_over(standing, given.output, provenance.making("shard", given.settings, inputs))
    provenance.record(
        [given.output, given.output.with_name("index.parquet")],
        stage="shard",
        settings=given.settings,
        inputs=inputs,
        extra={"taken_from": str(standing)} if standing else None,
    )


def pack_clips(given: argparse.Namespace, shardset: ClipShardset, features: dict[str, list[Path]]) -> None:
    """Features of clips and their queries."""
    manifest, queries = read_table(given.manifest, "manifest"), read_table(given.queries, "queries")
    described = write_clip_shards(manifest, queries, features, shardset, given.output.parent)
    for what, names in described["left_out"].items():
        if names:
            listed = f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
            print(f"note: {len(names)} {what.replace('_', ' ')} ({listed})", file=sys.stderr)


def pack(given: argparse.Namespace, shardset: Shardset) -> None:
    """Pictures and labels."""
    videos = given.manifest.parent
    tracks = pd.concat([read_table(path, "tracks") for path in given.tracks]) if given.tracks else None
    write_shards(
        read_table(given.manifest, "manifest"),
        read_table(videos / "truth" / "frames.parquet", "frames"),
        read_table(videos / "truth" / "boxes.parquet", "boxes"),
        tracks,
        read_json(videos / "classes.json")["classes"],
        shardset,
        given.output.parent,
    )


if __name__ == "__main__":
    _program.run(main)
