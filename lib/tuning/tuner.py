"""The loop of a tuning: ask for trials, train a batch, judge it, write down how it stands. Not here: the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.config.study import Study
from lib.reporting.tuning import tuning_figure
from lib.tuning import records
from lib.tuning.question import Member, Question, Rung
from lib.tuning.trainings import Outcome, Trainings
from lib.tuning.trials import Running, Trials, state_of


class Tuner:
    """One tuning in its folder, from what is there already to `trials` trials."""

    def __init__(
        self,
        question: Question,
        trials: Trials,
        trainings: Trainings,
        *,
        folder: Path,
        study: Study,
        stated: Mapping[str, Any],
        new: str | None,
        overlaid: Sequence[str],
        command: Sequence[str],
    ) -> None:
        self.question = question
        self.trials = trials
        self.trainings = trainings
        self.folder = folder
        self.study = study
        self.stated = stated
        self.new = new
        self.overlaid = overlaid  # the command that takes best.yaml
        self.command = command  # that began this tuning
        self.batches = len(list(trainings.logs.glob("*.log")))

    def run(self, wanted: int, parallel: int) -> list[dict[str, Any]]:
        """Train until there are `wanted` trials, `parallel` of them at a time; their rows.

        Trials that a kill left go on first; those that are finished are kept.
        """
        running = self.trials.unfinished()
        while True:
            while len(running) < parallel and len(self.trials.all()) < wanted:
                running.append(self.trials.ask())
            if not running:
                return self.write()
            running = self.step(running)
            self.write()

    def step(self, running: Sequence[Running]) -> list[Running]:
        """Train the current rung of these trials and judge them; those that go on."""
        self.batches += 1
        for one in running:
            print(f"trial {one.trial.number}: {one.member(self.question).name}", file=sys.stderr, flush=True)
        outcomes = self.trainings.make([one.member(self.question) for one in running], self.batches)
        names = {one.trial.number: one.member(self.question).name for one in running}
        rungs = dict.fromkeys(one.rung for one in running)
        on = self.trials.judge(running, outcomes)
        for number, name in names.items():
            goes_on = any(one.trial.number == number for one in on)
            print(self._told(number, outcomes[name], goes_on), file=sys.stderr, flush=True)
        self._tell_idle_rungs(rungs)
        return on

    def _tell_idle_rungs(self, rungs: Iterable[Rung]) -> None:
        """Say where all trials score the same: nothing is learnt there, and nobody is stopped early."""
        for rung in rungs:
            scores = self.trials.scores_at(rung)
            if rung.words and len(scores) > 1 and len(set(scores)) == 1:
                print(
                    f"warning: all {len(scores)} trials score {scores[0]:g} at {rung}: that rung decides nothing. Hint: a "
                    "smaller --factor, fewer --rungs or --pruner none, with another --name.",
                    file=sys.stderr,
                    flush=True,
                )

    def _told(self, number: int, outcome: Outcome, goes_on: bool) -> str:
        state = "goes on" if goes_on else state_of(self.trials.all()[number])
        if outcome.status == "finished":
            return f"trial {number}: {state}, {self.question.scored_by} {outcome.score:.4g}"
        return f"trial {number}: " + (f"failed, {outcome.cause}" if outcome.status == "failed" else outcome.status)

    def rows(self) -> list[dict[str, Any]]:
        """All trials as rows of trials.csv."""
        return [
            records.row_of(
                self.question,
                one.number,
                state_of(one),
                one.user_attrs,
                self.trials.values_of(one),
                one.intermediate_values,
            )
            for one in self.trials.all()
        ]

    def write(self) -> list[dict[str, Any]]:
        """Write trials.csv, tuning.json, trials.png and, once there is one, best.yaml; the rows."""
        question, rows, best = self.question, self.rows(), self.trials.best()
        records.write_trials(rows, self.folder / "trials.csv")
        if best is not None:
            records.write_best(
                question,
                rows[best.number],
                self._member(best),
                stated=self.stated,
                new=self.new,
                study=self.study,
                run=self.overlaid,
                trials=len(rows),
                path=self.folder / "best.yaml",
            )
        row = None if best is None else rows[best.number]
        records.write_facts(question, rows, row, command=self.command, path=self.folder / "tuning.json")
        tuning_figure(
            rows,
            question.metric,
            question.scored_by,
            question.space,
            self.folder / "trials.png",
            mode=question.mode,
            title=f"Trials of {question.variant} (on {question.dataset})",
            best=None if best is None else best.number,
            dpi=self.study.report.dpi,
        )
        return rows

    def _member(self, trial: Any) -> Member:
        return self.question.member(self.trials.values_of(trial), self.question.rungs[-1])
