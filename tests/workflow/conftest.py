"""A tiny study, run once to its end by real Snakemake, and copies of that finished tree for tests that change something."""

from __future__ import annotations

import copy
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

TINY: dict[str, Any] = {
    "study": "tiny",
    "seeds": [0],
    "datasets": {
        "site": {
            "source": {
                "format": "world",
                "seed": 3,
                "size": [160, 96],
                "seconds": [1.0, 1.5],
                "videos": {"detector": 2, "train": 4, "val": 2, "test": 10},
            },
            "chunks": 2,
        }
    },
    "weights": {"w": {"variant": "detector", "dataset": "site"}},
    "detectors": {
        "own": {"kind": "yolo", "weights": "w", "imgsz": 64, "conf": 0.01, "stride": 2, "splits": ["train", "val", "test"]},
        "truth": {"kind": "truth"},
    },
    "trackers": {"bytetrack": {"kind": "bytetrack", "frame_rate": 10}},
    "shardsets": {
        "bare": {"splits": ["detector", "val"], "stride": 3},
        "full": {"splits": ["train", "val"], "stride": 2, "tracks": {"detector": "own", "tracker": "bytetrack"}},
    },
    "arms": {
        "d": {"shardset": "bare", "split": "detector", "background": "all"},
        "all": {"shardset": "full", "background": "all"},
        "half": {"shardset": "full", "background": "all", "fractions": {"person": 0.5}, "mode": "exclusive"},
    },
    "training": {"model": "yolo11n", "imgsz": 64, "batch": 4, "budget": {"iterations": 4, "evaluations": 2}},
    "variants": {
        "detector": {"arm": "d", "size": "tiny"},
        "full": {"arm": "all", "size": "tiny"},
        "less": {"arm": "half", "size": "tiny"},
        "prior": {"kind": "floor", "floor": "prior", "arm": "all", "size": "tiny"},
        "chance": {"kind": "floor", "floor": "chance", "arm": "all", "size": "tiny"},
        "untrained": {"kind": "floor", "floor": "untrained", "arm": "all", "size": "tiny"},
        "taken": {"kind": "pretrained", "weights": "w", "size": "tiny"},
    },
    "tta": {"none": {"views": [{}]}, "flip": {"views": [{}, {"flip": True}]}},
    "predict": {"stride": 2},
    "export": {"videos": 1},
    "boards": {
        "main": {"dataset": "site", "variants": ["full", "less", "prior"], "tta": ["none"]},
        "floors": {"dataset": "site", "variants": ["prior", "chance", "untrained", "taken"], "tta": ["none"]},
        "followed": {"kind": "tracks", "dataset": "site", "detectors": ["truth", "own"], "trackers": ["bytetrack"]},
    },
}


@dataclass
class Tree:
    """A working directory with one study in it, and Snakemake run on it."""

    folder: Path
    study: dict[str, Any]
    comment: str = ""

    def snakemake(self, *words: str, check: bool = True, timeout: int = 900) -> subprocess.CompletedProcess[str]:
        """Run `snakemake -c2` here with this tree's study; words: more arguments (targets after `--`)."""
        text = self.comment + yaml.safe_dump(self.study, sort_keys=False)
        if not self.settings.is_file() or self.settings.read_text() != text:
            self.settings.write_text(text)
        command = [sys.executable, "-m", "snakemake", "-c2", "--snakefile", str(PROJECT / "Snakefile")]
        command += ["--directory", str(self.folder), "--configfile", str(self.settings), *words]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=PROJECT)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done

    @property
    def settings(self) -> Path:
        return self.folder / "study.yaml"

    def planned(self, *words: str) -> set[str]:
        """Main outputs of the jobs that a dry run would do, below results/ (as the printed commands name them)."""
        done = self.snakemake("--dry-run", "--printshellcmds", *words)
        return {path.removeprefix("results/") for path in re.findall(r" --output (\S+)", done.stdout + done.stderr)}


def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills, once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / f"{name}.done").exists():
            shutil.rmtree(shared / name, ignore_errors=True)  # of a try that failed in another process
            make(shared / name)
            (shared / f"{name}.done").touch()
    return shared / name


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Tree:
    """The tiny study run to its end, once for all test processes; tests only look at it (they take `tree` to change it)."""

    def run(folder: Path) -> None:
        folder.mkdir()
        Tree(folder, copy.deepcopy(TINY)).snakemake()

    return Tree(once(tmp_path_factory, worker_id, "finished", run), copy.deepcopy(TINY))


@pytest.fixture
def tree(finished: Tree, tmp_path: Path) -> Tree:
    """A private copy of the finished tree (dates kept, so that nothing looks newer than it is)."""
    folder = tmp_path / "tree"
    shutil.copytree(finished.folder, folder, symlinks=True, copy_function=shutil.copy2)
    return Tree(folder, copy.deepcopy(finished.study))


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[dict[str, Any]], Tree]:
    """Make an empty tree with a study; give the changes to the tiny one."""

    def make(changes: dict[str, Any]) -> Tree:
        folder = tmp_path / "fresh"
        folder.mkdir(exist_ok=True)
        return Tree(folder, copy.deepcopy(TINY) | changes)

    return make


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A copy of the project in which the embedded demo ran to its end, once for all test processes; tests may add files."""

    def run(folder: Path) -> None:
        copy_project(folder)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
        environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}
        environment |= {"PYTHONPATH": str(folder)}
        command = [sys.executable, "-m", "snakemake", "-c2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=environment, cwd=folder)
        assert done.returncode == 0, done.stderr[-6000:]
        shutil.copytree(folder / "results/leaderboards", folder.parent / "demo-boards")

    return once(tmp_path_factory, worker_id, "demo", run)


@pytest.fixture(scope="session")
def demo_boards(demo: Path) -> Path:
    """The boards of the demo as it ended, before tests added to it."""
    return demo.parent / "demo-boards"


@pytest.fixture
def project_copy(tmp_path: Path) -> Path:
    """A copy of the project that a test may change."""
    return copy_project(tmp_path / "project")


def copy_project(folder: Path) -> Path:
    """Copy the project's own files, without results, environment and history."""
    produced = shutil.ignore_patterns(".git", ".venv", ".snakemake", "__pycache__", ".*_cache", ".hypothesis")

    def others(place: str, names: list[str]) -> set[str]:
        ours = Path(place) == PROJECT / "results"
        return produced(place, names) | ({name for name in names if name != "README.md"} if ours else set())

    shutil.copytree(PROJECT, folder, ignore=others)
    return folder
