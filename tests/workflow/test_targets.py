"""What people ask Snakemake for on a finished tree: named targets, single files, the report, other views."""

from __future__ import annotations

import json
import re

import pytest

from lib import provenance
from lib.files import read_json
from tests.workflow.conftest import Tree

pytestmark = pytest.mark.slow


def test_all_files_of_the_contract_stand(finished: Tree) -> None:
    results = finished.folder / "results"
    expected = [
        "run_config.yaml",
        "videos/site/quality.csv",
        "videos/site/classes.json",
        *(
            f"videos/site/truth/{name}.parquet"
            for name in ("boxes", "tracks", "queries", "relations", "captions", "answers")
        ),
        "weights/w/weights.json",
        "shards/site/full/index.parquet",
        "subsets/site/half/seed=0.counts.json",
        *(
            f"train/site/full/seed=0/{name}"
            for name in ("model.weights", "model.json", "history.csv", "meta.json", "model.pt")
        ),
        "train/site/full/seed=0/attempts/1.json",
        "exports/site/own/bytetrack/index.json",
        "metrics/site/full/seed=0/tta=none.units.parquet",
        "metrics/site/own/bytetrack/tracks.units.parquet",
        *(f"leaderboards/site/main.{suffix}" for suffix in ("csv", "md", "png", "html")),
    ]
    assert [name for name in expected if not (results / name).is_file()] == []
    assert not (results / "train/site/full/seed=0/state").exists()


def test_floors_and_pretrained_weights_go_the_way_of_trained_models(finished: Tree) -> None:
    results = finished.folder / "results"
    expected = {"prior": "floor", "chance": "floor", "untrained": "ultralytics", "taken": "ultralytics"}
    for variant, form in expected.items():
        card = read_json(results / f"train/site/{variant}/seed=0/model.json")
        assert (card["format"], card["status"], card["iterations"]) == (form, "finished", 0)
        assert read_json(results / f"metrics/site/{variant}/seed=0/tta=none.json")["metrics"]["AP50"] is not None
    taken, trained = (results / f"train/site/{name}/seed=0/model.weights" for name in ("taken", "detector"))
    assert taken.read_bytes() == trained.read_bytes()


def test_every_result_has_lineage_down_to_raw_data(finished: Tree) -> None:
    results = finished.folder / "results"
    metas = list(results.rglob("*meta.json"))
    identities = {read_json(path)["identity"] for path in metas}
    assert len(metas) > 20
    for path in metas:
        meta = read_json(path)
        given = meta["inputs"].values()
        for identity in (one for value in given for one in (value if isinstance(value, list) else [value])):
            assert identity in identities or meta["stage"] == "download", f"{path}: input {identity} is nobody's"
        assert meta["study"] == "tiny"
        assert re.match(r"snakemake --configfile \S*study\.yaml -- results/", meta["rebuild"])


def test_a_copy_of_the_tree_made_again_has_the_same_identities(tree: Tree) -> None:
    target = "results/shards/site/full/manifest.json"
    folder = tree.folder / "results/shards/site/full"
    before = {path.name: path.read_bytes() for path in folder.glob("*.tar")}
    identity = provenance.identity_of(tree.folder / target)
    tree.snakemake("--force", "--", target)
    assert provenance.identity_of(tree.folder / target) == identity
    assert {path.name: path.read_bytes() for path in folder.glob("*.tar")} == before


def test_other_views_of_a_trained_model_by_file_name(tree: Tree) -> None:
    target = "results/metrics/site/full/seed=0/tta=flip.json"
    assert tree.planned("--", target) == {
        "predictions/site/full/seed=0/tta=flip.parquet",
        "metrics/site/full/seed=0/tta=flip.json",
    }
    tree.snakemake("--", target)
    assert read_json(tree.folder / target)["metrics"]["AP50"] is not None


def test_named_targets_stop_half_way(finished: Tree) -> None:
    data = finished.planned("--forceall", "data")
    assert "shards/site/full/manifest.json" in data
    models = finished.planned("--forceall", "models")
    assert "train/site/full/seed=0/model.json" in models
    assert not any(output.startswith(("metrics/", "leaderboards/")) for output in models | data)


def test_the_report_is_one_page_with_captions_that_state_the_settings(tree: Tree) -> None:
    page = tree.folder / "report.html"
    tree.snakemake("--report", str(page))
    text = page.read_text(encoding="utf-8")
    assert len(text) > 500_000
    assert re.search(r"Rows are ranked by <tt[^>]*>AP50</tt>", text), "the caption of the board"
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?://', text), "the page must not ask the network"


def test_a_diverged_training_is_a_result(tree: Tree) -> None:
    tree.study["variants"]["wild"] = {
        "arm": "all",
        "size": "tiny",
        "training": {"box": 1e40},
    }
    tree.study["boards"]["main"]["variants"].append("wild")
    tree.snakemake()
    card = read_json(tree.folder / "results/train/site/wild/seed=0/model.json")
    assert card["status"].startswith("diverged at step")
    board = (tree.folder / "results/leaderboards/site/main.csv").read_text()
    row = next(line for line in board.splitlines() if "wild" in line)
    assert card["status"] in row
    scores = json.loads((tree.folder / "results/metrics/site/wild/seed=0/tta=none.json").read_text())
    assert scores["status"] == card["status"]
