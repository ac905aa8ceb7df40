"""What a tuning asks. References: the members that a search of the same values makes, and budgets written out."""

from __future__ import annotations

import copy
import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.config.base import ConfigError, identity
from lib.config.jobs import Jobs
from lib.config.new_variants import parse_new
from lib.config.overrides import Value, text_of
from lib.config.search import read_space, space_of
from lib.config.study import Study, load_study, read_settings
from lib.config.tasks import TASKS
from lib.config.train import TrainingSettings
from lib.config.train_loop import LoopSettings
from lib.files import DataError, write_json
from lib.tuning import records
from lib.tuning.question import Member, Question, ask, checked, new_text
from lib.tuning.trainings import Outcome, Trainings
from tests.lib.config.made import SMALL
from tests.lib.config.test_inputs import wild
from tests.lib.tuning.asked import SPACE, TRAINING, question, small


def refused(*given: Any, **named: Any) -> str:
    with pytest.raises(ConfigError) as error:
        question(*given, **named)
    return str(error.value)


def test_scores_are_those_that_the_training_keeps() -> None:
    from lib.training.yolo_trainer import SCORES as KEPT

    assert {name.removeprefix("val/") for name in KEPT.values()} == set(TrainingSettings().val_scores())


# Budgets


def budgets(folder: Path, asked: Question) -> list[Any]:
    """What the settings of a trial say at every rung."""
    values = {place: one.at(0.1) for place, one in asked.space.items()}
    members = [asked.member(values, rung) for rung in asked.rungs]
    made = load_study([folder / "study.yaml"], {"new": new_text("less", members)})
    return [made.training_of(one.name).budget for one in members]


@pytest.mark.parametrize(
    ("budget", "rungs", "factor", "amounts"),
    [
        ({"iterations": 240, "evaluations": 3}, 2, 3, [(80, 1), (240, 3)]),
        ({"iterations": 240, "evaluations": 3}, 3, 3, [(27, 1), (80, 1), (240, 3)]),
        ({"iterations": 600, "evaluations": 6}, 3, 2, [(150, 1), (300, 3), (600, 6)]),
        ({"epochs": 100}, 3, 3, [(11, 11), (33, 33), (100, 100)]),
        ({"epochs": 100}, 1, 3, [(100, 100)]),
    ],
)
def test_rungs_are_budgets_of_their_own(tmp_path: Path, budget, rungs, factor, amounts) -> None:
    asked = question(small(tmp_path, training={"imgsz": 64, "budget": budget}), rungs=rungs, factor=factor)
    assert [rung.amount for rung in asked.rungs] == [amount for amount, _ in amounts]
    assert [one.rounds for one in budgets(tmp_path, asked)] == [rounds for _, rounds in amounts]
    assert not asked.rungs[-1].words, "the full budget is the variant's own"


def test_patience_that_could_not_act_is_left_out_of_a_rung(tmp_path: Path) -> None:
    training = {"imgsz": 64, "budget": {"iterations": 270, "evaluations": 9}, "patience": 2}
    asked = question(small(tmp_path, training=training))
    assert ["training.patience=null" in rung.words for rung in asked.rungs] == [True, False, False]


def test_rungs_that_would_be_the_same_are_refused(tmp_path: Path) -> None:
    study = small(tmp_path, training={"imgsz": 64, "budget": {"epochs": 3}})
    assert "--rungs: 4 rungs of epochs would be 1, 1, 1, 3. Hint: fewer --rungs, or a larger budget" in refused(
        study, rungs=4
    )


# Members


def test_a_trial_is_the_member_that_a_search_of_its_values_makes(tmp_path: Path) -> None:
    """So results of searches, sweeps and tunings are the same files."""
    study = small(tmp_path)
    search = yaml.safe_dump({"n": 8, "space": SPACE}, default_flow_style=True, width=9999, sort_keys=False).strip()
    made = load_study([tmp_path / "study.yaml"], {"set": f"variants.less.search={search}"})
    asked = question(study)
    for name in [one for one in made.variants if one.startswith("less--")]:
        training = made.training_of(name)
        values = {"training.lr0": training.lr0, "training.batch": training.batch, "training.warmup": training.warmup}
        member = asked.member({place: Value(text_of(value), value) for place, value in values.items()}, asked.rungs[-1])
        assert member.name == name
        new = load_study([tmp_path / "study.yaml"], {"new": new_text("less", [member])})
        assert Jobs(new).train(wild(variant=name)) == Jobs(made).train(wild(variant=name))
        assert identity(new.variants[name]) == identity(made.variants[name])


