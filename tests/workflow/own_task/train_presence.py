"""What a training of the tests' own task `presence` is told: our loop's settings, and two of its model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lib.config.train_loop import LoopSettings


class PresenceTraining(LoopSettings):
    """A small temporal model that says which classes a frame shows."""

    model: Literal["recurrent"] = Field("recurrent", description="The one model of this task.")
    frames: int = Field(3, ge=1, le=16, description="Frames that it sees, the last one being asked about.")
    width: int = Field(32, ge=4, description="Channels; higher sees more and costs time.")
