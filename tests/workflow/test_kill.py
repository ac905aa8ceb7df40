"""kill -9 of the whole run in the middle of a stage: the same command, after unlocking, ends with the untouched result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lib.files import read_json
from tests.conftest import PROJECT
from tests.workflow.conftest import Tree

pytestmark = pytest.mark.slow


def started(tree: Tree, target: str) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own, so that one signal reaches driver and jobs alike."""
    tree.settings.write_text(yaml.safe_dump(tree.study, sort_keys=False))
    words = [sys.executable, "-m", "snakemake", "-c2", "--snakefile", str(PROJECT / "Snakefile"), "--directory"]
    words += [str(tree.folder), "--configfile", str(tree.settings), "--", target]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, env=os.environ | {"PATH": path}, start_new_session=True, stdout=quiet, stderr=quiet)


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not come"
        time.sleep(0.05)


def test_killed_training_goes_on_from_its_last_finished_epoch(tree: Tree) -> None:
    tree.study["variants"]["full"]["training"] = {"budget": {"iterations": 40, "evaluations": 10}}
    folder = tree.folder / "results/train/site/full/seed=0"
    process = started(tree, "results/train/site/full/seed=0/model.json")
    log = tree.folder / "results/logs/train/site/full/seed=0.log"
    wait_for(lambda: (folder / "state").is_dir() and any(folder.glob("state/**/last.pt")))
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "model.json").exists() or "resumed" in log.read_text()

    tree.snakemake("--unlock")
    tree.snakemake("--", "results/train/site/full/seed=0/model.json")
    card = read_json(folder / "model.json")
    assert card["iterations"] == 40
    assert card["resumed_from_epoch"] >= 1
    assert card["attempts"] == 2, "the killed attempt counts"
    assert not (folder / "state").exists(), "the state goes away when all results stand"


def test_killed_download_goes_on(fresh) -> None:
    tree = fresh({})
    target = "results/videos/site/manifest.parquet"
    process = started(tree, target)
    wait_for(lambda: any(tree.folder.glob("results/videos/site/raw/videos/*.mp4")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    tree.snakemake("--unlock")
    tree.snakemake("--", target)
    assert tree.planned("--", target) == set()
