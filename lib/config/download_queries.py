"""Formats of temporal grounding: queries with the windows that answer them. Not here: reading them (lib/data/sources/)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lib.config.base import Name
from lib.config.download_files import Files


class QuerySource(Files):
    """What all formats of queries share; their videos need not be at hand, where features stand in for them."""

    annotations: dict[Name, str] = Field(min_length=1, description="Split -> annotation file, relative to the root.")
    videos: str | None = Field(
        None,
        description="Folder of the videos, relative to the root, each named like its clip. null = none are at hand: clips "
        "have the duration that the annotations state, and features come from files.",
    )


class Ego4dNlqSource(QuerySource):
    """Ego4D natural language queries: nlq_train.json, nlq_val.json, nlq_test_unannotated.json, of version 1 or 2."""

    format: Literal["ego4d_nlq"] = Field(description="Ego4D NLQ.")
    fps: float = Field(30.0, gt=0, description="Frames/s of the clips where no videos are at hand; Ego4D's are 30.")


class QvhighlightsSource(QuerySource):
    """QVHighlights: a JSON object per line, several windows per query; of a test file without windows, none."""

    format: Literal["qvhighlights"] = Field(description="QVHighlights.")
    fps: float = Field(
        1.0,
        gt=0,
        description="Frames/s that are counted in where no videos are at hand: the annotations state seconds only.",
    )


class TacosSource(QuerySource):
    """TACoS as 2D-TAN gives it: one JSON object, video -> timestamps (frames), sentences, fps, num_frames."""

    format: Literal["tacos"] = Field(description="TACoS.")


class CharadesSource(QuerySource):
    """Charades-STA: lines `VIDEO start end##sentence`, and tables with the length of each video."""

    format: Literal["charades"] = Field(description="Charades-STA.")
    lengths: list[str] = Field(
        min_length=1,
        description="CSV tables with the columns id, length (s) and, where known, fps, relative to the root; "
        "Charades_v1_train.csv and Charades_v1_test.csv are such.",
    )
    fps: float = Field(
        1.0, gt=0, description="Frames/s that are counted in where no videos are at hand and the tables state none."
    )


GroundingSource = Ego4dNlqSource | QvhighlightsSource | TacosSource | CharadesSource
