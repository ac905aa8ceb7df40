"""Grounding by real Snakemake on a tiny world: features, shards of clips, MVP and OGSF, an ensemble, views, floors, board,
pictures; what reruns; nothing drawn or exported that is no box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.image
import pandas as pd
import pytest

from lib.files import read_json
from lib.tables import read_table
from tests.workflow.conftest import Tree

pytestmark = pytest.mark.slow

ROWS = ["mvp", "ogsf", "both", "alone"]
EVIDENCE = ("frame", "motion", "objects", "audio")
PICTURES = ("moments.lengths", "views.lengths", "mvp/seed=0/tta=phases.windows", "ogsf/seed=0/curves", "clips.arms/seed=0")
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
        "untrained": {"task": "grounding", "kind": "floor", "floor": "untrained", "arm": "all", "size": "tiny"},
    },
    "tta": {"none": {"views": [{}]}, "phases": {"views": [{}, {"every": 2}, {"every": 2, "phase": 1}]}},
    "evaluate": {"draws": 200, "queries_by": "evidence"},
    "boards": {
        "moments": {"dataset": "site", "variants": [*ROWS, "ordinal", "untrained"], "tta": ["none"], "metric": "R1@0.5"},
        "views": {"dataset": "site", "variants": ["mvp", "both"], "tta": ["none", "phases"], "metric": "mIoU"},
    },
}


def test_from_a_world_to_its_board(fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = fresh({})
    tree.study = STUDY
    tree.snakemake(timeout=1800)
    folder = tree.folder / "results"
    board = pd.read_csv(folder / "leaderboards/site/moments.csv")
    assert len(board) == 6 and set(board["kind"]) == {"model", "ensemble", "floor"}
    assert board["R1@0.5_low"].notna().all() and {f"R1@0.5: {one}" for one in EVIDENCE} <= set(board)
    of = board.set_index("variant")
    assert of.loc["alone", "R1@0.5"] == of.loc["mvp", "R1@0.5"]
    assert of.loc["ogsf", "clips"] == 8 and of.loc["ogsf", "queries"] > 8
    views = pd.read_csv(folder / "leaderboards/site/views.csv").set_index(["variant", "tta"])["mIoU"]
    assert len(views) == 4 and views["mvp", "none"] == of.loc["mvp", "mIoU"] != views["mvp", "phases"]
    card = read_json(folder / "train/site/ogsf/seed=0/model.json")
    assert card["network"]["use_objects"] and card["widths"]["object_dim"] == 197  # looks 128, place 4, score, name 64
    tables = {path.parts[-3]: pd.read_parquet(path) for path in folder.glob("predictions/site/*/seed=0/tta=none.parquet")}
    pd.testing.assert_frame_equal(tables["mvp"], tables["alone"])
    asked = read_table(folder / "videos/site/truth/queries.parquet", "queries")
    asked = set(asked.loc[asked["video"].str.contains("-test-"), "query"])
    assert set(tables) == set(STUDY["variants"]) and all(set(table["query"]) == asked for table in tables.values())
    highest = tables["both"].groupby("query")["score"].max()
    members = pd.concat([tables["mvp"], tables["ogsf"]]).groupby("query")["score"].max()
    assert (highest <= members[highest.index] + 1e-6).all()
    for name in (
        "moments.lengths",
        "views.lengths",
        "mvp/seed=0/tta=phases.windows",
        "ogsf/seed=0/curves",
        "clips.arms/seed=0",
    ):
        picture = matplotlib.image.imread(folder / f"figures/site/{name}.png")[..., :3]
        assert (picture.min(axis=2) < 0.99).mean() > 0.01, name
    assert not (folder / "exports").exists()
    runs = read_json(folder / "registry.json")["runs"]
    assert runs["site/both/seed=0"]["kind"] == "ensemble" and runs["site/mvp/seed=0"]["status"] == "completed"
    assert read_json(folder / "summaries/site/both/seed=0/tta=none/summary.json")["task"] == "grounding"
    assert tree.planned() == set()

    tree.study = STUDY | {"predict": {"windows": {"sigma": 0.4}}}
    stages = {path.split("/")[0] for path in tree.planned()}
    assert stages == {"predictions", "metrics", "leaderboards", "figures", "summaries"}
    tree.study = STUDY | {"trainings": {"grounding": STUDY["trainings"]["grounding"] | {"hidden": 16}}}
    planned = tree.planned()
    again = {path.split("/")[2] for path in planned if path.startswith("train/")}
    assert again == {"mvp", "ogsf", "both", "alone", "untrained"}, "the ordinal prior has no network"
    assert not [path for path in planned if path.startswith(("features", "shards", "subsets"))]
