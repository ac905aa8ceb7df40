"""Turn the clips, queries or tracked objects of one chunk into features, or take those that stand, as one featureset says.

python -m workflow_scripts.embed --settings JSON --manifest results/videos/D/manifest.parquet --chunk 0 --chunks 2 \
    --queries --tracks --output results/features/D/FEATURESET/chunk=0.safetensors
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from lib import provenance
from lib.config.embed import Featureset, LightClips, LightText, ModelClips, ModelText, Objects
from lib.config.feature_planted import PlantedFeatures
from lib.data.chunks import chunk_of
from lib.data.features import Features, facts_of, write_features
from lib.files import sha256_text
from lib.tables import read_table
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--manifest", type=Path, required=True)
    arguments.add_argument("--chunk", type=int, required=True)
    arguments.add_argument("--chunks", type=int, required=True)
    arguments.add_argument("--queries", type=Path, nargs="?", help="queries.parquet, for features of texts")
    arguments.add_argument("--tracks", type=Path, nargs="?", help="the chunk's tracks, for features of objects")
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    featureset = TypeAdapter(Featureset).validate_python(given.settings["featureset"])
    videos = in_splits(chunk_of(read_table(given.manifest, "manifest"), given.chunk, given.chunks), featureset.splits)
    features = encoded(featureset, videos, given, f"featuresets.{given.output.parent.name}")
    tell(features, len(videos))
    outputs = write_features(given.output, features, getattr(featureset, "dtype", None))
    inputs = {"manifest": given.manifest, "queries": given.queries, "tracks": given.tracks}
    provenance.record(
        outputs,
        stage="embed",
        settings=given.settings,
        inputs={role: file for role, file in inputs.items() if file},
        raw=raw_digest(features.notes),
        extra={"features": {"frames": int(videos["frames"].sum()), **facts_of(features)}},
    )


def raw_digest(notes: Mapping[str, Any]) -> str | None:
    """Digest of what enters beside inputs with a meta.json: files or a network, and a table of phrases."""
    source = next((notes[key] for key in ("files_digest", "model_digest", "model_commit") if notes.get(key)), None)
    phrases = notes.get("phrases_digest")
    return sha256_text(f"{source} {phrases}") if source and phrases else source or phrases


def in_splits(videos: pd.DataFrame, splits: list[str] | None) -> pd.DataFrame:
    """Rows of the manifest in some splits; None = all."""
    return videos if splits is None else videos[videos["split"].isin(splits)].reset_index(drop=True)


def encoded(featureset: Featureset, videos: pd.DataFrame, given: argparse.Namespace, place: str) -> Features:
    """The features of a chunk's videos; encoders, and the libraries behind them, are imported when they are needed."""
    if isinstance(featureset, LightClips | ModelClips):
        return of_clips(featureset, videos, place)
    if isinstance(featureset, LightText | ModelText):
        return of_texts(featureset, videos, given.queries, place)
    if isinstance(featureset, Objects):
        return of_objects(featureset, videos, given.tracks, place)
    manifest = read_table(given.manifest, "manifest")
    queries = read_table(given.queries, "queries") if given.queries else None
    if isinstance(featureset, PlantedFeatures):
        from lib.perception.planted import plant

        return plant(manifest, queries, videos, featureset)
    from lib.data.feature_files import gathered

    return gathered(featureset, in_splits(manifest, featureset.splits), queries, videos)


def of_clips(featureset: LightClips | ModelClips, videos: pd.DataFrame, place: str) -> Features:
    """Features of pictures and sound."""
    from lib.perception.clips import encode_clips, refuse_other_width

    if isinstance(featureset, LightClips):
        from lib.perception.clips_light import LightEncoder

        return encode_clips(videos, featureset, LightEncoder(featureset), place)
    from lib.perception.clips_model import NetworkClips

    encoder = NetworkClips(featureset)
    refuse_other_width(place, featureset.width, encoder.width, featureset.model)
    return encode_clips(videos, featureset, encoder, place)


def of_texts(featureset: LightText | ModelText, videos: pd.DataFrame, queries: Path, place: str) -> Features:
    """Features of the queries."""
    from lib.perception.clips import refuse_other_width
    from lib.perception.text import encode_texts

    table = read_table(queries, "queries")
    if isinstance(featureset, LightText):
        from lib.perception.text_light import HashedWords

        return encode_texts(table, videos, HashedWords(featureset), place, featureset)
    from lib.perception.text_model import SentenceText, TransformersText

    encoder = (TransformersText if featureset.library == "transformers" else SentenceText)(featureset)
    refuse_other_width(place, featureset.width, encoder.width, featureset.model)
    return encode_texts(table, videos, encoder, place, featureset)


def of_objects(featureset: Objects, videos: pd.DataFrame, tracks: Path, place: str) -> Features:
    """Features of tracked objects."""
    from lib.perception.roi import build_appearance, encode_objects

    encoder = build_appearance(featureset.appearance)
    return encode_objects(videos, read_table(tracks, "tracks"), featureset, encoder, place)


def tell(features: Features, videos: int) -> None:
    """What a person should notice in the log."""
    if not features.rows:
        print(f"warning: nothing to encode in the {videos} videos of this chunk", file=sys.stderr)
    told = {"without_sound": "have no sound: its bands are 0", "without_objects": "have no tracked object"}
    for note, words in told.items():
        if names := features.notes.get(note):
            print(f"note: {len(names)} of {videos} videos {words} ({', '.join(names[:5])} …)", file=sys.stderr)
    if names := features.notes.get("without_files"):
        print(f"note: {len(names)} have no file and are left out ({', '.join(names[:5])} …)", file=sys.stderr)


if __name__ == "__main__":
    _program.run(main)
