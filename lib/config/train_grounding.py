"""What a model of temporal grounding is trained with: architecture, labels, losses, candidates, and presets of them.

Beside everything that our loop is told (train_loop.py). A preset fills in what is not stated; what is stated wins, and a
knob without effect on the chosen model is refused. Nothing here imports torch. Not here: the models (lib/models), the loss
(lib/tasks/grounding_loss.py).
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lib.config.base import Section, added, refuse_idle
from lib.config.train_grounding_presets import PRESETS, filled
from lib.config.train_loop import LoopSettings


class AssignSettings(Section):
    """Which points of the pyramid answer a query. The point nearest to an answer's centre always does."""

    centre_radius: float | None = Field(
        1.5,
        gt=0,
        description="Strides around an answer's centre within which points answer it; null = all of the answer. Higher "
        "gives long answers more points.",
    )
    ranges: list[tuple[float, float | None]] | None = Field(
        None,
        description="Per level: least and largest distance (steps) of the farther end of an answer, null = no end. null = "
        "0-4, 2-8, 4-16 … as ActionFormer, the last level without end.",
    )

    @field_validator("ranges")
    @classmethod
    def _whole_line(cls, ranges: list[tuple[float, float | None]] | None) -> list[tuple[float, float | None]] | None:
        if ranges is None:
            return None
        if not ranges or ranges[0][0] != 0 or ranges[-1][1] is not None:
            raise ValueError("must begin at 0 and end with null. Hint: [[0, 4], [2, null]]")
        for (low, high), after in zip(ranges, [*ranges[1:], None], strict=True):
            if high is not None and (high <= low or after is None or after[0] > high):
                raise ValueError(f"[{low:g}, {high:g}] is empty or leaves a gap before the next. Hint: let them meet.")
            if high is None and after is not None:
                raise ValueError("null ends the last level only. Hint: give the others an end.")
        return ranges

    @property
    def bounds(self) -> list[tuple[float, float]] | None:
        """The ranges as numbers."""
        if self.ranges is None:
            return None
        return [(low, math.inf if high is None else high) for low, high in self.ranges]


class GroundingLossSettings(Section):
    """What is minimised: score · classification + bounds · (1 − overlap) + l1 · distance, over points and levels."""

    balance: Literal["queries", "points"] = Field(
        "queries",
        description="What counts alike: queries (the points of an answer share its weight), or answering points.",
    )
    score_loss: Literal["focal", "bce"] = Field(
        "focal", description="Classification of points: focal loss, or binary cross-entropy (with sensitivity: ASL)."
    )
    alpha: float = Field(
        0.25, gt=0, lt=1, description="focal: weight of answering points; higher finds more, also wrong ones."
    )
    gamma: float = Field(2.0, ge=0, le=10, description="focal: how far easy points are passed over; 0 = not at all.")
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="Targets drawn towards 1/2 by this share; higher makes scores less sure."
    )
    sensitivity: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Width, in lengths of the answer, of the Gaussian by which points near its centre count more; higher "
        "makes them alike, null = all alike.",
    )
    base_weight: float = Field(
        0.0, ge=0, le=10, description="sensitivity: what every point counts beside it; higher makes them alike."
    )
    overlap: Literal["iou", "giou", "diou"] = Field(
        "iou", description="Overlap of told and true segment; giou and diou also draw segments that do not meet."
    )
    score: float = Field(1.0, ge=0, le=1000, description="Weight of the classification.")
    bounds: float = Field(1.0, ge=0, le=1000, description="Weight of the overlap.")
    l1: float = Field(
        1.0, ge=0, le=1000, description="Weight of the distance of ends (shares of half a clip; groundnlq: strides)."
    )
    multiscale: float = Field(1.0, ge=0, le=1000, description="Weight of all levels but the finest.")

    @model_validator(mode="after")
    def _no_idle_knobs(self) -> GroundingLossSettings:
        if self.score_loss != "focal":
            refuse_idle(self, "alpha", "gamma", needs="score_loss: focal")
        if self.sensitivity is None:
            refuse_idle(self, "base_weight", needs="sensitivity")
        if not self.bounds:
            refuse_idle(self, "overlap", needs="bounds above 0")
        if not self.score or not (self.bounds or self.l1):
            raise ValueError("score, and bounds or l1, must be above 0: else scores or segments are never learned.")
        return self


class CandidateSettings(Section):
    """Which points become candidate windows, before suppression."""

    min_score: float = Field(0.001, ge=0, lt=1, description="Least score; higher gives fewer. The best always stays.")
    per_level: int = Field(2000, ge=1, description="Most candidates of a level; higher costs time.")


