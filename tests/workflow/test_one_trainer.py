"""One trainer per cell, through the `train` rule itself: a second one leaves at once, what an orphan finished is taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.files import read_json
from lib.runs import finished, ownership, running
from tests.workflow.test_own_task import TARGET, Copy, again, by_hand, trained, trained_once

pytestmark = pytest.mark.slow

__all__ = ["trained", "trained_once"]


def resumed(tree: Copy, *words: str) -> str:
    """`resume` in the tree; all that it printed."""
    command = [sys.executable, "-m", "workflow_scripts.resume", *words]
    done = subprocess.run(command, cwd=tree.folder, env=tree.environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:] + tree.log()
    return done.stderr


def weights(tree: Copy) -> bytes:
    return (tree.cell / "model.weights").read_bytes()


def test_a_second_trainer_leaves_at_once_and_touches_nothing(trained: Copy, tmp_path: Path) -> None:
    tree = again(trained, tmp_path / "project")
    command, environment = by_hand(tree)
    first = subprocess.Popen(command, cwd=tree.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    tree.wait_for_row(40)
    begun = time.monotonic()
    second = subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, text=True)
    assert second.returncode == ownership.BUSY, second.stderr
    assert f"is being trained already (host {os.uname().nodename}, pid {first.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1 and time.monotonic() - begun < 30
    owner = read_json(tree.cell / "owner.json")
    assert owner["attempt"] == 1 and [path.name for path in (tree.cell / "attempts").iterdir()] == ["1.json"]
    assert first.wait() == 0 and not (tree.cell / "owner.json").exists()
    assert weights(tree) == weights(trained) and read_json(tree.cell / "model.json")["attempts"] == 1
    assert owner["fingerprint"] == read_json(tree.cell / "model.json")["fingerprint"]


def test_what_an_orphan_finished_is_taken_and_a_forced_rerun_trains(trained: Copy, tmp_path: Path) -> None:
    tree = again(trained, tmp_path / "project")
    driver = tree.start("--", TARGET)
    tree.wait_for_row(40)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    text = resumed(tree, "--wait")
    assert "a killed run" in text and "workflow_scripts.train" in text
    assert "another run finished this very training meanwhile; its results are taken" in tree.log()
    card = read_json(tree.cell / "model.json")
    assert card["attempts"] == 1 and weights(tree) == weights(trained)
    assert not (tree.cell / finished.PLACE).exists(), "Snakemake has taken note"
    assert "workflow_scripts.train" not in tree.run("-n", "-p", "--", TARGET).stdout
    tree.run("-R", "train", "--", TARGET)
    assert read_json(tree.cell / "model.json")["attempts"] == 2 and weights(tree) == weights(trained)


def test_what_was_kept_is_used_only_whole_and_for_the_same(trained: Copy, tmp_path: Path) -> None:
    tree = again(trained, tmp_path / "project")
    command, environment = by_hand(tree)
    environment[running.TOKEN] = "of-a-killed-run"
    subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, check=True)
    kept = tree.cell / finished.PLACE
    assert sorted(path.name for path in kept.iterdir()) == ["history.csv", "meta.json", "model.json", "model.weights"]
    fingerprint = read_json(tree.cell / "model.json")["fingerprint"]
    assert finished.stands(tree.cell, fingerprint) and not finished.stands(tree.cell, "other")
    for name in ("history.csv", "meta.json", "model.json", "model.weights"):
        (tree.cell / name).unlink()  # as Snakemake does before it starts the job again
    finished.settle(tree.folder / "results")
    assert kept.exists(), "its outputs do not stand"
    done = subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "its results are taken" in done.stderr
    assert weights(tree) == weights(trained)
    (kept / "model.weights").unlink()
    (kept / "model.weights").write_bytes(b"cut")
    assert not finished.stands(tree.cell, fingerprint)
