"""`evaluate:` — how predictions are scored and how sure a score is. Not here: what a board lists (leaderboard.py)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lib.config.base import Section


class EvaluateSettings(Section):
    """Settings of the scores and of their intervals; the same for every row of a board."""

    f1_threshold: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Score from which a detection counts for precision, recall and F1 (0–1); raising it trades recall for "
        "precision. AP uses all scores.",
    )
    max_det: int = Field(
        100,
        ge=1,
        description="Detections scored per frame and class, best first; COCO's value is 100. Raising it helps where more "
        "objects of one class are in one frame.",
    )
    track_iou: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="Overlap from which a tracked box counts as found in MOTA and IDF1 (HOTA averages over its own); "
        "raising it asks for tighter boxes.",
    )
    track_inside: float | None = Field(
        0.5,
        gt=0.0,
        lt=1.0,
        description="Share of a tracked box inside an ignored region above which it is no false alarm; raising it forgives "
        "less; null = only boxes that match an ignored one are forgiven (MOTChallenge's rule).",
    )
    queries_by: Literal["template", "evidence", "length"] = Field(
        "template",
        json_schema_extra={"added": True},
        description="By what boards tell queries apart: their template, what carries their evidence, or how long the "
        "answer is. Scores on disk have all three.",
    )
    draws: int = Field(
        1000,
        ge=100,
        le=100_000,
        description="Resamples of the test videos behind every interval; raising it steadies the interval's ends and takes "
        "proportionally longer.",
    )
    level: float = Field(
        0.95, gt=0.5, lt=1.0, description="Confidence level of the intervals; raising it widens them and makes more ties."
    )
    seed: int = Field(0, ge=0, description="Seed of the resamples: all rows of a board share them.")
