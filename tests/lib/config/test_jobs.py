"""What each job is told. Reference: DESIGN: canonical JSON of what changes a result, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib.config.base import ConfigError, canonical
from lib.config.jobs import RECIPES, Jobs
from lib.config.study import Study
from lib.config.targets import study_targets
from tests.lib.config.made import SMALL, changed, load

OF_TRACKS = ("track", "evaluate_tracks", "export_tracks")
COSTLY = ("detect", "train", "predict")
SHOWN = ("description", "licence", "size")


def texts(study: Study) -> dict[str, str]:
    """Every job's settings of a study: `stage name …` → text."""
    names: dict[str, list[dict[str, str]]] = {
        "download": [{"dataset": name} for name in study.datasets],
        "arms": [{"dataset": name, "shardset": shardset} for name in study.datasets for shardset in study.shardsets],
        "detect": [{"detector": name} for name in study.detectors],
        "fetch_weights": [{"weights": name} for name in study.weights],
        "shard": [{"shardset": name} for name in study.shardsets],
        "subsample": [{"arm": name} for name in study.arms],
        "train": [{"variant": name} for name in study.variants],
        "leaderboard": [{"dataset": board.dataset, "board": name} for name, board in study.boards.items()],
        "figures": [{}],
    }
    cells = [{"variant": variant, "tta": tta} for variant in study.variants for tta in study.tta]
    pairs = [{"detector": detector, "tracker": tracker} for detector in study.detectors for tracker in study.trackers]
    names |= dict.fromkeys(("predict", "evaluate", "export_predictions"), cells)
    names |= dict.fromkeys(("track", "evaluate_tracks", "export_tracks"), pairs)
    jobs = Jobs(study)
    return {
        " ".join([stage, *one.values()]): getattr(jobs, stage)(SimpleNamespace(**{"dataset": "site"} | one))
        for stage, wanted in names.items()
        for one in wanted
    }


def changes(folder: Path, place: str, value: Any) -> set[str]:
    """Which jobs are told something else when one setting is edited."""
    before, after = texts(load(folder, SMALL)), texts(load(folder, changed(place, value)))
    return {job for job in before if before[job] != after[job]}


def test_settings_are_canonical_json(tmp_path: Path) -> None:
    for job, text in texts(load(tmp_path, SMALL)).items():
        assert text == canonical(json.loads(text)), job
        assert "\n" not in text and ": " not in text, job


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    def turned(value: Any) -> Any:
        return {key: turned(item) for key, item in reversed(value.items())} if isinstance(value, dict) else value

    assert texts(load(tmp_path, SMALL)) == texts(load(tmp_path, turned(SMALL)))
    assert canonical({"b": 1.0, "a": [1e-4]}) == '{"a":[0.0001],"b":1.0}'


def test_what_is_for_people_only_never_reaches_a_job(tmp_path: Path) -> None:
    values = json.loads(json.dumps(SMALL))
    values["description"] = "SHOWN"
    values["variants"]["less"]["size"] = "large"
    for table in ("datasets", "detectors", "trackers", "shardsets", "arms", "variants", "tta", "boards"):
        for entry in values[table].values():
            entry["description"] = "SHOWN"
    values["datasets"]["site"]["licence"] = values["weights"]["own"]["licence"] = "SHOWN"
    found = texts(load(tmp_path, values))
    assert found == texts(load(tmp_path, SMALL))
    for job, text in found.items():
        assert not set(SHOWN) - {"size"} & set(keys_of(json.loads(text))), job
    assert "size" not in json.loads(found["train less"])


