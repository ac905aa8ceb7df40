"""The child process that decodes media: started by parent.py, told by JSON over a socket, gives pictures in shared memory.

It starts with no secret in its environment, may write no file, opens nothing but the file it is told, and ends when its
parent does. Not here: decoding itself (reading.py).

python -m lib.data.decoding.child SOCKET MEMORY PARENT LIMITS     file descriptors, process id, JSON; never typed by hand
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import resource
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from lib.config.limits import Limits
from lib.data.decoding.containers import TooMuchMemory
from lib.data.decoding.facts import Probe, ReadStats
from lib.data.decoding.hearing import sound
from lib.data.decoding.reading import Wanted, look, pictures
from lib.files import DataError

_BEAT_S = 1.0
_OPEN_FILES = 64


class _Stop(Exception):
    """The parent wants no more of this reading."""


class Child:
    """One request at a time, until the socket closes."""

    def __init__(self, link: Connection, memory: int, limits: Limits) -> None:
        self.link, self.memory, self.limits = link, memory, limits
        self.shape: tuple[int, ...] = ()
        self.slots: list[np.ndarray] = []
        self.free: list[int] = []
        self.last_beat = time.monotonic()

    def serve(self) -> None:
        self._tell(ready=True)
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):
            while True:
                request = json.loads(self.link.recv_bytes())
                if "do" in request:  # a late slot or stop of the last request says nothing any more
                    self._allow_time()
                    self._answer(request)

    def _answer(self, request: dict[str, Any]) -> None:
        path = Path(os.fsdecode(bytes.fromhex(request["path"])))
        try:
            if request["do"] == "look":
                seen = look(path, request["stream"], everything=request["everything"], limits=self.limits, beat=self.beat)
                self._give_probe(seen)
            elif request["do"] == "sound":
                self._give_sound(path, request["rate"])
            else:
                self._give_pictures(path, request)
        except (MemoryError, TooMuchMemory):
            self._run_out(path)
        except DataError as refusal:
            self._tell(refused=str(refusal))
        except OSError as error:
            if error.errno != errno.ENOMEM:  # what mapping memory raises
                raise
            self._run_out(path)
        except _Stop:
            self._tell(end=[0, ""])

    def _run_out(self, path: Path) -> None:
        """Refuse the file, and end: what it left of the address space may be too little for the next one."""
        self._tell(refused=str(TooMuchMemory(path, self.limits)), spent=True)
        raise SystemExit

    def _give_probe(self, seen: Probe) -> None:
        values = asdict(seen)
        times = values.pop("times")
        self._tell(seen=values)
        self.link.send_bytes(np.ascontiguousarray(times, dtype=np.float64).tobytes())

    def _give_sound(self, path: Path, rate: int) -> None:
        for samples in sound(path, rate, self.limits, self.beat):
            if len(samples):
                self._tell(samples=len(samples))
                self.link.send_bytes(np.ascontiguousarray(samples, dtype=np.float32).tobytes())
        self._tell(end=[0, ""])

    def _give_pictures(self, path: Path, request: dict[str, Any]) -> None:
        size = tuple(request["size"]) if request["size"] else None
        wanted = Wanted(request["indices"], request["stride"], request["frames"], size, request["fit"], request["fps"])
        stats = ReadStats()
        self.shape = ()
        for index, time_s, picture, whole in pictures(
            path, request["kind"], request["stream"], wanted, self.limits, stats, self.beat
        ):
            slot = self._slot(picture.shape)
            np.copyto(self.slots[slot], picture)
            self._tell(frame=[slot, index, time_s, whole])
        self._tell(end=[stats.frames, stats.error])

    def _slot(self, shape: tuple[int, ...]) -> int:
        """A free place for a picture of this shape; waits until the parent has emptied one."""
        if shape != self.shape:
            self._tell(shape=shape)
            while "slots" not in (answer := self._hear()):
                continue
            self.shape, self.free = shape, list(range(answer["slots"]))
            size = int(np.prod(shape))
            self.slots = []  # unmaps the last ones first
            whole = mmap.mmap(self.memory, answer["slots"] * size)
            self.slots = [np.frombuffer(whole, np.uint8, size, slot * size).reshape(shape) for slot in self.free]
        while not self.free or self.link.poll():
            heard = self._hear()
            if "slot" in heard:
                self.free.append(heard["slot"])
        return self.free.pop()

    def beat(self) -> None:
        """Say now and then that decoding goes on, and hear whether it shall."""
        now = time.monotonic()
        if now - self.last_beat >= _BEAT_S:
            self.last_beat = now
            self._tell(beat=True)
            while self.link.poll():
                heard = self._hear()
                if "slot" in heard:
                    self.free.append(heard["slot"])

    def _hear(self) -> dict[str, Any]:
        heard = json.loads(self.link.recv_bytes())
        if "stop" in heard:
            raise _Stop
        return heard

    def _tell(self, **values: Any) -> None:
        self.link.send_bytes(json.dumps(values).encode("ascii"))

    def _allow_time(self) -> None:
        """CPU seconds count per request: what was used so far does not."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + 1 + self.limits.cpu_seconds
        _lower(resource.RLIMIT_CPU, seconds, keep_hard=True)


def confine(limits: Limits) -> None:
    """Limits of this process: memory beside what it has now, no written file, no core, few open files."""
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + limits.memory_mb * 2**20)


def _lower(which: int, value: int, *, keep_hard: bool = False) -> None:
    """Set a limit, never above the hard one that stands."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, hard if keep_hard else value))


def end_with(parent: int) -> None:
    """End this process when its parent is gone, also in the midst of decoding."""
    while os.getppid() == parent:
        time.sleep(_BEAT_S)
    os._exit(1)


def main() -> None:
    socket_number, memory, parent = (int(word) for word in sys.argv[1:4])
    limits = Limits.model_validate_json(sys.argv[4])
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    confine(limits)
    Child(Connection(socket_number), memory, limits).serve()


if __name__ == "__main__":
    main()
