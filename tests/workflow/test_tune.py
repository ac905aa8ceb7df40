"""Tuning by real Optuna and real Snakemake. References: the trainings' own histories, and a world without test videos."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lib.files import read_json
from tests.conftest import PROJECT
from tests.workflow.conftest import Tree
from tests.workflow.test_kill import wait_for
from tests.workflow.test_rerun_truth import cell_outputs

SPACE = "training.lr0={low: 1e-3, high: 3e-2, log: true} training.box={choices: [7.5, 1e38]}"
"""A box loss of weight 1e38 is no number: such a training diverges."""
BUDGET = {"budget": {"iterations": 6, "evaluations": 3}}
COMMON = ("--variant", "full", "--space", SPACE, "-c", "2", "--parallel", "3", "--startup", "2")


def command(tree: Tree, *words: str) -> list[str]:
    tree.settings.write_text(yaml.safe_dump(tree.study, sort_keys=False))
    files = ["--configfile", str(tree.settings), "--directory", str(tree.folder)]
    return [sys.executable, "-m", "workflow_scripts.tune", *files, *words]


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")} | {
        "PYTHONPATH": str(PROJECT)
    }


def tune(tree: Tree, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        command(tree, *words), capture_output=True, text=True, cwd=PROJECT, env=environment(), timeout=900
    )
    logs = [path.read_text()[-3000:] for path in sorted(tree.folder.glob("results/tuning/*/*/logs/*.log"))[-1:]]
    assert done.returncode == code, "\n".join([done.stdout[-2000:], done.stderr[-6000:], *logs])
    return done.stdout + done.stderr


def rows(tree: Tree, name: str = "full") -> list[dict[str, str]]:
    with open(tree.folder / f"results/tuning/tiny/{name}/trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def cards(tree: Tree) -> dict[str, int]:
    """Trainings of trials → when they were made."""
    found = tree.folder.glob("results/train/site/full--*/seed=0/model.json")
    return {path.parts[-3]: path.stat().st_mtime_ns for path in found}


def training_now(tree: Tree) -> list[Path]:
    """Trials whose training has finished an evaluation, but not all."""
    states = tree.folder.glob("results/train/site/full--*/seed=0/state/last.pt")
    return [path for path in states if not (path.parents[1] / "model.json").exists()]


def drop_test_videos(tree: Tree) -> int:
    videos = list(tree.folder.glob("results/videos/site/raw/videos/*-test-*"))
    for path in videos:
        path.unlink()
    return len(videos)


@pytest.mark.slow
def test_trials_are_trainings_of_the_dag_and_val_alone_decides(tree: Tree) -> None:
    tree.study["variants"]["full"]["training"] = BUDGET
    assert drop_test_videos(tree) == 10, "whatever opened a test video would fail"
    said = tune(tree, *COMMON, "--trials", "3")
    found = rows(tree)
    assert [row["trial"] for row in found] == ["0", "1", "2"]
    assert {row["state"] for row in found} <= {"finished", "stopped early", "diverged"}
    for row in found:
        folder = tree.folder / f"results/train/site/{row['variant']}/seed=0"
        card, meta = read_json(folder / "model.json"), read_json(folder / "meta.json")
        assert meta["settings"]["training"]["lr0"] == float(row["training.lr0"])
        assert meta["settings"]["training"]["budget"]["iterations"] == int(row["budget"])
        if row["state"] == "diverged":
            assert row["AP50"] == "" and row["cause"] == card["status"]
            continue
        with open(folder / "history.csv", newline="") as file:
            history = list(csv.DictReader(file))
        kept = next(one for one in history if int(one["epoch"]) == card["best"]["epoch"])
        assert float(row["AP50"]) == card["best"]["AP50"] == float(kept["val/AP50"])
    diverging = [row for row in found if row["training.box"] == "1e38"]
    assert all(row["state"] == "diverged" and row["cause"].startswith("diverged at step") for row in diverging)
    assert "trials.csv" in said

    logs = "".join(path.read_text() for path in tree.folder.glob("results/tuning/tiny/full/logs/*.log"))
    planned = re.findall(r"^(\w+) +(\d+)$", logs, flags=re.MULTILINE)  # Snakemake's table of jobs
    assert {rule for rule, _ in planned} == {"train", "total"}
    assert sum(int(number) for rule, number in planned if rule == "train") == len(cards(tree))
    for stage in ("predictions", "metrics", "exports", "leaderboards"):
        assert not list(tree.folder.glob(f"results/{stage}/site/full--*"))
    facts = read_json(tree.folder / "results/tuning/tiny/full/tuning.json")
    assert facts["split"] == "val" and facts["question"]["metric"] == "AP50" and "--trials 3" in facts["command"]

    before = cards(tree)
    more = tune(tree, *COMMON, "--trials", "4")
    assert rows(tree)[:3] == found and len(rows(tree)) == 4
    assert before.items() <= cards(tree).items(), "no finished training is made again"
    assert re.findall(r"^trial (\d+): full", more, flags=re.MULTILINE)[0] == "3"
    assert tune(tree, *COMMON, "--trials", "4").count("trial 3: full") == 0, "nothing is left to do"

    best = tree.folder / "results/tuning/tiny/full/best.yaml"
    (name,) = yaml.safe_load(best.read_text())["variants"]
    planned = tree.planned("--configfile", str(tree.settings), str(best))
    made = {f"train/site/{name}/seed=0/model.json"}
    assert cell_outputs(name) - made <= planned and "leaderboards/site/main.csv" in planned
    assert not any(output.startswith(f"train/site/{name}/") for output in planned), "it is trained already"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["kill -9 of the tuning alone", "kill -9 of all its processes", "kill"])
def test_a_killed_tuning_goes_on(tree: Tree, way: str) -> None:
    """Killed while the second batch is trained; the leftovers of the first form go on working until the next start."""
    tree.study["variants"]["full"]["training"] = {"budget": {"iterations": 18, "evaluations": 6}}
    words = ("--variant", "full", "--space", SPACE.split(" training.box")[0], "-c", "2", "--parallel", "1", "--trials", "2")
    quiet = subprocess.DEVNULL
    line = command(tree, *words)
    process = subprocess.Popen(line, cwd=PROJECT, env=environment(), start_new_session=True, stdout=quiet, stderr=quiet)
    wait_for(lambda: cards(tree) and any(training_now(tree)), 300)
    if way == "kill":
        process.terminate()
    elif way == "kill -9 of all its processes":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    assert process.wait() == (130 if way == "kill" else -signal.SIGKILL)
    if way == "kill":
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)  # nobody of its group is left
    before = cards(tree)
    assert len(before) == 1

    tune(tree, *words)
    found = rows(tree)
    assert len(found) == 2 and {row["state"] for row in found} <= {"finished", "stopped early"}
    assert before.items() <= cards(tree).items(), "finished trainings are not made again"
    resumed = [read_json(path) for path in tree.folder.glob("results/train/site/full--*/seed=0/model.json")]
    assert any(card["attempts"] == 2 and card["resumed_from_epoch"] >= 1 for card in resumed)
    assert not list(tree.folder.glob("results/.runs/*.json")) and not list(tree.folder.glob(".snakemake/locks/*"))
    journal = (tree.folder / "results/tuning/tiny/full/optuna.journal").read_text().splitlines()
    created = [line for line in map(json.loads, journal) if line["op_code"] == 4]
    assert len(created) == 2, "the interrupted trial goes on as itself"


@pytest.mark.slow
def test_a_failed_trial_is_marked_and_the_others_go_on(tree: Tree) -> None:
    """With a budget in epochs only the training itself can see that a warm-up is too long."""
    tree.study["variants"]["full"]["training"] = {"epochs": 1}
    space = "training.warmup={choices: [0, 99999]}"
    said = tune(
        tree, "--variant", "full", "--space", space, "-c2", "--pruner", "none", "--trials", "4", "--startup", "4", code=4
    )
    found = rows(tree)
    by_warmup = {warmup: [row for row in found if row["training.warmup"] == warmup] for warmup in ("0", "99999")}
    assert all(by_warmup.values()), "both values were drawn"
    assert {row["state"] for row in by_warmup["0"]} == {"finished"}
    for row in by_warmup["99999"]:
        assert row["state"] == "failed" and row["AP50"] == ""
        assert row["cause"].startswith("config: training.warmup: 99999 must be shorter than the ")
    assert f"error: {len(by_warmup['99999'])} of 4 trials failed; trial " in said and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("annotations", "says"),
    [(None, "snakemake stopped before any training: "), ("{", "no trial got as far as its training: ")],
    ids=["a plan that cannot be", "a download that fails"],
)
def test_what_no_trial_can_survive_ends_the_tuning_and_blames_none(fresh, annotations: str | None, says: str) -> None:
    tree = fresh({})
    source = {"format": "coco", "root": str(tree.folder), "annotations": {"train": "all.json", "val": "all.json"}}
    tree.study["datasets"]["site"]["source"] = source
    if annotations is not None:
        (tree.folder / "all.json").write_text(annotations)
    said = tune(tree, *COMMON, "--trials", "3", code=2)
    assert says in said and "all.json" in said and "Traceback" not in said
    created = (tree.folder / "results/tuning/tiny/full/optuna.journal").read_text().count('"op_code":4')
    ended = (tree.folder / "results/tuning/tiny/full/optuna.journal").read_text().count('"op_code":6')
    assert (created, ended) == (3, 0), "the trials wait until the cause is gone"


@pytest.mark.slow
def test_two_tunings_of_one_name_do_not_meet(tree: Tree) -> None:
    import fcntl

    folder = tree.folder / "results/tuning/tiny/full"
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another tuning of this name is at work. Hint: wait for it, or --name" in tune(tree, *COMMON, code=2)


# The command line, without a training


def hand(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The program on the demo's settings, in an empty working directory."""
    line = [sys.executable, "-m", "workflow_scripts.tune", *words, "--directory", str(tmp_path)]
    return subprocess.run(line, capture_output=True, text=True, cwd=PROJECT, env=environment(), timeout=300)


