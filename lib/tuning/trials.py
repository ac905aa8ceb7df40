"""The trials of a tuning in Optuna's study: asked, judged rung by rung, kept in a journal that a kill cannot spoil.

Not here: how a trial is trained (trainings.py) and what is written for people (records.py). Its import brings Optuna.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from lib.config.base import ConfigError, canonical
from lib.config.overrides import Value
from lib.config.search import SearchDimension
from lib.files import disk_errors
from lib.tuning.question import Member, Question, Rung
from lib.tuning.trainings import Outcome

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
JOURNAL = "optuna.journal"


@dataclass
class Running:
    """A trial that is not finished, and the rung that it stands on."""

    trial: Trial
    values: Mapping[str, Value]
    rung: Rung

    def member(self, question: Question) -> Member:
        return question.member(self.values, self.rung)


class Trials:
    """Optuna's study of one question. `journal` is a file that grows by one line per fact; None keeps nothing.

    The draws of trial k follow from seed, k and the trials before it, so a tuning that was killed goes on as if it had not
    been. Raises ConfigError when the journal is about another question.
    """

    def __init__(self, question: Question, journal: Path | None, *, seed: int, startup: int) -> None:
        self.question = question
        self.seed = seed
        self.startup = startup
        self.study = optuna.create_study(
            storage=None if journal is None else _storage(journal),
            study_name="tuning",
            direction=f"{question.mode}imize",
            pruner=Halving(question),
            load_if_exists=True,
        )
        told, asked = self.study.user_attrs.get("question"), question.facts()
        if told is None:
            self.study.set_user_attr("question", asked)
        elif canonical(told) != canonical(asked):
            other = [key for key in asked if canonical(told.get(key)) != canonical(asked[key])]
            raise ConfigError(
                f"{journal}: this tuning was begun with another {', '.join(other)}: its scores do not compare. "
                f"Hint: another --name keeps both; or delete {journal.parent}."
                + "".join(
                    f"\n  {key} was {canonical(told.get(key))}\n  and is {canonical(asked[key])}" for key in other[:2]
                )
            )

    def all(self) -> list[FrozenTrial]:
        """Every trial so far, in the order in which they were asked."""
        return self.study.get_trials(deepcopy=False)

    def unfinished(self) -> list[Running]:
        """Trials that a killed tuning left: they go on at their rung."""
        left = [one for one in self.all() if one.state == TrialState.RUNNING]
        return [self._running(Trial(self.study, one._trial_id), one) for one in left]

    def ask(self) -> Running:
        """A new trial."""
        self.study.sampler = self._sampler(len(self.all()))
        trial = self.study.ask()
        return self._running(trial, None)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(
            seed=(self.seed * 1_000_003 + number) % 2**32,
            n_startup_trials=self.startup,
            multivariate=True,
            constant_liar=True,
        )

    def _running(self, trial: Trial, kept: FrozenTrial | None) -> Running:
        if kept is not None:
            self.study.sampler = self._sampler(trial.number)  # draws what a kill between two places left open
        values = {place: _suggested(trial, place, one) for place, one in self.question.space.items()}
        facts = kept.user_attrs if kept is not None else {}
        begins = self.question.begins_at(trial.number)
        return Running(trial, values, self.question.rungs[facts.get("level", begins.level)])

    def judge(self, running: Sequence[Running], outcomes: Mapping[str, Outcome]) -> list[Running]:
        """Take in what came of a batch; those that go on, at their next rung.

        All scores are told before one trial is judged, so the order of a batch does not matter.
        """
        told = [(one, outcomes[one.member(self.question).name]) for one in running]
        scored = [pair for pair in told if self._taken_in(*pair)]
        return [one for one, outcome in scored if self._goes_on(one, outcome)]

    def _taken_in(self, one: Running, outcome: Outcome) -> bool:
        """Keep what is known of a trial; whether it has a score. A failed one ends here, with its cause."""
        trial, step = one.trial, self._step(one)
        known = self.all()[trial.number]  # `trial` itself does not see what it was told
        seconds = known.user_attrs.get("seconds", {}) | {str(one.rung.level): outcome.seconds}  # twice told counts once
        trial.set_user_attr("seconds", seconds)
        trial.set_user_attr("variant", one.member(self.question).name)
        trial.set_user_attr("status", outcome.status)
        if outcome.score is None:
            trial.set_user_attr("cause", outcome.cause)
            self.study.tell(trial, state=TrialState.FAIL)
            return False
        if step not in known.intermediate_values:  # else a kill came behind this line
            trial.report(outcome.score, step)
        return True

    def _goes_on(self, one: Running, outcome: Outcome) -> bool:
        """Whether a trial goes on; it then stands on its next rung, else it is finished."""
        trial = one.trial
        if one.rung.level == len(self.question.rungs) - 1 or outcome.status != "finished":
            self.study.tell(trial, outcome.score)
            return False
        if trial.should_prune():
            self.study.tell(trial, state=TrialState.PRUNED)
            return False
        one.rung = self.question.rungs[one.rung.level + 1]
        trial.set_user_attr("level", one.rung.level)
        return True

    def _step(self, one: Running) -> int:
        """Optuna's step of a rung: its budget in smallest rungs."""
        return self.question.factor**one.rung.level

    def scores_at(self, rung: Rung) -> list[float]:
        """Scores at a rung, one for all trials of the same values; without those that diverged."""
        step = self.question.factor**rung.level
        found = {str(one.params): one.intermediate_values.get(step, math.nan) for one in self.all()}
        return [score for score in found.values() if math.isfinite(score)]

    def values_of(self, trial: FrozenTrial) -> dict[str, Value]:
        """What was trained, by place: the parameters as their names say them."""
        space = self.question.space
        return {place: _value(space[place], trial.params[place]) for place in space if place in trial.params}

    def best(self) -> FrozenTrial | None:
        """The best of the trials that were trained at the full budget and did not diverge; the earlier of equal ones."""
        whole = [one for one in self.all() if state_of(one) == "finished"]
        return min(whole, key=lambda one: (self.question.loss(one.value), one.number), default=None)


