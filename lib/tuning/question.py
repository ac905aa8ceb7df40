"""What a tuning asks: which variant, which places of it, by which score on val, at which budgets. Not here: Optuna
(trials.py) and Snakemake (trainings.py).

A trial is a member of the variant as a search draws them, named by its values; a rung is that member with a smaller
`training.budget`, a variant of its own name. So every rung is an ordinary training of the DAG, kept and found again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

from lib.config.base import ConfigError, Section, nearest
from lib.config.jobs import Jobs
from lib.config.overrides import Value, parse_path
from lib.config.search import SearchDimension
from lib.config.study import Study
from lib.config.sweeps import label_of, mark, refuse_name
from lib.config.train_base import Training
from lib.config.train_optim import Mode

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Rung:
    """One budget: its place in the ladder (0 = smallest), and the overrides that make it; none for the full budget."""

    level: int
    amount: int
    unit: str  # iterations, steps or epochs
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"


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
    metric: str  # a key of `best` in model.json
    mode: Mode  # whether its low (min) or its high (max) values are good
    space: Mapping[str, SearchDimension]
    rungs: tuple[Rung, ...]
    factor: int
    pruner: str
    base: Mapping[str, Any]  # what the trainings are told and made from beside what is tuned

    @property
    def worst(self) -> float:
        """The score of a training that diverged: behind every number."""
        return -math.inf if self.mode == "max" else math.inf

    def loss(self, score: float) -> float:
        """The score turned so that low is good: what trials are sorted by."""
        return -score if self.mode == "max" else score

    @property
    def scored_by(self) -> str:
        """The metric in words."""
        return f"{self.metric.removeprefix('val/')} on val"

    def begins_at(self, number: int) -> Rung:
        """The rung at which a trial begins: the smallest; with Hyperband some begin further up (Li et al. 2018).

        Of s rungs, ⌈s·factor^k/(k+1)⌉ trials of each round begin k rungs below the full budget. Which ones follows from
        their numbers, evenly spread by the golden ratio.
        """
        if self.pruner != "hyperband":
            return self.rungs[0]
        many = len(self.rungs)
        below = range(many - 1, -1, -1)  # rungs below the full one, by level
        shares = list(accumulate(math.ceil(many * self.factor**one / (one + 1)) for one in below))
        place = number * (math.sqrt(5) - 1) / 2 % 1 * shares[-1]
        return next(rung for rung, share in zip(self.rungs, shares, strict=True) if place < share)

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
            "rungs": [str(rung) for rung in self.rungs],
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
    """Check what is asked for; metric None: the main one. ConfigError says the place, what is allowed and a hint."""
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
    other = next((place for place in space if not _is_tunable(place)), None)
    if other is not None:
        raise ConfigError(
            f"--space: {other} cannot be tuned: scores of trials would not compare. Hint: places of `training` (not "
            "training.best), and `arm`."
        )
    training = study.training_of(variant)
    known = training.val_scores()
    metric = metric or next(iter(known))
    if metric not in known:
        raise ConfigError(f"--metric: a training keeps no score {metric!r} on val. {nearest(metric, known)}")
    trained_on = study.trained_on(variant, _dataset(study, variant, dataset))
    return Question(
        study=study.study,
        variant=variant,
        dataset=trained_on,
        seeds=tuple(study.seeds_of(variant)),
        metric=metric,
        mode=known[metric],
        space=dict(space),
        rungs=ladder(training, 1 if pruner == "none" else rungs, factor, space),
        factor=factor,
        pruner=pruner,
        base=_base(study, variant, trained_on),
    )


def _is_tunable(place: str) -> bool:
    """Whether trials with other values there are still judged alike: on the same dataset and seeds, by the same score."""
    path = parse_path(place, "space")
    return path[0] in ("training", "arm") and path[:2] != ("training", "best")


def _base(study: Study, variant: str, dataset: str) -> dict[str, Any]:
    """Settings of the variant's training and of what it is trained on: scores of others are no scores of this tuning."""
    jobs, arm = Jobs(study), study.variants[variant].arm
    shardset = study.arms[arm].shardset
    job = SimpleNamespace(variant=variant, dataset=dataset, arm=arm, shardset=shardset)
    makers = {"training": jobs.train, "arm": jobs.subsample, "shardset": jobs.shard, "dataset": jobs.download}
    return {key: json.loads(maker(job)) for key, maker in makers.items()}


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


def ladder(training: Training, levels: int, factor: int, space: Iterable[str]) -> tuple[Rung, ...]:
    """The budgets of a tuning, smallest first: full / factor^k, made by the settings' class; the last is the full one.

    A rung is trained from the start to its end, learning rate and all; it is no cut training. ConfigError where two rungs
    would be the same budget, and for a place of the space that the rungs set themselves.
    """
    set_by_rungs, found = set(training.budget_keys), []
    for level in range(levels):
        changes = training.shortened(factor ** (level + 1 - levels)) if level < levels - 1 else {}
        budget = changes.get("budget", training.budget)
        words = tuple(f"training.{key}={literal(_plain(value))}" for key, value in changes.items())
        found.append(Rung(level, budget.amount, budget.unit, words))
        set_by_rungs |= changes.keys()
    amounts = [rung.amount for rung in found]
    if len(set(amounts)) != len(amounts):
        listed = ", ".join(map(str, amounts))
        raise ConfigError(
            f"--rungs: {levels} rungs of {found[-1].unit} would be {listed}. Hint: fewer --rungs, or a larger budget."
        )
    paths = {place: parse_path(place, "space") for place in space}
    tuned = next((place for place, path in paths.items() if path[0] == "training" and {*path[1:2]} & set_by_rungs), None)
    if levels > 1 and tuned is not None:
        raise ConfigError(f"--space: {tuned} is what the rungs change. Hint: leave it out, or --pruner none.")
    return tuple(found)


def _plain(value: Any) -> Any:
    """A section as it would be written: without what is not stated."""
    return value.model_dump(mode="json", exclude_none=True) if isinstance(value, Section) else value


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
