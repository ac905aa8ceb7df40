"""A study as a whole: what is refused at load and in which words. Reference: the places, as a person wrote them in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.config.base import ConfigError, identity
from lib.config.study import load_study
from tests.lib.config.made import SMALL, changed, load, refusal


def test_the_small_study_is_fine(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).study == "small"


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("sedes", [1], "the settings: unknown key 'sedes'. Hint: did you mean 'seeds'?"),
        ("datasets.site.chunk", 1, "datasets.site: unknown key 'chunk'. Hint: did you mean 'chunks'?"),
        ("datasets.site.source.fsp", 5, "datasets.site.source: unknown key 'fsp'. Hint: did you mean 'fps'?"),
        ("detectors.nano.cnof", 0.2, "detectors.nano: unknown key 'cnof'. Hint: did you mean 'conf'?"),
        ("tta.flip.views", [{}, {"flp": True}], "tta.flip.views.1: unknown key 'flp'. Hint: did you mean 'flip'?"),
        (
            "arms.half.background",
            {"fractoin": 0.5},
            "arms.half.background: unknown key 'fractoin'. Hint: did you mean 'fra",
        ),
        ("training.epoch", 3, "training: unknown key 'epoch'"),
        ("variants.less.training", {"lr": 0.1}, "variants.less.training: unknown key 'lr'. Hint: did you mean 'lr"),
        (
            "variants.less.training",
            {"budget": {"epoch": 2}},
            "variants.less.training.budget: unknown key 'epoch'. Hint: did",
        ),
        ("boards.main.metrik", "AP", "boards.main: unknown key 'metrik'. Hint: did you mean 'metric'?"),
    ],
)
def test_a_misspelt_key_is_named_with_its_place_and_the_nearest(tmp_path: Path, place: str, value: Any, says: str) -> None:
    text = refusal(tmp_path, changed(place, value))
    assert says in text
    assert text.startswith(str(tmp_path)) or place.startswith("variants"), "the file is named"


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("detectors.nano.conf", 2, "detectors.nano.conf: must be less than or equal to 1 (given: 2)"),
        ("detectors.nano.conf", "high", "detectors.nano.conf: must be a valid number"),
        ("detectors.nano.classes", {"a": "car"}, "detectors.nano.classes.a: must be a valid list (given: 'car')"),
        ("detectors.nano.kind", "yoyo", "detectors.nano.kind: unknown kind 'yoyo'. Hint: did you mean 'yolo'?"),
        ("detectors.nano", {"imgsz": 64}, "detectors.nano.kind: is missing. Hint: state `kind: …`"),
        ("detectors.nano", None, "detectors.nano: must be a block of `key: value` lines (given: None)"),
        (
            "datasets.site.source.format",
            "cooc",
            "datasets.site.source.format: unknown format 'cooc'. Hint: did you mean 'coco'",
        ),
        (
            "datasets.site.source.size",
            [63, 96],
            "datasets.site.source.size.0: must be greater than or equal to 64 (given: 63)",
        ),
        ("datasets.site.source.videos", {"test": 0}, "datasets.site.source.videos.test: must be greater"),
        (
            "datasets.site.source",
            {"format": "coco", "root": "x"},
            "datasets.site.source.annotations: is required and missing",
        ),
        ("datasets.site.classes", 3, "datasets.site.classes: must be a valid list, or must be a block of"),
        (
            "datasets.site.splits",
            {"test": "*.mp4"},
            "datasets.site.splits.test: must be a valid list, or must be a valid num",
        ),
        ("arms.half.background", "al", "arms.half.background: must be 'all' or 'none'. Hint: did you mean 'all'?"),
        ("arms.half.fractions", {"person": 1.5}, "fractions.person must be a finite number from 0 to 1, got 1.5"),
        ("training.box", float("inf"), "training.box: must be a finite number (given: inf)"),
        ("training.model", "yolo11nn", "training.model: unknown model 'yolo11nn'. Hint: did you mean 'yolo11n'?"),
        ("variants.less.training", {"lr0": 7}, "variants.less.training.lr0: must be less than or equal to 1 (given: 7)"),
        ("variants.Less", {"arm": "d"}, "variants: a name holds only lower-case letters"),
        ("seeds", [0, "x"], "seeds.1: must be a valid integer"),
        ("seeds", [], "seeds: List should have at least 1 item"),
        ("seeds", [1, 1], "seeds: the same seed twice in [1, 1]"),
        ("boards.main.variants", "less", "boards.main.variants: must be a valid list (given: 'less')"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_what_is_allowed(
    tmp_path: Path, place: str, value: Any, says: str
) -> None:
    assert says in refusal(tmp_path, changed(place, value))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    values = changed("seeds", ["x"]) | {"predict": {"conf": 2}}
    text = refusal(tmp_path, values)
    assert "seeds.0:" in text and "predict.conf:" in text


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("variants.less.arm", "hlaf", "variants.less.arm: unknown arm 'hlaf'. Hint: did you mean 'half'?"),
        ("variants.less.train_on", "sit", "variants.less.train_on: unknown dataset 'sit'. Hint: did you mean 'site'?"),
        ("variants.less.training", {"weights": "won"}, "variants.less.training.weights: unknown weights 'won'. Hint: did"),
        ("arms.half.shardset", "ful", "arms.half.shardset: unknown shardset 'ful'. Hint: did you mean 'full'?"),
        ("arms.half.size_of", "x", "unknown arm 'x'"),
        ("shardsets.full.tracks.detector", "nnao", "shardsets.full.tracks.detector: unknown detector 'nnao'. Hint: did"),
        ("shardsets.full.tracks.tracker", "byte", "shardsets.full.tracks.tracker: unknown tracker 'byte'. Hint: did"),
        ("detectors.nano.weights", "onw", "detectors.nano.weights: unknown weights 'onw'. Hint: did you mean 'own'?"),
        (
            "weights.own.variant",
            "detektor",
            "weights.own.variant: unknown variant 'detektor'. Hint: did you mean 'detector'?",
        ),
        ("weights.own.dataset", "sits", "weights.own.dataset: unknown dataset 'sits'. Hint: did you mean 'site'?"),
        ("boards.main.variants", ["lss"], "boards.main.variants: unknown variant 'lss'. Hint: did you mean 'less'?"),
        ("boards.main.tta", ["flp"], "boards.main.tta: unknown tta 'flp'. Hint: did you mean 'flip'?"),
        ("boards.main.dataset", "cite", "boards.main.dataset: unknown dataset 'cite'. Hint: did you mean 'site'?"),
        ("boards.followed.detectors", ["nanno"], "boards.followed.detectors: unknown detector 'nanno'. Hint: did you mean"),
        ("boards.main.metric", "ap50", "boards.main.metric: task detection has no 'ap50'. Hint:"),
        ("boards.main.metric", "HOTA", "boards.main.metric: task detection has no 'HOTA'."),
        ("variants.prior.floor", "prio", "task detection has no floor 'prio'. Hint: did you mean 'prior'?"),
        ("boards.followed.trackers", ["sort"], "boards.followed.trackers: unknown tracker 'sort'."),
    ],
)
def test_a_reference_to_nothing_is_refused_with_the_nearest_name(tmp_path: Path, place: str, value: Any, says: str) -> None:
    values = changed(place, value)
    if place == "arms.half.size_of":
        values["arms"]["half"].pop("fractions")
    assert says in refusal(tmp_path, values)


@pytest.mark.parametrize(
    ("place", "value", "circle"),
    [
        (
            "arms.d.shardset",
            "full",
            "detectors.nano → weights.own → variants.detector → arms.d → shardsets.full → detectors.nano",
        ),
        ("variants.detector.training", {"weights": "own"}, "variants.detector → weights.own → variants.detector"),
        ("arms.d.size_of", "d", "arms.d → arms.d"),
    ],
)
def test_what_needs_itself_is_refused_with_the_way_round(tmp_path: Path, place: str, value: Any, circle: str) -> None:
    text = refusal(tmp_path, changed(place, value))
    steps = circle.split(" → ")[1:]
    turns = [" → ".join([*steps[turn:], *steps[:turn], steps[turn]]) for turn in range(len(steps))]
    assert any(f"needs itself: {turn}. Hint: " in text for turn in turns), text


def test_weights_of_a_floor_without_a_network_are_refused(tmp_path: Path) -> None:
    says = "weights.own.variant: 'prior' is a floor (prior) without a network. Hint: name a variant of kind model"
    assert says in refusal(tmp_path, changed("weights.own.variant", "prior") | {"shardsets": {"bare": {}, "full": {}}})


COCO = {"source": {"format": "coco", "root": "r", "annotations": {"train": "a.json"}}}
"""A dataset whose classes stand in files that a plan does not read."""


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (
            "arms.half.fractions",
            {"persn": 0.5},
            "arms.half.fractions.persn: 'persn' is not a class of dataset 'site'. Hint: did you mean 'person'? "
            "Known: crane hook, load, person, vehicle.",
        ),
        ("arms.half.fractions", {"person": 0.5, "crane hok": 1}, "did you mean 'crane hook'?"),
        (
            "datasets.site.classes",
            ["vehicle", "load"],
            "'person' is not a class of dataset 'site'. Hint: Known: load, vehi",
        ),
        ("datasets.site.classes", {"man": ["person"]}, "'person' is not a class of dataset 'site'. Hint: Known: man."),
        ("arms.d.fractions", {"Person": 0.5}, "arms.d.fractions.Person: 'Person' is not a class of dataset 'site'"),
        (
            "arms.spare",
            {"shardset": "full", "background": "all", "fractions": {"hook": 0.5}},
            "arms.spare.fractions.hook: 'hook' is not a class of dataset 'site'. Hint: did you mean",
        ),
        (
            "datasets.site.classes",
            ["person", "truck"],
            "datasets.site: classes: 'truck' is not a class of the world. Hint: Known: crane hook, load, person, vehicle.",
        ),
        ("datasets.site.classes", {"mover": ["person", "vehicel"]}, "did you mean 'vehicle'?"),
    ],
)
def test_a_class_that_no_dataset_has_is_refused_where_settings_say_the_classes(
    tmp_path: Path, place: str, value: Any, says: str
) -> None:
    assert says in refusal(tmp_path, changed(place, value))


def test_an_arm_must_fit_every_dataset_that_it_is_drawn_from(tmp_path: Path) -> None:
    """Drawn from: where a board evaluates its variants, or where these are trained instead."""
    values = changed("datasets.cells", COCO | {"classes": ["RBC", "person"]})
    values["arms"]["half"]["fractions"] = {"person": 0.5}
    values["variants"]["less"]["train_on"] = "cells"
    load(tmp_path, values)
    values["arms"]["half"]["fractions"] = {"RBC": 0.5}
    says = "arms.half.fractions.RBC: 'RBC' is not a class of dataset 'site'"
    assert says in refusal(tmp_path, values), "the floor of the board is fitted to the arm there"
    values["variants"]["prior"]["train_on"] = "cells"
    load(tmp_path, values)
    values["arms"]["spare"] = {"shardset": "full", "background": "all", "fractions": {"vehicle": 0.5, "RBC": 1}}
    load(tmp_path, values)
    values["arms"]["spare"]["fractions"] = {"WBC": 0.5}
    assert "arms.spare.fractions.WBC: 'WBC' is not a class of any dataset of this study. Hint: did you mean 'RBC'?" in (
        refusal(tmp_path, values)
    )


def test_classes_that_only_files_know_are_not_judged_by_a_plan(tmp_path: Path) -> None:
    values = changed("datasets.site", COCO)
    values["arms"]["half"]["fractions"] = {"persn": 0.5}
    assert load(tmp_path, values).datasets["site"].known_classes is None
    values["datasets"]["other"] = {"source": {"format": "world"}}
    values["arms"]["spare"] = {"shardset": "full", "background": "all", "fractions": {"plane": 0.5}}
    load(tmp_path, values)
    assert "'persn' is not a class of dataset 'site'" in refusal(
        tmp_path, values | {"datasets": {"site": COCO | {"classes": ["person"]}}}
    )


def test_a_number_written_as_1e_4_is_a_number(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-4 (no dot) as text; a person means the number."""
    path = tmp_path / "study.yaml"
    path.write_text(
        "study: s\ninclude: [datasets/world.yaml]\ntraining: {lr0: 1e-4}\nshardsets: {f: {}}\n"
        "arms: {a: {shardset: f, background: all}}\nvariants: {v: {arm: a, training: {weight_decay: 2e-4}}}\n"
    )
    training = load_study([path]).training_of("v")
    assert (training.lr0, training.weight_decay) == (1e-4, 2e-4)
    assert isinstance(identity(training)["weight_decay"], float)


def test_a_look_up_answers_with_what_is_known(tmp_path: Path) -> None:
    study = load(tmp_path, SMALL)
    for table, name, says in [
        (
            "variants",
            "lss",
            "unknown variant 'lss' in study 'small'. Hint: did you mean 'less'? Known: detector, less, prior.",
        ),
        ("weights", "o", "unknown weights 'o'"),
        ("tta", "flop", "unknown tta 'flop'"),
    ]:
        with pytest.raises(ConfigError) as refused:
            study.find(table, name)
        assert says in str(refused.value)


def test_what_a_variant_resolves_to(tmp_path: Path) -> None:
    study = load(tmp_path, changed("variants.less.seeds", [5]))
    assert study.training_of("less").lr0 == 0.01 and study.training_of("less").imgsz == 64
    assert study.training_of("detector").lr0 == type(study.training)().lr0
    assert (study.seeds_of("less"), study.seeds_of("detector")) == ([5], [0, 1])
    assert (study.size_of("less"), study.size_of("prior")) == ("nano", "tiny")
    assert study.trained_on("less", "site") == "site"