class GroundingSettings(LoopSettings):
    """One training of a model that finds the window in a video that answers a query."""

    preset: Literal["tiny", "mvp", "ogsf", "groundnlq"] | None = Field(
        None,
        description="Fills in what is not stated: mvp, ogsf, groundnlq = these models with their recipes; tiny = any "
        "model, small enough for a CPU. null = the defaults of this table.",
    )
    model: Literal["mvp", "ogsf", "groundnlq"] = Field(
        "mvp",
        description="mvp = words to steps by cross-attention; ogsf = also objects and a pyramid; groundnlq = a transformer "
        "of many scales.",
    )
    hidden: int = Field(
        256, ge=8, le=4096, description="Width, a multiple of heads; higher holds more, costs time and memory."
    )
    heads: int = Field(4, ge=1, le=64, description="Heads of every attention.")
    layers: int = Field(2, ge=1, le=48, description="Layers in which video steps look at the words.")
    text_layers: int = Field(4, ge=0, le=48, description="groundnlq: layers of the words before.")
    embed_convs: int = Field(2, ge=1, le=8, description="groundnlq: convolutions that bring features to the width.")
    head_layers: int = Field(3, ge=0, le=8, description="groundnlq: convolutions of each head.")
    levels: int = Field(3, ge=1, le=12, description="ogsf, groundnlq: scales, each half as fine; more find longer answers.")
    window: int | None = Field(
        None,
        ge=1,
        description="Steps that a video step looks at around it (odd). null: groundnlq = all, which costs T x T; mvp, ogsf "
        "= none. Higher sees farther.",
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of activations dropped in training; higher overfits less.")
    drop_path: float = Field(0.1, ge=0, lt=1, description="groundnlq: share of samples that skip a layer in training.")
    bounds_mode: Literal["absolute", "distance"] = Field(
        "distance",
        description="mvp, ogsf: a step tells both ends as places in the clip (the original), or as distances from itself, "
        "which finds far more: in a clip's features a step cannot see where it stands.",
    )
    objects: bool = Field(True, description="ogsf: whether objects are looked at, where samples have them.")
    gate_mode: Literal["residual", "multiply"] = Field(
        "residual",
        description="ogsf: objects are added through a gate, or only open and close the steps (the original).",
    )
    object_dropout: float = added(
        0.0,
        "ogsf: share of queries that are trained without their objects; higher keeps the model from leaning on objects "
        "that tell nothing.",
        ge=0,
        lt=1,
    )
    max_steps: int = Field(2560, ge=1, le=1_000_000, description="Most steps T of a clip; more is refused. Costs memory.")
    queries_per_clip: int | None = Field(
        None,
        ge=1,
        description="Queries drawn from a clip each time that it comes; null = all. Fewer mix clips more.",
    )
    paraphrases: bool = added(
        False,
        "true = a query comes in words drawn each time among those that were asked and the shardset's `paraphrases`.",
    )
    assign: AssignSettings = Field(default_factory=AssignSettings, description="Which points answer a query.")
    loss: GroundingLossSettings = Field(default_factory=GroundingLossSettings, description="What is minimised.")
    candidates: CandidateSettings = Field(default_factory=CandidateSettings, description="What becomes of the points.")

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, data: Any) -> Any:
        return filled(data) if isinstance(data, dict) and data.get("preset") in PRESETS else data

    @model_validator(mode="after")
    def _possible(self) -> GroundingSettings:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is no multiple of heads {self.heads}. Hint: {self.heads * 64}")
        if self.window is not None and self.window % 2 == 0:
            raise ValueError(f"window {self.window} must be odd: as many steps before as after. Hint: {self.window + 1}")
        ranges = self.assign.ranges
        if ranges is not None and len(ranges) != self.scales:
            raise ValueError(f"assign.ranges has {len(ranges)} levels, the model {self.scales}. Hint: one range per level.")
        return self

    @model_validator(mode="after")
    def _no_idle_model_knobs(self) -> GroundingSettings:
        if self.model != "groundnlq":
            refuse_idle(self, "text_layers", "embed_convs", "head_layers", "drop_path", needs="model: groundnlq")
        else:
            refuse_idle(self, "bounds_mode", needs="model: mvp | ogsf")
            if self.loss.overlap == "giou":
                raise ValueError("loss.overlap giou is iou for model groundnlq, whose segments share a point. Hint: diou")
        if self.model != "ogsf":
            refuse_idle(self, "objects", "gate_mode", "object_dropout", needs="model: ogsf")
        elif not self.objects:
            refuse_idle(self, "gate_mode", "object_dropout", needs="objects: true")
        if self.model == "mvp":
            refuse_idle(self, "levels", needs="model: ogsf | groundnlq")
        if self.scales == 1:
            refuse_idle(self.loss, "multiscale", needs="more than one level (model: ogsf | groundnlq)")
        return self

    @property
    def scales(self) -> int:
        """Levels that the model has."""
        return 1 if self.model == "mvp" else self.levels

    def network(self, *, video_dim: int, text_dim: int, object_dim: int = 0) -> dict[str, Any]:
        """The knobs of `lib.models.build_network(settings.model, …)`, for features of these widths."""
        shared = {"d_v": video_dim, "d_t": text_dim}
        shared |= {name: getattr(self, name) for name in ("hidden", "heads", "dropout", "window")}
        if self.model == "groundnlq":
            own = ("text_layers", "embed_convs", "head_layers", "drop_path")
            layers = {"stem_layers": self.layers, "branch_layers": self.levels - 1}
            return shared | layers | {name: getattr(self, name) for name in own}
        shared |= {"num_layers": self.layers, "bounds_mode": self.bounds_mode}
        if self.model == "mvp":
            return shared
        pyramid = {"use_multiscale": self.levels > 1, "fpn_levels": self.levels}
        objects = {"use_objects": self.objects and object_dim > 0, "object_dim": object_dim}
        objects |= {"gate_mode": self.gate_mode, "object_dropout": self.object_dropout}
        return shared | pyramid | objects
