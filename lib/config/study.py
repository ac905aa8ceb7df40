"""The whole settings of one study: its sections, and look-ups that answer with a hint.

Not here: each section's fields (one file per stage beside this one), how sections refer to each other (references.py),
reading files (merge.py), settings of a job (jobs.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_origin

from pydantic import Field, ValidationError, model_validator

from lib.config import references
from lib.config.base import ConfigError, Name, Section, explain, nearest, shown
from lib.config.detect import Detector
from lib.config.download import Dataset, Downloads
from lib.config.embed import Featureset
from lib.config.evaluate import EvaluateSettings
from lib.config.export import ExportSettings
from lib.config.leaderboard import Board
from lib.config.limits import Limits
from lib.config.merge import CONFIG_FOLDER, merged, read_with_includes
from lib.config.new_variants import parse_new, with_new
from lib.config.notify import Notify
from lib.config.overrides import Override, overridden, parse_overrides
from lib.config.predict import PredictSettings, Tta
from lib.config.report import ReportSettings
from lib.config.running import Running
from lib.config.search import Search
from lib.config.shard import AnyShardset
from lib.config.subsample import Arm
from lib.config.sweeps import expanded, taken_out
from lib.config.tasks import TASKS
from lib.config.track import Tracker
from lib.config.train import TrainingSettings
from lib.config.train_engines import DetectorTraining
from lib.config.variants import Variant
from lib.config.weights import Weights

DEFAULT_CONFIG = CONFIG_FOLDER / "config.yaml"
MODEL_SIZES = {"n": "nano", "t": "nano", "s": "small", "m": "medium", "l": "large", "x": "xlarge"}
SITE_VARIABLES = {
    "mirror": "VIPERSIGHT_MIRROR",
    "raw": "VIPERSIGHT_RAW",
    "features": "VIPERSIGHT_FEATURES",
    "shards": "WDS_SHARDS",
}
"""Key of `paths:` → environment variable of the same meaning, which wins."""
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


def size_class(model: str) -> str | None:
    """Size class of a model by its name: RF-DETR's are called by it, YOLO's end in a letter; None where neither says it."""
    return model if model in {*MODEL_SIZES.values(), "2xlarge"} else MODEL_SIZES.get(model[-1:])


class Paths(Section):
    """Places of this site; never part of a result's identity. Environment variables win over the file."""

    mirror: str | None = Field(None, description="Folder looked into before any download (VIPERSIGHT_MIRROR).")
    raw: str | None = Field(None, description="Folder that relative dataset roots start from (VIPERSIGHT_RAW).")
    features: str | None = Field(
        None, description="Folder that `folder` of feature files starts from (VIPERSIGHT_FEATURES)."
    )
    shards: str | None = Field(
        None,
        description="Folder of shards that stand already, as {dataset}/{shardset}/manifest.json in it (WDS_SHARDS): those "
        "of the same identity are checked and linked instead of packed, others are refused.",
    )

    def resolved(self, key: str) -> Path | None:
        """The folder named by the environment or the file, or None."""
        value = os.environ.get(SITE_VARIABLES[key]) or getattr(self, key)
        return Path(value).expanduser() if value else None

    def folders(self) -> dict[str, Path | None]:
        """All of them, resolved, by the environment variable that hands them to programs."""
        return {variable: self.resolved(key) for key, variable in SITE_VARIABLES.items()}


