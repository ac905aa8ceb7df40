"""`arms:` — which part of the training frames a study arm holds. Not here: the drawing itself (lib/data/subsample.py)."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from lib.config.base import Name, Section, shown


def _check_share(place: str, value: float, most: float = 1.0) -> float:
    if not math.isfinite(value) or not 0 <= value <= most:
        allowed = f"from 0 to {most:g}" if math.isfinite(most) else "of at least 0"
        percent = 1 < value <= 100 and most == 1
        hint = f" Hint: {value:g} % is {value / 100:g}." if percent else ""
        raise ValueError(f"{place} must be a finite number {allowed}, got {value}.{hint}")
    return value


class BackgroundSection(Section):
    """How many background frames (frames without any class): exactly one of both."""

    fraction: float | None = Field(None, description="This share of all background frames, 0 to 1.")
    ratio: float | None = Field(None, description="Background frames per frame with an object; higher = more background.")

    @model_validator(mode="after")
    def _one_amount(self) -> BackgroundSection:
        if (self.fraction is None) == (self.ratio is None):
            raise ValueError("background must be all, none, {fraction: x} or {ratio: x}; state exactly one of both numbers")
        if self.fraction is not None:
            _check_share("background.fraction", self.fraction)
        if self.ratio is not None:
            _check_share("background.ratio", self.ratio, math.inf)
        return self


def _form_of(value: Any) -> str:
    return "WordSection" if isinstance(value, str) else "BackgroundSection"


Background = Annotated[
    Annotated[Literal["all", "none"], Tag("WordSection")] | Annotated[BackgroundSection, Tag("BackgroundSection")],
    Discriminator(_form_of),
]


class Arm(Section):
    """One arm of a study: a fraction of the frames of each class, or a control of the same size as another arm.

    On a shardset of clips: `background: all` takes every clip, `background: {fraction: x}` a share of them.

    Union: a frame that holds several classes is in when one of them draws it, so the achieved fraction of a class can
    exceed the stated one (seed=…counts.json shows both). Exclusive: such a frame is out when one of them does not draw
    it.
    """

    shardset: Name = Field(description="Shards that hold the frames; an entry of `shardsets:`.")
    fractions: dict[str, float] = Field(
        default_factory=dict,
        description="Class -> share of the frames that hold it, 0 to 1; a class not stated counts as 1. Larger shares "
        "contain the smaller ones of the same seed.",
    )
    mode: Literal["union", "exclusive"] = Field(
        "union", description="Frames with several classes: in when any class draws them, or out when any does not."
    )
    background: Background = Field(
        description="Frames without any class: all, none, {fraction: x} of them, or {ratio: x} per frame with an object. "
        "Has no default: it moves precision, so each arm says it."
    )
    unit: Literal["frame", "video", "segment"] = Field(
        "frame",
        description="What is drawn: single frames, spread over the videos; all frames of drawn videos; or all frames of "
        "drawn segments of segment_s seconds, spread over the videos.",
    )
    segment_s: float = Field(
        2.0,
        ge=0.001,
        description="With unit segment: videos are cut at every multiple of this, seconds; higher = longer stretches that "
        "stay together, and sizes that meet the fractions less closely.",
    )
    size_of: Name | None = Field(
        None,
        description="Control: as many frames as this other arm holds, drawn without regard to classes from all frames (and "
        "the background stated here).",
    )
    split: Name = Field("train", description="Split that is drawn from; the others are the same in all arms.")
    description: str = shown("", "One sentence for people.")

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: dict[str, float]) -> dict[str, float]:
        for name, value in fractions.items():
            _check_share(f"fractions.{name}", value)
        return fractions

    @model_validator(mode="after")
    def _segments_have_a_length(self) -> Arm:
        if "segment_s" in self.model_fields_set and self.unit != "segment" and self.segment_s != 2.0:
            raise ValueError(f"segment_s has no effect with unit: {self.unit}. Hint: state unit: segment, or leave it out.")
        return self

    @model_validator(mode="after")
    def _control_draws_at_random(self) -> Arm:
        if self.size_of is None:
            return self
        for key in ("fractions", "mode", "unit", "segment_s"):
            if getattr(self, key) != type(self).model_fields[key].get_default(call_default_factory=True):
                raise ValueError(
                    f"size_of: {self.size_of} is a random control of the same size, so `{key}` has no effect on it. "
                    f"Hint: leave out `{key}`, or leave out `size_of`."
                )
        return self
