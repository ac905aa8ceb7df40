"""What `status` says of real studies: a training that waits, runs, is killed, fails, is done; and a finished one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lib.files import read_json
from lib.status.states import STATES
from tests.conftest import PROJECT
from tests.workflow.conftest import Tree
from tests.workflow.test_own_task import Copy

SMALL = {"train": 24, "val": 4, "test": 4}
TARGET = "results/train/site/shows/seed=0/model.json"


def run(
    words: list[str], folder: Path, settings: Path, project: Path = PROJECT, check: bool = True
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workflow_scripts.status", "--configfile", str(settings), "--directory", str(folder)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
    environment |= {"PYTHONPATH": str(project)}
    done = subprocess.run([*command, *words], cwd=project, env=environment, capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def cells(folder: Path, settings: Path, project: Path = PROJECT) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """(variant → its row, everything) of --json."""
    told = json.loads(run(["--json"], folder, settings, project).stdout)
    return {row["variant"]: row for row in told["cells"]}, told


@pytest.fixture
def small(tmp_path: Path) -> Callable[[int], Copy]:
    """The recipe's task on few videos, its training as many steps long as is asked for."""

    def make(steps: int) -> Copy:
        tree = Copy(tmp_path / "project")
        tree.study["datasets"]["site"]["source"]["videos"] = SMALL
        tree.study["trainings"]["presence"]["budget"] = {"steps": steps, "evaluate_every_steps": 20}
        tree.command()  # writes the study
        return tree

    return make


@pytest.mark.slow
def test_a_training_from_nothing_to_its_result(small: Callable[[int], Copy]) -> None:
    tree = small(20_000)
    settings = tree.folder / "study.yaml"

    def look() -> dict[str, Any]:
        return cells(tree.folder, settings, tree.folder)[0]["shows"]

    row = look()
    assert row["state"] == "waiting" and row["why"].startswith("inputs are not made: results/subsets/site/all/")

    process = tree.start("--", TARGET)
    try:
        tree.wait_for_row(60)
        row, told = look(), cells(tree.folder, settings, tree.folder)[1]
        assert row["state"] == "running" and row["done"] >= 60 and row["total"] == 20_000 and row["left_s"] > 0
        assert 0 < row["loss"] < 10 and 0 <= row["best"] <= 1 and row["metric"] == "val/accuracy" and row["job"] is None
        assert told["drivers"] and told["drivers"][0].startswith("a run is active")
        text = run([], tree.folder, settings, tree.folder).stdout
        assert "running" in text and "val/" not in text.splitlines()[3] and "accuracy" in text
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    row = look()
    assert (row["state"], row["cause"]) == ("failed", "killed") and row["done"] >= 60 and row["left_s"] is None
    text = run(["--failed"], tree.folder, settings, tree.folder).stdout
    assert "a run was killed" in text and "make resume" in text
    assert (
        "killed (1): a retry makes sense" in text
        and "next: make resume\n" in text
        and "log: results/logs/train/site/shows/seed=0.log" in text
    )

    tree.study["trainings"]["presence"] |= {
        "budget": {"steps": 40, "evaluate_every_steps": 20},
        "gradient_checkpointing": True,  # what only the network knows that it cannot do
    }
    tree.run("--unlock")
    refused, row = tree.run("--", TARGET, check=False), look()
    assert refused.returncode and (row["state"], row["cause"]) == ("failed", "config"), refused.stderr[-3000:] + tree.log()
    assert "gradient_checkpointing" in row["why"]
    (failure,) = json.loads(run(["--failed", "--json"], tree.folder, settings, tree.folder).stdout)["failures"]
    assert (failure["cause"], failure["retry"], failure["target"]) == ("config", False, TARGET)

    tree.study["trainings"]["presence"]["gradient_checkpointing"] = False
    tree.run("--", TARGET)
    row, card = look(), read_json(tree.cell / "model.json")
    assert row["state"] == "completed" and row["best"] == card["best"]["val/accuracy"] and row["done"] == 40
    assert run(["--failed"], tree.folder, settings, tree.folder).stdout.rstrip().endswith("stopped or diverged.")
    text = run(["--leaderboard"], tree.folder, settings, tree.folder).stdout
    assert "tiny" in text and "site/shows seed 0" in text and "results on test, with intervals, are on boards" in text

    tree.study["trainings"]["presence"]["budget"] = {"steps": 80, "evaluate_every_steps": 20}
    tree.command()
    assert look()["state"] == "outdated"
    (tree.cell / "attempts/9.json").write_text(json.dumps(read_json(tree.cell / "attempts/1.json") | {"attempt": 9}))
    assert look()["state"] == "failed", "a killed attempt that is newer than the model"


