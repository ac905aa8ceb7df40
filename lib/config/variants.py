"""`variants:` — what is trained and compared: the defaults of `training:` plus differences.

Not here: how `sweep:` and `search:` become members (sweeps.py, search.py), how a variant and a seed become a job's settings
(jobs.py) and the training knobs themselves (train.py).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lib.config.base import Name, Section, nearest, shown
from lib.config.search import Search
from lib.config.tasks import FLOORS, TASKS


class Variant(Section):
    """One row of a leaderboard: a model trained on one arm, a floor without learning, or pretrained weights as they are."""

    task: str = Field(
        "detection",
        description="Which task binds data, model, loss and metric.",
        json_schema_extra={"enum": sorted(TASKS)},
    )
    kind: Literal["model", "floor", "pretrained", "ensemble"] = Field(
        "model",
        description="model = trained here; floor = what can be had without looking; pretrained = weights as they are; "
        "ensemble = predictions of other variants, merged.",
    )
    floor: str | None = Field(
        None,
        description="With kind floor: prior = what is typical of the training set, chance = drawn at random from it, "
        "untrained = the model before training.",
        json_schema_extra={"enum": [*FLOORS, None]},
    )
    arm: Name | None = Field(None, description="Which sampling arm it is trained (a floor: fitted) on.")
    train_on: Name | None = Field(None, description="Dataset to train on when it differs from the board's (transfer).")
    weights: Name | None = Field(None, description="With kind pretrained: the `weights:` entry that is evaluated.")
    members: list[Name] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"added": True},
        description="With kind ensemble: the variants whose predictions are merged.",
    )
    member_seeds: list[int] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"added": True},
        description="With kind ensemble: seeds of every member that are merged; null = all that each is trained with.",
    )
    training: dict[str, Any] = Field(
        default_factory=dict,
        description="Differences from the study's `training:` (task detection) or `trainings:` (other tasks).",
    )
    seeds: list[int] | None = Field(None, description="Seeds of this variant when they differ from the study's.")
    sweep: dict[str, list[Any]] = Field(
        default_factory=dict,
        exclude=True,
        json_schema_extra={"shown": True},
        description="Place in this variant -> values: a member for each, `name--lr0-5e-5`, stands for it on the boards.",
    )
    search: Search | None = Field(
        None,
        exclude=True,
        json_schema_extra={"shown": True},
        description="Members drawn from ranges of places in this variant, `name--lr0-0p0032`, stand for it on the boards.",
    )
    size: Literal["tiny", "nano", "small", "medium", "large", "xlarge", "2xlarge"] | None = shown(
        None, "Size class for threads, memory and minutes (rules/resources.smk); null = by the model's own size."
    )
    description: str = shown("", "One sentence for people.")

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str) -> str:
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}. {nearest(task, TASKS)}")
        return task

    @model_validator(mode="after")
    def _consistent(self) -> Variant:
        if (self.kind == "floor") != (self.floor is not None):
            raise ValueError("`floor: prior|chance|untrained` goes with `kind: floor`, and only with it")
        if self.floor is not None and self.floor not in TASKS[self.task].floors:
            raise ValueError(
                f"task {self.task} has no floor {self.floor!r}. {nearest(self.floor, TASKS[self.task].floors)}"
            )
        if (self.kind == "pretrained") != (self.weights is not None):
            raise ValueError(
                "`weights` goes with `kind: pretrained`; to start a training from weights use training.weights"
            )
        if self.kind not in ("pretrained", "ensemble") and self.arm is None:
            raise ValueError("state the `arm` whose frames it is trained (a floor: fitted) on")
        if self.kind in ("pretrained", "ensemble") and (self.training or self.arm):
            raise ValueError(f"a variant of kind {self.kind} is not trained: leave out `training` and `arm`")
        if self.seeds is not None and (len(set(self.seeds)) != len(self.seeds) or not self.seeds or min(self.seeds) < 0):
            raise ValueError("seeds must be different whole numbers ≥ 0, at least one")
        return self

    @model_validator(mode="after")
    def _members_of_ensembles(self) -> Variant:
        if (self.kind == "ensemble") != (self.members is not None):
            raise ValueError("`members`, a list of variants, goes with `kind: ensemble`, and only with it")
        if self.kind != "ensemble" and self.member_seeds is not None:
            raise ValueError("`member_seeds` goes with `kind: ensemble`")
        if self.kind != "ensemble":
            return self
        if not TASKS[self.task].ensembles:
            able = ", ".join(name for name, task in TASKS.items() if task.ensembles)
            raise ValueError(f"task {self.task} has no ensembles; {able} has")
        if self.seeds is not None or self.train_on is not None:
            raise ValueError("an ensemble has no seeds and no training of its own. Hint: member_seeds chooses its members'")
        for key in ("members", "member_seeds"):
            names = getattr(self, key)
            if names is not None and len(set(names)) != len(names):
                raise ValueError(f"{key}: the same twice in {names}; it would count double")
        return self
