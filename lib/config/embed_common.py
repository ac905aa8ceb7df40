"""What featuresets share: which videos, how numbers are stored, the grid of time, pretrained networks by name or path.

Not here: the kinds themselves (embed.py), the networks (lib/perception).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from lib.config.base import Name, Section, shown


class FeatureSection(Section):
    """What all featuresets that are computed here share."""

    needs_gpu: ClassVar[bool] = False
    splits: list[Name] | None = Field(None, description="Only videos of these splits; null = all videos.")
    dtype: Literal["float32", "float16"] = Field(
        "float32", description="How numbers are stored; float16 halves the files and keeps about three digits."
    )
    description: str = shown("", "One sentence for people.")

    @model_validator(mode="after")
    def _some_split(self) -> FeatureSection:
        if self.splits is not None and not self.splits:
            raise ValueError("splits: [] would look at no video. Hint: leave it out (null) to look at all.")
        return self


class GridSection(FeatureSection):
    """Featuresets with a step of time for every `stride` frames."""

    needs_pictures: ClassVar[bool] = True

    stride: int = Field(
        16, ge=1, description="Frames from one step to the next; higher = fewer steps, and answers that fall between them."
    )
    window: int = Field(
        16,
        ge=1,
        description="Frames that one step looks at, from its first; higher = smoother. A video shorter than that has one "
        "step, of the frames it has.",
    )
    max_steps: int = Field(
        4096, ge=1, description="Most steps of one video; a longer one is refused by name: raise `stride`, or this."
    )


class PretrainedSection(Section):
    """A pretrained network of a library, by its name on the hub or by a local folder."""

    model: str = Field(
        min_length=1,
        description="Name on the hub, such as openai/clip-vit-base-patch32, or a local folder that was saved by the "
        "library (relative to the working directory; $VARIABLES are filled in).",
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit on the hub; null = its main branch. State a commit to pin a name."
    )
    width: int | None = Field(
        None,
        ge=1,
        description="Width that the features must have, another is refused; null = whatever it gives.",
    )
    batch: int = shown(
        32, "Pictures or texts per call of the network; higher is faster on a GPU and takes more memory.", ge=1
    )
