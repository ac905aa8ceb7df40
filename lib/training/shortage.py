"""When one rank of several runs out of memory: it writes down how small batches must be, all leave, the retry obeys.

The other ranks cannot be asked: they wait in the exchange of gradients for one that will not come. So they agree by a small
file beside the states, which every rank looks at from a thread. Rank 0 leaves first, with the code that says “start me
again” (preemption.PREEMPTED), for it is the process whose code counts; the retry goes on from the last saved state.
(torchrun ends with a code of its own, 1; start it again too. Its --max-restarts does not do on CPUs: the new processes of
gloo look for the addresses of the old ones.)

Not here: splitting micro-batches, and a training of one process, which makes the same step again (memory.py).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_fabric import Fabric

from lib.files import DataError, read_json, write_json
from lib.training.callbacks import Callback
from lib.training.preemption import PREEMPTED, Preempted
from lib.training.processes import end_started

if TYPE_CHECKING:
    from lib.training.trainer import Trainer

FILE = "out-of-memory.json"
LOOK_S = 0.2
LINGER_S = 5.0
"""How long ranks but the first stay: one that ends before rank 0 makes a launcher kill rank 0, and its code is lost."""


class StartAgain(Preempted, MemoryError):
    """Memory did not suffice on one of several ranks; started again, the training goes on with smaller micro-batches."""


class Shortage(Callback):
    """What the ranks of a training agree on by a file in its state folder.

    folder: where the states are, on a disk that all ranks see. fingerprint: the record of another one counts nothing.
    tell: takes facts for the record of the attempt (rank 0).
    """

    def __init__(self, folder: Path, *, fingerprint: str, fabric: Fabric, tell: Callable[..., None] | None = None) -> None:
        self.path, self.fingerprint, self.fabric, self._tell = folder / FILE, fingerprint, fabric, tell
        self._agreed = 0  # halvings that all ranks began with
        self._over = threading.Event()
        self._leaving = threading.Lock()

    def on_start(self, trainer: Trainer) -> None:
        """All ranks take over what rank 0 reads, where that is more than the state says; from now on each looks."""
        halving = trainer.halving
        if halving is not None:
            halving.halvings = self.fabric.broadcast(max(halving.halvings, self.recorded()))
            self._agreed = halving.halvings
        threading.Thread(target=self._watch, name="shortage", daemon=True).start()

    def on_stop(self, trainer: Trainer, status: str) -> None:
        self._over.set()

    def recorded(self) -> int:
        """Halvings that an attempt of this training asked for; 0 where none did."""
        return int(self._read().get("halvings", 0))

    def record(self, halvings: int, error: Exception) -> StartAgain:
        """Write down that so many halvings are needed; returns what this rank must raise."""
        self._over.set()  # this rank knows
        halvings = max(halvings, self.recorded())
        rank = self.fabric.global_rank
        why = f"rank {rank} ran out of memory ({error}): started again, micro-batches are halved {halvings} time(s)"
        write_json(self.path, {"fingerprint": self.fingerprint, "halvings": halvings, "rank": rank, "why": why})
        return StartAgain(why)

    def told(self) -> str:
        """Why to leave, by what some rank has written since the start; "" = nothing."""
        found = self._read()
        return str(found["why"]) if int(found.get("halvings", 0)) > self._agreed else ""

    def leave(self, why: str) -> None:
        """End this process with PREEMPTED, at once: its main thread may wait in an exchange that never ends."""
        self._leaving.acquire()  # for good: both threads of a rank may come here
        if self.fabric.global_rank:
            time.sleep(LINGER_S)
        else:
            if self._tell is not None:
                self._tell(cause="memory", error=why)
            print(f"stopped: {why}; it goes on from its last saved state", file=sys.stderr, flush=True)
            end_started(self.fabric)  # their memory must be free when the retry starts
        os._exit(PREEMPTED)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            if (why := self.told()) and not self._over.is_set():
                self.leave(why)

    def _read(self) -> dict[str, Any]:
        """The record of this training; empty where there is none."""
        if not self.path.exists():
            return {}
        try:
            found = read_json(self.path)
        except DataError as damage:
            print(f"warning: {damage}; it is left out of account", file=sys.stderr)
            return {}
        return found if found.get("fingerprint") == self.fingerprint else {}
