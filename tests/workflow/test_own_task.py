"""A small real task whose model we write, through the `train` rule itself: it learns, is killed and goes on, stops when
asked, runs in two processes, and reruns exactly when it should."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.config.merge import merged
from lib.files import read_json
from lib.training.preemption import PREEMPTED
from tests.conftest import PROJECT
from tests.lib.training.toy import equal
from tests.workflow.conftest import copy_project, once
from tests.workflow.test_readme import block

pytestmark = pytest.mark.slow

SOURCES = PROJECT / "tests/workflow/own_task"
RECIPES = (PROJECT / "docs/recipes.md").read_text(encoding="utf-8")


def study() -> dict[str, Any]:
    """The recipe's study: one arm of small clips of the world, one variant of the task and its floor, one board."""
    running = {"device": "cpu", "workers": 0, "loggers": {"log_every": 2}}
    return yaml.safe_load(block("A task", "yaml")) | {"running": running}


CELL = "train/site/shows/seed=0"
TARGET = f"results/{CELL}/model.json"


class Copy:
    """A copy of the project with the task added as the recipe says."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_project(folder)
        shutil.copy(SOURCES / "presence.py", self.folder / "lib/tasks/presence.py")
        shutil.copy(SOURCES / "recurrent.py", self.folder / "lib/models/recurrent.py")
        (self.folder / "lib/config/train_presence.py").write_text(block("A task", "python", 0))
        self.insert("lib/config/tasks.py", "TASKS: dict[str, Task] = {\n", block("A task", "python", 1))
        self.insert("lib/config/tasks.py", "from lib.config.train import TrainingSettings\n",
                    "from lib.config.train_presence import PresenceTraining\n")  # fmt: skip
        self.insert("lib/tables.py", "COLUMNS: dict[str, dict[str, str]] = {\n", block("A task", "python", 2))
        self.insert(
            "lib/models/__init__.py", "NETWORKS: dict[str, str] = {\n", '    "recurrent": "lib.models.recurrent",\n'
        )
        self.study = study()
        self.how = ["-c2"]  # words for snakemake: where jobs run
        self.more: dict[str, str] = {}  # environment beside the usual

    def insert(self, file: str, line: str, more: str) -> None:
        text = (self.folder / file).read_text()
        assert text.count(line) == 1, f"{file} should hold {line!r} once"
        (self.folder / file).write_text(text.replace(line, line + more))

    def command(self, *words: str) -> list[str]:
        path = self.folder / "study.yaml"
        path.write_text(yaml.safe_dump(self.study, sort_keys=False))
        return [sys.executable, "-m", "snakemake", *self.how, "--configfile", str(path), *words]

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "VIPERSIGHT_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        return kept | {"PATH": path, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"} | self.more

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=900
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:] + self.log()
        return done

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            self.command(*words), cwd=self.folder, env=self.environment(), start_new_session=True, stdout=quiet,
            stderr=quiet,
        )  # fmt: skip

    @property
    def cell(self) -> Path:
        return self.folder / "results" / CELL

    def log(self) -> str:
        path = self.folder / "results/logs/train/site/shows/seed=0.log"
        return path.read_text()[-3000:] if path.exists() else ""

    def wait_for_row(self, step: int) -> None:
        until = time.monotonic() + 300
        path = self.cell / "state/history.csv"
        while not path.exists() or not any(line.startswith(f"{step},") for line in path.read_text().splitlines()):
            assert time.monotonic() < until, "the training does not get on: " + self.log()
            time.sleep(0.02)


def laid(tree: Copy, source: Path) -> Copy:
    """A copy of the project with what ran in another one, its dates and links kept."""
    for name in ("results", ".snakemake"):
        shutil.copytree(source / name, tree.folder / name, symlinks=True, dirs_exist_ok=True)
    return tree


def untrained(tree: Copy, source: Path) -> Copy:
    """The same with all that comes before the training."""
    shutil.rmtree(laid(tree, source).cell.parent)
    return tree


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where a training ran that nothing interrupted, once for all test processes; tests only copy it."""
    return once(tmp_path_factory, worker_id, "own", lambda folder: Copy(folder).run("--", TARGET))


