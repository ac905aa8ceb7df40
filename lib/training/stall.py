"""Ending a training that hangs: a loader that gives nothing, ranks that wait for each other, a driver that does not answer.

Not here: finding out why; the stacks of all threads are written for that.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from lib.training.callbacks import Callback, Step

if TYPE_CHECKING:
    from lib.training.trainer import Trainer

STALLED = 70
"""Exit code of a training that hung (EX_SOFTWARE); it goes on from its last state when it is started again."""


class StallGuard(Callback):
    """Ends the process when no optimizer step and no batch of an evaluation has finished for `seconds`.

    What hangs cannot be relied on to answer, so the process ends at once: nothing is saved beyond the last state.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._seen = time.monotonic()
        self._over = threading.Event()

    def on_start(self, trainer: Trainer) -> None:
        self._seen = time.monotonic()
        threading.Thread(target=self._watch, name="stall-guard", daemon=True).start()

    def on_step(self, trainer: Trainer, step: Step) -> None:
        self._seen = time.monotonic()

    def on_batch(self, trainer: Trainer) -> None:
        self._seen = time.monotonic()

    def on_stop(self, trainer: Trainer, status: str) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self.seconds / 4)):
            waited = time.monotonic() - self._seen
            if waited > self.seconds:
                print(
                    f"error: nothing has finished for {waited:.0f} s (running.stall_seconds = {self.seconds:g}): the "
                    "training hangs and is ended; started again, it goes on from its last state. All threads:",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(all_threads=True)
                os._exit(STALLED)
