"""`boards:` — which rows one leaderboard compares, and by what. Not here: how scores come about (evaluate.py)."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from lib.config.base import Name, Section, nearest, shown
from lib.config.tasks import ALL_METRICS

TrackMetric = Literal["HOTA", "DetA", "AssA", "MOTA", "IDF1"]
_OWN_LISTS = {"scores": ("variants", "tta"), "tracks": ("detectors", "trackers")}


class Board(Section):
    """One leaderboard: variants × test-time augmentations, or detectors × trackers, on one dataset.

    Every row is one pair of the two lists. A board should list a floor (a variant of kind floor, a tracker of kind
    unlinked): a score means something against what can be had without looking at the video, or without following anything.
    """

    dataset: Name = Field(description="Dataset whose test videos the rows are scored on.")
    kind: Literal["scores", "tracks"] = Field(
        "scores",
        description="scores = variants × tta; tracks = detectors × trackers (HOTA needs true tracks, counts do not).",
    )
    variants: list[Name] | None = Field(None, min_length=1, description="With kind scores: the variants that are compared.")
    tta: list[Name] | None = Field(
        None,
        min_length=1,
        description="With kind scores: test-time augmentations, each one row per variant; null = [none].",
    )
    detectors: list[Name] | None = Field(
        None, min_length=1, description="With kind tracks: the detectors that are compared."
    )
    trackers: list[Name] | None = Field(
        None, min_length=1, description="With kind tracks: the trackers behind each detector."
    )
    metric: str | None = Field(
        None,
        description="What rows are ranked by. Task detection: AP50 (default), AP, AP75, AR, F1; another task: its own, "
        "null = its first. With kind tracks HOTA (default), DetA, AssA, MOTA or IDF1.",
        json_schema_extra={"enum": [*ALL_METRICS, *get_args(TrackMetric), None]},
    )
    compare: bool = shown(
        False,
        "With kind scores: true = the board's trainings are also drawn side by side (results/comparisons/): curves, scores "
        "on val, model sizes, learning rates.",
    )
    title: str = shown("", "Heading of the board, for people; a new one redraws this board only.")
    description: str = shown("", "What the board answers, for people.")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_kind(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        defaults = {"metric": "HOTA"} if data.get("kind") == "tracks" else {"tta": ["none"]}
        return data | {key: value for key, value in defaults.items() if data.get(key) is None}

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Board:
        for kind, lists in _OWN_LISTS.items():
            for key in lists:
                names = getattr(self, key)
                if kind == self.kind and names is None:
                    raise ValueError(f"kind: {self.kind} needs `{key}`, a list of names")
                if kind != self.kind and names is not None:
                    raise ValueError(
                        f"`{key}` belongs to kind: {kind}, this board is of kind: {self.kind}. Hint: leave it out"
                    )
                if names and len(set(names)) != len(names):
                    raise ValueError(f"{key}: the same name twice in {names}; each row stands once")
        if self.kind == "tracks" and self.compare:
            raise ValueError("`compare` belongs to kind: scores, this board is of kind: tracks. Hint: leave it out")
        if self.kind == "tracks" and self.metric not in get_args(TrackMetric):
            raise ValueError(f"metric: with kind: tracks, {nearest(str(self.metric), get_args(TrackMetric))}")
        return self
