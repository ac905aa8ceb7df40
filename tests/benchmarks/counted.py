"""Run a program and write down how many CPU seconds its ONNX sessions took themselves. Not a benchmark.

python -m tests.benchmarks.counted FIGURES.json MODULE [its arguments]

A session works in the thread that calls it and in the pool that it starts; both are counted, the pool's waiting included,
as it happens only because the session is there. Everything else is the program's own.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime

CALLING = [0.0]
POOL: set[str] = set()
KEPT: list[Any] = []
"""Sessions, kept to the end: with a session its pool's threads go, and what they have used could not be read any more."""


class Counted(onnxruntime.InferenceSession):  # type: ignore[misc]
    """onnxruntime's session with a clock."""

    def __init__(self, *given: Any, **named: Any) -> None:
        before = set(os.listdir("/proc/self/task"))
        super().__init__(*given, **named)
        POOL.update(set(os.listdir("/proc/self/task")) - before)
        KEPT.append(self)

    def run(self, *given: Any, **named: Any) -> Any:
        started = time.thread_time()
        try:
            return super().run(*given, **named)
        finally:
            CALLING[0] += time.thread_time() - started


def keep(path: Path) -> None:
    """Write the seconds at the end of the process, while the pool's threads are still there."""
    pool = sum(_seconds(Path(f"/proc/self/task/{thread}/schedstat")) for thread in POOL)
    path.write_text(json.dumps({"session": CALLING[0] + pool}))


def _seconds(schedstat: Path) -> float:
    """CPU time of a thread, s."""
    return int(schedstat.read_text().split()[0]) / 1e9


if __name__ == "__main__":
    onnxruntime.InferenceSession = Counted
    figures, module, *words = sys.argv[1:]
    atexit.register(keep, Path(figures))
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
