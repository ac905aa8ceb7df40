"""A small question and trainings that are a formula of their values, for tests of what Optuna is told."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lib.config.overrides import Value
from lib.config.search import read_space
from lib.config.study import Study, load_study
from lib.tuning.question import Question, ask
from lib.tuning.trainings import Outcome
from lib.tuning.trials import Running, Trials
from tests.lib.config.made import SMALL

SPACE: dict[str, Any] = {
    "training.lr0": {"low": 1e-4, "high": 1e-1, "log": True},
    "training.batch": {"choices": [4, 8]},
    "training.warmup": {"low": 0, "high": 20, "kind": "int"},
}
TRAINING = {"imgsz": 64, "budget": {"iterations": 270, "evaluations": 9}}


def small(folder: Path, **settings: Any) -> Study:
    """A study of one file in `folder`; the seed is one."""
    path = folder / "study.yaml"
    values = copy.deepcopy(SMALL) | {"seeds": [0], "training": TRAINING} | settings
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return load_study([path])


def question(study: Study, space: dict[str, Any] | None = None, **given: Any) -> Question:
    values = {"metric": "AP50", "dataset": None, "pruner": "halving", "rungs": 3, "factor": 3} | given
    return ask(study, "less", read_space(SPACE if space is None else space, "--space"), **values)


def score(values: Mapping[str, Value], share: float) -> float:
    """Best at lr0 = 0.01 and batch 8; a smaller share of the budget scores less, in the same order."""
    distance = abs(math.log10(values["training.lr0"].value) + 2)
    return round((0.9 - 0.3 * distance - (0.05 if values["training.batch"].value == 4 else 0)) * share**0.2, 6)


def trained(running: Running, asked: Question) -> Outcome:
    share = running.rung.amount / asked.rungs[-1].amount
    return Outcome("finished", score(running.values, share), 10.0)


def tuned(
    trials: Trials, wanted: int, parallel: int, make: Callable[[Running, Question], Outcome] = trained, steps: int = 10_000
) -> list[list[str]]:
    """The loop of a tuning without Snakemake; the names of every batch. steps: batches after which it is killed."""
    running, batches = trials.unfinished(), []
    while len(batches) < steps:
        while len(running) < parallel and len(trials.all()) < wanted:
            running.append(trials.ask())
        if not running:
            break
        batches.append([one.member(trials.question).name for one in running])
        running = trials.judge(running, {one.member(trials.question).name: make(one, trials.question) for one in running})
    return batches
