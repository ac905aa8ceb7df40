"""Pack images and labels of chosen splits into WebDataset tars with an offset index.

python -m workflow_scripts.shard --settings JSON --manifest results/videos/D/manifest.parquet [--tracks CHUNK …] \
    --output results/shards/D/SHARDSET/manifest.json

Where WDS_SHARDS names a folder that holds D/SHARDSET/manifest.json, those shards are checked and linked instead of packed,
and refused when they are not the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from lib import provenance
from lib.config.shard import Shardset
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
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    inputs = {"manifest": given.manifest, "tracks": given.tracks}
    standing = standing_shards(given.output)
    if standing is None:
        pack(given)
    else:
        take_over(standing, given.output, provenance.making("shard", given.settings, inputs))
    provenance.record(
        [given.output, given.output.with_name("index.parquet")],
        stage="shard",
        settings=given.settings,
        inputs=inputs,
        extra={"taken_from": str(standing)} if standing else None,
    )


def pack(given: argparse.Namespace) -> None:
    shardset = Shardset.model_validate(given.settings["shardset"])
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