@pytest.mark.slow
def test_a_finished_study(finished: Tree) -> None:
    rows, told = cells(finished.folder, finished.settings)
    assert told["version"] == 1 and told["study"] == "tiny" and told["counts"] == {"completed": len(rows)}
    assert set(rows) == {"detector", "full", "less", "prior", "chance", "untrained", "taken"}
    keys = "dataset variant seed task kind size state why cause done total unit left_s loss best metric mode elapsed_s"
    assert list(rows["full"]) == [*keys.split(), "attempts", "job", "place", "folder", "log"], "programs rely on the keys"
    card = read_json(finished.folder / "results/train/site/full/seed=0/model.json")
    assert rows["full"]["metric"] == "AP" and rows["full"]["best"] == card["best"]["AP"] and rows["full"]["done"] == 4
    assert rows["prior"]["kind"] == "prior" and rows["prior"]["best"] is None
    again = cells(finished.folder, finished.settings)[1]
    assert {**again, "at": ""} == {**told, "at": ""}, "the same each time"

    text = run([], finished.folder, finished.settings).stdout
    assert text.splitlines()[0] == "study tiny: 7 completed" and "no run is recorded here" in text
    text = run(["--failed"], finished.folder, finished.settings).stdout
    assert "No failure" in text
    text = run(["--leaderboard"], finished.folder, finished.settings).stdout
    assert "AP " in text and "prior" not in text, "what is not trained has no score on val"
    only = json.loads(run(["--json", "--only", "less"], finished.folder, finished.settings).stdout)["cells"]
    assert [row["variant"] for row in only] == ["less"]
    none = json.loads(run(["--json", "--state", "failed", "stalled"], finished.folder, finished.settings).stdout)
    assert none["cells"] == [] and none["counts"] == {}


@pytest.mark.slow
def test_a_stage_that_failed_is_told_and_one_that_merely_was_not_run_is_not(tree: Tree) -> None:
    predictions = tree.folder / "results/predictions/site/full/seed=0/tta=none.parquet"
    predictions.unlink()
    assert "No failure" in run(["--failed"], tree.folder, tree.settings).stdout, "it is not there: it has not been run"
    (tree.folder / "results/train/site/full/seed=0/model.weights").write_bytes(b"no weights")
    done = tree.snakemake("--rerun-triggers", "mtime", "--", str(predictions.relative_to(tree.folder)), check=False)
    assert done.returncode
    (failure,) = json.loads(run(["--failed", "--json"], tree.folder, tree.settings).stdout)["failures"]
    assert failure["stage"] == "predict" and failure["target"] == str(predictions.relative_to(tree.folder))
    assert failure["log"] == "results/logs/predictions/site/full/seed=0/tta=none.log" and failure["cause"] == "data"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--state", "faild"], "--state: 'faild' is none of this study's. Hint: did you mean 'failed'?"),
        (["--size", "huge"], "--size: 'huge' is none of this study's."),
        (["--task", "x"], "--task: 'x' is none of this study's."),
        (["--only", "nope-*"], "only: 'nope-*' matches no board and no variant"),
        (["--directory", "/no/such/folder"], "--directory: /no/such/folder is no folder"),
        (["--configfile", "/no/such.yaml"], "/no/such.yaml"),
        (["--set", "training.epoch=3"], "did you mean 'epochs'"),
        (["--watch", "0"], "must be a number of seconds above 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path: Path, words: list[str], says: str) -> None:
    command = [sys.executable, "-m", "workflow_scripts.status", *words]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(PROJECT)}
    )
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


def test_it_loads_neither_torch_nor_tables_and_changes_nothing(tmp_path: Path) -> None:
    code = "import sys; from workflow_scripts import status; sys.argv = ['status', '--directory', sys.argv[1]]; "
    code += "status.main(); print(sorted({'torch', 'pandas', 'pyarrow', 'ultralytics', 'cv2', 'httpx'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
    assert "6 waiting" in done.stdout and list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_looks_again_until_ctrl_c(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "workflow_scripts.status", "--directory", str(tmp_path), "--watch", "0.2"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "TERM": "xterm", "COLUMNS": "150"}
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdin=end, stdout=end, stderr=end)
    os.close(end)
    seen, until = b"", time.monotonic() + 60
    while seen.count(b"study demo") < 3:
        assert time.monotonic() < until, seen
        seen += os.read(terminal, 65_536)
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the terminal has gone with the program
        while os.read(terminal, 65_536):
            pass
    assert process.wait(30) == 0
    os.close(terminal)


def test_states_are_those_of_its_help() -> None:
    from workflow_scripts import status

    assert all(state in str(status.__doc__) for state in STATES)