def test_a_rung_differs_from_its_member_by_the_budget_alone(tmp_path: Path) -> None:
    asked = question(small(tmp_path))
    values = {place: one.at(0.6) for place, one in asked.space.items()}
    members = [asked.member(values, rung) for rung in asked.rungs]
    made = load_study([tmp_path / "study.yaml"], {"new": new_text("less", members)})
    whole = identity(made.training_of(members[-1].name))
    for member, amount, evaluations in zip(members, (30, 90, 270), (1, 3, 9), strict=True):
        budget = {"iterations": amount, "evaluations": evaluations, "epochs": None}
        assert identity(made.training_of(member.name)) == whole | {"budget": budget}
    assert members[0].name == f"{members[-1].name}--rung-30"
    assert asked.cards("x") == ["results/train/site/x/seed=0/model.json"]


def test_odd_values_arrive_as_they_are(tmp_path: Path) -> None:
    odd = ['a "b" c', "it's; $(x) \\ y=z", "1e-4", "null", None, True, 1e-05, 2.5e20, -3, [1, "two, three"], {"a b": [0.5]}]
    asked = question(small(tmp_path), pruner="none")
    for value in odd:
        member = asked.member({"training.x": Value("x", value)}, asked.rungs[-1])
        (new,) = parse_new(new_text("less", [member]))
        assert new.overrides[0].values[0].value == value and type(new.overrides[0].values[0].value) is type(value)


def test_ends_of_the_space_are_tried_at_both_ends_of_the_ladder(tmp_path: Path) -> None:
    asked = question(small(tmp_path))
    names = [one.name for one in checked(asked)]
    assert {"less--lr0-0p1--batch-4--warmup-0", "less--lr0-0p0001--batch-8--warmup-0--rung-30"} <= set(names)
    assert len(names) == len(set(names)) == 2 * 4, "two ends of three places share one corner"


# Where the space comes from


def test_the_space_is_that_of_the_variant_or_of_the_study(tmp_path: Path) -> None:
    study = {"search": {"n": 2, "space": {"training.box": {"low": 1, "high": 9}}}}
    small(tmp_path, **study)
    stated, _ = read_settings([tmp_path / "study.yaml"])
    assert list(space_of(stated, "less")) == ["training.box"]
    stated, _ = read_settings(
        [tmp_path / "study.yaml"], {"set": "variants.less.search={n: 1, space: {arm: {choices: [d, half]}}}"}
    )
    assert list(space_of(stated, "less")) == ["arm"] and list(space_of(stated, "detector")) == ["training.box"]
    small(tmp_path)
    assert space_of(read_settings([tmp_path / "study.yaml"])[0], "less") is None


# What cannot be asked


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    study = small(tmp_path)
    assert "--metric: a training keeps no score 'AP5' on val. Hint: did you mean 'AP50'?" in refused(study, metric="AP5")
    assert "no score 'test/AP50' on val" in refused(study, metric="test/AP50")
    assert "--space: is empty" in refused(study, {})
    assert "--space: training.budget.iterations is what the rungs change. Hint: leave it out, or --pruner none" in refused(
        study, {"training.budget.iterations": {"choices": [3, 6]}}
    )
    for place in ("seeds", "train_on", "training.best", "kind"):
        assert f"--space: {place} cannot be tuned" in refused(study, {place: {"choices": [1, 2]}})
    patient = small(tmp_path, training=TRAINING | {"patience": 2})
    assert "--space: training.patience is what the rungs change" in refused(
        patient, {"training.patience": {"choices": [1, 2]}}
    )
    study = small(tmp_path)
    assert "unknown dataset 'sight' in study 'small'. Hint: did you mean 'site'?" in refused(study, dataset="sight")
    common = {"metric": "AP50", "dataset": None, "pruner": "none", "rungs": 1, "factor": 3}
    for variant, space, says in [
        ("lss", SPACE, "unknown variant 'lss' in study 'small'. Hint: did you mean 'less'?"),
        ("prior", SPACE, "'prior' is of kind floor: nothing is trained"),
        ("less", None, "'less' has no `search:` block, nor has the study, to take the space from. Hint: --space 'training"),
        ("detector", SPACE, "--variant: no board lists 'detector'. Hint: say which with --dataset. Known: site"),
    ]:
        with pytest.raises(ConfigError) as error:
            ask(study, variant, space if space is None else read_space(space, "--space"), **common)
        assert says in str(error.value)


