"""`detectors:` — where boxes per frame come from: a YOLO or RF-DETR file, the truth, or boxes that came with the source.

Not here: finding the weights (weights.py) and running them (lib/perception/detectors.py)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lib.config.base import Name, Section, shown


class ModelDetector(Section):
    """A model run over the frames of a dataset's videos."""

    weights: Name = Field(description="Which entry of `weights:` is run.")
    conf: float = Field(
        0.25, ge=0, le=1, description="Lowest score that is kept; higher gives fewer false boxes and more misses."
    )
    iou: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Boxes of one class that overlap by more than this IoU are one object (the best stays); higher keeps "
        "more neighbours and more doubles.",
    )
    max_det: int = Field(300, ge=1, description="Most boxes kept per frame, before `classes` chooses among them.")
    stride: int = Field(
        1,
        ge=1,
        description="Every how many frames one is looked at, from frame 0; higher is faster and makes tracking harder.",
    )
    batch: int = Field(
        8,
        ge=1,
        description="Frames per model call; higher is faster on a GPU and takes more memory. A file made for "
        "single frames is given single frames.",
    )
    classes: dict[str, list[str]] | None = Field(
        None,
        description="Dataset class → detector classes that count as it (chooses, renames, merges). null = every detector "
        "class under its own name.",
    )
    splits: list[str] | None = Field(None, description="Only videos of these splits; null = all videos.")
    description: str = shown("", "One sentence for people.")

    @field_validator("classes")
    @classmethod
    def _each_detector_class_once(cls, classes: dict[str, list[str]] | None) -> dict[str, list[str]] | None:
        if classes is None:
            return None
        if not classes:
            raise ValueError("classes: {} would keep nothing. Hint: leave it out (null) to keep every detector class.")
        owner: dict[str, str] = {}
        for wanted, sources in classes.items():
            if not sources:
                raise ValueError(
                    f"classes.{wanted} names no detector class. Hint: write {wanted}: [{wanted}] or leave it out."
                )
            for source in sources:
                if source in owner:
                    raise ValueError(
                        f"detector class {source!r} is given to {owner[source]!r} and to {wanted!r}; each may be used once"
                    )
                owner[source] = wanted
        return classes

    @model_validator(mode="after")
    def _some_split(self) -> ModelDetector:
        if self.splits is not None and not self.splits:
            raise ValueError("splits: [] would look at no video. Hint: leave it out (null) to look at all.")
        return self


class YoloDetector(ModelDetector):
    """A YOLO model run over the frames of a dataset's videos."""

    kind: Literal["yolo"] = Field(description="A YOLO model file (.pt or .onnx).")
    imgsz: int = Field(
        640,
        ge=32,
        le=4096,
        multiple_of=32,
        description="Longer side of the model's input, px, a multiple of 32; higher finds smaller objects and costs time "
        "(with the square of it). An ONNX file with a fixed input needs that size.",
    )


class RfdetrDetector(ModelDetector):
    """An RF-DETR run over the frames of a dataset's videos. It says each object once: `iou` acts on merged classes only."""

    kind: Literal["rfdetr"] = Field(description="An RF-DETR model file (.pth).")
    imgsz: int = Field(
        0,
        ge=0,
        le=4096,
        description="Side of the square input, px, a multiple of the model's patch x windows; 0 = as it was trained. "
        "Higher finds smaller objects and costs time (with the square of it).",
    )


class TruthDetector(Section):
    """The true boxes as if a perfect detector had found them (score 1.0): an upper bound for tracking and training."""

    kind: Literal["truth"] = Field(description="True boxes with score 1.0; regions marked `ignore` are left out.")
    stride: int = Field(
        1, ge=1, description="Every how many frames one is used, from frame 0; higher makes tracking harder."
    )
    description: str = shown("", "One sentence for people.")


class GivenDetector(Section):
    """Detections that the source ships beside its videos, such as `det/det.txt` of MOTChallenge."""

    kind: Literal["given"] = Field(description="The source's own detections, as they are.")
    stride: int = Field(
        1, ge=1, description="Every how many frames one is used, from frame 0; higher makes tracking harder."
    )
    description: str = shown("", "One sentence for people.")


Detector = Annotated[YoloDetector | RfdetrDetector | TruthDetector | GivenDetector, Field(discriminator="kind")]
