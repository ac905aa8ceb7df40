"""`export:` — what is drawn and written for people and other tools. Not here: what is predicted (predict.py)."""

from __future__ import annotations

from pydantic import Field

from lib.config.base import Section


class ExportSettings(Section):
    """Annotated videos and COCO-results JSON per video."""

    threshold: float = Field(0.3, ge=0, le=1, description="Lowest score that is drawn; higher draws fewer boxes.")
    json_threshold: float = Field(0.01, ge=0, le=1, description="Lowest score written to JSON; higher makes smaller files.")
    videos: int | None = Field(
        None, ge=0, description="Annotated videos at most, the first by id; null = all. JSON is always written for all."
    )
    min_width: int = Field(
        640,
        ge=64,
        le=4096,
        multiple_of=2,
        description="Narrower frames are enlarged to this width, px, so that labels are legible.",
    )