@pytest.fixture(scope="module")
def trained(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy of that training for the tests of one file."""
    return laid(Copy(tmp_path_factory.mktemp("own") / "project"), trained_once)


def test_the_board_says_what_the_network_is_worth(trained: Copy) -> None:
    trained.run()
    folder = trained.folder / "results"
    card = read_json(folder / "train/site/usual/seed=0/model.json")
    assert card["format"] == "floor" and card["iterations"] == 0
    rows = pd.read_csv(folder / "leaderboards/site/presence.csv").set_index("variant")
    assert list(rows.index) == ["shows", "usual"] and rows.loc["usual", "kind"] == "floor"
    assert rows.loc["shows", "above_floor"] == "yes" and rows.loc["shows", "accuracy"] > 0.8
    scores = read_json(folder / "metrics/site/shows/seed=0/tta=none.json")
    per_class = [one["accuracy"] for one in scores["per_class"].values()]
    assert rows.loc["shows", "accuracy"] == pytest.approx(sum(per_class) / len(per_class))
    found = pd.read_parquet(folder / "predictions/site/shows/seed=0/tta=none.parquet")
    manifest = pd.read_parquet(folder / "videos/site/manifest.parquet")
    assert set(found["video"]) == set(manifest[manifest["split"] == "test"]["video"])
    assert "share of frames" in (folder / "leaderboards/site/presence.md").read_text()
    assert not list((folder / "exports").glob("site/shows")), "what is no box cannot be drawn"
    assert not (trained.cell / "state").exists(), "it goes away once the results stand"
    events = EventAccumulator(str(trained.cell / "tensorboard")).Reload()
    done = read_json(trained.cell / "model.json")["iterations"]
    assert events.Scalars("val/accuracy")[-1].step == events.Scalars("train/loss")[-1].step == done


def test_a_network_is_added_as_the_readme_says(trained: Copy, tmp_path: Path) -> None:
    tree = laid(Copy(tmp_path / "project"), trained.folder)
    (tree.folder / "lib/models/pooled.py").write_text(block("A model", "python"))
    line = '"pooled": "lib.models.pooled"'
    assert f"`{line[:8]}" in RECIPES and 'Literal["recurrent", "pooled"]' in RECIPES
    tree.insert("lib/models/__init__.py", '"recurrent": "lib.models.recurrent"', f", {line}")
    tree.insert("lib/config/train_presence.py", 'Literal["recurrent"', ', "pooled"')
    tree.study = merged(tree.study, yaml.safe_load(block("A model", "yaml")))
    tree.study["variants"]["pools"]["training"]["budget"] = {"steps": 40}
    trained.run()  # the board without the new row
    tree.run()
    table = pd.read_csv(tree.folder / "results/leaderboards/site/presence.csv")
    assert set(table["variant"]) == {"shows", "pools", "usual"}
    first = trained.folder / "results/train/site/shows/seed=0/model.json"
    assert read_json(tree.cell / "model.json") == read_json(first), "the others are not trained again"


def again(trained: Copy, folder: Path) -> Copy:
    """The same tree without its training: only that is made again."""
    return untrained(Copy(folder), trained.folder)


def test_it_learns_and_says_what_it_is(trained: Copy) -> None:
    card = read_json(trained.cell / "model.json")
    assert card["status"] == "finished" and card["iterations"] == 400 and card["format"] == "safetensors"
    assert card["effective_batch"] == 8 and card["attempts"] == 1 and len(card["train_videos"]) == 160
    history = pd.read_csv(trained.cell / "history.csv")
    scores = history["val/accuracy"].dropna()
    assert len(scores) == 10 and card["best"]["val/accuracy"] == pytest.approx(scores.max())
    losses = history["train/loss"].dropna()
    assert losses.iloc[-5:].mean() < 0.3 * losses.iloc[:3].mean()
    assert (trained.cell / "model.safetensors").resolve() == (trained.cell / "model.weights").resolve()
    assert not (trained.cell / "state").exists()


def test_killed_with_its_driver_it_goes_on_and_ends_the_same(trained: Copy, tmp_path: Path) -> None:
    tree = again(trained, tmp_path / "project")
    process = tree.start("--", TARGET)
    tree.wait_for_row(100)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    tree.run("--unlock")
    tree.run("--", TARGET)
    card = read_json(tree.cell / "model.json")
    assert card["resumed_from_step"] >= 80 and card["attempts"] == 2
    assert equal(load_file(tree.cell / "model.weights"), load_file(trained.cell / "model.weights"))
    ours, theirs = (pd.read_csv(one.cell / "history.csv").drop(columns="seconds") for one in (tree, trained))
    pd.testing.assert_frame_equal(ours, theirs)


def by_hand(tree: Copy, *words: str) -> tuple[list[str], dict[str, str]]:
    """The command that the rule prints, with more words; and its environment."""
    plan = tree.run("-n", "-p", "--", TARGET).stdout
    line = next(one for one in plan.splitlines() if "workflow_scripts.train" in one)
    command = shlex.split(line[line.index("python -m") :].partition(" > ")[0])
    environment = tree.environment() | {"VIPERSIGHT_RUNNING": json.dumps(tree.study["running"])}
    return [sys.executable, *command[1:], *words], environment


def test_a_time_budget_saves_and_leaves_with_its_code(trained: Copy, tmp_path: Path) -> None:
    tree = again(trained, tmp_path / "project")
    command, environment = by_hand(tree, "--time-budget", "0.05")
    environment["VIPERSIGHT_RUNNING"] = json.dumps(tree.study["running"] | {"loggers": {"tensorboard": False}})
    codes = []
    while not (tree.cell / "model.json").exists():
        done = subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, text=True)
        codes.append(done.returncode)
        assert done.returncode in (0, PREEMPTED), done.stderr
        assert len(codes) < 60
        if done.returncode == PREEMPTED:
            assert "the time budget is used up; the state is saved" in done.stderr
            command[command.index("--time-budget") + 1] = "0.2"  # a machine under load gets further
    assert codes[-1] == 0 and read_json(tree.cell / "model.json")["attempts"] == len(codes)
    assert equal(load_file(tree.cell / "model.weights"), load_file(trained.cell / "model.weights"))
    causes = [read_json(path)["cause"] for path in sorted((tree.cell / "attempts").glob("*.json"))]
    assert causes.count("finished") == 1 and set(causes) <= {"finished", "preempted"}


def test_two_processes_by_the_setting_alone(trained: Copy, tmp_path: Path) -> None:
    tree = again(trained, tmp_path / "project")
    tree.study["variants"]["shows"]["training"] = {"devices": 2, "batch": 2}
    tree.run("--", TARGET)
    card = read_json(tree.cell / "model.json")
    assert card["ranks"] == 2 and card["effective_batch"] == 8 and card["attempts"] == 1
    assert card["status"] == "finished" and card["best"]["val/accuracy"] > 0.6


def test_what_reruns(trained: Copy, tmp_path: Path) -> None:
    tree = again(trained, tmp_path / "project")
    shutil.copytree(trained.cell.parent, tree.cell.parent)

    def planned() -> bool:
        return "workflow_scripts.train" in tree.run("-n", "-p", "--", TARGET).stdout

    assert not planned()
    tree.study["running"] = {"device": "cpu", "workers": 1, "keep_last": 5, "loggers": {"log_every": 50}}
    assert not planned(), "devices, workers and logs change no result"
    tree.study["variants"]["shows"]["training"] = {"optimizer": {"lr": 1e-4}}
    assert planned()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "presense"}, "unknown task 'presense'. Hint: did you mean 'presence'"),
        ({"training": {"optimiser": {}}}, "did you mean 'optimizer'"),
        ({"training": {"accumulate": 0}}, "a step needs at least one batch"),
        (
            {"training": {"best": {"val/acuracy": "max"}}},
            "gives no 'val/acuracy' on val. Hint: did you mean 'val/accuracy'",
        ),
        ({"training": {"stopping": {"metric": "val/loss", "mode": "max", "patience": 2}}}, "is good when it is low"),
    ],
)
def test_wrong_settings_are_refused_by_the_plan(trained: Copy, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    tree = again(trained, tmp_path / "project")
    tree.study["variants"]["shows"] |= change
    done = tree.run("-n", "--", TARGET, check=False)
    assert done.returncode != 0 and says in done.stdout + done.stderr
