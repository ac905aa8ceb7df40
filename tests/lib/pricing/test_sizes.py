"""Sizes of jobs, planned and past. Reference: products and quotients worked out by hand from the tiny study."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lib.config.jobs import Jobs
from lib.config.study import Study
from lib.pricing.dag import Job, Plan
from lib.pricing.records import Record
from lib.pricing.sizes import Size, Sizes
from lib.tables import write_table
from tests.workflow.conftest import TINY


def plan_of(folder: Path, changes: dict[str, Any] | None = None, jobs: tuple[Job, ...] = ()) -> Plan:
    study = Study.model_validate(copy.deepcopy(TINY) | (changes or {}))
    return Plan(jobs, (), study, folder, False, {"gpu": None, "cores": 2, "jobs": None})


def job_of(plan: Plan, rule: str, method: str, **wildcards: str) -> Job:
    settings = json.loads(getattr(Jobs(plan.study), method)(MappingProxyWildcards(wildcards)))
    return Job(rule, wildcards, 1, 0, True, 0, (), (), settings, "", False, False)


class MappingProxyWildcards:
    def __init__(self, values: dict[str, str]) -> None:
        self.__dict__.update(values)


def size_of(plan: Plan, rule: str, method: str | None = None, **wildcards: str) -> Size:
    return Sizes(plan).of_job(job_of(plan, rule, method or rule, **wildcards))


def past(rule: str, folder: Path, settings: dict[str, Any], card: dict[str, Any] | None = None, **more: Any) -> Record:
    meta = {"settings": settings, **more}
    wildcards = MappingProxyType({"dataset": "site", "variant": "full", "seed": "0", "tta": "none"})
    return Record(rule, wildcards, folder, "run", 1.0, 1.0, None, meta, card or {})


def manifest(folder: Path, frames: dict[str, int]) -> None:
    import pandas as pd

    rows = [
        {"video": f"v-{split}", "original": "v", "split": split, "path": "v", "kind": "video", "sha256": "", "stream": 0}
        | {"fps": 10.0, "frames": number, "width": 160, "height": 96, "duration_s": number / 10}
        for split, number in frames.items()
    ]
    path = folder / "results/videos/site/manifest.parquet"
    path.parent.mkdir(parents=True)
    write_table(path, pd.DataFrame(rows), "manifest")


def test_a_training_grows_with_iterations_batch_and_area(tmp_path: Path) -> None:
    """4 iterations × batch 4 × (64/640)²."""
    size = size_of(plan_of(tmp_path), "train", dataset="site", variant="full", seed="0")
    assert size.amount == pytest.approx(0.16)
    assert size.groups == ("train detection yolo11n 64 px batch 4 1 devices", "train detection nano")
    larger = {"training": {**TINY["training"], "imgsz": 128, "budget": {"iterations": 8, "evaluations": 2}}}
    assert size_of(plan_of(tmp_path, larger), "train", dataset="site", variant="full", seed="0").amount == pytest.approx(
        1.28
    )


def test_a_past_training_is_of_the_size_of_the_one_that_is_planned(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    planned = job_of(plan, "train", "train", dataset="site", variant="full", seed="0")
    record = past("train", tmp_path, dict(planned.settings), {"iterations": 4, "seconds": 9.0})
    assert Sizes(plan).of_record(record) == Sizes(plan).of_job(planned)
    assert Sizes(plan).of_record(past("train", tmp_path, {})).amount is None


def test_epochs_take_the_arms_frames(tmp_path: Path) -> None:
    """20 samples in batches of 4, three times: 15 iterations; 30 of the shardset's frames where the arm is not drawn."""
    changes = {"training": {**TINY["training"], "budget": {"epochs": 3}}}
    plan = plan_of(tmp_path, changes)
    wildcards = {"dataset": "site", "variant": "full", "seed": "0"}
    manifest(tmp_path, {"train": 60, "val": 500})
    assert size_of(plan, "train", **wildcards).amount == pytest.approx(3 * 8 * 4 * 0.01)  # 60 frames, stride 2: 30 samples
    counts = tmp_path / "results/subsets/site/all/seed=0.counts.json"
    counts.parent.mkdir(parents=True)
    counts.write_text('{"frames": 20}')
    assert size_of(plan, "train", **wildcards).amount == pytest.approx(3 * 5 * 4 * 0.01)


