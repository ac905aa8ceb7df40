"""How the sections of a study refer to each other, and what no section can see alone: unknown names, circles, classes
that a dataset does not have. Not here: the sections themselves (study.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from lib.config import clip_references, paraphrase_references
from lib.config.base import ConfigError, nearest
from lib.config.clip_references import feature_roles
from lib.config.detect import ModelDetector
from lib.config.embed import Objects
from lib.config.subsample import Arm
from lib.config.tasks import TASKS
from lib.config.train import ENGINES

if TYPE_CHECKING:
    from lib.config.study import Study


def check(study: Study) -> None:
    """Raise ConfigError for the first reference that leads nowhere or cannot be followed, with what is known."""
    for place, table, name in _references(study):
        if name not in getattr(study, table):
            raise ConfigError(f"{place}: unknown {one_of(table)} {name!r}. {nearest(name, getattr(study, table))}")
    others = sorted({*TASKS, *ENGINES} - {"detection", study.training.engine})
    for task in study.trainings:
        if task not in others:
            raise ConfigError(
                f"trainings.{task}: no task or engine that has its defaults here (detection by {study.training.engine} has "
                f"`training:`). {nearest(task, others)}"
            )
    _refuse_circles(study)
    _refuse_mixed_boards(study)
    _refuse_mixed_ensembles(study)
    _refuse_blind_weights(study)
    clip_references.check(study)
    paraphrase_references.check(study)
    _refuse_unknown_classes(study)


def _references(study: Study) -> Iterable[tuple[str, str, str]]:
    """Every (place, table, name) by which one section refers to another."""
    for name, weights in study.weights.items():
        if weights.variant:
            yield f"weights.{name}.variant", "variants", weights.variant
            yield f"weights.{name}.dataset", "datasets", weights.dataset
    for name, detector in study.detectors.items():
        if isinstance(detector, ModelDetector):
            yield f"detectors.{name}.weights", "weights", detector.weights
    yield from _track_references(study)
    for name, role, featureset in feature_roles(study):
        yield f"shardsets.{name}.{role}", "featuresets", featureset
    for name, arm in study.arms.items():
        yield f"arms.{name}.shardset", "shardsets", arm.shardset
        if arm.size_of:
            yield f"arms.{name}.size_of", "arms", arm.size_of
    yield from _variant_references(study)
    yield from _board_references(study)


def _track_references(study: Study) -> Iterable[tuple[str, str, str]]:
    """Whose tracks features and samples are made of."""
    users = {f"featuresets.{name}": one for name, one in study.featuresets.items() if isinstance(one, Objects)}
    packed = {name: getattr(one, "tracks", None) for name, one in study.shardsets.items()}
    users |= {f"shardsets.{name}.tracks": tracks for name, tracks in packed.items() if tracks}
    for place, user in users.items():
        yield f"{place}.detector", "detectors", user.detector
        yield f"{place}.tracker", "trackers", user.tracker


def _board_references(study: Study) -> Iterable[tuple[str, str, str]]:
    for name, board in study.boards.items():
        yield f"boards.{name}.dataset", "datasets", board.dataset
        for table in ("variants", "tta", "detectors", "trackers"):
            for entry in getattr(board, table) or ():
                yield f"boards.{name}.{table}", table, entry


def _variant_references(study: Study) -> Iterable[tuple[str, str, str]]:
    for name, variant in study.variants.items():
        for field, table in (("arm", "arms"), ("train_on", "datasets"), ("weights", "weights")):
            if getattr(variant, field):
                yield f"variants.{name}.{field}", table, getattr(variant, field)
        for member in variant.members or ():
            yield f"variants.{name}.members", "variants", member
        start = (study.common_training(name) | variant.training).get("weights")
        if start and "weights" in TASKS[variant.task].training.model_fields:
            yield f"variants.{name}.training.weights", "weights", start


def one_of(table: str) -> str:
    """What one entry of a table is called in a message."""
    return table if table in ("weights", "tta") else table.removesuffix("s")


def _refuse_circles(study: Study) -> None:
    """Raise ConfigError when an entry needs itself, such as a detector trained on shards that hold its own tracks."""
    needs: dict[str, list[str]] = {}
    for place, table, name in _references(study):
        needs.setdefault(".".join(place.split(".")[:2]), []).append(f"{table}.{name}")
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))  # it names each entry after what needs it
        raise ConfigError(
            f"{circle[0]} needs itself: {' → '.join(circle)}. Hint: train a detector on an arm whose shardset "
            "has no `tracks:` of it, and start a training from weights that do not come from it."
        ) from error


def check_scores(study: Study, variant: str) -> None:
    """Raise ConfigError for a score on val that the variant's task does not give: now, not after hours of training."""
    task = study.variants[variant].task
    known = {*TASKS[task].val, "val/loss"} if TASKS[task].val else None
    for place, score, _ in getattr(study.training_of(variant), "named_scores", list)():
        if known is not None and score not in known:
            raise ConfigError(
                f"variants.{variant}.training.{place}: task {task} gives no {score!r} on val. {nearest(score, known)}"
            )


