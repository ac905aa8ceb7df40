"""Grounding by real Snakemake on a tiny world: features, shards of clips, MVP and OGSF, an ensemble, views, floors, board,
pictures; what reruns; nothing drawn or exported that is no box."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lib.files import read_json
from tests.workflow.conftest import Tree

pytestmark = pytest.mark.slow

STUDY: dict[str, Any] = {
    "study": "moments",
    "running": {"device": "cpu", "workers": 0},
    "datasets": {"site": {"source": {"format": "world", "size": [160, 96], "videos": {"train": 8, "val": 3, "test": 11}}}},
    "detectors": {"truth": {"kind": "truth"}},
    "trackers": {"bytetrack": {"kind": "bytetrack", "frame_rate": 10}},
    "featuresets": {
        "looks": {"kind": "light_clips", "stride": 2, "window": 4},
        "words": {"kind": "light_text", "width": 32},
        "things": {"kind": "objects", "stride": 2, "window": 4, "top": 4, "detector": "truth", "tracker": "bytetrack"},
    },
    "shardsets": {
        "clips": {
            "kind": "clips",
            "splits": ["train", "val", "test"],
            "clips": "looks",
            "text": "words",
            "objects": "things",
        }
    },
    "arms": {"all": {"shardset": "clips", "background": "all"}},
    "trainings": {"grounding": {"preset": "tiny", "budget": {"steps": 30, "evaluate_every_steps": 15}, "batch": 4}},
    "variants": {
        "mvp": {"task": "grounding", "arm": "all", "size": "tiny"},
        "ogsf": {"task": "grounding", "arm": "all", "size": "tiny", "training": {"model": "ogsf"}},
        "both": {"task": "grounding", "kind": "ensemble", "members": ["mvp", "ogsf"]},
        "alone": {"task": "grounding", "kind": "ensemble", "members": ["mvp"]},
        "ordinal": {"task": "grounding", "kind": "floor", "floor": "prior", "arm": "all", "size": "tiny"},
        "chance": {"task": "grounding", "kind": "floor", "floor": "chance", "arm": "all", "size": "tiny"},
        "untrained": {"task": "grounding", "kind": "floor", "floor": "untrained", "arm": "all", "size": "tiny"},
    },
    "tta": {"none": {"views": [{}]}, "phases": {"views": [{}, {"every": 2}, {"every": 2, "phase": 1}]}},
    "evaluate": {"draws": 200, "queries_by": "evidence"},
    "boards": {
        "moments": {
            "dataset": "site",
            "variants": ["mvp", "ogsf", "both", "alone", "ordinal", "chance", "untrained"],
            "tta": ["none", "phases"],
            "metric": "R1@0.5",
        }
    },
}


def test_from_a_world_to_its_board(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh({})
    tree.study = STUDY
    tree.snakemake()
    folder = tree.folder / "results"
    board = pd.read_csv(folder / "leaderboards/site/moments.csv")
    assert len(board) == 14 and set(board["kind"]) == {"model", "ensemble", "floor"}
    of = board.set_index(["variant", "tta"])["R1@0.5"]
    assert of["alone", "none"] == of["mvp", "none"] and board["R1@0.5_low"].notna().all()
    windows = {
        name: pd.read_parquet(folder / f"predictions/site/{name}/seed=0/tta=none.parquet") for name in ("mvp", "alone")
    }
    pd.testing.assert_frame_equal(windows["mvp"], windows["alone"])
    for name in ("figures/site/moments.lengths.png", "figures/site/ogsf/seed=0/tta=phases.windows.png"):
        assert (folder / name).stat().st_size > 5000
    assert not (folder / "exports").exists() and (folder / "registry.json").exists()
    assert read_json(folder / "summaries/site/mvp/seed=0/tta=none/summary.json")["task"] == "grounding"
    assert tree.planned() == set()
    tree.study = STUDY | {"predict": {"windows": {"sigma": 0.4}}}
    assert {Path(path).parts[0] for path in tree.planned()} >= {"predictions", "metrics", "leaderboards"}
    assert not [path for path in tree.planned() if path.startswith(("train", "features", "shards"))]
