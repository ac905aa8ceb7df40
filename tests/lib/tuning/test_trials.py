"""Trials in Optuna's study. References: a formula with a known optimum, the same tuning without a kill, halving by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.config.base import ConfigError
from lib.tuning.question import Question
from lib.tuning.trainings import Outcome
from lib.tuning.trials import JOURNAL, Running, Trials, state_of
from tests.lib.tuning.asked import SPACE, question, small, trained, tuned


@pytest.fixture
def asked(tmp_path: Path) -> Question:
    return question(small(tmp_path))


def opened(asked: Question, folder: Path | None = None, **given: Any) -> Trials:
    return Trials(asked, None if folder is None else folder / JOURNAL, **({"seed": 0, "startup": 6} | given))


def facts(trials: Trials) -> list[tuple[Any, ...]]:
    """All that is known of every trial, but Optuna's own dates."""
    kept = ("variant", "status", "seconds", "cause")
    return [
        (one.params, one.state, one.value, one.intermediate_values, {key: one.user_attrs.get(key) for key in kept})
        for one in trials.all()
    ]


def states(trials: Trials) -> list[str]:
    return [state_of(one) for one in trials.all()]


def test_a_third_goes_on_from_each_rung_and_it_is_the_best_third(asked: Question) -> None:
    trials = opened(asked)
    batches = tuned(trials, 9, 9)
    assert [len(batch) for batch in batches] == [9, 3, 1]
    at_first = {one.user_attrs["variant"].split("--rung")[0]: one.intermediate_values[1] for one in trials.all()}
    best = sorted(at_first, key=at_first.get, reverse=True)
    assert {name.split("--rung")[0] for name in batches[1]} == set(best[:3])
    assert batches[2] == best[:1], "the full budget bears the plain name"
    assert sorted(states(trials)) == ["finished"] + ["stopped early"] * 8


def test_the_optimum_is_found_at_a_fraction_of_the_cost(asked: Question) -> None:
    trials = opened(asked)
    batches = tuned(trials, 40, 4)
    values = trials.values_of(trials.best())
    assert abs(math.log10(values["training.lr0"].value) + 2) < 0.15 and values["training.batch"].value == 8
    shares = [int(name.rpartition("--rung-")[2]) / 270 if "--rung" in name else 1 for batch in batches for name in batch]
    assert sum(shares) < 0.5 * 40


@pytest.mark.parametrize("steps", range(1, 9))
def test_a_killed_tuning_goes_on_as_if_it_had_not_been(asked: Question, tmp_path: Path, steps: int) -> None:
    whole = opened(asked)
    batches = tuned(whole, 16, 3)
    assert len(batches) > 8
    before = tuned(opened(asked, tmp_path), 16, 3, steps=steps)
    after = opened(asked, tmp_path)
    assert [*before, *tuned(after, 16, 3)] == batches, "no batch is missing and none is made twice"
    assert facts(after) == facts(whole)


def test_a_kill_during_a_batch_asks_for_the_same_batch_again(asked: Question, tmp_path: Path) -> None:
    whole = tuned(opened(asked), 12, 3)

    def killed(running: Running, _: Question) -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(opened(asked, tmp_path), 12, 3, killed)
    again = opened(asked, tmp_path)
    assert states(again) == ["running"] * 3
    assert tuned(again, 12, 3) == whole


def test_half_a_line_and_a_lock_of_a_kill_are_healed(asked: Question, tmp_path: Path) -> None:
    tuned(opened(asked, tmp_path), 6, 3)
    known = facts(opened(asked, tmp_path))
    journal = tmp_path / JOURNAL
    text = journal.read_bytes()
    for cut in (1, 7, len(text.splitlines()[-1])):  # the last line, cut to so many bytes
        journal.write_bytes(text + text.splitlines()[-1][:cut])
        (tmp_path / f"{JOURNAL}.lock").symlink_to(journal)
        healed = opened(asked, tmp_path)
        assert facts(healed) == known
        tuned(healed, 7, 3)
        assert len(opened(asked, tmp_path).all()) == 7
        journal.write_bytes(text)