def keys_of(value: Any) -> list[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [*(value if isinstance(value, dict) else ()), *(key for one in inner for key in keys_of(one))]


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("variants.less.training", {"lr0": 0.02}, {"train less"}),
        ("variants.detector.training", {"batch": 2}, {"train detector"}),
        ("training.batch", 2, {"train detector", "train less"}),  # a floor is not trained
        ("variants.less.seeds", [0], {"leaderboard site main"}),
        ("arms.half.fractions", {"person": 0.25}, {"subsample half"}),
        ("detectors.nano.conf", 0.5, {"detect nano"}),
        ("detectors.truth.stride", 2, {"detect truth", *(f"{stage} truth bytetrack" for stage in OF_TRACKS)}),
        ("trackers.bytetrack.track_buffer", 9, {"track nano bytetrack", "track truth bytetrack"}),
        ("datasets.site.chunks", 5, set()),
        ("datasets.site.source.seed", 9, {"download site"}),
        ("shardsets.bare.stride", 2, {"shard bare"}),
        ("evaluate.draws", 500, {"leaderboard site main", "leaderboard site followed"}),
        ("report.dpi", 99, {"leaderboard site main", "leaderboard site followed", "figures"}),
        ("boards.main.metric", "AP", {"leaderboard site main"}),
        ("boards.main.title", "x", {"leaderboard site main"}),
        ("paths.mirror", "/elsewhere", set()),
        ("tta.flip.views", [{}, {"scale": 0.5}], {f"predict {name} flip" for name in ("detector", "less", "prior")}),
        ("arms.unused", {"shardset": "full", "background": "none"}, set()),
    ],
)  # fmt: skip
def test_an_edit_reaches_only_the_jobs_that_it_influences(tmp_path: Path, place: str, value: Any, told: set[str]) -> None:
    assert changes(tmp_path, place, value) == told


def test_costly_stages_carry_their_recipe(tmp_path: Path) -> None:
    found = texts(load(tmp_path, SMALL))
    for stage in COSTLY:
        mine = [json.loads(text) for job, text in found.items() if job.split()[0] == stage]
        assert mine and all(one["recipe"] == RECIPES[stage] for one in mine)


def test_a_board_of_trackers_is_told_its_floors_and_no_other_job_is(tmp_path: Path) -> None:
    values = changed("trackers.unlinked", {"kind": "unlinked"})
    before = texts(load(tmp_path, values))
    values["boards"]["followed"]["trackers"].append("unlinked")
    after = texts(load(tmp_path, values))
    assert {job for job in before if before[job] != after[job]} == {"leaderboard site followed"}
    told = json.loads(after["leaderboard site followed"])["trackers"]
    assert told == {"bytetrack": {"kind": "tracker"}, "unlinked": {"kind": "floor"}}
    plain = texts(load(tmp_path, SMALL))
    assert {job: after[job] for job in plain if "followed" not in job} == {
        job: text for job, text in plain.items() if "followed" not in job
    }


def test_a_floor_is_scored_and_not_drawn(tmp_path: Path) -> None:
    """As on boards of variants: a box that nothing follows has nothing to show from frame to frame."""
    values = changed("trackers.unlinked", {"kind": "unlinked"})
    values["boards"]["followed"]["trackers"].append("unlinked")
    study = load(tmp_path, values)
    assert "results/metrics/site/nano/unlinked/tracks.json" in study_targets(study, "metrics")
    drawn = [path for path in study_targets(study, "exports") if "/nano/" in path]
    assert drawn == ["results/exports/site/nano/bytetrack/index.json"]


def test_a_raised_recipe_reaches_every_job_of_its_stage_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = texts(load(tmp_path, SMALL))
    monkeypatch.setitem(RECIPES, "train", RECIPES["train"] + 1)
    after = texts(load(tmp_path, SMALL))
    assert {job for job in before if before[job] != after[job]} == {"train detector", "train less", "train prior"}


def test_only_arms_that_are_trained_on_a_shardset_are_compared(tmp_path: Path) -> None:
    jobs = Jobs(load(tmp_path, SMALL))
    assert jobs.arms_on("site", "full") == ["half"]
    assert jobs.arms_on("site", "bare") == ["d"], "the detector's own arm counts, although no board lists it"


def test_names_beyond_the_study_are_refused(tmp_path: Path) -> None:
    jobs = Jobs(load(tmp_path, SMALL))
    assert jobs.chunks(SimpleNamespace(dataset="site", chunk="1")) == 2
    with pytest.raises(ConfigError, match="chunk=2: dataset 'site' has chunks 0 to 1"):
        jobs.chunks(SimpleNamespace(dataset="site", chunk="2"))
    with pytest.raises(
        ConfigError, match=r"is about dataset 'site', not 'bccd'\. Hint: ask for results/leaderboards/site/main"
    ):
        jobs.leaderboard(SimpleNamespace(dataset="bccd", board="main"))
