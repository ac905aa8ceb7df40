"""Tasks as settings, rules and boards know them, before any code of theirs runs. Not here: what a task does (lib/tasks).

A task whose model we write has a settings class of its own, made from LoopSettings (train_loop.py) and the model's knobs.
What all of them can say of a training is in train_base.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lib.config.predict import VIEWS_OF_FRAMES, VIEWS_OF_STEPS
from lib.config.train import TrainingSettings
from lib.config.train_base import Training
from lib.config.train_engines import detector_settings
from lib.config.train_grounding import GroundingSettings
from lib.config.train_rfdetr import RfdetrSegSettings

DETECTIONS, SEGMENTS, WINDOWS = "detections", "segments", "windows"
DRAWN = (DETECTIONS, SEGMENTS)
"""Predictions that can be drawn and exported: boxes, and boxes with masks."""


@dataclass(frozen=True)
class Metric:
    """One score of a task, higher being better; `text` says what it is and its range.

    of: classes = the mean over classes (templates, predicates …) of their scores; all = one ratio over everything.
    """

    text: str
    of: Literal["classes", "all"] = "all"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What there is to know of one task; its code is lib/tasks/NAME.py."""

    training: type[Training]  # what its trainings are told
    engines: Callable[[Mapping[str, Any]], type[Training]] | None = None  # settings → their class, where it has several
    predictions: str  # kind of table that predict writes (lib/tables.py)
    truths: tuple[str, ...]  # truth tables that its scores are made from
    metrics: Mapping[str, Metric]  # what its boards may rank by; the first one unless a board says otherwise
    val: tuple[str, ...] = ()  # scores of its trainings on val, beside val/loss; () = not known before one runs
    floors: tuple[str, ...]  # what it can do without learning, as `variants.NAME.floor`
    units: Literal["boxes", "ratios"] = (
        "ratios"  # how a score is made again from any resample (lib/reporting/unit_scores.py)
    )
    samples: Literal["frames", "clips"] = "frames"  # what its arms hold: kind of their shardsets
    shards: bool = True  # whether it predicts samples of its arm's shardset; else whole videos
    views: tuple[str, ...] = ()  # fields of test-time views (`tta:`) that it can look by
    ensembles: bool = False  # whether predictions of several variants can be merged (`kind: ensemble`)
    code: tuple[str, ...] = ()  # files that scores come from: editing them scores again

    def settings_of(self, values: Mapping[str, Any]) -> type[Training]:
        """The class of these training settings: the task's own, or that of the engine that they name."""
        return self.engines(values) if self.engines else self.training


def _over_classes(text: str) -> Metric:
    return Metric(f"{text}, mean over classes; 0–1, higher is better", "classes")


def _recalls() -> dict[str, Metric]:
    """Recalls at 1, 3 and 5 windows and three overlaps, and the mean overlap (lib/metrics/grounding.py)."""
    words = {1: "the first window", 3: "one of the first 3 windows", 5: "one of the first 5 windows"}
    found = {
        f"R{k}@{iou}": Metric(
            f"share of queries of which {text} overlaps a true one by more than IoU {iou}; 0–1, higher is better"
        )
        for k, text in words.items()
        for iou in (0.3, 0.5, 0.7)
    }
    return found | {"mIoU": Metric("IoU of the first window with the true one, mean over queries; 0–1, higher is better")}


TASKS: dict[str, Task] = {
    "detection": Task(
        training=TrainingSettings,
        engines=detector_settings,
        predictions=DETECTIONS,
        truths=("frames", "boxes"),
        metrics={
            "AP50": _over_classes("average precision at IoU 0.50 (COCO, 101 recall points)"),
            "AP": _over_classes("average precision, mean over IoU 0.50:0.05:0.95 (COCO, 101 recall points)"),
            "AP75": _over_classes("average precision at IoU 0.75 (COCO, 101 recall points)"),
            "AR": _over_classes("recall, mean over IoU 0.50:0.05:0.95"),
            "F1": _over_classes("2PR/(P+R) at IoU 0.50 and a fixed score threshold"),
        },
        floors=("prior", "chance", "untrained"),
        units="boxes",
        shards=False,
        views=VIEWS_OF_FRAMES,
        code=("lib/metrics/detection.py",),
    ),
    "segmentation": Task(
        training=RfdetrSegSettings,
        predictions=SEGMENTS,
        truths=("frames", "boxes"),
        metrics={
            "AP": _over_classes("average precision of masks, mean over IoU 0.50:0.05:0.95 (COCO, 101 recall points)"),
            "AP50": _over_classes("average precision of masks at IoU 0.50 (COCO, 101 recall points)"),
            "AP75": _over_classes("average precision of masks at IoU 0.75 (COCO, 101 recall points)"),
            "AR": _over_classes("recall of masks, mean over IoU 0.50:0.05:0.95"),
            "F1": _over_classes("2PR/(P+R) of masks at IoU 0.50 and a fixed score threshold"),
        },
        floors=("prior", "chance", "untrained"),
        units="boxes",
        shards=False,
        code=("lib/metrics/detection.py",),
    ),
    "grounding": Task(
        training=GroundingSettings,
        predictions=WINDOWS,
        truths=("queries",),
        metrics=_recalls(),
        val=tuple(f"val/{name}" for name in _recalls()),
        floors=("prior", "chance", "untrained"),
        samples="clips",
        views=VIEWS_OF_STEPS,
        ensembles=True,
        code=(
            "lib/tasks/grounding.py",
            "lib/metrics/grounding.py",
            "lib/metrics/temporal.py",
            "lib/metrics/ratio_units.py",
        ),
    ),
}
"""Name → task. A new one is a line here, its settings, and lib/tasks/NAME.py."""

ALL_METRICS = tuple(dict.fromkeys(metric for task in TASKS.values() for metric in task.metrics))
FLOORS = tuple(dict.fromkeys(floor for task in TASKS.values() for floor in task.floors))