def test_more_trials_keep_the_first_ones(asked: Question, tmp_path: Path) -> None:
    tuned(opened(asked, tmp_path), 5, 3)
    few = facts(opened(asked, tmp_path))
    more = opened(asked, tmp_path)
    batches = tuned(more, 11, 3)
    assert facts(more)[:5] == few and len(more.all()) == 11
    finished = {one[4]["variant"] for one in few}
    assert not finished & {name for batch in batches for name in batch}
    assert tuned(opened(asked, tmp_path), 11, 3) == []


def test_another_seed_draws_others(asked: Question) -> None:
    assert tuned(opened(asked, seed=1), 3, 3) != tuned(opened(asked), 3, 3)


def test_a_diverged_trial_is_the_worst_and_a_failed_one_has_its_cause(asked: Question) -> None:
    def make(running: Running, asked: Question) -> Outcome:
        if running.trial.number == 0:
            return Outcome("diverged at step 3", asked.worst, 2.0)
        if running.trial.number == 1:
            return Outcome("failed", None, 0.0, "config: too large")
        return trained(running, asked)

    trials = opened(asked)
    batches = tuned(trials, 6, 6, make)
    first, second, *others = trials.all()
    assert (state_of(first), first.value, first.user_attrs["status"]) == ("diverged", -math.inf, "diverged at step 3")
    assert (state_of(second), second.value, second.user_attrs["cause"]) == ("failed", None, "config: too large")
    assert all(state_of(one) in ("finished", "stopped early") for one in others)
    assert trials.best().number not in (0, 1) and first.user_attrs["variant"].split("--rung")[0] not in str(batches[1:])


def test_when_all_diverge_there_is_no_best(asked: Question) -> None:
    trials = opened(asked)
    tuned(trials, 4, 2, lambda running, asked: Outcome("diverged at step 1", asked.worst, 1.0))
    assert trials.best() is None and states(trials) == ["diverged"] * 4


def test_without_a_pruner_every_trial_has_the_whole_budget(tmp_path: Path) -> None:
    asked = question(small(tmp_path), pruner="none")
    trials = opened(asked)
    batches = tuned(trials, 4, 2)
    assert [len(batch) for batch in batches] == [2, 2] and states(trials) == ["finished"] * 4
    assert not any("--rung" in name for batch in batches for name in batch)


def test_hyperband_stops_some_early_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    asked = question(small(tmp_path), pruner="hyperband")
    whole = opened(asked)
    batches = tuned(whole, 20, 4)
    assert set(states(whole)) == {"finished", "stopped early"}
    tuned(opened(asked, tmp_path), 20, 4, steps=4)
    after = opened(asked, tmp_path)
    tuned(after, 20, 4)
    assert facts(after) == facts(whole) and len(batches) > 5


def test_values_are_those_of_the_names(tmp_path: Path) -> None:
    space = SPACE | {
        "arm": {"choices": ["d", "half"]},
        "training.betas": {"choices": [[1], [2, 3]]},
        "training.weights": {"choices": [None, "tiny"]},
    }
    trials = opened(question(small(tmp_path), space))
    for running in (trials.ask() for _ in range(8)):
        values = {place: one.value for place, one in running.values.items()}
        assert (
            values["training.betas"] in ([1], [2, 3])
            and values["training.weights"] in (None, "tiny")
            and values["arm"] in ("d", "half")
        )
        assert f"--warmup-{values['training.warmup']}--" in running.member(trials.question).name
    again = trials.unfinished()
    assert [one.values for one in again] == [trials.values_of(one) for one in trials.all()]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metric": "AP"}, "begun with another metric"),
        ({"factor": 2}, "begun with another factor, rungs"),
        ({"space": SPACE | {"training.lr0": {"low": 1e-4, "high": 0.2, "log": True}}}, "begun with another space"),
        ({"pruner": "hyperband"}, "begun with another pruner"),
    ],
)
def test_another_question_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    study = small(tmp_path)
    opened(question(study), tmp_path)
    with pytest.raises(ConfigError) as refused:
        opened(question(study, **change), tmp_path)
    assert says in str(refused.value) and "Hint: another --name keeps both; or delete" in str(refused.value)