class Halving(optuna.pruners.BasePruner):
    """Asynchronous successive halving (Li et al. 2020): of all trials that reached a budget, one in `factor` goes on, and
    whoever equals it. With Hyperband each group of trials that begin at the same rung is judged by itself.

    Optuna's own pruners see only those that they were asked about before, so of a batch that ends together they would
    promote one instead of one in `factor`; and its Hyperband trains at rungs where nobody is judged.
    """

    def __init__(self, question: Question) -> None:
        self.question = question

    def prune(self, study: optuna.study.Study, trial: FrozenTrial) -> bool:
        question, step = self.question, trial.last_step
        begins = question.begins_at(trial.number)
        known = [one for one in study.get_trials(deepcopy=False) if question.begins_at(one.number) == begins]
        losses = [question.loss(one.intermediate_values[step]) for one in known if step in one.intermediate_values]
        better = sum(loss < question.loss(trial.intermediate_values[step]) for loss in losses)
        return better >= max(1, len(losses) // question.factor)


def state_of(trial: FrozenTrial) -> str:
    """What became of a trial: finished, stopped early, diverged, failed or running."""
    if trial.state == TrialState.COMPLETE:
        return "finished" if trial.user_attrs["status"] == "finished" else "diverged"
    words = {TrialState.PRUNED: "stopped early", TrialState.FAIL: "failed", TrialState.RUNNING: "running"}
    return words.get(trial.state, "waiting")


def _suggested(trial: Trial, place: str, one: SearchDimension) -> Value:
    if one.choices is not None:
        texts = [one.choice(number).text for number in range(len(one.choices))]
        return _value(one, trial.suggest_categorical(place, texts))
    if one.kind == "int":
        step = int(one.step or 1)
        return _value(one, trial.suggest_int(place, int(one.low), int(one.highest), step=step, log=one.log))
    return _value(one, trial.suggest_float(place, one.low, one.highest, step=one.step, log=one.log))


def _value(one: SearchDimension, given: Any) -> Value:
    """The value that stands for a parameter of Optuna: choices go by their texts, numbers are rounded."""
    if one.choices is None:
        return one.near(given)
    return next(value for value in one.ends() if value.text == given)


def _storage(journal: Path) -> JournalStorage:
    """The journal, without the half line and the lock that a kill may have left. The caller is alone in its folder."""
    with disk_errors(journal):
        journal.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            journal.with_name(f"{journal.name}.lock").unlink()
        if journal.is_file():
            text = journal.read_bytes()
            whole = text.rfind(b"\n") + 1
            if whole < len(text):
                with open(journal, "rb+") as file:
                    file.truncate(whole)
        return JournalStorage(JournalFileBackend(str(journal)))
