"""Settings of the synthetic world (`source: {format: world}`): what is drawn and how hard it is. Not here: the drawing.

The shares are shares of frames. Together they must be possible (`both` cannot exceed `persons`, and so on); an impossible
wish is refused with the inequality that it breaks, because a world that silently differs from its settings is worth
nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lib.config.base import Name, Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]
_SLACK = 1e-9  # sums of decimal shares are not exact


class WorldSource(Section):
    """A building site drawn by the project itself: videos with boxes, masks and tracks of persons, a crane hook,
    vehicles."""

    format: Literal["world"] = Field(description="The synthetic world.")
    seed: int = Field(0, ge=0, description="Another seed draws another world from the same distribution.")
    videos: dict[Name, Annotated[int, Field(ge=1, le=9999)]] = Field(
        {"detector": 10, "train": 20, "val": 8, "test": 40}, min_length=1, description="Split -> number of videos."
    )
    size: tuple[Annotated[int, Field(ge=64, le=4096)], Annotated[int, Field(ge=64, le=4096)]] = Field(
        (320, 192), description="[width, height] in px, both even; more px show the same site in more detail."
    )
    fps: float = Field(10.0, ge=1.0, le=120.0, description="Frames/s; raising it samples the same motion more finely.")
    seconds: tuple[Annotated[float, Field(gt=0, le=600)], Annotated[float, Field(gt=0, le=600)]] = Field(
        (4.0, 8.0), description="[shortest, longest] video in s; lengths are drawn uniformly between them."
    )
    scale: float = Field(
        1.0,
        ge=0.3,
        le=2.0,
        description="Size of all objects as a factor; at 1 a person is 0.2 to 0.45 of the frame's height.",
    )
    persons: Share = Field(0.45, description="Share of frames with at least one person.")
    hooks: Share = Field(0.35, description="Share of frames with the crane hook.")
    both: Share = Field(
        0.15, description="Share of frames with person and crane hook, at most; lower = subsampling by class differs more."
    )
    vehicles: Share = Field(0.35, description="Share of frames with at least one vehicle.")
    empty: Share = Field(0.15, description="Share of frames without any object (background).")
    difficulty: float = Field(
        0.4,
        ge=0.0,
        le=1.0,
        description="Raising it lowers contrast and adds noise, things in front, changes of light and spread of sizes.",
    )
    crf: int = Field(23, ge=0, le=51, description="Quantiser of the H.264 codec; higher = smaller files, coarser pictures.")

    @model_validator(mode="after")
    def _even_size(self) -> WorldSource:
        if any(side % 2 for side in self.size):
            raise ValueError(f"size: both sides must be even (the codec halves them), got {list(self.size)}")
        return self

    @model_validator(mode="after")
    def _ordered_seconds(self) -> WorldSource:
        shortest, longest = self.seconds
        if shortest > longest:
            raise ValueError(f"seconds: the first must not exceed the second, got {list(self.seconds)}")
        if shortest * self.fps < 2:
            raise ValueError(
                f"seconds: {shortest} s at fps {self.fps} is less than two frames. Hint: raise seconds or fps."
            )
        return self

    @model_validator(mode="after")
    def _possible_shares(self) -> WorldSource:
        seen = self.persons + self.hooks - self.both  # frames with a person or the hook
        if self.both > min(self.persons, self.hooks) + _SLACK:
            raise ValueError(f"both ({self.both}) must not exceed persons ({self.persons}) or hooks ({self.hooks})")
        if seen + self.empty > 1 + _SLACK:
            raise ValueError(
                f"persons + hooks - both + empty must not exceed 1, got {seen + self.empty:.3f}. Hint: lower empty, "
                "persons or hooks, or raise both."
            )
        if self.vehicles + self.empty > 1 + _SLACK:
            raise ValueError(f"vehicles + empty must not exceed 1, got {self.vehicles + self.empty:.3f}")
        bare = 1 - seen - self.empty
        if self.vehicles + _SLACK < bare:
            raise ValueError(
                f"vehicles ({self.vehicles}) must be at least 1 - (persons + hooks - both) - empty = {bare:.3f}: a frame "
                "that is not empty and holds neither person nor hook holds a vehicle. Hint: raise empty or vehicles."
            )
        return self
