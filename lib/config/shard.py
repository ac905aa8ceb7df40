"""`shardsets:` — what one sample of the shards holds and which frames become samples. Not here: packing
(lib/data/shards.py)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from lib.config.base import Name, Section, shown


class TracksOf(Section):
    """Tracked boxes of the same run, by who detected and who tracked."""

    detector: Name = Field(description="An entry of `detectors:`.")
    tracker: Name = Field(description="An entry of `trackers:`.")


class Shardset(Section):
    """Images and labels of chosen splits, packed into WebDataset tars."""

    splits: list[Name] = Field(
        ["train", "val"],
        min_length=1,
        description="Splits that are packed; test needs packing only where a trainer reads it.",
    )
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

    @field_validator("splits")
    @classmethod
    def _distinct(cls, splits: list[str]) -> list[str]:
        twice = sorted({split for split in splits if splits.count(split) > 1})
        if twice:
            raise ValueError(f"splits: {twice[0]!r} is listed twice in {splits}")
        return splits

    @model_validator(mode="after")
    def _tracks_stated(self) -> Shardset:
        if self.labels == "tracks" and self.tracks is None:
            raise ValueError("labels: tracks needs `tracks: {detector: NAME, tracker: NAME}`. Hint: state both names.")
        return self
