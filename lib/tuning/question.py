"""What a tuning asks: which variant, which places of it, by which score on val, at which budgets. Not here: Optuna
(trials.py) and Snakemake (trainings.py).

A trial is a member of the variant as a search draws them, named by its values; a rung is that member with a smaller
`training.budget`, a variant of its own name. So every rung is an ordinary training of the DAG, kept and found again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from lib.config.base import ConfigError, nearest
from lib.config.jobs import Jobs
from lib.config.overrides import Value, parse_path
from lib.config.search import SearchDimension
from lib.config.study import Study
from lib.config.sweeps import label_of, mark, refuse_name
from lib.config.train import Budget

SCORES: dict[str, dict[str, tuple[str, float]]] = {
    "detection": {name: ("maximize", 0.0) for name in ("AP50", "AP", "precision", "recall")},
}
"""Task → scores on val that a training keeps of its best checkpoint (`best` in model.json) → direction and worst value."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Rung:
    """One budget: its place in the ladder (0 = smallest), and the overrides that make it; none for the full budget."""

    level: int
    budget: Budget
    words: tuple[str, ...]

    @property
    def amount(self) -> int:
        """Iterations, or epochs."""
        return self.budget.iterations or self.budget.epochs or 0

    @property
    def unit(self) -> str:
        return "iterations" if self.budget.iterations else "epochs"


@dataclass(frozen=True)
class Member:
    """One training to be made: its variant's name and the overrides that make it from the base."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A tuning, checked against its study."""

    study: str
    variant: str
    dataset: str  # that the variant is trained on
    seeds: tuple[int, ...]
    metric: str
    direction: str  # maximize or minimize
    worst: float  # the score of a training that diverged
    space: Mapping[str, SearchDimension]
    rungs: tuple[Rung, ...]
    factor: int
    pruner: str
    base: Mapping[str, Any]  # what the trainings are told and made from beside what is tuned

    def member(self, values: Mapping[str, Value], rung: Rung) -> Member:
        """The variant of these values at a rung."""
        labels: list[str] = []
        name, words = self.variant, []
        for place, value in values.items():
            path = parse_path(place, "space")
            labels.append(label_of(("variants", self.variant, *path), labels))
            name += f"--{mark(labels[-1], value)}"
            words.append(f"{quoted(path)}={literal(value.value)}")
        if rung.words:
            name += f"--rung-{rung.amount}"
        refuse_name(name, (), f"a trial of {self.variant}", "")
        return Member(name, (*words, *rung.words))

    def cards(self, name: str) -> list[str]:
        """The model.json of every seed of a member."""
        return [f"results/train/{self.dataset}/{name}/seed={seed}/model.json" for seed in self.seeds]

    def facts(self) -> dict[str, Any]:
        """What must stay the same while a tuning goes on, as plain values."""
        return {
            "variant": self.variant,
            "dataset": self.dataset,
            "seeds": list(self.seeds),
            "metric": self.metric,
            "pruner": self.pruner,
            "factor": self.factor,
            "rungs": [f"{rung.amount} {rung.unit}" for rung in self.rungs],
            "space": {place: one.model_dump(mode="json", exclude_defaults=True) for place, one in self.space.items()},
            "base": dict(self.base),
        }


def ask(
    study: Study,
    variant: str,
    space: Mapping[str, SearchDimension] | None,
    *,
    metric: str | None,
    dataset: str | None,
    pruner: str,
    rungs: int,
    factor: int,
) -> Question:
    """Check what is asked for (metric None: the task's first). ConfigError says the place, what is allowed and a hint."""
    entry = study.find("variants", variant)
    if entry.kind != "model":
        raise ConfigError(
            f"--variant: {variant!r} is of kind {entry.kind}: nothing is trained. Hint: a variant of kind model."
        )
    if space is None:
        raise ConfigError(
            f"--variant: {variant!r} has no `search:` block, nor has the study, to take the space from. "
            "Hint: --space 'training.lr0={low: 1e-4, high: 1e-2, log: true}'"
        )
    known = SCORES.get(entry.task, {})
    metric = metric or next(iter(known), "any")
    if metric not in known:
        raise ConfigError(f"--metric: a training keeps no score {metric!r} on val. {nearest(metric, known)}")
    levels = 1 if pruner == "none" else rungs
    tuned = next((place for place in space if parse_path(place, "space")[:2] in _BUDGET), None)
    if levels > 1 and tuned is not None:
        raise ConfigError(f"--space: {tuned} is what the rungs change. Hint: leave it out, or --pruner none.")
    direction, worst = known[metric]
    trained_on = study.trained_on(variant, _dataset(study, variant, dataset))
    return Question(
        study=study.study,
        variant=variant,
        dataset=trained_on,
        seeds=tuple(study.seeds_of(variant)),
        metric=metric,
        direction=direction,
        worst=worst,
        space=dict(space),
        rungs=ladder(study, variant, levels, factor),
        factor=factor,
        pruner=pruner,
        base=_base(study, variant, trained_on),
    )


