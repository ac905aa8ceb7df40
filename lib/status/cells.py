"""Which trainings a study is made of, and what is known of each before it is looked at. Not here: how they stand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from lib import provenance
from lib.config.inputs import Inputs
from lib.config.jobs import Jobs
from lib.config.merge import CONFIG_FOLDER
from lib.config.study import Study
from lib.config.targets import Chosen, choose
from lib.config.train import TrainingSettings
from lib.config.train_optim import Mode
from lib.files import DataError


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training: dataset × variant × seed. metric, mode: the score on val that chooses its weights (None: a floor)."""

    dataset: str
    variant: str
    seed: int
    task: str
    kind: str
    size: str
    metric: str | None = None
    mode: Mode = "max"
    total: int | None = None  # epochs or steps, where the settings state them
    unit: str = "steps"
    inputs: tuple[str, ...] = ()
    settings: str = '{"recipe": 1}'  # canonical JSON, as the job is told
    stall_s: float = 1800.0  # after which a training without a step counts as stuck (running.stall_seconds)

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.variant}/seed={self.seed}"

    @property
    def folder(self) -> Path:
        return Path("results/train", self.dataset, self.variant, f"seed={self.seed}")

    @property
    def log(self) -> Path:
        return Path("results/logs/train", self.dataset, self.variant, f"seed={self.seed}.log")

    @property
    def comment(self) -> str:
        """The comment of this training's job, as snakemake-executor-plugin-slurm writes it: wildcards joined by `_`."""
        return f"rule_train_wildcards_{self.dataset}_{self.variant}_{self.seed}"


def cells_of(study: Study, only: str | None = None) -> list[Cell]:
    """All trainings of a study in the order of its boards, those of `weights:` first; only: as `choose` takes it."""
    chosen = choose(study, only)
    inputs, jobs = Inputs(study, CONFIG_FOLDER.parent), Jobs(study)
    return [
        _cell(study, jobs, inputs, dataset, variant, seed)
        for dataset, variant in _pairs(study, chosen, whole=only is None)
        for seed in study.seeds_of(variant)
    ]


def _pairs(study: Study, chosen: Chosen, *, whole: bool) -> list[tuple[str, str]]:
    """(dataset that it is trained on, variant), each once."""
    weights = [(one.dataset, one.variant) for one in study.weights.values() if one.variant] if whole else []
    rows = [
        (board.dataset, variant)
        for name, board in study.score_boards.items()
        for variant in board.variants or ()
        if (name, variant) in chosen.rows
    ]
    return list(dict.fromkeys((study.trained_on(variant, dataset), variant) for dataset, variant in [*weights, *rows]))


def _cell(study: Study, jobs: Jobs, inputs: Inputs, dataset: str, variant: str, seed: int) -> Cell:
    entry, training = study.variants[variant], study.training_of(variant)
    wildcards = SimpleNamespace(dataset=dataset, variant=variant, seed=str(seed))
    makers: tuple[Callable[..., str | list[str]], ...] = (inputs.train_subset, inputs.train_shards, inputs.train_weights)
    trained = entry.kind == "model"
    metric, mode = chosen_by(training) if trained else (None, "max")
    total, unit = _budget(training) if trained else (None, "steps")
    return Cell(
        dataset=dataset,
        variant=variant,
        seed=seed,
        task=entry.task,
        kind=entry.floor or entry.kind,
        size=study.size_of(variant),
        metric=metric,
        mode=mode,
        total=total,
        unit=unit,
        inputs=tuple(path for make in makers if isinstance(path := make(wildcards), str)),
        settings=jobs.train(wildcards),  # type: ignore[arg-type]
        stall_s=study.running.stall_seconds,
    )


def chosen_by(training: object) -> tuple[str, Mode]:
    """The score on val by which a training keeps its weights, as `best` in model.json names it, and what is good."""
    if isinstance(training, TrainingSettings):
        return "AP", "max"  # ultralytics' fitness, as lib/training/yolo_trainer.py sets it
    return next(iter(training.val_scores().items()))  # type: ignore[attr-defined]


def _budget(training: object) -> tuple[int | None, str]:
    """How long is trained, as far as the settings say it: (number, steps or epochs)."""
    budget = getattr(training, "budget", None)
    for key, unit in (("iterations", "steps"), ("steps", "steps"), ("epochs", "epochs")):
        if getattr(budget, key, None):
            return int(getattr(budget, key)), unit
    return None, "steps"


def wanted_fingerprint(cell: Cell, root: Path) -> str | None:
    """What model.json of a training with the settings and inputs of now says; None while inputs are not made."""
    settings = json.loads(cell.settings)
    roles = {"subset": "results/subsets/", "shards": "results/shards/", "weights": "results/weights/"}
    sources: dict[str, str] = {}
    for path in cell.inputs:
        role = next(role for role, begin in roles.items() if path.startswith(begin))
        if not (root / path).is_file() or not provenance.meta_path(root / path).is_file():
            return None
        try:
            sources[role] = provenance.identity_of(root / path)
        except (DataError, KeyError):
            return None
    return provenance.identity("train", settings["recipe"], settings | {"seed": cell.seed}, sources)


def by_comment(cells: Iterable[Cell]) -> dict[str, Cell]:
    """Comment of a Slurm job → its training. Names may hold `_`: a comment that two trainings share tells of neither."""
    listed = list(cells)
    shared = Counter(cell.comment for cell in listed)
    return {cell.comment: cell for cell in listed if shared[cell.comment] == 1}
