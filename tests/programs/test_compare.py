"""`compare`, `registry` and `status --show` as they are typed, on made runs and on one that RF-DETR itself trained."""

from __future__ import annotations

import csv
import importlib
import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.conftest import PROJECT
from workflow_scripts import _program

sys.path.insert(0, str(PROJECT / "tests/lib/registry"))
sys.path.insert(0, str(PROJECT / "tests/lib/training"))

import folders

PICTURES = {"training_curves.png", "metrics_bar_comparison.png", "model_size_comparison.png"}


def typed(program: str, *words: str | Path, code: int = 0) -> str:
    """What a program says to these words. In this process: loading the drawing library takes longer than drawing."""
    told = io.StringIO()
    main = importlib.import_module(f"workflow_scripts.{program}").main
    with patch("sys.argv", [program, *map(str, words)]), redirect_stdout(told), redirect_stderr(told):
        try:
            _program.run(main)
            ended = 0
        except SystemExit as end:
            ended = end.code
    assert ended == code, told.getvalue()
    return told.getvalue()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folders.training(tmp_path, "nano_baseline", folders.course(0.30, 8))
    folders.training(tmp_path, "nano_baseline", folders.course(0.32, 8), seed=1)
    folders.training(tmp_path, "small_baseline", folders.course(0.35, 8), model="small")
    folders.training(tmp_path, "medium_lowlr", folders.course(0.40, 8), model="medium", lr=5e-5, lr_scheduler="cosine")
    folders.attempt_alone(tmp_path, "large", "memory", error="CUDA out of memory")
    return tmp_path


def board(folder: Path) -> list[dict[str, str]]:
    with open(folder / "leaderboard.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_all_runs_by_hand(runs: Path) -> None:
    out = runs / "out"
    told = typed("compare", "--directory", runs, "--output", out)
    assert {path.name for path in out.iterdir()} == PICTURES | {"leaderboard.csv"}
    assert [row["name"] for row in board(out)] == [
        "medium_lowlr", "small_baseline", "nano_baseline", "nano_baseline", "large",
    ]  # fmt: skip
    assert "no hp_lr_scatter.png: the ranked runs have fewer than 3 learning rates (5e-05, 0.0001)." in told
    assert "site/large/seed=0: failed; CUDA out of memory" in told and "±" in told


def test_some_runs_and_those_of_other_tools(runs: Path) -> None:
    out, old = runs / "out", runs / "old"
    folders.log_txt(old / "a-1", folders.course(0.2, 5))
    (old / "registry.json").write_text(json.dumps([folders.experiment("a", "a-1", id="a-1")]))
    folders.training_config(folders.metrics_csv(runs / "new", folders.course(0.25, 5)), lr=3e-4)
    also = ["--also", old / "registry.json", runs / "new"]
    told = typed("compare", "--directory", runs, *also, "--output", out)
    assert "hp_lr_scatter" not in told and (out / "hp_lr_scatter.png").is_file()
    assert {row["id"] for row in board(out)} > {"a-1", "new"}
    typed("compare", "--directory", runs, *also, "--ids", "a*", "medium_lowlr", "--output", out)
    assert [row["name"] for row in board(out)] == ["medium_lowlr", "a"]
    assert not (out / "hp_lr_scatter.png").exists(), "a picture of an earlier comparison would be taken for one of this"
    typed("compare", "--directory", runs, "--model-size", "small", "--output", out)
    assert [row["name"] for row in board(out)] == ["small_baseline"]


def test_what_is_not_there_is_refused_with_the_nearest(runs: Path) -> None:
    assert "did you mean 'nano_baseline'" in typed("compare", "--directory", runs, "--ids", "nano-baseline", code=2)
    assert "did you mean 'small'" in typed("compare", "--directory", runs, "--model-size", "smal", code=2)
    assert "is not there" in typed("compare", "--directory", runs, "--also", runs / "nowhere", code=2)
    assert "is no folder" in typed("compare", "--directory", runs / "nowhere", code=2)
    assert "is no folder" in typed("registry", "--directory", runs / "nowhere", code=2)


def test_no_run_at_all(tmp_path: Path) -> None:
    told = typed("compare", "--directory", tmp_path, "--output", tmp_path / "out")
    assert "No run is here." in told and board(tmp_path / "out") == []
    assert "no run yet" in typed("registry", "--directory", tmp_path)


def test_the_registry_and_one_of_its_runs(runs: Path) -> None:
    assert "4 completed, 1 failed" in typed("registry", "--directory", runs)
    values = json.loads((runs / "results/registry.json").read_text())
    assert values["version"] == 1 and values["runs"]["site/medium_lowlr/seed=0"]["hyperparameters"]["lr"] == 5e-5
    assert values["runs"]["site/medium_lowlr/seed=0"]["output"] == "results/train/site/medium_lowlr/seed=0"
    told = typed("status", "--directory", runs, "--show", "medium_lowlr")
    for words in (
        "site/medium_lowlr/seed=0: completed",
        "16 (4 × 4)",
        "epoch 8, ema",
        "lr: 5e-05",
        "c0ffee",
        "rfdetr 1.11.2",
    ):
        assert words in told
    (one,) = json.loads(typed("status", "--directory", runs, "--show", "medium*", "--json"))
    assert one["best"]["mask_mAP"] == pytest.approx(0.3837)
    assert "--show: no run is called 'medium'" in typed("status", "--directory", runs, "--show", "medium", code=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What RF-DETR's own logger leaves of two epochs with masks."""
    pytest.importorskip("rfdetr")
    import test_rfdetr

    from lib.config.train_rfdetr import RfdetrSegSettings

    folder = tmp_path_factory.mktemp("trained")
    budget = {"iterations": 2, "evaluations": 2}
    test_rfdetr.train(folder, kind=RfdetrSegSettings, imgsz=72, accumulate=1, budget=budget)
    return folder / "state"


@pytest.mark.slow
def test_what_the_library_itself_wrote_is_read_and_compared(trained: Path, tmp_path: Path) -> None:
    last = json.loads((trained / "last.json").read_text())
    from lib.registry.epochs import from_rfdetr

    read = from_rfdetr(trained)
    assert [row["epoch"] for row in read] == [1, 2]
    for row, ours in zip(read, last["history"], strict=True):
        assert row["loss"] == pytest.approx(ours["train/loss"], rel=1e-5)
        for name, key in (("mask_mAP", "val/AP"), ("mask_mAP50", "val/AP50"), ("box_mAP", "val/box_AP")):
            assert row[name] == pytest.approx(ours[key], abs=1e-6)
    typed("compare", "--directory", tmp_path, "--also", trained, "--output", tmp_path / "out")
    (row,) = board(tmp_path / "out")
    assert (row["task"], row["rank"], row["source"], row["epochs"]) == ("segmentation", "1", "ema", "2")
