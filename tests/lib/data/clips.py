"""A small data set of clips with planted features, its feature files and shardset, for tests. Not a test itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.config.embed import LightText
from lib.config.feature_planted import PlantedFeatures
from lib.config.shard import ClipShardset
from lib.data.clip_shards import write_clip_shards
from lib.data.features import Features, write_features
from lib.perception.planted import plant
from lib.perception.text import encode_texts
from lib.perception.text_light import HashedWords

VIDEO = PlantedFeatures(kind="planted", width=16, words=32, fps=2)
OBJECTS = PlantedFeatures(kind="planted", where="objects", width=8, words=32, fps=2, top=3)
WORDS = LightText(kind="light_text", width=8)
ROLES = ("clips", "text", "objects")


def manifest(count: int = 9) -> pd.DataFrame:
    """`count` clips of 3 s and more, without media; every third is of val, the last of test."""
    names = [f"clip-{number}" for number in range(count)]
    splits = ["val" if number % 3 == 2 else "train" for number in range(count - 1)] + ["test"]
    columns = {"video": names, "original": names, "split": splits, "path": "", "kind": "none", "sha256": ""}
    rows = pd.DataFrame(columns).assign(stream=-1, fps=30.0, frames=0, width=0, height=0)
    return rows.assign(duration_s=[3.0 + 2.5 * number for number in range(count)]).astype({"stream": "int32"})


def queries(videos: pd.DataFrame) -> pd.DataFrame:
    """Clip n has 1 + n % 4 queries; the second of each has two windows; those of test have none."""
    rows = []
    for number, (video, split, lasts) in enumerate(videos[["video", "split", "duration_s"]].itertuples(index=False)):
        for place in range(1 + number % 4):
            start = 0.1 + place * lasts / 5
            windows = [(start, start + lasts / 8)] + [(start + lasts / 4, start + lasts / 3)] * (place == 1)
            for window in windows if split != "test" else [(np.nan, np.nan)]:
                about = (f"where does person {number} put thing {place}", ("put", "")[place % 2], "")
                rows.append((video, f"{video}_{place}", *about, *window))
    return pd.DataFrame(rows, columns=["video", "query", "text", "template", "evidence", "start_s", "end_s"])


@dataclass
class Clips:
    """The data set, its features by role and chunk, and what is packed of them."""

    folder: Path
    videos: pd.DataFrame = field(default_factory=manifest)
    chunks: int = 2
    features: dict[str, list[Features]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queries = queries(self.videos)
        for chunk in range(self.chunks):
            mine = self.videos.iloc[chunk :: self.chunks]
            made = (plant(self.videos, self.queries, mine, VIDEO), encode_texts(self.queries, mine, HashedWords(WORDS), ""))
            for role, one in zip(ROLES, (*made, plant(self.videos, self.queries, mine, OBJECTS)), strict=True):
                self.features.setdefault(role, []).append(one)

    def files(self, dtype: str = "float32") -> Mapping[str, list[Path]]:
        """Write all features as the stage embed does."""
        return {
            role: [
                write_features(self.folder / f"features/{role}/chunk={chunk}.safetensors", one, dtype)[0]
                for chunk, one in enumerate(made)
            ]
            for role, made in self.features.items()
        }

    def all(self, role: str) -> dict[str, np.ndarray]:
        """Unit -> tensor as it was computed."""
        return {name: values for one in self.features[role] for name, values in one.tensors.items()}

    def write(self, name: str = "shards", **settings: Any) -> Path:
        """Pack; returns the manifest.json."""
        given = {"splits": ["train", "val", "test"], "clips": "c", "text": "t", "objects": "o", "samples_per_shard": 4}
        shardset = ClipShardset(kind="clips", **given | settings)
        files = {role: paths for role, paths in self.files().items() if role != "objects" or shardset.objects}
        write_clip_shards(self.videos, self.queries, files, shardset, self.folder / name)
        return self.folder / name / "manifest.json"
