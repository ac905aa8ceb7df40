"""What an RF-DETR training leaves for its next attempt: a small file that names its checkpoint and its best weights.

A kill at any moment leaves the state before or after. Not here: writing it (rfdetr_rounds.py).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.files import DataError, read_json

STATE = "last.json"


@dataclass
class Kept:
    """What a state says: rounds done, the best of them, what a history holds."""

    fingerprint: str
    epoch: int = 0  # rounds done
    step: int = 0
    seconds: float = 0.0
    stop: bool = False  # it ended by itself
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoint(self) -> str:
        """Name of Lightning's checkpoint of the last round."""
        return f"round-{self.epoch}.ckpt"

    @property
    def weights(self) -> str:
        """Name of the best weights."""
        return f"best-{self.best.get('epoch')}.pth"


def read_state(state: Path, fingerprint: str) -> Kept | None:
    """What an earlier attempt with this fingerprint left, or None; damage costs time, not results, so it counts as none."""
    if not (state / STATE).is_file():
        return None
    try:
        kept = Kept(**read_json(state / STATE))
    except (DataError, TypeError) as error:
        print(f"warning: {state / STATE}: {error}; training starts afresh", file=sys.stderr)
        return None
    whole = (state / kept.weights).is_file() and (state / kept.checkpoint).is_file()
    return kept if kept.fingerprint == fingerprint and whole else None
