"""Real annotations of temporal grounding by the real download rule, and what the plan says of videos that are not at hand.

Reference: figures counted from the published files by themselves (TACoS as 2D-TAN gives it, the val split of QVHighlights).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib import tables
from lib.files import read_json
from tests.workflow.conftest import Tree

pytestmark = [pytest.mark.slow, pytest.mark.mirror]
STUDY = {"study": "grounding-data", "include": ["datasets/tacos.yaml", "datasets/qvhighlights.yaml"]}


@pytest.fixture
def annotated(mirror: Path, fresh: Callable[[dict[str, Any]], Tree]) -> Tree:
    """An empty tree with both shipped datasets and nothing else."""
    tree = fresh({})
    tree.study = STUDY | {"detectors": {"any": {"kind": "yolo", "weights": "w"}}, "weights": {"w": {"path": "w.pt"}}}
    return tree


def test_the_shipped_datasets_hold_what_is_published(annotated: Tree) -> None:
    folder = annotated.folder / "results/videos"
    annotated.snakemake("--", "results/videos/tacos/manifest.parquet", "results/videos/qvhighlights/manifest.parquet")
    manifest = tables.read_table(folder / "tacos/manifest.parquet", tables.MANIFEST)
    queries = tables.read_table(folder / "tacos/truth/queries.parquet", tables.QUERIES)
    split = queries["video"].map(manifest.set_index("video")["split"])
    assert manifest["split"].value_counts().to_dict() == {"train": 20, "val": 7, "test": 25}
    assert split.value_counts().to_dict() == {"train": 3339, "val": 1097, "test": 4001}
    cooks = manifest.groupby("split")["original"].agg(lambda names: {name[:3] for name in names})
    assert not cooks["train"] & (cooks["val"] | cooks["test"])
    lasts = queries["end_s"] - queries["start_s"]
    assert np.quantile(lasts[split == "test"], [0, 0.1, 0.5, 0.9, 1]) == pytest.approx(
        [0.782313, 3.775510, 14.421769, 69.625850, 578.945578], abs=1e-6
    )
    assert queries["query"].is_unique and (manifest["kind"] == "none").all()

    windows = tables.read_table(folder / "qvhighlights/truth/queries.parquet", tables.QUERIES)
    assert (windows["query"].nunique(), len(windows), windows["video"].nunique()) == (1550, 2803, 1519)
    files = read_json(folder / "qvhighlights/files.json")
    assert [row["status"] for row in files] == ["mirror"]
    assert read_json(folder / "tacos/meta.json")["identity"]


def test_a_detector_is_refused_while_planning_where_there_are_no_videos(annotated: Tree) -> None:
    done = annotated.snakemake("-n", "--", "results/detections/tacos/any/chunk=0.parquet", check=False)
    assert done.returncode != 0
    assert "detectors.any: kind yolo looks at pixels, but dataset 'tacos' has no videos" in done.stdout + done.stderr


def test_neither_the_place_of_features_nor_other_files_beside_local_annotations_rerun_the_download(
    annotated: Tree, mirror: Path, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    for name in ("val", "test"):
        (tmp_path / "own" / f"{name}.json").write_bytes((mirror / f"nlq/tacos/{name}.json").read_bytes())
    source = {"format": "tacos", "root": str(tmp_path / "own"), "annotations": {"val": "val.json", "test": "test.json"}}
    annotated.study = {"study": "own", "datasets": {"own": {"source": source}}}
    target = "results/videos/own/manifest.parquet"
    annotated.snakemake("--", target)
    (tmp_path / "own" / "features.npy").write_bytes(b"x")
    annotated.study |= {"paths": {"features": str(tmp_path)}}
    assert not annotated.planned("--", target)
    (tmp_path / "own" / "val.json").write_text("{}")
    assert annotated.planned("--", target) == {"videos/own/manifest.parquet"}
