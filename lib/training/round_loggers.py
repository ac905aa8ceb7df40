"""The course of a training that an engine of the field makes round by round, told to TensorBoard and Weights & Biases.

Our own loop keeps its loggers in its state (callbacks.py). YOLO and RF-DETR keep whole rounds and their history; what the
loggers need to go on is a small file beside them. Not here: history.csv, which is written from the kept history at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.config.running import LoggerSettings
from lib.files import DataError, read_json, write_json
from lib.training.loggers import Loggers, make_services
from lib.training.preemption import Preempted

FILE = "loggers.json"


class RoundLoggers:
    """Tells rows of a history, one per round, by their iteration."""

    def __init__(self, settings: LoggerSettings, *, state: Path, name: str, config: Mapping[str, Any]) -> None:
        """state: folder of the engine's state; `tensorboard/` and `wandb/` lie beside it. name: of the training. config:
        what W&B shows beside the curves, plain values.
        """
        self._settings, self._state, self._name, self._config = settings, state, name, config
        self._loggers: Loggers | None = None

    def begin(self, history: Sequence[Mapping[str, float]]) -> None:
        """Begin, or go on after the last row that the engine's state holds: what was told beyond is taken back, what
        a kill kept from being told is told now."""
        self._loggers = Loggers(
            make_services(self._settings, folder=self._state.parent, name=self._name, config=self._config)
        )
        last = int(history[-1]["iteration"]) if history else -1
        kept = {name: facts | {"step": min(int(facts["step"]), last)} for name, facts in self._kept().items() if history}
        self._loggers.load_state_dict(kept)
        told = min((facts["step"] for facts in kept.values()), default=-1)
        for row in history:
            if int(row["iteration"]) > told:
                self.tell(row)

    def tell(self, row: Mapping[str, float]) -> None:
        """The row of a round: epoch, iteration, seconds, and what was measured."""
        if self._loggers is None:
            return
        values = {name: value for name, value in row.items() if name != "iteration"}
        self._loggers.log(int(row["iteration"]), values)
        try:
            write_json(self._state / FILE, self._loggers.state_dict())
        except (DataError, OSError) as error:
            print(f"warning: {error}; should this attempt be killed, its loggers begin anew", file=sys.stderr)

    def __enter__(self) -> RoundLoggers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.close("stopped" if kind is Preempted else "failed")

    def close(self, status: str) -> None:
        """The attempt has ended: finished, diverged at step N, stopped, failed. More than once is once."""
        if self._loggers is not None:
            self._loggers.close(status)
            self._loggers = None

    def _kept(self) -> dict[str, dict[str, Any]]:
        """What the attempt before left of its loggers; without it they begin anew, with all rounds."""
        path = self._state / FILE
        if not path.is_file():
            return {}
        try:
            return {name: {"step": -1} | dict(facts) for name, facts in read_json(path).items()}
        except (DataError, AttributeError, TypeError, ValueError) as error:
            print(f"warning: {path}: {error}; loggers begin anew", file=sys.stderr)
            return {}
