"""Entries of our own trainings, finished, failed, alive and made again. Reference: what was written (folders.py)."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import folders
import pytest

from lib.config.base import ConfigError
from lib.files import read_json, write_json
from lib.registry.entry import Entry, chosen
from lib.registry.epochs import epochs_of
from lib.registry.ours import our_entries
from lib.registry.tested import scores_on_test


def test_a_finished_training_tells_everything(tmp_path: Path) -> None:
    folders.training(tmp_path, "nano_baseline", [0.1, 0.3, 0.2], seed=2, lr_drop=2)
    write_json(tmp_path / "results/definitions/variants/nano_baseline.json", {"description": "All as it comes."})
    (found,) = our_entries(tmp_path)
    assert (found.id, found.name, found.seed) == ("site/nano_baseline/seed=2", "nano_baseline", 2)
    assert (found.description, found.status, found.why) == ("All as it comes.", "completed", "")
    assert (found.task, found.model, found.size, found.arm) == ("segmentation", "rfdetr-seg-nano", "nano", "all")
    assert (found.batch, found.micro_batch, found.learning_rate, found.schedule) == (16, 4, 1e-4, "step")
    assert found.best == pytest.approx(
        {"mask_mAP": 0.3, "mask_mAP50": 0.42, "box_mAP": 0.36, "box_mAP50": 0.45, "epoch": 2, "source": "ema"}
    )
    assert (found.dataset_hash, found.git, found.versions) == (
        "shards-1", {"commit": "c0ffee", "dirty": False}, {"rfdetr": "1.11.2"},
    )  # fmt: skip
    assert (found.wall_s, found.peak_memory_mb, found.peak_gpu_memory_mb) == (102.0, 2000.0, 900.0)
    assert (found.jobs, found.restarts, found.study) == (("102",), 0, "sizes")
    assert found.hyperparameters["lr_drop"] == 2 and found.hyperparameters["imgsz"] == 312
    assert [row["mask_mAP"] for row in epochs_of(found)] == [0.1, 0.3, 0.2]


def test_a_failed_training_tells_what_it_is_of_and_how_far_it_came(tmp_path: Path) -> None:
    folder = folders.attempt_alone(tmp_path, "nano_cosine", "memory", error="CUDA out of memory")
    folders.metrics_csv(folder / "state", [0.1, 0.2])
    (found,) = our_entries(tmp_path)
    assert (found.status, found.why, found.task, found.model) == (
        "failed", "CUDA out of memory", "segmentation", "rfdetr-seg-nano",
    )  # fmt: skip
    assert (found.batch, found.best["mask_mAP"], found.best["epoch"]) == (16, 0.2, 2)
    assert found.git == {"commit": "c0ffee", "dirty": False} and found.dataset_hash == "shards-1"
    assert not found.completed


def test_a_training_that_runs_is_read_while_its_last_line_is_written(tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    alive = {"host": socket.gethostname(), "pid": os.getpid(), "start": now, "end": now}
    folder = folders.attempt_alone(tmp_path, "nano_cosine", "running", **alive)
    state = folders.metrics_csv(folder / "state", [0.1, 0.2])
    with open(state / "metrics.csv", "a") as file:
        file.write("2,29,,,0.3")
    (found,) = our_entries(tmp_path)
    assert (found.status, found.best["mask_mAP"]) == ("running", 0.2)
    assert [row["epoch"] for row in epochs_of(found)] == [1, 2]


def test_of_a_training_made_again_the_old_model_says_nothing(tmp_path: Path) -> None:
    folder = folders.training(tmp_path, "nano_baseline", [0.1, 0.3])
    folders.attempt_alone(tmp_path, "nano_baseline", "error", error="no more", attempt=2)
    (folder / "attempts/1.json").rename(folder / "attempts/2.json")
    (found,) = our_entries(tmp_path)
    assert (found.status, found.why, found.best, found.fingerprint) == ("failed", "no more", {}, "f")


def test_attempts_of_one_making_are_counted_together(tmp_path: Path) -> None:
    for number, job in enumerate(["7", "7", "9"], start=1):
        folder = folders.attempt_alone(tmp_path, "a", "preempted", job=job, attempt=number)
        (folder / "attempts/1.json").rename(folder / f"attempts/k{number}.json")
    for number in (1, 2, 3):
        (folder / f"attempts/k{number}.json").rename(folder / f"attempts/{number}.json")
    (found,) = our_entries(tmp_path)
    assert (found.jobs, found.restarts, found.wall_s, found.status) == (("7", "9"), 2, 15.0, "stopped")


def test_damaged_and_empty_folders_are_entries_too(tmp_path: Path) -> None:
    folder = folders.training(tmp_path, "a", [0.1])
    (folder / "meta.json").write_text("{")
    (tmp_path / "results/train/site/b/seed=0").mkdir(parents=True)
    first, second = our_entries(tmp_path)
    assert (first.name, first.status, first.hyperparameters, first.task) == ("a", "completed", {}, "segmentation")
    assert first.best["mask_mAP"] == 0.1 and "source" not in first.best
    assert (second.name, second.status) == ("b", "waiting")
    assert our_entries(tmp_path / "nowhere") == []


def test_a_task_without_map_keeps_its_own_scores(tmp_path: Path) -> None:
    folder = folders.training(tmp_path, "a", [0.1])
    meta, card = read_json(folder / "meta.json"), read_json(folder / "model.json")
    write_json(folder / "meta.json", meta | {"settings": meta["settings"] | {"task": "presence"}})
    write_json(folder / "model.json", card | {"task": "presence", "best": {"step": 40, "val/accuracy": 0.9}})
    (found,) = our_entries(tmp_path)
    assert found.best == {"step": 40, "val/accuracy": 0.9, "source": "ema"} and found.score is None


def test_scores_on_test_count_only_when_they_are_of_this_model(tmp_path: Path) -> None:
    folder = folders.training(tmp_path, "a", [0.1])
    model = read_json(folder / "meta.json")["identity"]
    cell = "site/a/seed=0/tta=none"
    write_json(tmp_path / f"results/metrics/{cell}.json", {"metrics": {"AP": 0.2, "AP50": None}, "boxes": {"AP": 0.25}})
    write_json(tmp_path / f"results/metrics/{cell}.meta.json", {"identity": "m", "inputs": {"predictions": "p"}})
    write_json(tmp_path / f"results/predictions/{cell}.meta.json", {"identity": "p", "inputs": {"model": model}})
    (found,) = our_entries(tmp_path)
    assert scores_on_test(found) == {"mask_mAP": 0.2, "box_mAP": 0.25}
    assert scores_on_test(found, on="other") == {}
    write_json(tmp_path / f"results/predictions/{cell}.meta.json", {"identity": "p", "inputs": {"model": "older"}})
    assert scores_on_test(found) == {}


def test_runs_are_asked_for_by_id_name_pattern_and_size(tmp_path: Path) -> None:
    for variant, model in (("nano_a", "nano"), ("nano_b", "nano"), ("small_a", "small")):
        folders.training(tmp_path, variant, [0.1], model=model)
    entries = our_entries(tmp_path)

    def names(*ids: str, sizes: tuple[str, ...] = ()) -> list[str]:
        return [one.name for one in chosen(entries, ids, sizes)]

    assert names() == ["nano_a", "nano_b", "small_a"]
    assert names("nano_*") == ["nano_a", "nano_b"] and names("site/small_a/seed=0", "nano_a") == ["nano_a", "small_a"]
    assert names("*_a", sizes=("small",)) == ["small_a"]
    with pytest.raises(ConfigError, match="did you mean 'nano_a'"):
        names("nano-a")
    with pytest.raises(ConfigError, match="did you mean 'site/nano_a/seed=0'"):
        names("site/nano_a/seed=1")
    with pytest.raises(ConfigError, match=r"no run is of size 'smal'.*did you mean 'small'"):
        names(sizes=("smal",))


def test_an_entry_survives_json_and_keeps_what_it_does_not_know() -> None:
    entry = Entry(id="a", name="a", jobs=("1",), best={"mask_mAP": float("nan")}, other={"x": 1})
    assert Entry.of(entry.plain()) == Entry(id="a", name="a", jobs=("1",), best={"mask_mAP": None}, other={"x": 1})
    assert Entry.of(entry.plain() | {"colour": "red"}).other == {"x": 1, "colour": "red"}
