"""`featuresets:` — what turns clips, texts and tracked objects into features, and on which grid of time. Not here: the
encoders (lib/perception), steps and seconds (lib/data/time_grid.py).

Kinds `light_…` are built in and download nothing; kinds `model_…` run a pretrained network by its name or path; `files`
takes features that stand already; `planted` is an experiment.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lib.config.appearance import Appearance, LightAppearance
from lib.config.base import Name, refuse_idle
from lib.config.embed_common import FeatureSection, GridSection, PretrainedSection
from lib.config.embed_wording import WordingSection
from lib.config.feature_files import FeatureFiles
from lib.config.feature_planted import PlantedFeatures


class LightClips(GridSection):
    """Clip features without a network: colours, what stands out from the background, motion, and bands of the sound."""

    kind: Literal["light_clips"] = Field(description="Built-in features of pictures and sound.")
    side: int = Field(
        160,
        ge=32,
        le=1024,
        description="Longer side in px at which pictures are looked at; higher sees smaller things and costs time.",
    )
    rows: int = Field(3, ge=1, le=16, description="Rows of cells that a picture is cut into; more = finer places, wider.")
    columns: int = Field(4, ge=1, le=16, description="Columns of cells that a picture is cut into.")
    sound: bool = Field(True, description="true = bands of the sound are appended; of a video without sound they are 0.")

    @property
    def width(self) -> int:
        """Numbers of one step."""
        return light_width(self.rows, self.columns, sound=self.sound)


CELL_WIDTH = 12 + 12 + 4 + 1
"""Of one cell: colours of the picture, colours of what stands out, motion in four directions, how much stands out."""
EDGE_WIDTH, SOUND_BANDS = 24, 96


def light_width(rows: int, columns: int, *, sound: bool) -> int:
    """Numbers of one step of kind light_clips: every cell, the whole picture, edges of what stands out, bands of sound."""
    return (rows * columns + 1) * CELL_WIDTH + EDGE_WIDTH + SOUND_BANDS * sound


class ModelClips(GridSection, PretrainedSection):
    """Clip features of a network of transformers: of pictures (CLIP, SigLIP, DINOv2 …, mean over the window's frames) or of
    short clips (VideoMAE, ViViT, TimeSformer: as many frames of the window as it takes)."""

    needs_gpu: ClassVar[bool] = True
    kind: Literal["model_clips"] = Field(description="A vision network of transformers.")
    frames: int | None = Field(
        None,
        ge=1,
        description="Frames of a window that a picture network looks at, evenly spread; null = 4, or the window where that "
        "is shorter. A clip network takes as many as it was built for.",
    )

    @model_validator(mode="after")
    def _frames_in_window(self) -> ModelClips:
        if self.frames is not None and self.frames > self.window:
            raise ValueError(f"frames {self.frames} must not exceed window {self.window}: there are no more frames in it.")
        return self


class TextSection(WordingSection, FeatureSection):
    """What featuresets of texts share: the queries of a dataset, one tensor each."""

    table: Literal["queries"] = Field("queries", description="Which texts of the dataset's truth are encoded.")
    level: Literal["tokens", "pooled"] = Field(
        "tokens", description="tokens = a row for each token [L, Dt]; pooled = one row for the whole text [1, Dt]."
    )
    max_tokens: int = Field(
        64,
        ge=1,
        description="Most tokens of a text; longer ones are cut there; log and meta.json tell how many.",
    )


class LightText(TextSection):
    """Text features without a network: each word has a fixed random direction, the same in every study."""

    kind: Literal["light_text"] = Field(description="Hashed words.")
    width: int = Field(
        128, ge=8, le=4096, description="Numbers of one word; higher = words are told apart better, and wider."
    )


class ModelText(TextSection, PretrainedSection):
    """Text features of a network of transformers or sentence-transformers."""

    needs_gpu: ClassVar[bool] = True
    kind: Literal["model_text"] = Field(description="A text network.")
    library: Literal["transformers", "sentence_transformers"] = Field(
        "transformers", description="Which library reads the model: sentence_transformers knows how its models are pooled."
    )


class Objects(GridSection):
    """Features of tracked objects: per step the K best boxes, each 128 numbers of its looks, place, score and class."""

    kind: Literal["objects"] = Field(description="Tokens of tracked objects.")
    detector: Name = Field(description="An entry of `detectors:`.")
    tracker: Name = Field(description="An entry of `trackers:`.")
    top: int = Field(8, ge=1, le=256, description="K: most objects of a step, by score; higher keeps fainter ones.")
    appearance: Appearance = Field(
        default_factory=lambda: LightAppearance(kind="light"), description="What turns a crop into 128 numbers."
    )
    class_names: Literal["none", "hashed"] = Field(
        "hashed",
        description="hashed = the words of the class name as in kind light_text of that width, so that a query's words and "
        "the objects' names have the same directions; none = left out.",
    )
    class_width: int = Field(
        64,
        ge=8,
        le=4096,
        description="With class_names: hashed: numbers of the name; higher tells more classes apart.",
    )

    @model_validator(mode="after")
    def _class_width_is_used(self) -> Objects:
        if self.class_names == "none":
            refuse_idle(self, "class_width", needs="class_names: hashed")
        return self

    @property
    def width(self) -> int:
        """F: 128 of the looks, 4 of the place, 1 score, and the class name."""
        return 128 + 4 + 1 + (self.class_width if self.class_names == "hashed" else 0)


Featureset = Annotated[
    LightClips | ModelClips | LightText | ModelText | Objects | FeatureFiles | PlantedFeatures,
    Field(discriminator="kind"),
]


def about(featureset: Featureset) -> Literal["clips", "text", "objects"]:
    """What the features are of: the part that they can play in a shardset of clips."""
    if isinstance(featureset, LightText | ModelText) or getattr(featureset, "of", None) == "text":
        return "text"
    is_objects = isinstance(featureset, Objects) or getattr(featureset, "where", None) == "objects"
    return "objects" if is_objects else "clips"
