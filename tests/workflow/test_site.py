"""What only a site needs, from its profile through real Snakemake to the programs: no identity changes, nothing reruns."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from lib.files import read_json
from tests.workflow.conftest import Tree

CELL = "results/train/site/full/seed=0"


@pytest.mark.slow
def test_cudnn_is_off_by_a_profile_whatever_else_is_typed(tree: Tree) -> None:
    profile = tree.folder / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text('config: {running: "{cudnn: off}"}\n')
    words = ["--profile", str(profile), "--config", "only=full", "running={device: cpu}"]
    assert tree.planned(*words) == set(), "nothing reruns"
    cell = tree.folder / CELL
    before = read_json(cell / "model.json"), read_json(cell / "meta.json")
    assert before[0]["cudnn"] is True and before[0]["micro_batch"] == before[0]["effective_batch"] == 4
    shutil.rmtree(cell)
    tree.snakemake(*words, "--", f"{CELL}/model.json")
    resolved = yaml.safe_load((tree.folder / "results/run_config.yaml").read_text())
    assert resolved["running"]["cudnn"] is False and resolved["running"]["device"] == "cpu"
    card, meta = read_json(cell / "model.json"), read_json(cell / "meta.json")
    assert (card["cudnn"], card["micro_batch"], card["effective_batch"]) == (False, 2, 4)
    assert card["fingerprint"] == before[0]["fingerprint"] and meta["identity"] == before[1]["identity"]
    assert meta["settings"] == before[1]["settings"] and "cudnn" not in json.dumps([meta["settings"], meta["rebuild"]])
    assert read_json(cell / "attempts/1.json").items() >= {"cudnn": False, "micro_batch": 2}.items()
    log = (tree.folder / "results/logs/train/site/full/seed=0.log").read_text()
    assert "micro-batches of 2 instead of 4, twice as many per optimizer step" in log
    assert tree.planned("--", f"{CELL}/model.json") == set(), "nor where cuDNN works"