DEMO = ("--variant", "person-25", "--space", "training.lr0={low: 1e-3, high: 1e-2, log: true}")


def test_a_dry_run_shows_rungs_first_trials_and_the_command(tmp_path: Path) -> None:
    done = hand(tmp_path, *DEMO, "-n", "-c2", "--trials", "5")
    assert done.returncode == 0, done.stderr
    assert "5 trials of person-25 by AP50 on val, higher is better\nrungs: 80 iterations → 240 iterations\n" in done.stdout
    names = re.findall(r"^  (person-25--lr0-\S+--rung-80)$", done.stdout, flags=re.MULTILINE)
    assert len(names) == 2
    for name in names:
        assert f"results/train/world/{name}/seed=0/model.json" in done.stdout
    assert list(tmp_path.iterdir()) == [], "nothing is written"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--metric", "AP5"), "a training keeps no score 'AP5' on val. Hint: did you mean 'AP50'?"),
        (("--variant", "persn-25"), "unknown variant 'persn-25' in study 'demo'. Hint: did you mean 'person-25'?"),
        (("--variant", "prior"), "'prior' is of kind floor: nothing is trained"),
        (("--space", "training.lr0={low: 1, high: 0.1}"), "--space.training.lr0: low 1 must be below high 0.1"),
        (("--space", "training.lr0={low: 0.1, high: 7}"), "training.lr0: must be less than or equal to 1 (given: 7"),
        (("--space", "training.lrr={low: 0.1, high: 1}"), "unknown key 'lrr'. Hint: did you mean 'lrf'?"),
        (("--space", "training.warmup={low: 0, high: 100, kind: int}"), "warmup 100 must be shorter than the budget of 80"),
        (("--space", "training.lr0"), "--space: no file 'training.lr0'"),
        (("--rungs", "7"), "--rungs: 7 rungs of iterations would be 1, 1, 3, 9, 27, 80, 240. Hint: fewer --rungs"),
        (("--rungs", "5"), "shorter than the budget of 3 iterations\nHint: a narrower --space, or fewer --rungs."),
        (("--set", "variants.prior.search={n: 2}"), "variants.prior.search.space: is empty"),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_one_line_before_anything_runs(tmp_path: Path, words, says: str) -> None:
    done = hand(tmp_path, *DEMO, *words)
    assert done.returncode == 2 and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and list(tmp_path.iterdir()) == []


def test_help_imports_neither_optuna_nor_torch() -> None:
    line = [sys.executable, "-X", "importtime", "-m", "workflow_scripts.tune", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=PROJECT, env=environment(), check=True)
    assert "python -m workflow_scripts.tune" in done.stdout
    imported = {one.rpartition("|")[2].strip() for one in done.stderr.splitlines() if one.startswith("import time:")}
    assert "lib.config.study" in imported and not imported & {"optuna", "torch", "scipy", "matplotlib", "pandas"}
