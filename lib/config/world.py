"""Settings of the synthetic world (`source: {format: world}`): what is drawn and how hard it is. Not here: the drawing.

The shares are shares of frames. Together they must be possible (`both` cannot exceed `persons`, and so on); an impossible
wish is refused with the inequality that it breaks, because a world that silently differs from its settings is worth
nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lib.config.base import Name, Section

CLASSES = ("person", "crane hook", "vehicle", "load")
"""Classes of the world's things, in the order of its annotations. Whoever changes them raises the recipe of `download`."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
_SLACK = 1e-9  # sums of decimal shares are not exact


class Evidence(Section):
    """What carries the evidence for queries and questions: weights of the channels, of which only their ratio counts. An
    answer needs its channel; the others do not tell it."""

    frame: float = Field(0.25, ge=0, le=1, description="One picture within the answer shows it (somebody signals).")
    motion: float = Field(
        0.3, ge=0, le=1, description="Only several pictures in order show it (a load is lifted, not lowered)."
    )
    objects: float = Field(
        0.25, ge=0, le=1, description="Several things do it; only who is who (kind and colours) tells which one."
    )
    audio: float = Field(0.15, ge=0, le=1, description="Nothing in the picture shows it; only the sound does.")

    @model_validator(mode="after")
    def _some(self) -> Evidence:
        if not self.frame + self.motion + self.objects + self.audio > 0:
            raise ValueError("evidence: at least one of frame, motion, objects, audio must exceed 0")
        return self

    def shares(self) -> dict[str, float]:
        """Channel -> share of the questions; they sum to 1."""
        weights = {"frame": self.frame, "motion": self.motion, "objects": self.objects, "audio": self.audio}
        return {channel: weight / sum(weights.values()) for channel, weight in weights.items()}


class Sound(Section):
    """The sound of the videos: a tone for each kind of action while it lasts, and another for the thing that acts."""

    amplitude: float = Field(
        0.15,
        ge=0,
        le=0.25,
        description="Of each tone, full scale being 1; at 0 only the noise is left.",
    )
    noise: float = Field(0.01, ge=0, le=0.2, description="Standard deviation of the noise beneath, full scale being 1.")
    lowest_hz: float = Field(300.0, ge=100, le=1000, description="Frequency of the first kind's tone in Hz.")
    step_hz: float = Field(
        110.0, ge=60, le=150, description="Hz from tone to tone; the smaller, the harder the kinds are told apart."
    )
    heard: Share = Field(
        0.3, description="Share of visible actions that sound too; only silent ones are asked about, but for captions."
    )
    unseen: float = Field(
        2.0,
        ge=0,
        le=4,
        description="Mean number of sounds per video that nothing in the picture goes with.",
    )


class WorldSource(Section):
    """A building site drawn by the project itself: videos with sound; boxes, masks and tracks of persons, a crane hook,
    vehicles and loads, their relations, and queries, captions and questions about what happens."""

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
    empty: Share = Field(0.15, description="Share of frames without person, hook or vehicle; a load may lie there.")
    difficulty: float = Field(
        0.4,
        ge=0.0,
        le=1.0,
        description="Raising it lowers contrast and adds noise, things in front, changes of light and spread of sizes.",
    )
    evidence: Evidence = Field(default_factory=Evidence, description="What carries the evidence for queries and questions.")
    sound: Sound = Field(default_factory=Sound, description="The sound track.")
    queries: int = Field(8, ge=0, le=50, description="Most queries per video (when does …?); fewer where less happens.")
    questions: int = Field(
        6, ge=0, le=50, description="Most questions per video, of different kinds; fewer where less can be asked."
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