def test_other_settings_of_the_base_are_another_question(tmp_path: Path) -> None:
    opened(question(small(tmp_path)), tmp_path)
    other = question(small(tmp_path, training={"imgsz": 96, "budget": {"iterations": 270, "evaluations": 9}}))
    with pytest.raises(ConfigError, match="begun with another base: its scores do not compare"):
        opened(other, tmp_path)
    opened(question(small(tmp_path)), tmp_path)


def halved(asked: Question, scores: list[float]) -> tuple[Trials, list[int]]:
    """A batch with these scores at its first rung, and who goes on."""
    trials = opened(asked)
    running = [trials.ask() for _ in scores]
    outcomes = {
        one.member(asked).name: Outcome("finished" if math.isfinite(score) else "diverged at step 2", score, 1.0)
        for one, score in zip(running, scores, strict=True)
    }
    return trials, [one.trial.number for one in trials.judge(running, outcomes)]


def test_where_the_lower_is_better_the_lowest_go_on(asked: Question) -> None:
    lower = replace(asked, mode="min")
    assert halved(asked, [0.1, 0.9, 0.5, 0.2, 0.3, 0.4])[1] == [1, 2]
    trials, on = halved(lower, [0.1, 0.9, 0.5, 0.2, 0.3, lower.worst])
    assert on == [0, 3] and states(trials)[5] == "diverged" and trials.all()[5].value == math.inf
    whole = opened(lower)
    tuned(whole, 9, 3, lambda one, asked: Outcome("finished", 1 - trained(one, asked).score, 1.0))
    assert whole.best().value == min(one.value for one in whole.all() if state_of(one) == "finished")
    draws = opened(lower)
    tuned(draws, 12, 3, lambda one, asked: Outcome("diverged at step 1", asked.worst, 1.0))
    assert states(draws) == ["diverged"] * 12, "Optuna bears scores without end"


def test_equal_scores_stop_nobody_and_are_told(asked: Question) -> None:
    trials, on = halved(asked, [0.0] * 6)
    assert on == list(range(6)) and trials.scores_at(asked.rungs[0]) == [0.0] * 6


def test_hyperband_begins_where_its_bracket_does_and_judges_by_bracket(tmp_path: Path) -> None:
    """Shares by hand for three rungs and factor 3: ⌈3·9/3⌉ = 9, ⌈3·3/2⌉ = 5 and 3 of 17."""
    asked = question(small(tmp_path), pruner="hyperband")
    begins = [asked.begins_at(number).level for number in range(1700)]
    assert [round(17 * begins.count(level) / 1700, 1) for level in range(3)] == [9.0, 5.0, 3.0]
    assert all(set(begins[place : place + 9]) == {0, 1, 2} for place in range(60))
    trials = opened(asked)
    batches = tuned(trials, 20, 20)
    first = batches[0]
    assert [name.rpartition("--rung-")[2] if "--rung-" in name else "270" for name in first] == [
        str(asked.rungs[level].amount) for level in begins[:20]
    ]
    low = [one for one in trials.all() if begins[one.number] == 0]
    on = [one for one in low if len(one.intermediate_values) > 1]
    assert len(on) == len(low) // 3
    assert min(one.intermediate_values[1] for one in on) > max(one.intermediate_values[1] for one in low if one not in on)


@pytest.mark.parametrize("lines", range(1, 12))
def test_a_kill_between_any_two_lines_of_the_journal_loses_and_doubles_nothing(
    asked: Question, tmp_path: Path, lines: int
) -> None:
    """The journal cut behind a batch's training: its trials are judged again, and their seconds counted once."""
    tuned(opened(asked, tmp_path), 3, 3, steps=1)
    before = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    tuned(opened(asked, tmp_path), 3, 3)
    whole = facts(opened(asked, tmp_path))
    text = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    cut = len(before) - lines
    assert all(json.loads(line)["op_code"] != 4 for line in text[cut:]), "all trials are asked"
    (tmp_path / JOURNAL).write_bytes(b"".join(text[:cut]))
    again = opened(asked, tmp_path)
    tuned(again, 3, 3)
    assert facts(again) == whole
