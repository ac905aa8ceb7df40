"""`predict:` and `tta:` — how trained models look at test videos. Not here: the models (train.py) and the merging itself
(lib/inference/tta.py)."""

from __future__ import annotations

from pydantic import Field, model_validator

from lib.config.base import Section, shown


class View(Section):
    """One way to look at a frame; the default is the frame as it is."""

    flip: bool = Field(False, description="true = the frame mirrored left to right.")
    scale: float = Field(
        1.0,
        gt=0,
        le=4,
        description="Size of the model's input relative to the one it was trained at, rounded to a multiple of 32 px; "
        "higher finds smaller objects and costs time.",
    )


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
    description: str = shown("", "One sentence for people.")

    @model_validator(mode="after")
    def _views_differ(self) -> Tta:
        seen = {(view.flip, view.scale) for view in self.views}
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
    batch: int = Field(16, ge=1, description="Frames per model call; higher is faster on a GPU and takes more memory.")
