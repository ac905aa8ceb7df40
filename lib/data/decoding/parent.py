"""The other end of the decoding child: starting one, asking it, and outliving it. Not here: what the child does (child.py).

Starting costs a quarter of a second, so children are kept: one for each thread that reads at the same time, until this
process ends. One that crashed, hung or met a limit is replaced at the next request; the file is named in a DataError.
Messages are JSON and pictures plain bytes: nothing that comes from the child is ever executed or unpickled.
"""

from __future__ import annotations

import atexit
import json
import math
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from lib.config.limits import Limits
from lib.data.decoding.facts import Probe, ReadStats
from lib.files import DataError

_PROJECT = Path(__file__).resolve().parents[3]
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
_RING_BYTES = 2**26  # pictures decoded in advance
_RING_SLOTS = 8
_START_S = 120.0
_STOP_S = 2.0


class ChildGone(Exception):
    """The child ended or had to be ended; the text says why, as a cause."""


class Decoder:
    """One child process and the line to it. Requests come one after the other."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        ours, theirs = socket.socketpair()
        self.memory, self.size = _shared_memory(_RING_BYTES), _RING_BYTES
        said, says = os.pipe()
        os.set_blocking(says, False)  # a child that talks much must not wait for a reader
        words = [str(theirs.fileno()), str(self.memory), str(os.getpid()), limits.model_dump_json()]
        environment = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
        environment |= {"PYTHONPATH": str(_PROJECT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["MALLOC_ARENA_MAX"] = "2"  # else each thread may reserve 64 MiB of the address space that is limited
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lib.data.decoding.child", *words],
            pass_fds=(theirs.fileno(), self.memory),
            stdin=subprocess.DEVNULL,
            stdout=says,
            stderr=says,
            env=environment,
        )
        theirs.close()
        os.close(says)
        self.said = said
        self.link = Connection(ours.detach())
        self.busy = False
        try:
            self._hear(_START_S)
        except (ChildGone, EOFError, OSError) as gone:
            cause = str(gone) if isinstance(gone, ChildGone) else self._last_words()
            self.close()
            raise ChildGone(cause) from gone

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return not self.busy and not self.link.closed and self.process.poll() is None

    def look(self, path: Path, stream: int | None, *, everything: bool) -> Probe:
        """What the file is. DataError as reading.look, or when the child does not survive it."""
        try:
            self._ask(do="look", path=_hex(path), stream=stream, everything=everything)
            values = self._answer("seen")
            times = np.frombuffer(self.link.recv_bytes(), np.float64)
        except (ChildGone, EOFError, OSError) as gone:
            raise self._refusal(path, gone) from gone
        self.busy = False
        return Probe(**values, times=times)

    def pictures(
        self, path: Path, stats: ReadStats, **request: Any
    ) -> Iterator[tuple[int, float, np.ndarray, tuple[int, int]]]:
        """(frame number, time s, (H, W, 3) uint8 RGB, (height, width) px before resizing) as they come; fills `stats`."""
        view: list[np.ndarray] = []
        try:
            self._ask(do="pictures", path=_hex(path), **request)
            while True:
                message = self._hear(self.limits.stall_seconds)
                if "shape" in message:
                    view = self._make_room(tuple(message["shape"]))
                elif "frame" in message:
                    slot, index, time_s, whole = message["frame"]
                    picture = view[slot].copy()
                    self._send(slot=slot)
                    yield index, time_s, picture, (int(whole[0]), int(whole[1]))
                elif "end" in message or "refused" in message:
                    break
        except (ChildGone, EOFError, OSError) as gone:
            raise self._refusal(path, gone) from gone
        except GeneratorExit:
            self._stop()
            raise
        if "refused" in message:
            raise self._refused(message)
        self.busy = False
        stats.frames, stats.error = message["end"]

    def sound(self, path: Path, rate: int) -> np.ndarray:
        """(S,) float32 samples at `rate` a second, empty where there is no sound. DataError as `look`."""
        found, held = [np.zeros(0, np.float32)], 0
        try:
            self._ask(do="sound", path=_hex(path), rate=rate)
            while "end" not in (message := self._hear(self.limits.stall_seconds)):
                if "refused" in message:
                    raise self._refused(message)
                if "samples" in message:
                    found.append(np.frombuffer(self.link.recv_bytes(), np.float32))
                    held += found[-1].nbytes
                if held > self.limits.memory_mb * 2**20:
                    raise ChildGone(f"its sound takes more memory than limits.memory_mb = {self.limits.memory_mb} allows")
        except (ChildGone, EOFError, OSError) as gone:
            raise self._refusal(path, gone) from gone
        self.busy = False
        return np.concatenate(found)

    def close(self) -> None:
        """End the child and let go of everything."""
        self.process.kill()
        self.process.wait()
        if not self.link.closed:
            self.link.close()
            os.close(self.memory)
            os.close(self.said)

    def _ask(self, **request: Any) -> None:
        self.busy = True
        self._send(**request)

    def _send(self, **values: Any) -> None:
        self.link.send_bytes(json.dumps(values).encode("ascii"))

    def _hear(self, patience: float) -> dict[str, Any]:
        """The next message. ChildGone when none comes within `patience` seconds, or the child has ended."""
        if not self.link.poll(patience):
            raise ChildGone(f"no further frame within limits.stall_seconds = {patience:g}: decoding hangs")
        return json.loads(self.link.recv_bytes())

    def _answer(self, key: str) -> Any:
        """Hear until the answer or the refusal comes."""
        while True:
            message = self._hear(self.limits.stall_seconds)
            if key in message:
                return message[key]
            if "refused" in message:
                raise self._refused(message)

    def _refused(self, message: dict[str, Any]) -> DataError:
        """The child's own refusal of the file; one that ran out of memory is not asked again."""
        self.busy = False
        if "spent" in message:
            self.close()
        return DataError(message["refused"])

    def _make_room(self, shape: tuple[int, ...]) -> list[np.ndarray]:
        """Shared places for pictures of this shape, told to the child by their number."""
        size = math.prod(shape)
        if len(shape) != 3 or shape[2] != 3 or not 0 < size <= 3 * self.limits.max_pixels:
            raise ChildGone(f"it announced a picture of shape {shape}")
        slots = min(max(2, _RING_BYTES // size), _RING_SLOTS)
        if slots * size > self.size:
            os.ftruncate(self.memory, slots * size)
            self.size = slots * size
        whole = mmap.mmap(self.memory, slots * size)
        self._send(slots=slots)
        return [np.frombuffer(whole, np.uint8, size, slot * size).reshape(shape) for slot in range(slots)]

    def _stop(self) -> None:
        """End a reading that nobody wants to its end; a child that does not listen is ended itself."""
        with suppress(ChildGone, EOFError, OSError):
            self._send(stop=True)
            while True:
                message = self._hear(_STOP_S)
                if "refused" in message:
                    self._refused(message)
                    return
                if "end" in message:
                    self.busy = False
                    return
        self.close()

    def _refusal(self, path: Path, gone: BaseException) -> DataError:
        """Why this file cannot be had, when the child has ended or must be ended."""
        cause = str(gone) if isinstance(gone, ChildGone) else self._last_words()
        self.close()
        return DataError(
            f"{path}: {cause}. Hint: the file is damaged or hostile; leave it out. If it is sound, see `limits:`."
        )

    def _last_words(self) -> str:
        """Why the child ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5.0)
        code = self.process.poll()
        if code == -signal.SIGXCPU:
            return f"decoding took more than limits.cpu_seconds = {self.limits.cpu_seconds}"
        if code is not None and code < 0:
            return f"the decoder crashed on it ({signal.Signals(-code).name})"
        os.set_blocking(self.said, False)
        with suppress(BlockingIOError):
            lines = os.read(self.said, 65536).decode("utf-8", "replace").strip().splitlines()
            return f"the decoder ended with {code} ({lines[-1] if lines else 'no message'})"
        return f"the decoder ended with {code}"


class _Pool:
    """Decoders at rest, handed to one reader at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[Decoder] = []
        self.lost: list[Decoder] = []

    @contextmanager
    def decoder(self) -> Iterator[Decoder]:
        """A child for one reading, kept for the next one when it ends well."""
        limits = Limits.of_this_run()
        with self.lock:
            fitting = [one for one in self.idle if one.limits == limits and one.usable]
            chosen = fitting[-1] if fitting else None
            if chosen is not None:
                self.idle.remove(chosen)
        decoder = chosen or _start(limits)
        try:
            yield decoder
        finally:
            if decoder.usable:
                with self.lock:
                    self.idle.append(decoder)
            else:
                decoder.close()

    def close(self) -> None:
        with self.lock:
            for decoder in self.idle:
                decoder.close()
            self.idle.clear()

    def forget(self) -> None:
        """In a forked process: the children belong to the process that started them."""
        self.lock = threading.Lock()
        self.lost, self.idle = self.idle, []


def _start(limits: Limits) -> Decoder:
    try:
        return Decoder(limits)
    except (ChildGone, EOFError, OSError) as error:
        raise DataError(
            f"the program that decodes media could not be started ({error}). Hint: is memory left? "
            "`python -m lib.data.decoding.child` must be importable."
        ) from error


POOL = _Pool()
atexit.register(POOL.close)
os.register_at_fork(after_in_child=POOL.forget)


def _shared_memory(size: int) -> int:
    """A descriptor of memory without a name, not in /dev/shm, which is small in containers. Unused parts cost nothing."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("frames")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return handle


def _hex(path: Path) -> str:
    """A path's bytes as hexadecimal text: names need not be UTF-8."""
    return os.fsencode(path.absolute()).hex()


def as_list(indices: Sequence[int] | None) -> list[int] | None:
    """Frame numbers as JSON can hold them."""
    return None if indices is None else [int(index) for index in indices]