def _refuse_mixed_boards(study: Study) -> None:
    """Raise ConfigError for a board of several tasks, or with a metric or views that its task does not have."""
    for name, board in study.boards.items():
        tasks = {variant: study.variants[variant].task for variant in board.variants or ()}
        if len(set(tasks.values())) > 1:
            other = next(variant for variant in tasks if tasks[variant] != tasks[board.variants[0]])
            raise ConfigError(
                f"boards.{name}.variants: {board.variants[0]} is of task {tasks[board.variants[0]]}, {other} of task "
                f"{tasks[other]}. Hint: scores of two tasks are not comparable; make a board of each."
            )
        for task in set(tasks.values()):
            metrics = TASKS[task].metrics
            if board.metric is not None and board.metric not in metrics:
                raise ConfigError(
                    f"boards.{name}.metric: task {task} has no {board.metric!r}. {nearest(board.metric, metrics)}"
                )
            for tta in board.tta or ():
                _refuse_other_views(f"boards.{name}.tta", study, task, tta)


def _refuse_other_views(place: str, study: Study, task: str, tta: str) -> None:
    """Raise ConfigError for a view by which the task cannot look."""
    known = TASKS[task].views
    for number, view in enumerate(study.tta[tta].views):
        strange = [look for look in view.looks() if look not in known]
        if strange and not known:
            raise ConfigError(f"{place}: task {task} has no test-time views, {tta!r} has. Hint: [none]")
        if strange:
            raise ConfigError(
                f"{place}: view {number} of {tta!r} has `{strange[0]}`, by which task {task} cannot look. "
                f"Known: {', '.join(known)}."
            )


def _refuse_mixed_ensembles(study: Study) -> None:
    """Raise ConfigError for an ensemble with members of another task, without a seed that they have, or of its own kind."""
    for name, variant in study.variants.items():
        for member in variant.members or ():
            other = study.variants[member]
            if other.task != variant.task or other.kind == "ensemble":
                what = "an ensemble itself" if other.kind == "ensemble" else f"of task {other.task}, not {variant.task}"
                raise ConfigError(
                    f"variants.{name}.members: {member!r} is {what}. Hint: name trained variants of one task."
                )
            missing = set(variant.member_seeds or ()) - set(study.seeds_of(member))
            if missing:
                raise ConfigError(
                    f"variants.{name}.member_seeds: {member!r} has no seed {min(missing)}, but {study.seeds_of(member)}. "
                    "Hint: add it to `seeds`, or leave `member_seeds` out."
                )


def _refuse_blind_weights(study: Study) -> None:
    """Raise ConfigError for weights made of a floor that looks at no picture: there is no network in it."""
    for name, weights in study.weights.items():
        floor = study.variants[weights.variant].floor if weights.variant else None
        if floor in ("prior", "chance"):
            raise ConfigError(
                f"weights.{name}.variant: {weights.variant!r} is a floor ({floor}) without a network. "
                "Hint: name a variant of kind model or pretrained, or the floor `untrained`."
            )


def _refuse_unknown_classes(study: Study) -> None:
    """Raise ConfigError for a class in an arm that a dataset of the arm does not have, where settings name its classes.

    An arm that no training is known to take must fit one of the study's datasets: it may be asked for by its file.
    """
    datasets: dict[str, set[str]] = {}
    stated = {(name, variant.train_on) for name, variant in study.variants.items() if variant.train_on}
    for name, dataset in study.trained_pairs() | stated:
        datasets.setdefault(study.variants[name].arm or "", set()).add(dataset)
    for name, arm in study.arms.items():
        for dataset in sorted(datasets.get(name, ())):
            _refuse_strangers(arm, f"arms.{name}.fractions", f"dataset {dataset!r}", study.datasets[dataset].known_classes)
        if name not in datasets and study.datasets:
            each = [dataset.known_classes for dataset in study.datasets.values()]
            every = None if None in each else tuple(dict.fromkeys(one for classes in each for one in classes))
            whose = f"dataset {next(iter(study.datasets))!r}" if len(each) == 1 else "any dataset of this study"
            _refuse_strangers(arm, f"arms.{name}.fractions", whose, every)


def _refuse_strangers(arm: Arm, place: str, whose: str, known: Sequence[str] | None) -> None:
    for name in arm.fractions:
        if known is not None and name not in known:
            raise ConfigError(f"{place}.{name}: {name!r} is not a class of {whose}. {nearest(name, known)}")