class Study(Section):
    """One study: what is downloaded, detected, tracked, sampled, trained, predicted and compared."""

    study: Name = Field(description="Name of the study.")
    description: str = shown("", "What the study asks, for people.")
    paths: Paths = Field(default_factory=Paths, description="Folders of this site; never part of a result.")
    limits: Limits = Field(
        default_factory=Limits, description="How much one media file may take to decode; never part of a result."
    )
    downloads: Downloads = Field(default_factory=Downloads, description="How files are fetched; never part of a result.")
    seeds: list[Seed] = Field([0], min_length=1, description="Seeds that every trained variant runs with.")
    datasets: dict[Name, Dataset] = Field(default_factory=dict, description="Name → where videos and truth come from.")
    weights: dict[Name, Weights] = Field(default_factory=dict, description="Name → a model file, or a trained variant.")
    detectors: dict[Name, Detector] = Field(default_factory=dict, description="Name → where boxes per frame come from.")
    trackers: dict[Name, Tracker] = Field(default_factory=dict, description="Name → how boxes become tracks.")
    featuresets: dict[Name, Featureset] = Field(
        default_factory=dict, description="Name → what turns clips, texts or tracked objects into features."
    )
    shardsets: dict[Name, AnyShardset] = Field(
        default_factory=dict, description="Name → which frames, or which clips with their queries, become samples."
    )
    arms: dict[Name, Arm] = Field(default_factory=dict, description="Name → a part of a shardset's frames or clips.")
    allow_equal_arms: bool = Field(False, description="Accept two arms that resolve to the same frames.")
    training: DetectorTraining = Field(
        default_factory=TrainingSettings,
        description="What every variant of task detection is trained with, unless it says otherwise; `engine`: by whom.",
    )
    trainings: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Other task, or other engine of task detection → what its variants are trained with, unless they say "
        "otherwise.",
    )
    running: Running = Field(
        default_factory=Running, description="Devices and logs of our own training loop; never part of a result."
    )
    notify: Notify = Field(
        default_factory=Notify,
        exclude=True,
        json_schema_extra={"shown": True},
        description="Who is told when a run has ended; never part of a result, and written nowhere.",
    )
    variants: dict[Name, Variant] = Field(default_factory=dict, description="Name → what is trained and compared.")
    sweep: dict[str, list[Any]] = Field(
        default_factory=dict,
        exclude=True,
        json_schema_extra={"shown": True},
        description="Dotted place -> values: `training.lr0: [1e-4, 5e-5]` makes a member of every trained row of the "
        "boards for each value, and several places their product. Members stand for their base on the boards.",
    )
    search: Search | None = Field(
        None,
        exclude=True,
        json_schema_extra={"shown": True},
        description="Draws members of every trained row of the boards from ranges of `training.*`, as `sweep` lists them.",
    )
    sweep_limit: int = Field(
        50,
        ge=1,
        json_schema_extra={"shown": True},
        description="Most entries that sweeps and searches of one run may make.",
    )
    tta: dict[Name, Tta] = Field(
        default_factory=lambda: {"none": Tta()}, description="Name → views of a frame that a prediction looks at."
    )
    predict: PredictSettings = Field(default_factory=PredictSettings, description="How trained variants look at videos.")
    export: ExportSettings = Field(default_factory=ExportSettings, description="What is drawn and written for people.")
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings, description="How predictions are scored.")
    boards: dict[Name, Board] = Field(default_factory=dict, description="Name → rows that are compared.")
    report: ReportSettings = Field(default_factory=ReportSettings, description="How pictures are drawn.")

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds: the same seed twice in {self.seeds}. Hint: a seed repeats a result, it adds none.")
        references.check(self)
        for name in self.variants:
            references.check_scores(self, name)
        for name, board in self.boards.items():
            if board.metric is None:  # what its rows are of says what they are ranked by
                self.boards[name] = board.model_copy(update={"metric": next(iter(TASKS[self.task_of(board)].metrics))})
        return self

    def task_of(self, board: Board) -> str:
        """The task that all variants of a score board are of."""
        return self.variants[(board.variants or [""])[0]].task

    def site(self) -> dict[str, str]:
        """What programs are handed beside their settings, because no result depends on it, by environment variable."""
        trusted = sorted(one.sha256 for one in self.weights.values() if one.allow_unsafe and one.sha256)
        folders = {variable: str(folder) for variable, folder in self.paths.folders().items() if folder}
        told = {one.VARIABLE: one.model_dump_json() for one in (self.limits, self.running, self.downloads)}
        return folders | told | {"VIPERSIGHT_UNSAFE_SHA256": ",".join(trusted)}

    def find(self, table: str, name: str) -> Any:
        """An entry of a named table, or a ConfigError that lists what is known."""
        entries = getattr(self, table)
        if name not in entries:
            raise ConfigError(
                f"unknown {references.one_of(table)} {name!r} in study {self.study!r}. {nearest(name, entries)}"
            )
        return entries[name]

    def training_of(self, variant: str) -> Any:
        """The resolved training knobs of a variant, of its task's class: the study's defaults with its differences."""
        entry = self.find("variants", variant)
        values = merged({"training": self.common_training(variant)}, {"training": entry.training})["training"]
        try:
            return TASKS[entry.task].settings_of(values).model_validate(values).resolved()
        except ValidationError as error:
            raise ConfigError(explain(error, f"variants.{variant}.training", values)) from error

    def common_training(self, variant: str) -> dict[str, Any]:
        """What a variant is trained with unless it says otherwise: the study's `training:`, or an entry of `trainings:`."""
        entry = self.find("variants", variant)
        if entry.task != "detection":
            return self.trainings.get(entry.task, {})
        engine = entry.training.get("engine", self.training.engine)
        if engine == self.training.engine:
            return self.training.model_dump(mode="json")
        return {"engine": engine} | self.trainings.get(engine, {})

    def seeds_of(self, variant: str) -> list[int]:
        """Seeds of a variant: its own or the study's; what is not trained has one."""
        entry = self.find("variants", variant)
        if entry.kind in ("pretrained", "ensemble"):
            return [0]
        return list(entry.seeds or self.seeds)

    def members_of(self, variant: str) -> list[tuple[str, int]]:
        """(variant, seed) of every member of an ensemble; of others none."""
        entry = self.find("variants", variant)
        return [(name, seed) for name in entry.members or () for seed in entry.member_seeds or self.seeds_of(name)]

    def size_of(self, variant: str) -> str:
        """Size class of a variant for its resources: stated, or by the letter that ends the model's name."""
        entry = self.find("variants", variant)
        if entry.size:
            return entry.size
        if entry.kind != "model":
            return "tiny"
        return size_class(str(getattr(self.training_of(variant), "model", ""))) or "medium"

    def gpus_of(self, variant: str) -> int:
        """GPUs on each node for a training of this variant: one per process of our own loop, else one."""
        training = self.training_of(variant)
        if not hasattr(training, "devices"):
            return 1
        return 0 if self.running.device == "cpu" else int(training.devices)

    def trained_on(self, variant: str, dataset: str) -> str:
        """The dataset that a variant is trained on when it is evaluated on `dataset`."""
        return self.find("variants", variant).train_on or dataset

    def trained_pairs(self) -> set[tuple[str, str]]:
        """Every (variant, dataset that it is trained on) that boards and weights ask for."""
        pairs = {(variant, board.dataset) for board in self.boards.values() for variant in board.variants or ()}
        pairs |= {(one.variant, one.dataset) for one in self.weights.values() if one.variant}
        return {(variant, self.trained_on(variant, dataset)) for variant, dataset in pairs}

    @cached_property
    def score_boards(self) -> dict[str, Board]:
        return {name: board for name, board in self.boards.items() if board.kind == "scores"}

    @cached_property
    def track_boards(self) -> dict[str, Board]:
        return {name: board for name, board in self.boards.items() if board.kind == "tracks"}


