"""The stage embed by real Snakemake on the tiny world: only what is asked for, the same from any chunks, lineage."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.data.features import read_features, read_index
from lib.files import read_json
from lib.tables import read_table
from tests.workflow.conftest import TINY, Tree

pytestmark = pytest.mark.slow

FEATURESETS: dict[str, Any] = {
    "clips": {"kind": "light_clips", "stride": 2, "window": 4},
    "words": {"kind": "light_text", "width": 32, "splits": ["test"]},
    "things": {"kind": "objects", "stride": 2, "window": 4, "top": 4, "detector": "truth", "tracker": "bytetrack"},
}


def files(name: str, chunks: int) -> list[str]:
    return [f"results/features/site/{name}/chunk={chunk}.safetensors" for chunk in range(chunks)]


def chunked(tree: Tree, chunks: int) -> Tree:
    study = copy.deepcopy(tree.study)
    study["datasets"]["site"]["chunks"] = chunks
    return Tree(tree.folder, study)


def stored(tree: Tree, name: str, chunks: int) -> dict[str, np.ndarray]:
    found = {}
    for file in files(name, chunks):
        for unit, values, mask in read_features(tree.folder / file):
            found[unit] = values if mask is None else np.concatenate([values, mask[..., None]], axis=-1)
    return found


def test_features_from_one_chunk_and_from_two_and_made_twice(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = chunked(fresh({"featuresets": FEATURESETS}), 1)
    wanted = {chunks: [file for name in FEATURESETS for file in files(name, chunks)] for chunks in (1, 2)}
    tree.snakemake("--", *wanted[1])
    one = {name: stored(tree, name, 1) for name in FEATURESETS}
    _right(tree, one)

    again = tree.folder / files("clips", 1)[0]
    before = again.read_bytes()
    again.unlink()
    assert tree.planned("--", *wanted[1]) == {files("clips", 1)[0].removeprefix("results/")}, "named files rerun alone"
    tree.snakemake("--", *wanted[1])
    assert again.read_bytes() == before, "the same bytes twice"

    two = chunked(tree, 2)
    two.snakemake("--", *wanted[2])
    for name in FEATURESETS:
        found = stored(two, name, 2)
        assert found.keys() == one[name].keys() and len(read_index([two.folder / file for file in files(name, 2)]))
        assert all(found[unit].tobytes() == one[name][unit].tobytes() for unit in found), name


def _right(tree: Tree, found: dict[str, dict[str, np.ndarray]]) -> None:
    """Units, steps, records and logs of what stands."""
    folder = tree.folder / "results"
    videos = read_table(folder / "videos/site/manifest.parquet", "manifest").set_index("video")
    queries = read_table(folder / "videos/site/truth/queries.parquet", "queries")
    assert found["clips"].keys() == found["things"].keys() == set(videos.index)
    of_test = queries[queries["video"].map(videos["split"]) == "test"]
    assert found["words"].keys() == set(of_test["query"])
    for video, values in found["clips"].items():
        steps = (int(videos["frames"][video]) - 4) // 2 + 1
        assert values.shape == (steps, 13 * 29 + 24 + 96) and found["things"][video].shape[:2] == (steps, 4)
    assert any(values[..., -1].any() for values in found["things"].values()), "some objects are there"
    meta = read_json(folder / "features/site/things/chunk=0.meta.json")
    assert meta["stage"] == "embed" and set(meta["inputs"]) == {"manifest", "tracks"}
    assert meta["features"]["units"] == len(videos) and "without_objects" in meta["features"]
    assert Path(folder / "logs/features/site/things/chunk=0.log").is_file()
    assert Path(folder / "benchmarks/features/site/things/chunk=0.tsv").is_file()


def test_defining_featuresets_makes_no_job(tree: Tree) -> None:
    tree.study["featuresets"] = FEATURESETS
    assert tree.planned() == set(), "nothing asks for them"
    asked = tree.planned("--", *files("things", TINY["datasets"]["site"]["chunks"]))
    assert asked == {file.removeprefix("results/") for file in files("things", 2)}, "tracks stand already"


def test_a_chunk_beyond_the_last_and_an_unknown_name_are_refused(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh({"featuresets": FEATURESETS})
    done = tree.snakemake("-n", "--", "results/features/site/clips/chunk=2.safetensors", check=False)
    assert done.returncode and "has chunks 0 to 1" in done.stdout + done.stderr
    done = tree.snakemake("-n", "--", "results/features/site/clip/chunk=0.safetensors", check=False)
    assert done.returncode and "did you mean 'clips'" in done.stdout + done.stderr
