"""`shardsets:` — what one sample of the shards holds, and which frames or clips become samples. Not here: packing
(lib/data/shards.py, lib/data/clip_shards.py)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lib.config.base import Name, Section, added, shown


class TracksOf(Section):
    """Tracked boxes of the same run, by who detected and who tracked."""

    detector: Name = Field(description="An entry of `detectors:`.")
    tracker: Name = Field(description="An entry of `trackers:`.")


class PackedSection(Section):
    """What both kinds share."""

    splits: list[Name] = Field(
        ["train", "val"],
        min_length=1,
        description="Splits that are packed; test needs packing only where a trainer reads it.",
    )

    @field_validator("splits")
    @classmethod
    def _distinct(cls, splits: list[str]) -> list[str]:
        twice = sorted({split for split in splits if splits.count(split) > 1})
        if twice:
            raise ValueError(f"splits: {twice[0]!r} is listed twice in {splits}")
        return splits

    @model_validator(mode="before")
    @classmethod
    def _of_this_kind(cls, data: Any) -> Any:
        """Tell a setting of the other kind from a misspelt one."""
        others = [one for one in PackedSection.__subclasses__() if one is not cls]
        for other in others if isinstance(data, dict) else ():
            strangers = [key for key in data if key in other.model_fields and key not in cls.model_fields]
            if strangers:
                facts = {"key": strangers[0], "mine": _kind_of(cls), "theirs": _kind_of(other)}
                hint = "Hint: leave it out, or state `kind: {theirs}`"
                raise PydanticCustomError("other_kind", "kind {mine} has no {key}, kind {theirs} has. " + hint, facts)
        return data


def _kind_of(section: type[PackedSection]) -> str:
    return str(get_args(section.model_fields["kind"].annotation)[0])


class Shardset(PackedSection):
    """Images and labels of chosen splits, packed into WebDataset tars."""

    kind: Literal["frames"] = added("frames", "frames = a sample is a picture and its labels (the default).")
    stride: int = Field(
        1, ge=1, description="Every k-th labelled frame of a video becomes a sample; higher = fewer near-duplicates."
    )
    quality: int = Field(
        90,
        ge=1,
        le=100,
        description="JPEG quality of encoded frames; higher = larger shards. JPEG files go in as they are.",
    )
    max_side: int | None = Field(
        None,
        ge=16,
        description="Longer images are scaled down to this side, px, boxes and masks along; null = original size.",
    )
    labels: Literal["truth", "tracks"] = Field(
        "truth",
        description="Boxes that a model learns from: `truth` as annotated, or `tracks` (pseudo-labels): then the samples "
        "are the frames that hold a tracked box, because an empty frame of a tracker is no proof of background.",
    )
    tracks: TracksOf | None = Field(
        None, description="Adds the tracked boxes of this detector and tracker to each sample; needed by labels: tracks."
    )
    samples_per_shard: int = Field(
        1000, ge=1, description="Samples in one tar; higher = fewer, larger files, and fewer readers at once."
    )
    description: str = shown("", "One sentence for people.")

    @model_validator(mode="after")
    def _tracks_stated(self) -> Shardset:
        if self.labels == "tracks" and self.tracks is None:
            raise ValueError("labels: tracks needs `tracks: {detector: NAME, tracker: NAME}`. Hint: state both names.")
        return self


class ClipShardset(PackedSection):
    """Features of clips with their queries, a clip a sample, packed into WebDataset tars."""

    kind: Literal["clips"] = Field(description="clips = a sample is the features of a clip, and its queries with theirs.")
    clips: Name = Field(description="Features of the clips; an entry of `featuresets:`.")
    text: Name = Field(description="Features of the queries; an entry of `featuresets:`.")
    paraphrases: list[Name] = added(
        [],
        "Features of the same queries in other words, as wide as `text`; entries of `featuresets:`. A view looks with the "
        "n-th (`paraphrase: n`), a training may draw among them.",
    )
    objects: Name | None = Field(
        None, description="Features of tracked objects on the same grid of time; an entry of `featuresets:`."
    )
    dtype: Literal["float32", "float16"] = Field(
        "float32", description="How numbers are stored; float16 halves the shards and keeps about three digits."
    )
    max_steps: int = Field(
        4096, ge=1, description="Most steps of one clip; a longer one is refused by name: coarser features, or raise this."
    )
    missing: Literal["error", "drop"] = Field(
        "error",
        description="A clip or query without features: stop and list them, or leave it out (manifest.json lists them). A "
        "clip that the featureset of objects lacks has no objects then.",
    )
    samples_per_shard: int = Field(
        200, ge=1, description="Clips in one tar; higher = fewer, larger files, and fewer readers at once."
    )
    description: str = shown("", "One sentence for people.")

    @model_validator(mode="after")
    def _other_words(self) -> ClipShardset:
        twice = next((name for name in self.paraphrases if [self.text, *self.paraphrases].count(name) > 1), None)
        if twice is not None:
            where = "is `text` itself" if twice == self.text else "is listed twice"
            raise ValueError(f"paraphrases: {twice!r} {where}: the same words would count double. Hint: leave it out.")
        return self

    def featuresets(self, role: str) -> list[str]:
        """Names of what plays a role (clips, text, objects): of text the words that were asked, then paraphrases."""
        name = getattr(self, role)
        return [*([name] if name else []), *(self.paraphrases if role == "text" else [])]


def kind(value: Any) -> str:
    """Which of both: frames where nothing is said."""
    return value.get("kind", "frames") if isinstance(value, dict) else getattr(value, "kind", "frames")


AnyShardset = Annotated[Annotated[Shardset, Tag("frames")] | Annotated[ClipShardset, Tag("clips")], Discriminator(kind)]
