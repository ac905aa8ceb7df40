"""When a training must make room: a signal or a time budget asks for it, the training answers after the step in hand.

A handler only sets a flag, because whatever it interrupted may be half done. Not here: saving (trainer.py,
yolo_trainer.py), agreeing between ranks (trainer.py), who sends the signal (a cluster, a person).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any

from lib.config.base import VipersightError

PREEMPTED = 75
"""Exit code of a training that stopped early, has a saved state and goes on when it is started again (EX_TEMPFAIL)."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
BUDGET_USED = "the time budget is used up"

MARGIN, LEAST_S, MOST_S = 0.05, 60.0, 900.0
"""What a training leaves, of the time that a scheduler gives it, to its last step and state: a share, and its limits."""


def scheduled_budget(runtime_s: float, environment: Mapping[str, str], now: float) -> float | None:
    """Seconds that a training may go on inside a scheduler's job; None outside of one, where nothing ends it.

    runtime_s: what the job was asked for (`resources: runtime`). environment: a Slurm job's SLURM_JOB_END_TIME (s since the
    epoch) counts when it is there, for the job began before this program. now: s since the epoch.
    """
    if not any(name in environment for name in ("SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID")):
        return None
    end = environment.get("SLURM_JOB_END_TIME", "")
    left = float(end) - now if end.isdigit() else runtime_s
    return max(1.0, left - min(max(MARGIN * runtime_s, LEAST_S), MOST_S))


class Preempted(VipersightError):
    """The training stopped early by request; its state is saved."""


class StopRequest:
    """Whether the training shall stop, and why; a context manager that listens while it is open.

    budget_s: seconds from now after which it shall stop by itself, null = no limit. signals: each asks once; a second one,
    of either kind, ends the process at once, with nothing saved.
    """

    def __init__(self, *, budget_s: float | None = None, signals: Sequence[signal.Signals] = SIGNALS) -> None:
        if budget_s is not None and not budget_s > 0:
            raise ValueError(f"a time budget must be above 0 s, got {budget_s}")
        self._deadline = None if budget_s is None else time.monotonic() + budget_s
        self._signals = tuple(signals)
        self._before: dict[signal.Signals, Any] = {}
        self._asked = ""

    @property
    def reason(self) -> str:
        """Why to stop, "" = go on."""
        if not self._asked and self._deadline is not None and time.monotonic() >= self._deadline:
            self._asked = BUDGET_USED
        return self._asked

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left; infinite without one."""
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def __enter__(self) -> StopRequest:
        for number in self._signals:
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._asked.startswith("signal"):
            os.write(sys.__stderr__.fileno(), f"{name} again: leaving at once, nothing is saved\n".encode())
            os._exit(PREEMPTED)
        self._asked = f"signal {name}"