# Records


def test_best_yaml_is_the_trial_beside_its_base(tmp_path: Path) -> None:
    study = small(tmp_path)
    asked = question(study)
    values = {place: one.at(0.6) for place, one in asked.space.items()}
    member = asked.member(values, asked.rungs[-1])
    stated, _ = read_settings([tmp_path / "study.yaml"])
    run = ["snakemake", "-c2", "--configfile", "study.yaml", "best.yaml"]
    row = {"trial": 3, "AP50": 0.5}
    path = tmp_path / "best.yaml"
    records.write_best(asked, row, member, stated=stated, new=None, study=study, run=run, trials=9, path=path)
    made = load_study([tmp_path / "study.yaml", path])
    assert made.boards["main"].variants == [*study.boards["main"].variants, member.name]
    new = load_study([tmp_path / "study.yaml"], {"new": new_text("less", [member])})
    assert Jobs(made).train(wild(variant=member.name)) == Jobs(new).train(wild(variant=member.name))
    assert "by AP50 on val: trial 3, 0.5" in path.read_text()
    records.write_best(asked, row, member, stated=stated, new=None, study=made, run=run, trials=9, path=path)
    assert load_study([tmp_path / "study.yaml", path]).model_dump() == study.model_dump(), "it is known: nothing is added"


def test_best_yaml_of_a_variant_that_was_typed(tmp_path: Path) -> None:
    """The file stands by itself for the trial; the variant itself comes with the same `new=` again."""
    small(tmp_path)
    texts = {"new": "typed=less training.imgsz=96"}
    study = load_study([tmp_path / "study.yaml"], texts)
    asked = ask(study, "typed", read_space(SPACE, "--space"), metric="AP", dataset=None, pruner="none", rungs=1, factor=3)
    member = asked.member({place: one.at(0.6) for place, one in asked.space.items()}, asked.rungs[-1])
    stated, _ = read_settings([tmp_path / "study.yaml"])
    path = tmp_path / "best.yaml"
    row = {"trial": 3, "AP": 0.5}
    records.write_best(asked, row, member, stated=stated, new=texts["new"], study=study, run=["x"], trials=9, path=path)
    for given in ({}, texts):
        made = load_study([tmp_path / "study.yaml", path], given)
        assert made.training_of(member.name).imgsz == 96 and made.boards["main"].variants.count(member.name) == 1
    assert made.boards["main"].variants.count("typed") == 1


def test_trials_csv_holds_every_rung_and_is_safe_to_open(tmp_path: Path) -> None:
    asked = question(small(tmp_path))
    values = {place: one.at(0.6) for place, one in asked.space.items()}
    rows = [
        records.row_of(
            asked, 0, "stopped early", {"variant": "v", "seconds": {"0": 1.25, "1": 3.25}}, values, {1: 0.1, 3: 0.2}
        ),
        records.row_of(asked, 1, "failed", {"variant": "v", "cause": "=cmd()"}, values, {}),
        records.row_of(asked, 2, "diverged", {"status": "diverged at step 9"}, values, {1: 0.1, 3: asked.worst}),
    ]
    records.write_trials(rows, tmp_path / "trials.csv")
    with open(tmp_path / "trials.csv", newline="") as file:
        first, second, third = csv.DictReader(file)
    assert (first["AP50"], first["budget"], first["AP50 at 30 iterations"], first["AP50 at 270 iterations"]) == (
        "0.2",
        "90",
        "0.1",
        "",
    )
    assert first["training.lr0"] == text_of(values["training.lr0"].value)
    assert first["seconds"] == "4.5", "of both rungs"
    assert (second["AP50"], second["cause"]) == ("", "'=cmd()")
    kept = (third["AP50"], third["budget"], third["AP50 at 30 iterations"], third["cause"])
    assert kept == ("", "90", "0.1", "diverged at step 9"), "the score of a smaller budget is not that of the trial"


