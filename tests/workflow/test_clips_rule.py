"""From videos to feature shards and an arm over clips by real Snakemake, on the tiny world and on TACoS' annotations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lib.data.clip_batches import collate, items
from lib.data.clip_samples import ClipReader
from lib.data.features import read_features
from lib.files import read_json
from lib.tables import read_table
from tests.workflow.conftest import Tree
from tests.workflow.test_plan import run, words_of
from tests.workflow.test_readme import block

pytestmark = pytest.mark.slow

GRID = {"stride": 2, "window": 4}
CLIPS: dict[str, Any] = {
    "featuresets": {
        "clips": {"kind": "light_clips", **GRID},
        "words": {"kind": "light_text", "width": 32},
        "things": {"kind": "objects", **GRID, "top": 4, "detector": "truth", "tracker": "bytetrack"},
        "stood": {"kind": "files", "folder": "stood", "width": 6, **GRID},
    },
    "shardsets": {
        "nlq": {
            "kind": "clips",
            "splits": ["train", "val", "test"],
            "clips": "clips",
            "text": "words",
            "objects": "things",
        },
        "given": {"kind": "clips", "splits": ["train"], "clips": "stood", "text": "words"},
    },
    "arms": {
        "every": {"shardset": "nlq", "background": "all"},
        "half": {"shardset": "nlq", "background": {"fraction": 0.5}},
        "many": {"shardset": "nlq", "background": "all", "size_of": "half"},
    },
    "variants": {},
    "boards": {},
    "weights": {},
    "detectors": {"truth": {"kind": "truth"}},
}


def test_from_videos_to_batches_and_arms(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh(CLIPS)
    shards = "results/shards/site/nlq/manifest.json"
    arms = [f"results/subsets/site/{arm}/seed=0.parquet" for arm in CLIPS["arms"]]
    tree.snakemake("--", shards, *arms)
    folder = tree.folder / "results"
    manifest = read_table(folder / "videos/site/manifest.parquet", "manifest").set_index("video")
    queries = read_table(folder / "videos/site/truth/queries.parquet", "queries")
    with ClipReader(tree.folder / shards) as reader:
        index = reader.index.set_index("key")
        left_out = read_json(tree.folder / shards)["left_out"]["clips_without_queries"]
        packed = manifest.index[manifest["split"].isin(["train", "val", "test"])]
        assert set(index.index) == set(packed) - set(left_out) and not index.index.has_duplicates
        for key in index.index[:3]:
            one, stored = reader.read(key), None
            for chunk in (0, 1):
                for unit, values, _ in read_features(folder / f"features/site/clips/chunk={chunk}.safetensors"):
                    stored = values if unit == key else stored
            assert np.array_equal(one.features, stored) and one.objects.shape[:2] == (len(stored), 4)
            asked = queries[queries["video"] == key]
            assert [query["query"] for query in one.queries] == list(dict.fromkeys(asked["query"]))
            batch = collate([items(one)])
            back = one.grid.seconds(batch["segments"].numpy()[0])
            assert back == pytest.approx(one.queries[0]["windows"][0], abs=1e-4)
    counted = {arm: read_json(folder / f"subsets/site/{arm}/seed=0.counts.json") for arm in CLIPS["arms"]}
    subsets = {arm: read_table(folder / f"subsets/site/{arm}/seed=0.parquet", "subset") for arm in CLIPS["arms"]}
    train = index[index["split"] == "train"]
    assert set(subsets["every"]["key"]) == set(train.index) and (subsets["every"]["frame"] == 0).all()
    assert len(subsets["half"]) == len(subsets["many"]) == -(-len(train) // 2)
    assert set(subsets["half"]["key"]) < set(subsets["every"]["key"]) and set(subsets["every"]["reason"]) == {"clip"}
    assert counted["every"]["queries"] == counted["half"]["pool_queries"] == train["queries"].sum()
    half = train.loc[subsets["half"]["key"]]
    assert (counted["half"]["clips"], counted["half"]["queries"]) == (len(half), half["queries"].sum())
    assert sum(one["queries"] for one in counted["half"]["templates"].values()) == half["queries"].sum()
    assert set(read_json(folder / "shards/site/nlq/meta.json")["inputs"]) == {
        "manifest",
        "queries",
        "clips",
        "text",
        "objects",
    }

    tree.study["shardsets"]["nlq"]["dtype"] = "float16"
    again = tree.planned("--", shards, *arms)
    assert again == {"shards/site/nlq/manifest.json", *(arm.removeprefix("results/") for arm in arms)}, "features stay"
    assert "shard clips 1" in " ".join(run("--", *words_of(tree, "--", shards)).stdout.split()), "one past job compares"


def test_features_that_stand_as_files_are_packed_and_watched(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh(CLIPS)
    tree.snakemake("--", "results/videos/site/manifest.parquet")
    manifest = read_table(tree.folder / "results/videos/site/manifest.parquet", "manifest")
    stood = tree.folder / "own/stood"
    stood.mkdir(parents=True)
    for number, row in enumerate(manifest.itertuples(index=False)):
        steps = (row.frames - 4) // 2 + 1
        np.save(stood / f"{row.video}.npy", np.random.default_rng(number).normal(size=(steps, 6)))
    tree.study["featuresets"]["stood"]["files"] = "{video}.npy"
    tree.study["paths"] = {"features": str(tree.folder / "own")}
    shards = "results/shards/site/given/manifest.json"
    tree.snakemake("--", shards)
    with ClipReader(tree.folder / shards) as reader:
        assert reader.widths == {"video": 6, "text": 32, "objects": None}
        for one in reader.iterate():
            assert np.array_equal(one.features, np.load(stood / f"{one.video}.npy").astype(np.float32))
    assert not tree.planned("--", shards)
    train = next(row.video for row in manifest.itertuples(index=False) if row.split == "train")
    np.save(stood / f"{train}.npy", np.zeros((3, 7)))
    assert tree.planned("--", shards) == {
        "shards/site/given/manifest.json",
        *(f"features/site/stood/chunk={chunk}.safetensors" for chunk in (0, 1)),
    }
    done = tree.snakemake("--", shards, check=False)
    assert done.returncode and f"{train}.npy: width 7, the settings state 6" in done.stdout + done.stderr


@pytest.mark.mirror
def test_planted_features_of_tacos(mirror: Path, fresh: Callable[[dict[str, Any]], Tree]) -> None:
    """The study of docs/data.md. Reference: the published annotations; media of none of these videos are at hand."""
    tree = fresh({})
    tree.study = yaml.safe_load(block("Clips with queries", "yaml"))
    counts = "results/subsets/tacos/quarter/seed=0.counts.json"
    tree.snakemake("--", counts)
    counted = read_json(tree.folder / counts)
    assert (counted["clips"], counted["pool_clips"], counted["pool_queries"]) == (5, 20, 3339)
    shards = "results/shards/tacos/nlq/manifest.json"
    queries = read_table(tree.folder / "results/videos/tacos/truth/queries.parquet", "queries")
    with ClipReader(tree.folder / shards) as reader:
        assert reader.index.groupby("split").size().to_dict() == {"train": 20, "val": 7}
        assert reader.index.groupby("split")["queries"].sum().to_dict() == {"train": 3339, "val": 1097}
        one = reader.read(reader.index["key"].iloc[0])
    assert len(one.queries) == (queries["video"] == one.video).sum()
    covered = np.zeros(len(one.features), bool)
    for query in one.queries:
        start, end = query["windows"][0]
        middle = one.grid.seconds(np.arange(len(covered)))
        covered |= (middle > start) & (middle < end)
    energy = (one.features**2).mean(1)
    assert energy[covered].mean() > 3 * energy[~covered].mean() if (~covered).any() else energy.mean() > 3