def test_floors_are_compared_with_their_like(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    size = size_of(plan, "train", dataset="site", variant="prior", seed="0")
    assert size == Size(1.0, ("train detection prior",))
    assert size_of(plan, "predict", dataset="site", variant="prior", seed="0", tta="none").groups == (
        "predict detection prior",
    )


def test_frames_come_from_the_world_until_the_manifest_stands(tmp_path: Path) -> None:
    """10 test videos of 1 to 1.5 s at 10 frames/s, every second looked at; afterwards what was drawn."""
    plan = plan_of(tmp_path)
    wildcards = {"dataset": "site", "variant": "full", "seed": "0", "tta": "none"}
    assert size_of(plan, "predict", **wildcards).amount == pytest.approx(10 * 12.5 / 2 * 0.01)
    manifest(tmp_path, {"train": 100, "test": 200})
    after = plan_of(tmp_path)
    assert size_of(after, "predict", **wildcards).amount == pytest.approx(200 / 2 * 0.01)
    assert size_of(after, "predict", **{**wildcards, "tta": "flip"}).amount == pytest.approx(2 * 200 / 2 * 0.01)
    detected = size_of(after, "detect", dataset="site", detector="own", chunk="0")
    assert detected.amount == pytest.approx(300 / 2 / 2 * 0.01)  # stride 2, two chunks, 64 px
    assert detected.groups == ("detect yolo11n 64 px", "detect nano")
    followed = size_of(after, "track", dataset="site", detector="truth", tracker="bytetrack", chunk="1")
    assert (followed.amount, followed.unit) == (150.0, "frames")
    assert size_of(after, "evaluate", **wildcards).amount == 100.0
    assert size_of(after, "shard", dataset="site", shardset="full").amount == 50.0  # train and val, stride 2


def test_a_dataset_that_is_made_again_is_not_counted_as_it_stands(tmp_path: Path) -> None:
    manifest(tmp_path, {"test": 99_999})
    again = job_of(plan_of(tmp_path), "download", "download", dataset="site")
    plan = plan_of(tmp_path, jobs=(again,))
    size = size_of(plan, "evaluate", dataset="site", variant="full", seed="0", tta="none")
    assert size.amount == pytest.approx(10 * 12.5 / 2)


def test_real_videos_that_nobody_has_seen_are_unknown(tmp_path: Path) -> None:
    source = {"format": "folder", "root": str(tmp_path)}
    plan = plan_of(tmp_path, {"datasets": {"site": {"source": source, "chunks": 2}}})
    assert size_of(plan, "track", dataset="site", detector="truth", tracker="bytetrack", chunk="0").amount is None
    assert size_of(plan, "download", dataset="site") == Size(None, ("download folder",), "frames")


def test_a_past_prediction_reads_the_model_that_it_used(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    manifest(tmp_path, {"test": 200})
    card = tmp_path / "results/train/site/full/seed=0/model.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"engine": "yolo", "model": "yolo11n", "input_size": 64}))
    planned = job_of(plan, "predict", "predict", dataset="site", variant="full", seed="0", tta="none")
    files = {"model": "results/train/site/full/seed=0/model.json"}
    record = past("predict", tmp_path, dict(planned.settings), input_files=files)
    assert Sizes(plan).of_record(record) == Sizes(plan).of_job(planned)


def test_a_past_merging_is_of_the_size_of_the_one_that_is_planned(tmp_path: Path) -> None:
    """Of however many models: the card says `2 models`."""
    clips = {"kind": "clips", "splits": ["train", "val", "test"], "clips": "looks", "text": "words"}
    changes = {
        "featuresets": {"looks": {"kind": "light_clips", "stride": 2, "window": 4}, "words": {"kind": "light_text"}},
        "shardsets": TINY["shardsets"] | {"clips": clips},
        "arms": TINY["arms"] | {"clips": {"shardset": "clips", "background": "all"}},
        "trainings": {"grounding": {"preset": "tiny", "budget": {"steps": 2, "evaluate_every_steps": 2}}},
        "variants": TINY["variants"] | {"mvp": {"task": "grounding", "arm": "clips"}},
    }
    changes["variants"] |= {"both": {"task": "grounding", "kind": "ensemble", "members": ["mvp"]}}
    plan = plan_of(tmp_path, changes)
    manifest(tmp_path, {"test": 50})
    planned = job_of(plan, "predict", "predict", dataset="site", variant="both", seed="0", tta="none")
    card = tmp_path / "results/train/site/both/seed=0/model.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"format": "ensemble", "engine": "none", "model": "2 models"}))
    files = {"model": "results/train/site/both/seed=0/model.json"}
    done = Sizes(plan).of_record(past("predict", tmp_path, dict(planned.settings), input_files=files))
    assert done == Sizes(plan).of_job(planned) and done.amount == 50


def test_rules_without_a_driver_are_compared_as_they_are(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    board = Job("leaderboard", {"dataset": "site", "board": "main"}, 1, 0, True, 0, (), (), {}, "", False, False)
    assert Sizes(plan).of_job(board) == Size(1.0, ("leaderboard",))
    assert Sizes(plan).of_record(past("leaderboard", tmp_path, {})) == Size(1.0, ("leaderboard",))
