"""How windows in time become one set: suppression within one look at a query, merging of several. Not here: the rest of
`predict:` and `tta:` (predict.py), how it is done (lib/inference)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lib.config.base import Section, refuse_idle


class WindowMerge(Section):
    """How windows of several views, or of an ensemble's members, become one set."""

    kind: Literal["consensus", "wbf"] = Field(
        "consensus",
        description="consensus = windows of different views that agree become their mean, and what few see loses score; "
        "wbf = weighted box fusion in one dimension, of ensemble-boxes.",
    )
    iou: float = Field(
        0.5, ge=0, lt=1, description="Windows that overlap by more than this IoU are of one opinion; higher merges less."
    )


class WindowSettings(Section):
    """Candidate windows of a query → the few that are kept; for tasks that predict windows."""

    top: int = Field(2000, ge=1, description="Most candidates of a query before suppression; higher costs time.")
    suppression: Literal["gaussian", "linear", "hard", "none"] = Field(
        "gaussian",
        description="Soft-NMS by which overlapping windows lose score (gaussian, linear), or are dropped (hard).",
    )
    sigma: float = Field(0.75, gt=0, le=100, description="gaussian: how far overlap is forgiven; higher = more of it.")
    iou: float = Field(
        0.5, gt=0, le=1, description="linear, hard: overlap from which a window loses; higher keeps more alike."
    )
    floor: float = Field(0.001, ge=0, lt=1, description="Windows whose score falls below are gone.")
    keep: int = Field(5, ge=1, le=1000, description="Most windows of a query; the Ego4D challenge takes 5.")
    voting: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Kept windows move to the weighted mean of all candidates that overlap them by at least this IoU; "
        "null = they stay.",
    )
    votes: Literal["score_iou", "score"] = Field(
        "score_iou", description="voting: by score times IoU (ActionFormer), or by score (SnAG)."
    )
    slide: int | None = Field(
        None,
        ge=2,
        description="Longest piece of a clip, in steps, that a model sees at once; longer clips are seen in pieces that "
        "overlap by half. null = the training's max_steps. Lower saves memory.",
    )
    merge: WindowMerge = Field(default_factory=WindowMerge, description="How windows of an ensemble become one set.")

    @model_validator(mode="after")
    def _no_idle_knobs(self) -> WindowSettings:
        if self.suppression != "gaussian":
            refuse_idle(self, "sigma", needs="suppression: gaussian")
        if self.suppression not in ("linear", "hard"):
            refuse_idle(self, "iou", needs="suppression: linear | hard")
        if self.voting is None:
            refuse_idle(self, "votes", needs="voting")
        return self
