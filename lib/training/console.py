"""The course of a training on the console: a bar on a terminal, else a line now and then. Not here: other loggers
(loggers.py), following a training that runs elsewhere (workflow_scripts/watch.py).
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

EVERY = 30.0  # s between lines where there is no terminal
_WINDOW = 30  # logged rows over which the speed is the mean


class ConsoleLogger:
    """On a terminal a bar with loss, throughput and time left; elsewhere a line every 30 s. Scores always get a line.

    The lines go to `log` too, where one is given: a job's log file has them whatever its terminal is.
    """

    def __init__(
        self,
        *,
        total_steps: int,
        name: str = "training",
        samples_per_step: int = 0,
        stream: IO[str] | None = None,
        log: IO[str] | None = None,
        every: float = EVERY,
    ) -> None:
        """total_steps: optimizer steps in all. samples_per_step: 0 = unknown. every: s between lines."""
        self._total, self._name, self._samples, self._every = total_steps, name, samples_per_step, every
        self._stream: IO[str] = stream or sys.stderr
        self._log = log
        self._step = 0
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=_WINDOW)
        self._line_at = -float("inf")
        self._bar: Progress | None = None
        self._task: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        if step > self._seen[-1][1]:
            self._seen.append((now, step))
        self._step = step
        scores = {key: value for key, value in values.items() if key.startswith("val/")}
        if self._stream.isatty():
            self._show(step, values)
        if scores or now - self._line_at >= self._every or step >= self._total:
            self._line_at = now
            self._write(self.line(step, values))

    def line(self, step: int, values: Mapping[str, float]) -> str:
        """One line: step, losses, speed, time left, scores."""
        trained = [(key, value) for key, value in values.items() if not key.startswith("val/") and is_loss(key)]
        parts = [f"step {step}/{self._total}", *(f"{key.removeprefix('train/')} {short(value)}" for key, value in trained)]
        parts += [f"lr {short(values['lr'])}"] if "lr" in values else []
        parts += [self._speed()]
        parts += [f"{key} {short(value)}" for key, value in values.items() if key.startswith("val/")]
        return f"{self._name}: {' · '.join(part for part in parts if part)}"

    def _rate(self) -> float:
        """Steps per second over the last rows; 0 when nothing can be said yet."""
        (first, begin), (last, end) = self._seen[0], self._seen[-1]
        return (end - begin) / (last - first) if last > first else 0.0

    def _speed(self) -> str:
        rate = self._rate()
        if not rate:
            return ""
        samples = f" ({short(rate * self._samples)} samples/s)" if self._samples else ""
        return f"{short(rate)} steps/s{samples} · {duration(max(0, self._total - self._step) / rate)} left"

    def _show(self, step: int, values: Mapping[str, float]) -> None:
        if self._bar is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}"),
            )
            self._bar = Progress(*columns, console=Console(file=self._stream), auto_refresh=False)
            self._task = self._bar.add_task(self._name, total=self._total, facts="")
            self._bar.start()
        loss = next((f"loss {short(value)}" for key, value in values.items() if is_loss(key)), "")
        self._bar.update(self._task, completed=step, facts=" · ".join(part for part in (loss, self._speed()) if part))
        self._bar.refresh()

    def _write(self, line: str) -> None:
        if self._bar is not None:
            if "val/" in line:
                self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=self._stream, flush=True)
        if self._log is not None:
            print(line, file=self._log, flush=True)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The speed is that of this attempt: steps of earlier ones do not count."""
        self._step = int(state.get("step", 0))
        self._seen.clear()
        self._seen.append((time.monotonic(), self._step))
        if self._step:
            self._write(f"{self._name}: goes on from step {self._step}/{self._total}")

    def close(self, status: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._write(f"{self._name}: {status} · step {self._step}/{self._total}")


def is_loss(key: str) -> bool:
    """Whether a logged value is a loss (train/loss, train/loss_cls, train/box_loss …)."""
    return "loss" in key.split("/", 1)[-1]


def short(value: float) -> str:
    """A number as people read it: four digits at most, nan and inf as they are."""
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 05 s, 2 h 07 min, 3 d 4 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
