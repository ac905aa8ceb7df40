"""`predict:` and `tta:` — how trained models look at test videos. Not here: the models (train.py), windows in time
(predict_windows.py) and the merging itself (lib/inference).

Each task is told its own part (`told_of_boxes`, `told_of_windows`): what concerns others is no part of its results.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from lib.config.base import Section, identity, shown
from lib.config.predict_windows import WindowMerge, WindowSettings

ADDED = {"added": True}
"""Mark of what came later: left out of a job's settings where it is the default."""


class View(Section):
    """One way to look: at a frame (flip, scale) or at a clip (every, phase, slide, paraphrase); the default is as it is."""

    flip: bool = Field(False, description="true = the frame mirrored left to right.")
    scale: float = Field(
        1.0,
        gt=0,
        le=4,
        description="Size of the model's input relative to the one it was trained at, rounded to a multiple of 32 px; "
        "higher finds smaller objects and costs time.",
    )
    every: int = Field(
        1,
        ge=1,
        le=64,
        json_schema_extra=ADDED,
        description="Every how many steps of a clip's features one is seen; higher finds longer answers.",
    )
    phase: int = Field(
        0,
        ge=0,
        json_schema_extra=ADDED,
        description="The first step that is seen, below `every`; views of other phases see others.",
    )
    slide: int | None = Field(
        None,
        ge=2,
        json_schema_extra=ADDED,
        description="Steps of the pieces in which a clip is seen, overlapping by half; null = predict.windows.slide.",
    )
    paraphrase: int = Field(
        0,
        ge=0,
        json_schema_extra=ADDED,
        description="Words that are looked for: 0 = as they were asked, n = the n-th of `paraphrases` of the shardset.",
    )

    @model_validator(mode="after")
    def _phase_of_its_stride(self) -> View:
        if self.phase >= self.every:
            raise ValueError(f"phase {self.phase} must be below every {self.every}. Hint: {{every: {self.phase + 1}}}")
        return self

    def looks(self) -> tuple[str, ...]:
        """The fields by which this view differs from looking plainly."""
        return tuple(key for key, field in type(self).model_fields.items() if getattr(self, key) != field.default)


VIEWS_OF_FRAMES, VIEWS_OF_STEPS = ("flip", "scale"), ("every", "phase", "slide", "paraphrase")


class Merge(Section):
    """Weighted box fusion (Solovyev et al., 2021) of the views' boxes."""

    iou: float = Field(
        0.7,
        gt=0,
        lt=1,
        description="Boxes of one class that overlap by more than this IoU are averaged into one; higher keeps more "
        "doubles. Below predict.iou, neighbours that the model kept apart are averaged too, and lose score.",
    )
    skip: float = Field(
        0.001, ge=0, lt=1, description="Boxes below this score are left out before merging; higher is faster."
    )


class Tta(Section):
    """Test-time augmentation: the views that are looked at and how their boxes become one set."""

    views: list[View] = Field(default=[View()], min_length=1, description="The views; [{}] is the plain frame alone.")
    merge: Merge = Field(
        default_factory=Merge, description="How boxes of several views become one set; unused with one view."
    )
    windows: WindowMerge = Field(
        WindowMerge(),
        json_schema_extra=ADDED,
        description="How windows of several views become one set; unused with one view.",
    )
    description: str = shown("", "One sentence for people.")

    @model_validator(mode="after")
    def _views_differ(self) -> Tta:
        seen = {view.model_dump_json() for view in self.views}
        if len(seen) != len(self.views):
            raise ValueError("two views are the same: it would count double. Hint: leave one out.")
        return self


class PredictSettings(Section):
    """How every trained variant is run over the videos it is scored on."""

    splits: list[str] = Field(default=["test"], min_length=1, description="Videos of these splits are predicted.")
    stride: int = Field(
        1, ge=1, description="Every how many frames one is predicted, from frame 0; frames between have no boxes."
    )
    conf: float = Field(
        0.001,
        ge=0,
        le=1,
        description="Lowest score that is kept; average precision needs the low ones, higher only saves space.",
    )
    iou: float = Field(0.7, gt=0, le=1, description="Boxes of one class overlapping by more than this IoU are one object.")
    max_det: int = Field(100, ge=1, description="Most boxes kept per frame; COCO's average precision counts 100.")
    batch: int = Field(
        16, ge=1, description="Frames, or queries, per model call; higher is faster on a GPU and takes more memory."
    )
    windows: WindowSettings = Field(
        WindowSettings(),
        json_schema_extra=ADDED,
        description="How candidate windows in time become the few that are kept.",
    )


def told_of_boxes(predict: PredictSettings, tta: Tta) -> dict[str, Any]:
    """What tasks that look at frames are told."""
    return {"predict": _without(identity(predict), "windows"), "tta": _views(tta, VIEWS_OF_STEPS, "windows")}


def told_of_windows(predict: PredictSettings, tta: Tta) -> dict[str, Any]:
    """What tasks that look at a clip's steps are told."""
    of_boxes = ("stride", "conf", "iou", "max_det")
    return {"predict": _without(identity(predict), *of_boxes), "tta": _views(tta, VIEWS_OF_FRAMES, "merge")}


def _views(tta: Tta, others: tuple[str, ...], merge: str) -> dict[str, Any]:
    """A Tta without the fields that views of another kind look by, and the merging that is theirs."""
    values = _without(identity(tta), merge)
    return values | {"views": [_without(view, *others) for view in values["views"]]}


def _without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}
