"""Tasks: each binds samples → batch → model → loss → decode → score. The only package that knows all the others.

A task is one file here with the functions of `Task`, named as in lib/config/tasks.py. Programs ask for it by the variant's
`task`. Its module and `score` load no torch: scores are made where there may be none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from lib.config.base import ConfigError, nearest
from lib.config.tasks import TASKS


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """What one training gets: settings (lib/config/jobs.py), its files, and where its results and its state live."""

    settings: dict[str, Any]
    seed: int
    subset: Path | None  # frames of the arm; None for pretrained weights
    shards: Path | None  # manifest of the shards that hold them
    weights: Path | None  # card of starting (or pretrained) weights
    members: tuple[Path, ...] = ()  # cards of the members of an ensemble
    data: Path | None = None  # by hand: samples in a trainer's own folder layout, read in place of subset and shards
    folder: Path  # results/train/{dataset}/{variant}/seed={seed}
    threads: int
    time_budget_s: float | None  # seconds after which it should leave early with its state saved; None = no limit
    fingerprint: str
    on_progress: Callable[..., None]  # keeps facts of the running attempt


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training leaves: the weights file, its card (model.json without what the program adds), the history."""

    weights: Path
    card: dict[str, Any]
    history: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class PredictJob:
    """What one prediction gets."""

    settings: dict[str, Any]
    seed: int
    manifest: pd.DataFrame
    classes: list[str]
    shards: Path | None  # manifest of the shards whose samples are predicted; None for a task that looks at whole videos
    model: Path  # model.weights
    card: dict[str, Any]
    members: tuple[pd.DataFrame, ...] = ()  # predictions of the members of an ensemble


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """What one evaluation gets: tables of truth and predictions."""

    settings: dict[str, Any]
    manifest: pd.DataFrame
    classes: list[str]
    truth: dict[str, pd.DataFrame]
    predictions: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores, and what they are made of per video, from which boards score any resample of the videos.

    scores: `metrics` (name → mean, 0–1), `classes` (what the mean is over, in the order of the units; none = one number),
    `per_class` (class → n_truth and metrics), `counts`, `warnings`. units: one row per video, in the task's `units` form.
    """

    scores: dict[str, Any]
    units: pd.DataFrame


class Task(Protocol):
    """The functions of a task module."""

    def train(self, job: TrainJob) -> Trained: ...

    def predict(self, job: PredictJob) -> pd.DataFrame: ...

    def score(self, job: ScoreJob) -> Scored: ...


def task(name: str) -> Task:
    """The module of a task; unknown names are refused with the known ones."""
    if name not in TASKS:
        raise ConfigError(f"unknown task {name!r}. {nearest(name, TASKS)}")
    return import_module(f"lib.tasks.{name}")
