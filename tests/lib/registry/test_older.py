"""Runs of other tools, in the exact shapes that these write (folders.py). Reference: values written by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import folders
import pytest

from lib.files import DataError
from lib.registry.gather import gathered
from lib.registry.older import read_older_registry, read_run_folder

NAME = "nano-baseline-20260128-143022"


def seeds_project(folder: Path, **more: Any) -> Path:
    """A project of the older manager: a registry, and the folder of one run, before 1.6."""
    folders.log_txt(folder / "checkpoints" / NAME, [0.1, 0.25, 0.2])
    path = folder / "experiments/registry.json"
    path.parent.mkdir(exist_ok=True)
    entry = folders.experiment("nano-baseline", f"checkpoints/{NAME}", **more)
    path.write_text(json.dumps({"experiments": {NAME: entry}}))
    return path


def test_a_run_since_1_6_with_its_settings(tmp_path: Path) -> None:
    folder = folders.metrics_csv(tmp_path / "small-x", [0.1, 0.3, 0.2])
    folders.training_config(folder, "RFDETRSegSmallConfig", lr=2e-4, seed=7)
    (folder / "checkpoint_best_total.pth").touch()
    found = read_run_folder(folder)
    assert (found.id, found.task, found.model, found.size, found.seed) == (
        "small-x", "segmentation", "rfdetr-seg-small", "small", 7,
    )  # fmt: skip
    assert (found.learning_rate, found.schedule, found.batch, found.micro_batch) == (2e-4, "step", 16, 4)
    assert (found.status, found.why, found.dataset) == ("completed", "", "lars_rfdetr")
    assert found.best == pytest.approx(
        {"mask_mAP": 0.3, "mask_mAP50": 0.42, "box_mAP": 0.36, "box_mAP50": 0.54, "epoch": 2, "source": "ema"}
    )


def test_a_run_before_1_6_of_which_nothing_else_is_known(tmp_path: Path) -> None:
    found = read_run_folder(folders.log_txt(tmp_path / "old", [0.1, 0.3, 0.2], averaged=False))
    assert (found.task, found.size, found.model, found.hyperparameters) == ("segmentation", None, None, {})
    assert (found.best["epoch"], found.best["mask_mAP"], found.best["source"]) == (2, 0.3, "regular")
    assert found.status == "unknown" and "nothing in its folder says" in found.why and found.completed


def test_half_a_line_and_epochs_that_are_no_number(tmp_path: Path) -> None:
    folder = folders.metrics_csv(tmp_path / "cut", [0.1, math.nan, 0.2, 0.3])
    whole = (folder / "metrics.csv").read_text()
    last = whole.splitlines(keepends=True)[-2:]
    (folder / "metrics.csv").write_text(whole[: -len(last[1]) - len(last[0]) + 20])
    assert (read_run_folder(folder).best["mask_mAP"], read_run_folder(folder).best["epoch"]) == (0.2, 3)
    old = folders.log_txt(tmp_path / "old", [0.1, math.nan, 0.2])
    with open(old / "log.txt", "a") as file:
        file.write('{"train_lr": 0.0001, "tra')
    assert (read_run_folder(old).best["mask_mAP"], read_run_folder(old).best["epoch"]) == (0.2, 3)


def test_a_run_that_wrote_no_epoch_says_so(tmp_path: Path) -> None:
    folders.training_config(tmp_path / "begun")
    found = read_run_folder(tmp_path / "begun")
    assert found.best == {} and "holds neither metrics.csv nor log.txt" in found.why and found.size == "nano"
    (tmp_path / "begun/metrics.csv").write_text(folders.HEADER + "\n")
    assert "no whole epoch" in read_run_folder(tmp_path / "begun").why


def test_a_registry_is_completed_by_the_folder_of_its_run(tmp_path: Path) -> None:
    (found,) = gathered(tmp_path / "nothing", [seeds_project(tmp_path)])
    assert (found.id, found.name, found.size, found.status) == (NAME, "nano-baseline", "nano", "completed")
    assert (found.best["mask_mAP"], found.best["epoch"], found.jobs) == (0.25, 2, ("4711",))
    assert (found.learning_rate, found.batch, found.micro_batch, found.schedule) == (1e-4, 16, 2, "step")
    assert (found.started, found.model) == ("2026-01-28T14:30:22", "rfdetr-seg-nano")
    assert found.output == str(tmp_path / "checkpoints" / NAME) and found.description.startswith("nano-baseline with")


def test_scores_that_a_registry_noted_count_where_the_folder_is_gone(tmp_path: Path) -> None:
    noted = {"mask_map": 0.31, "bbox_mAP": 0.4, "best_epoch": 41}
    path = seeds_project(tmp_path, output_dir="checkpoints/gone", best_metrics=noted)
    (found,) = gathered(tmp_path / "nothing", [path])
    assert found.best == {"mask_mAP": 0.31, "box_mAP": 0.4, "epoch": 41} and found.output == "checkpoints/gone"
    (other,) = gathered(tmp_path / "nothing", [seeds_project(tmp_path, output_dir="checkpoints/gone")])
    assert other.best == {} and other.why == "its folder is gone"


@pytest.mark.parametrize(
    ("told", "status", "why"),
    [
        ("completed", "completed", ""),
        ("failed", "failed", ""),
        ("running", "running", "nobody can be asked"),
        ("TIMEOUT", "failed", "timeout"),
        ("paused", "unknown", "'paused'"),
        (None, "unknown", "says nothing"),
    ],
)
def test_words_for_states(tmp_path: Path, told: str | None, status: str, why: str) -> None:
    (found,) = gathered(tmp_path / "nothing", [seeds_project(tmp_path, status=told)])
    assert found.status == status and why in found.why


def test_a_run_that_has_ended_is_completed_whatever_its_registry_saw_last(tmp_path: Path) -> None:
    path = seeds_project(tmp_path, status="submitted")
    (tmp_path / "checkpoints" / NAME / "results.json").touch()
    (found,) = gathered(tmp_path / "nothing", [path])
    assert (found.status, found.why) == ("completed", "")


def test_other_words_lists_and_blocks_are_understood_and_the_rest_is_kept(tmp_path: Path) -> None:
    config = {"training": {"lr": 5e-5, "batch_size": 2, "grad_accum_steps": 4}, "data": {"dataset_dir": "data/lars_rfdetr"}}
    values = [{"experiment_id": "a-1", "name": "a", "model_size": "medium", "config": config, "job_id": 12, "hue": 3}]
    (found,) = read_older_registry(tmp_path / "experiments/registry.json", values)
    assert (found.id, found.size, found.learning_rate, found.batch) == ("a-1", "medium", 5e-5, 8)
    assert found.dataset == "lars_rfdetr"
    assert found.jobs == ("12",) and found.other == {"hue": 3}


@pytest.mark.parametrize("values", ["text", {"experiments": {"a": "b"}}, [1, 2], {"version": 2}])
def test_what_is_no_registry_is_refused(tmp_path: Path, values: Any) -> None:
    (tmp_path / "registry.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="is no registry of experiments"):
        gathered(tmp_path / "nothing", [tmp_path / "registry.json"])


def test_a_folder_of_runs_and_a_folder_that_two_places_name(tmp_path: Path) -> None:
    registry = seeds_project(tmp_path)
    folders.metrics_csv(tmp_path / "checkpoints/newer", [0.2])
    found = gathered(tmp_path / "nothing", [registry, tmp_path / "checkpoints"])
    assert [(one.id, one.origin) for one in found] == [(NAME, "registry"), ("newer", "rfdetr")]
    assert [one.id for one in gathered(tmp_path / "nothing", [tmp_path])] == [NAME], "a project by its registry"


def test_two_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    places = [folders.metrics_csv(tmp_path / place / "run", [0.2]) for place in "ab"]
    assert [one.id for one in gathered(tmp_path / "nothing", places)] == [str(place) for place in places]


def test_a_place_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        gathered(tmp_path, [tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no run"):
        gathered(tmp_path, [tmp_path / "empty"])
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        gathered(tmp_path, [tmp_path / "broken.json"])
