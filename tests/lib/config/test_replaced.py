"""What a change of settings would replace. Reference: a chain of finished results written by hand, and who hangs on whom.

tests/workflow/test_config_language.py compares the same count with the plans of real Snakemake.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib.config.inputs import Inputs
from lib.config.jobs import Jobs
from lib.config.replaced import notice, replaced
from lib.config.study import Study
from lib.config.targets import study_targets
from lib.files import write_json
from tests.conftest import PROJECT
from tests.lib.config.made import SMALL, changed

PLAIN = Study.model_validate(SMALL)
TRACKS = [f"tracks/site/nano/bytetrack/chunk={chunk}" for chunk in (0, 1)]
CHAIN = {
    "videos/site": ("download", {"dataset": "site"}, []),
    "shards/site/full": ("shard", {"dataset": "site", "shardset": "full"}, ["videos/site", *TRACKS]),
    **dict.fromkeys(TRACKS, ("track", {"detector": "nano", "tracker": "bytetrack"}, ["videos/site"])),
    "subsets/site/half/seed=0": ("subsample", {"arm": "half"}, ["shards/site/full"]),
    "train/site/less/seed=0": ("train", {"variant": "less"}, ["subsets/site/half/seed=0", "shards/site/full"]),
    "predictions/site/less/seed=0/tta=none": (
        "predict",
        {"variant": "less", "tta": "none"},
        ["videos/site", "train/site/less/seed=0"],
    ),
    "metrics/site/less/seed=0/tta=none": ("evaluate", {"variant": "less"}, ["predictions/site/less/seed=0/tta=none"]),
    "predictions/site/less/seed=0/tta=flip": (
        "predict",
        {"variant": "less", "tta": "flip"},
        ["videos/site", "train/site/less/seed=0"],
    ),
}
"""Place below results/ → job, its wildcards, and what it was made from."""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder in which the plain study has left the chain; the working folder is around it."""
    monkeypatch.chdir(tmp_path)
    for place, (job, wildcards, sources) in CHAIN.items():
        settings = json.loads(getattr(Jobs(PLAIN), job)(SimpleNamespace(**{"dataset": "site"} | wildcards)))
        recipe = settings.pop("recipe", 1)
        meta = {"identity": place, "recipe": recipe, "settings": settings | {"seed": 0}, "inputs": {"made from": sources}}
        name = f"{place}.meta.json" if "=" in Path(place).name and not place.startswith("train") else f"{place}/meta.json"
        write_json(tmp_path / "results" / name, meta)
    return tmp_path / "results"


def places(values: dict[str, Any], *named: str) -> list[str]:
    """Identities of what a changed study would replace."""
    study = Study.model_validate(values)
    targets = [file for kind in ("models", "metrics", "tracks") for file in study_targets(study, kind)]
    return [result.identity for result in replaced(study, Inputs(study, PROJECT), targets, named)]


TRAINED = ["train/site/less/seed=0", "predictions/site/less/seed=0/tta=none", "metrics/site/less/seed=0/tta=none"]


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("description", "other", []),
        ("variants.less.description", "other", []),
        ("datasets.site.chunks", 1, []),
        ("boards.main.metric", "AP", []),
        ("evaluate.f1_threshold", 0.3, TRAINED[2:]),
        ("predict.conf", 0.3, TRAINED[1:]),
        ("training.batch", 3, TRAINED),
        ("arms.half.fractions", {"person": 0.1}, ["subsets/site/half/seed=0", *TRAINED]),
        ("variants.less.arm", "d", TRAINED),
        ("tta.flip.views", [{}], []),
    ],
)
def test_what_is_made_otherwise_and_all_behind_it_is_counted(
    results: Path, place: str, value: Any, expected: list[str]
) -> None:
    assert places(changed(place, value)) == expected


def test_a_changed_source_takes_everything_with_it_but_what_is_not_asked_for(results: Path) -> None:
    flip = "predictions/site/less/seed=0/tta=flip"
    assert set(places(changed("datasets.site.source.seed", 9))) == set(CHAIN) - {flip}, "no board lists it"


def test_a_file_that_is_named_counts_alone(results: Path) -> None:
    named = ("--configfile", "results/train/site/less/seed=0/model.json")
    assert places(changed("training.batch", 3), *named) == TRAINED[:1]


def test_results_of_others_and_broken_records_are_passed_over(results: Path) -> None:
    write_json(
        results / "train/site/strangers/seed=0/meta.json", {"identity": "x", "inputs": {}, "settings": {}, "recipe": 1}
    )
    (results / "train/site/less/seed=0/meta.json").write_text("{")
    assert places(changed("training.batch", 3)) == TRAINED[1:], "made from a training that cannot be told any more"


def test_the_notice_counts_by_stage_and_names_a_few(results: Path) -> None:
    study = Study.model_validate(changed("trackers.bytetrack.track_buffer", 9))
    targets = study_targets(study, "tracks") + study_targets(study, "metrics")
    text = notice("trackers.bytetrack.track_buffer=9", replaced(study, Inputs(study, PROJECT), targets))
    assert text.startswith(
        "set: trackers.bytetrack.track_buffer=9 replaces 7 finished results: 2 chunks of tracks (nano bytetrack); "
        "1 shard set (full); 1 subset (half seed 0); 1 training (less seed 0); 1 prediction (less seed 0); 1 score"
    )
    many = [SimpleNamespace(stage="train", name=f"v{number} seed 0") for number in range(5)]
    assert "5 trainings (v0 seed 0, v1 seed 0, v2 seed 0, … 2 more). Boards" in notice("x", many)
    assert notice("a=1", []) == "set: a=1 replaces no finished result."