TABLES = tuple(
    name for name, field in Study.model_fields.items() if get_origin(field.annotation) is dict and name != "sweep"
)
"""Sections that hold named entries."""


def load_study(files: Sequence[str | Path] = (), overrides: Mapping[str, Any] | None = None) -> Study:
    """Read, merge and validate a study: the default one when no file is given.

    files: settings files in the order of the command line; the first names the study, later ones are laid over it.
    overrides: top-level keys laid over all files; besides, the texts `set` (dotted overrides and sweeps) and `new` (added
    variants). Sweeps of files and of `set` become named entries here. Raises ConfigError naming the place, the value and
    what is allowed.
    """
    given = dict(overrides or {})
    new = given.pop("new", None)
    stated, words = read_settings(files, given)
    where = ", ".join(str(file) for file in files) or str(DEFAULT_CONFIG)
    raw, sweeps, searches = taken_out(stated)
    sweeps += [one for one in words if one.sweeps]
    if new is not None:
        added = parse_new(new)
        raw, more = with_new(raw, _validated(raw, where, words), added)
        raw, written, own = taken_out(raw)
        words += [override.below("variants", one.name) for one in added for override in one.overrides]
        sweeps, searches = [*sweeps, *more, *written], [*searches, *own]
    if sweeps or searches:
        study = _validated(raw, where, words)
        raw = expanded(raw, study, sweeps, searches, study.sweep_limit)
    return _validated(raw, where, words)


def read_settings(
    files: Sequence[str | Path] = (), overrides: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[Override]]:
    """The settings as they are stated, with `set` laid over them and sweeps not yet expanded; and the words of `set`.

    files and overrides as of load_study, `new` excepted.
    """
    given = dict(overrides or {})
    line = given.pop("set", None)
    words = parse_overrides(line) if line is not None else []
    raw: dict[str, Any] = {}
    for number, file in enumerate(files or [DEFAULT_CONFIG]):
        values = read_with_includes(Path(file))
        if number:
            values.pop("study", None)
        raw = merged(raw, values)
    raw = merged(raw, given)
    return overridden(_with_defaults(raw), [one for one in words if not one.sweeps], TABLES), words


def _with_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """Named entries that a study has without stating them (tta: none), so that overrides find them."""
    stated = {table: Study.model_fields[table].get_default(call_default_factory=True) for table in TABLES}
    made = {name: entries for name, entries in stated.items() if entries and not raw.get(name)}
    return raw | {table: {name: one.model_dump(mode="json") for name, one in made[table].items()} for table in made}


def _validated(raw: dict[str, Any], where: str, words: Sequence[Override]) -> Study:
    """The study that settings mean; a refusal names the files and the overrides that may be to blame."""
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        text = explain(error, given=raw)
        raise ConfigError(f"{where}{_to_blame(text, words)}\n{text}") from error
    except ConfigError as error:
        raise ConfigError(f"{_to_blame(str(error), words).removeprefix(', ')}\n{error}".lstrip()) from error


def _to_blame(text: str, words: Sequence[Override]) -> str:
    """The overrides of places that a refusal names, for its first line."""
    blamed = [one for one in words if one.place in text or one.path[-1] in text or repr(one.path[0]) in text] or words
    said = [f"{one.place}=…" if one.path[0] == "notify" else one.word for one in blamed]  # an address may be a secret
    return f", with {' '.join(said)}" if words else ""
