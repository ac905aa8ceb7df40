"""`featuresets:` of `kind: planted` — an experiment: features that are noise and a known signal where the answers are. Not
here: making them (lib/perception/planted.py).

What a model reaches on them says how well it finds what is there for certain, with real annotations and without any video.
They are made from the truth, of test too: a score on them says nothing about videos.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lib.config.base import refuse_idle
from lib.config.embed_common import FeatureSection


class PlantedFeatures(FeatureSection):
    """Noise, and where a query is answered a fixed projection of its words: x[t] = noise · ε + strength · W · words."""

    kind: Literal["planted"] = Field(description="An experiment: features made of noise and the true windows.")
    where: Literal["video", "objects"] = Field(
        "video", description="What carries the signal: the features of the video, or one object of a step."
    )
    strength: float = Field(
        1.0, ge=0, description="Root mean square of the signal of one query in a number; 0 = noise alone: nothing to find."
    )
    noise: float = Field(1.0, ge=0, description="Standard deviation of the noise in a number.")
    width: int = Field(
        1024,
        ge=8,
        le=4096,
        description="Numbers of one step, or of one object of it; higher keeps answers apart that overlap in time.",
    )
    words: int = Field(
        1024,
        ge=8,
        le=4096,
        description="Width in which the words of a query are hashed before they are projected: that of its light_text.",
    )
    weights: Literal["plain", "rare"] = Field(
        "rare",
        description="rare = words that many queries hold count less (inverse document frequency), so that answers that "
        "overlap stay apart; plain = every word counts the same.",
    )
    seed: int = Field(0, ge=0, description="Another seed draws other noise and another projection.")
    shuffle: bool = Field(
        False,
        description="true = every query's signal lies where another query of its split is answered, in shares of the clip: "
        "the features then tell nothing, and a model above its floor has found a leak.",
    )
    stride: float = Field(1.0, gt=0, description="Frames from one step to the next.")
    window: float = Field(1.0, gt=0, description="Frames of one step.")
    fps: float | None = Field(
        1.0,
        gt=0,
        description="Frames/s that stride and window are counted in: 2 with stride 1 is two steps a second; null = those "
        "of each clip.",
    )
    top: int = Field(4, ge=1, le=64, description="With where: objects: objects of a step; three of four are there.")
    max_steps: int = Field(4096, ge=1, description="Most steps of one clip; a longer one is refused by name.")

    @model_validator(mode="after")
    def _objects_only(self) -> PlantedFeatures:
        if self.where == "video":
            refuse_idle(self, "top", needs="where: objects")
        return self

    @property
    def table(self) -> str:
        """The truth that it is made from."""
        return "queries"
