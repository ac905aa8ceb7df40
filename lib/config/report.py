"""`report:` — how pictures of boards and trainings are drawn. Not here: what they show (leaderboard.py)."""

from __future__ import annotations

from pydantic import Field

from lib.config.base import Section


class ReportSettings(Section):
    """Settings of the pictures; changing one redraws them and nothing else."""

    dpi: int = Field(150, ge=50, le=600, description="Resolution of the pictures, dots per inch; 300 suits print.")
    class_panels: int = Field(
        4,
        ge=0,
        le=12,
        description="Most panels for single classes beside a board, most true boxes first; 0 = only the board. "
        "The table always holds all classes.",
    )