def _base(study: Study, variant: str, dataset: str) -> dict[str, Any]:
    """Settings of the variant's training and of what it is trained on: scores of others are no scores of this tuning."""
    jobs, arm = Jobs(study), study.variants[variant].arm
    shardset = study.arms[arm].shardset
    job = SimpleNamespace(variant=variant, dataset=dataset, arm=arm, shardset=shardset)
    makers = {"training": jobs.train, "arm": jobs.subsample, "shardset": jobs.shard, "dataset": jobs.download}
    return {key: json.loads(maker(job)) for key, maker in makers.items()}


_BUDGET = (("training", "budget"), ("training", "epochs"))


def _dataset(study: Study, variant: str, named: str | None) -> str:
    """The dataset of the boards that list a variant (or its members), or the one that is named."""
    if named is not None:
        study.find("datasets", named)
        return named
    rows = {name for name in study.variants if name == variant or name.startswith(f"{variant}--")}
    found = sorted({board.dataset for board in study.score_boards.values() if rows & set(board.variants)})
    if len(found) != 1:
        listed = f"boards of {', '.join(found)} list" if found else "no board lists"
        raise ConfigError(
            f"--variant: {listed} {variant!r}. Hint: say which with --dataset. Known: {', '.join(study.datasets)}."
        )
    return found[0]


def ladder(study: Study, variant: str, levels: int, factor: int) -> tuple[Rung, ...]:
    """The budgets of a tuning, smallest first: full / factor^k, evaluations in the same measure; the last is the full one.

    A rung is trained from the start to its end, learning rate and all; it is no cut training. ConfigError where two rungs
    would be the same budget.
    """
    training = study.training_of(variant)
    full, found = training.budget, []
    for level in range(levels):
        share = factor ** (level + 1 - levels)
        if share == 1:
            found.append(Rung(level, full, ()))
            continue
        if full.epochs:
            budget = Budget(epochs=max(1, round(full.epochs * share)))
        else:
            evaluations = max(1, math.floor(full.evaluations * share))
            each = max(1, round(full.iterations * share / evaluations))
            budget = Budget(iterations=each * evaluations, evaluations=evaluations)
        stated = {key: value for key, value in budget.model_dump().items() if value is not None}
        words = [f"training.budget={json.dumps(stated)}"]
        if training.patience is not None and training.patience >= budget.rounds:
            words.append("training.patience=null")  # it could not act within so few evaluations
        found.append(Rung(level, budget, tuple(words)))
    amounts = [rung.amount for rung in found]
    if len(set(amounts)) != len(amounts):
        listed = ", ".join(map(str, amounts))
        raise ConfigError(
            f"--rungs: {levels} rungs of {found[-1].unit} would be {listed}. Hint: fewer --rungs, or a larger budget."
        )
    return tuple(found)


def checked(question: Question) -> list[Member]:
    """Members at the ends of every dimension, at the smallest and at the full budget: settings that trials must accept."""
    first = {place: one.ends()[0] for place, one in question.space.items()}
    found = {}
    for rung in dict.fromkeys((question.rungs[0], question.rungs[-1])):
        for place, one in question.space.items():
            for value in one.ends():
                member = question.member(first | {place: value}, rung)
                found[member.name] = member
    return list(found.values())


def new_text(base: str, members: Sequence[Member]) -> str:
    """What `--config new=` takes for these members."""
    return "; ".join(f"{one.name}={base} {' '.join(one.words)}" for one in members)


def quoted(path: Sequence[str]) -> str:
    """A dotted place, its parts in quotes where they are no plain words."""
    return ".".join(part if _PLAIN.fullmatch(part) else _in_quotes(part) for part in path)


def literal(value: Any) -> str:
    """A value as one word of the override language that means exactly it."""
    text = _in_quotes(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return re.sub(r"^(-?\d+)e", r"\1.0e", text)  # YAML takes 1e-05 for text


def _in_quotes(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
