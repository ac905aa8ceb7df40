"""registry.json under many writers, kills and foreign hands. Reference: the runs that were written."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import folders
import pytest

from lib.files import DataError, read_json
from lib.registry.gather import gathered
from lib.registry.index import PLACE, rebuild
from tests.conftest import PROJECT

PROCESSES = 50
FORKS = multiprocessing.get_context("forkserver")  # of a small process, not of this one with all that tests have loaded
FORKS.set_forkserver_preload(["lib.registry.index", "folders"])
CHILD = multiprocessing.get_context("fork")  # begins at once, and nobody reaps it before it was killed


def record(root: Path, number: int, ready: object) -> None:
    """What one of many processes does: when all are ready, it leaves a run and writes the index."""
    ready.wait()  # type: ignore[attr-defined]
    folders.training(root, f"v{number:02d}", [0.1, 0.2], seed=number)
    rebuild(root)


def runs_in(root: Path) -> dict[str, dict[str, object]]:
    return read_json(root / PLACE)["runs"]


@pytest.mark.slow
def test_fifty_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    ready = FORKS.Barrier(PROCESSES)
    processes = [FORKS.Process(target=record, args=(tmp_path, number, ready)) for number in range(PROCESSES)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(600)
    assert [one.exitcode for one in processes] == [0] * PROCESSES
    assert sorted(runs_in(tmp_path)) == [f"site/v{number:02d}/seed={number}" for number in range(PROCESSES)]
    assert {one["status"] for one in runs_in(tmp_path).values()} == {"completed"}
    assert not list((tmp_path / "results").glob(".writing-*"))


def test_a_writer_that_looked_too_early_mends_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.registry import index

    real, looks = index.our_entries, 0

    def look(root: Path) -> list[object]:
        nonlocal looks
        looks += 1
        found = real(root)
        if looks == 1:  # another process records its run and writes the index, before we write what we saw
            folders.training(root, "other", [0.1])
            index.write_text(root / PLACE, index._text(real(root), root))
        return found

    monkeypatch.setattr(index, "our_entries", look)
    folders.training(tmp_path, "mine", [0.2])
    assert [one.name for one in rebuild(tmp_path)] == ["mine", "other"]
    assert set(runs_in(tmp_path)) == {"site/mine/seed=0", "site/other/seed=0"}


def test_a_killed_writer_leaves_an_older_file_or_the_new_one(tmp_path: Path) -> None:
    for number in range(20):
        folders.training(tmp_path, f"v{number:02d}", [0.1])
    rebuild(tmp_path)
    draw = random.Random(0)
    for number in range(12):
        folders.training(tmp_path, f"w{number:02d}", [0.1])
        process = CHILD.Process(target=rebuild, args=(tmp_path,))
        process.start()
        time.sleep(draw.uniform(0.0, 0.03))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert len(runs_in(tmp_path)) in range(20, 22 + number)
    rebuild(tmp_path)
    assert len(runs_in(tmp_path)) == 32


def test_the_same_runs_give_the_same_bytes_and_a_lost_file_comes_back(tmp_path: Path) -> None:
    folders.training(tmp_path, "a", [0.1])
    rebuild(tmp_path)
    first = (tmp_path / PLACE).read_bytes()
    (tmp_path / PLACE).unlink()
    rebuild(tmp_path)
    assert (tmp_path / PLACE).read_bytes() == first
    (tmp_path / PLACE).write_text("{ half")
    rebuild(tmp_path)
    assert (tmp_path / PLACE).read_bytes() == first


def test_a_registry_that_moved_with_its_folder_is_read(tmp_path: Path) -> None:
    folders.training(tmp_path / "there", "a", [0.1, 0.3])
    rebuild(tmp_path / "there")
    shutil.move(tmp_path / "there", tmp_path / "elsewhere")
    (found,) = gathered(tmp_path / "empty", [tmp_path / "elsewhere" / PLACE])
    assert (found.id, found.best["mask_mAP"]) == ("site/a/seed=0", 0.3)
    assert found.output == str(tmp_path / "elsewhere/results/train/site/a/seed=0")


def test_the_file_of_another_tool_is_left_alone(tmp_path: Path) -> None:
    folders.training(tmp_path, "a", [0.1])
    theirs = json.dumps({"experiments": {"x": {"name": "x"}}})
    (tmp_path / PLACE).write_text(theirs)
    with pytest.raises(DataError, match="is not a registry of this project"):
        rebuild(tmp_path)
    assert (tmp_path / PLACE).read_text() == theirs


def test_listing_runs_loads_nothing_heavy() -> None:
    import subprocess

    code = "import sys; from lib.registry import index, gather; from lib.reporting import comparison, comparison_text"
    code += "; print([one for one in ('torch', 'pandas', 'matplotlib', 'rfdetr') if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
