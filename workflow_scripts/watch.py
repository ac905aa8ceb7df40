"""Follow a running training in the terminal: loss as a plot, validation scores, speed, time left, and whether it stalls.

python -m workflow_scripts.watch results/train/D/VARIANT/seed=0 [--once] [--every 1] [--stall 120] [--total 5000]

Takes a history.csv, the folder of a training, or its state/ folder; one that is not there yet is waited for. It ends by
itself when the training is over (model.json appears); Ctrl-C ends it before, and never touches the training. In a pipe
it prints a line whenever there are new rows.
"""

from __future__ import annotations

import argparse
import math
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live

from lib.training.watching import Watched
from workflow_scripts import _program


def seconds(text: str) -> float:
    """A positive number of seconds, for argparse."""
    with suppress(ValueError):
        if math.isfinite(float(text)) and float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("history", type=Path, help="history.csv, or the folder of a training")
    arguments.add_argument("--once", action="store_true", help="print one frame and leave")
    arguments.add_argument("--every", type=seconds, default=1.0, help="seconds between looks")
    arguments.add_argument("--stall", type=seconds, help="seconds without a row that count as a stall")
    arguments.add_argument("--total", type=_program.positive, help="steps in all, where history.json does not say")
    given = arguments.parse_args()

    console = Console()
    watched = Watched(given.history, total=given.total, stall=given.stall)
    watched.refresh()
    with suppress(KeyboardInterrupt):
        if given.once:
            console.print(watched.frame(console.width, console.height))
        elif console.is_terminal:
            show(watched, console, given.every)
        else:
            tell(watched, given.every)


def show(watched: Watched, console: Console, every: float) -> None:
    """Frames in place until the training is over."""

    def frame() -> object:
        return watched.frame(console.width, console.height)

    with Live(frame(), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            over = watched.status() is not None
            watched.refresh()  # once more after the end: the last rows
            live.update(frame(), refresh=True)
            if over:
                return
            time.sleep(every)


def tell(watched: Watched, every: float) -> None:
    """A line for new rows, and when a stall begins."""
    said, stalled = "", False
    while True:
        over, changed = watched.status() is not None, watched.refresh()
        line = watched.summary()
        if (changed or over or not said or (watched.stalls() and not stalled)) and line != said:
            print(line, flush=True)
            said = line
        stalled = watched.stalls()
        if over:
            return
        time.sleep(every)


if __name__ == "__main__":
    _program.run(main)
