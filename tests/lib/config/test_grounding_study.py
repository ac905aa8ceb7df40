"""Grounding in a study: what its jobs are told, ensembles, views by task; other tasks' jobs stay what they were."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from lib.config.base import ConfigError
from lib.config.inputs import Inputs
from lib.config.jobs import Jobs
from lib.config.study import Study, load_study
from lib.config.targets import study_targets

GROUNDING: dict[str, Any] = {
    "study": "words",
    "seeds": [0, 1],
    "datasets": {
        "site": {"source": {"format": "world"}},
        "nlq": {"source": {"format": "ego4d_nlq", "root": "/nlq", "annotations": {"train": "a.json", "test": "b.json"}}},
    },
    "featuresets": {"looks": {"kind": "light_clips", "stride": 2, "window": 4}, "words": {"kind": "light_text"}},
    "shardsets": {"clips": {"kind": "clips", "splits": ["train", "val", "test"], "clips": "looks", "text": "words"}},
    "arms": {"all": {"shardset": "clips", "background": "all"}},
    "trainings": {"grounding": {"preset": "tiny", "best": {"val/R1@0.5": "max"}}},
    "variants": {
        "mvp": {"task": "grounding", "arm": "all"},
        "ogsf": {"task": "grounding", "arm": "all", "training": {"model": "ogsf"}},
        "both": {"task": "grounding", "kind": "ensemble", "members": ["mvp", "ogsf"]},
        "prior": {"task": "grounding", "kind": "floor", "floor": "prior", "arm": "all"},
    },
    "tta": {"none": {}, "phases": {"views": [{}, {"every": 2}, {"every": 2, "phase": 1}]}},
    "boards": {"words": {"dataset": "site", "variants": ["mvp", "ogsf", "both", "prior"], "metric": "R1@0.5"}},
}


def study(**changes: Any) -> Study:
    return Study.model_validate(json.loads(json.dumps(GROUNDING)) | changes)


def wildcards(variant: str, tta: str = "none", dataset: str = "site") -> Any:
    return SimpleNamespace(variant=variant, tta=tta, dataset=dataset, board="words", seed="0")


def test_windows_are_no_matter_of_other_tasks() -> None:
    """Settings of windows reach the jobs of grounding alone, and those of boxes never reach them."""
    demo, detection = load_study(), wildcards("person-25", "flip", "world")
    plain = Jobs(demo)
    changed = Jobs(
        load_study(overrides={"set": "predict.windows.sigma=0.3 tta.flip.windows.iou=0.7 evaluate.queries_by=evidence"})
    )
    for job in ("predict", "evaluate", "export_predictions", "train"):
        assert getattr(plain, job)(detection) == getattr(changed, job)(detection)
    assert json.loads(plain.predict(detection)) == {
        "predict": {"batch": 16, "conf": 0.001, "iou": 0.7, "max_det": 100, "splits": ["test"], "stride": 2},
        "recipe": 1,
        "task": "detection",
        "tta": {
            "merge": {"iou": 0.7, "skip": 0.001},
            "views": [{"flip": flip, "scale": 1.0} for flip in (False, True)],
        },
    }
    ours, other = Jobs(study()), study(predict={"conf": 0.2, "stride": 3}, evaluate={"max_det": 7})
    for job in ("predict", "evaluate", "train"):
        assert getattr(ours, job)(wildcards("mvp", "phases")) == getattr(Jobs(other), job)(wildcards("mvp", "phases"))
    assert ours.predict(wildcards("mvp")) != Jobs(study(predict={"windows": {"sigma": 0.3}})).predict(wildcards("mvp"))
    assert ours.evaluate(wildcards("mvp")) != Jobs(study(evaluate={"queries_by": "length"})).evaluate(wildcards("mvp"))


def test_an_ensemble_reads_what_its_members_predict_in_the_same_views() -> None:
    inputs = Inputs(study(), ".")
    names = [f"{name}/seed={seed}" for name in ("mvp", "ogsf") for seed in (0, 1)]
    ours = wildcards("both", "phases")
    assert inputs.member_models(ours) == [f"results/train/site/{name}/model.json" for name in names]
    assert inputs.member_predictions(ours) == [f"results/predictions/site/{name}/tta=phases.parquet" for name in names]
    assert inputs.tested_shards(ours) == inputs.train_subset(ours) == inputs.train_shards(ours) == []
    assert inputs.member_models(wildcards("mvp")) == inputs.member_predictions(wildcards("mvp")) == []
    assert study().seeds_of("both") == [0]
    assert json.loads(Jobs(study()).train(ours))["members"] == names


def test_pictures_and_submissions_are_asked_for() -> None:
    figures = study_targets(study(), "figures")
    assert "results/figures/site/words.lengths.png" in figures
    assert "results/figures/site/mvp/seed=1/tta=none.windows.png" in figures
    assert not [name for name in figures if "prior" in name] and study_targets(study(), "submissions") == []
    assert study_targets(study(), "exports") == []
    boards = {"words": GROUNDING["boards"]["words"] | {"dataset": "nlq"}}
    assert study_targets(study(boards=boards), "submissions") == [
        *(f"results/submissions/nlq/{name}/seed={seed}/tta=none.json" for name in ("mvp", "ogsf") for seed in (0, 1)),
        "results/submissions/nlq/both/seed=0/tta=none.json",
    ]
    with pytest.raises(ConfigError, match="of format world; submissions are of windows on ego4d_nlq"):
        Jobs(study()).submission(wildcards("mvp"))


def test_floors_that_look_at_nothing_are_drawn_once() -> None:
    boards = {"words": GROUNDING["boards"]["words"] | {"tta": ["phases", "none"]}}
    rows = [(row["name"], row["tta"]) for row in Jobs(study(boards=boards)).window_rows(wildcards("mvp"))]
    views = [("mvp, phases", "phases"), ("mvp", "none"), ("ogsf, phases", "phases"), ("ogsf", "none")]
    assert rows == [*views, ("both, phases", "phases"), ("both", "none"), ("prior", "phases")]
    predictions = Inputs(study(boards=boards), ".").board_predictions(wildcards("mvp"))
    assert [path for path in predictions if "prior" in path] == [
        f"results/predictions/site/prior/seed={seed}/tta=phases.parquet" for seed in study().seeds_of("prior")
    ]


OF_GROUNDING = {"task": "grounding", "kind": "ensemble"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"both": OF_GROUNDING}, "`members`, a list of variants, goes with `kind: ensemble`"),
        (
            {"both": {"task": "detection", "kind": "ensemble", "members": ["mvp"]}},
            "task detection has no ensembles; grounding",
        ),
        ({"both": OF_GROUNDING | {"members": ["mvp", "mvp"]}}, "the same twice"),
        (
            {"both": OF_GROUNDING | {"members": ["nvp"]}},
            "unknown variant 'nvp'. Hint: did you mean",
        ),
        (
            {"both": OF_GROUNDING | {"members": ["mvp"], "member_seeds": [7]}},
            "'mvp' has no seed 7",
        ),
        (
            {"both": OF_GROUNDING | {"members": ["mvp"], "arm": "all"}},
            "kind ensemble is not trained",
        ),
        ({"more": OF_GROUNDING | {"members": ["both"]}}, "'both' is an ensemble itself"),
        ({"mvp": {"task": "grounding", "arm": "all", "members": ["ogsf"]}}, "and only with it"),
        ({"prior": {"task": "grounding", "kind": "floor", "floor": "mean", "arm": "all"}}, "has no floor 'mean'"),
    ],
)
def test_ensembles_that_cannot_be(change: dict[str, Any], says: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=says):
        study(variants=GROUNDING["variants"] | change)


def test_a_view_of_another_kind_is_refused_by_name() -> None:
    boards = {"words": GROUNDING["boards"]["words"] | {"tta": ["mirrored"]}}
    with pytest.raises((ConfigError, ValueError), match="view 1 of 'mirrored' has `flip`, by which task"):
        study(tta={"none": {}, "mirrored": {"views": [{}, {"flip": True}]}}, boards=boards)
    with pytest.raises((ConfigError, ValueError), match="by which task detection cannot look"):
        load_study(overrides={"set": "tta.none.views=[{every: 2}]"})