# A task of our own loop


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study with a variant of a task that only our loop trains."""
    monkeypatch.setitem(TASKS, "presence", replace(TASKS["detection"], training=LoopSettings, engines=None))
    training = {"budget": {"steps": 90, "evaluate_every_steps": 10}, "best": {"val/loss": "min", "val/accuracy": "max"}}
    variants = copy.deepcopy(SMALL["variants"]) | {"shows": {"task": "presence", "arm": "d", "size": "tiny"}}
    return small(tmp_path, trainings={"presence": training}, variants=variants)


def of_own(study: Study, space: dict[str, Any] | None = None, **given: Any) -> Question:
    values = {"metric": None, "dataset": "site", "pruner": "halving", "rungs": 2, "factor": 3} | given
    space = {"training.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}} if space is None else space
    return ask(study, "shows", read_space(space, "--space"), **values)


def test_metrics_and_directions_are_those_of_the_settings(own: Study) -> None:
    asked = of_own(own)
    assert (asked.metric, asked.mode, asked.worst, asked.scored_by) == ("val/loss", "min", math.inf, "loss on val")
    assert sorted([0.2, asked.worst, 0.1], key=asked.loss) == [0.1, 0.2, math.inf]
    other = of_own(own, metric="val/accuracy")
    assert (other.mode, other.worst) == ("max", -math.inf)
    assert sorted([0.2, other.worst, 0.3], key=other.loss) == [0.3, 0.2, -math.inf]
    with pytest.raises(ConfigError, match=r"no score 'accuracy' on val\. Hint: did you mean 'val/accuracy'"):
        of_own(own, metric="accuracy")


def test_rungs_of_our_loop_are_budgets_of_its_own(own: Study, tmp_path: Path) -> None:
    asked = of_own(own)
    assert [str(rung) for rung in asked.rungs] == ["30 steps", "90 steps"]
    members = checked(asked)
    made = load_study([tmp_path / "study.yaml"], {"new": new_text("shows", members)})
    found = {(one.name.rpartition("--rung-")[2], made.training_of(one.name).budget.steps) for one in members}
    assert ("30", 30) in found and 90 in {steps for _, steps in found}
    assert all(made.training_of(one.name).budget.evaluate_every_steps == 10 for one in members)
    with pytest.raises(ConfigError, match=r"--space: training\.budget\.steps is what the rungs change"):
        of_own(own, {"training.budget.steps": {"choices": [60, 90]}})


@pytest.mark.parametrize(
    ("cards", "status", "score"),
    [
        ([{"status": "finished", "best": {"step": 9, "val/loss": 0.25}}] * 2, "finished", 0.25),
        ([{"status": "finished", "best": {"val/loss": 0.25}}, {"status": "finished", "best": {"val/loss": 0.75}}],
         "finished", 0.5),
        ([{"status": "finished", "best": {"val/loss": 0.25}}, {"status": "diverged at step 4", "best": {}}],
         "diverged at step 4", math.inf),
        ([{"status": "finished", "best": {"val/loss": 0.25}}, {"status": "finished", "best": {}}],
         "diverged: loss on val is no number", math.inf),
    ],
)  # fmt: skip
def test_what_came_of_a_member_is_the_mean_of_its_seeds_or_the_worst(
    own: Study, tmp_path: Path, cards: list[dict[str, Any]], status: str, score: float
) -> None:
    asked = replace(of_own(own), seeds=(0, 1))
    trainings = Trainings(
        question=asked, known=frozenset(), configfiles=[], texts=[], cores=1, words=[], folder=tmp_path,
        logs=tmp_path, mark="",
    )  # fmt: skip
    for path, card in zip(asked.cards("x"), cards, strict=True):
        write_json(tmp_path / path, card | {"seconds": 2.5})
    assert trainings._outcome("x", set()) == Outcome(status, score, 5.0)
    assert trainings._outcome("x", {asked.cards("x")[1]}) == Outcome("failed", None, 0.0)


@pytest.mark.parametrize(("cause", "goes_on"), [("preempted", True), ("cancelled", True), ("memory", False)])
def test_a_training_that_was_ended_from_outside_is_no_failed_trial(
    own: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str, goes_on: bool
) -> None:
    asked = of_own(own)
    member = Member("x", ())
    (card,) = asked.cards("x")
    write_json((tmp_path / card).parent / "attempts/1.json", {"cause": cause, "error": "it is so"})
    trainings = Trainings(
        question=asked, known=frozenset(), configfiles=[], texts=[], cores=1, words=[], folder=tmp_path,
        logs=tmp_path, mark="",
    )  # fmt: skip
    monkeypatch.setattr(Trainings, "_snakemake", lambda *_: 1)
    monkeypatch.setattr(Trainings, "_planned", lambda *_: {card})
    if goes_on:
        with pytest.raises(DataError, match=f"x: its training was {cause}: it is so\nHint: the same command goes on"):
            trainings.make([member], 1)
    else:
        assert trainings.make([member], 1)["x"] == Outcome("failed", None, 0.0, f"{cause}: it is so")
