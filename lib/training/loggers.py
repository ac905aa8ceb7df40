"""Where the course of a training is told: history.csv, TensorBoard, Weights & Biases, the console, and all of them at once.

Not here: history.csv itself (lib/history.py, which readers share), and what is logged when (trainer.py). In a training of
several processes only the first one has loggers. Keys name the side and the part: train/loss, train/loss_cls, val/AP, lr.
A value that is no number is logged like any other, so that it stays visible.
"""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lib.config.base import ConfigError
from lib.config.running import LoggerSettings, WandbSettings
from lib.history import HistoryCsv
from lib.training.console import ConsoleLogger

__all__ = ["ConsoleLogger", "HistoryCsv", "Logger", "Loggers", "TensorBoardLogger", "WandbLogger", "make_loggers"]
FINE = ("finished", "diverged", "stopped")
"""How the status of a training begins that ended by itself: divergence is a result, not a failure."""


class Logger(Protocol):
    """What the training loop tells its course to."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Values after this optimizer step; a step may come twice (training values, then scores)."""

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs: plain numbers and texts."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken: what was logged beyond is taken back. {} = begin anew. Before the first `log`."""

    def close(self, status: str) -> None:
        """The training has ended: finished, diverged at step N, stopped …, failed."""


class Loggers:
    """Several loggers as one.

    history.csv is part of the result: its failure (a full disk) ends the training like that of a checkpoint. Any other
    logger that fails is dropped with a warning, for no training shall end because of a service.
    """

    def __init__(self, loggers: Mapping[str, Logger]) -> None:
        """loggers: by the name under which their state is kept."""
        self._loggers = dict(loggers)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        numbers = {name: float(value) for name, value in values.items()}  # tensors are read once for all
        for name, logger in list(self._loggers.items()):
            try:
                logger.log(step, numbers)
            except Exception as error:
                if isinstance(logger, HistoryCsv) or isinstance(error, ConfigError):
                    raise
                print(f"warning: logger {name} failed at step {step} and is left out: {error!r}", file=sys.stderr)
                del self._loggers[name]

    def state_dict(self) -> dict[str, Any]:
        return {name: logger.state_dict() for name, logger in self._loggers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """A logger that `state` does not know was switched on since: it begins with this attempt."""
        for name, logger in self._loggers.items():
            if name in state or not state:
                logger.load_state_dict(state.get(name, {}))

    def close(self, status: str) -> None:
        """Close all, whatever one of them raises; the first error of history.csv is raised then."""
        failed = None
        for name, logger in self._loggers.items():
            try:
                logger.close(status)
            except Exception as error:
                print(f"warning: logger {name} did not close: {error!r}", file=sys.stderr)
                failed = failed or (error if isinstance(logger, HistoryCsv) else None)
        if failed is not None:
            raise failed


class TensorBoardLogger:
    """Event files below a folder, through torch's SummaryWriter; a resume hides what lies beyond its step."""

    def __init__(self, folder: Path) -> None:
        """ConfigError where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                f"loggers.tensorboard: TensorBoard is not installed ({error}). Hint: `make setup`, or tensorboard: false."
            ) from error
        self._kind = SummaryWriter
        self._folder = Path(folder)
        self._writer: Any = None
        self._step = -1
        self._purge: int | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:  # only now is it known where a resume goes on
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writer = self._kind(str(self._folder), purge_step=self._purge, flush_secs=10)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._step = step

    def state_dict(self) -> dict[str, Any]:
        """What it says was told is on the disk."""
        if self._writer is not None:
            self._writer.flush()
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if not state:  # what an older training of other settings has left
            shutil.rmtree(self._folder, ignore_errors=True)
        self._step = int(state.get("step", -1))
        self._purge = self._step + 1

    def close(self, status: str) -> None:
        if self._writer is not None:
            self._writer.add_text("status", status, max(self._step, 0))
            self._writer.close()


class WandbLogger:
    """Weights & Biases through its own client. A resumed training goes on in the same run.

    Its API key is looked for by the client itself (WANDB_API_KEY, `wandb login`) and never passes through here. Offline,
    nothing of the network is touched; each attempt leaves a folder of one run id, which `wandb sync` sends.
    """

    def __init__(
        self, folder: Path, settings: WandbSettings, *, name: str, config: Mapping[str, Any] | None = None, group: str = ""
    ) -> None:
        """folder: holds the client's `wandb/`. name: how the run is called. config: shown beside it, plain values."""
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(
                f"loggers.wandb: the client is not installed ({error}). Hint: `make setup`, or wandb: null."
            ) from error
        self._wandb: Any = wandb
        self._folder, self._settings = Path(folder), settings
        self._name, self._config, self._group = name, dict(config or {}), group
        self._id = secrets.token_hex(4)
        self._run: Any = None
        self._step = -1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._start()
        # `step` is a value, not the client's own counter, which refuses to go back to where a resume begins
        self._run.log({"step": step, **values})
        self._step = step

    def _start(self) -> None:
        """ConfigError when the service does not let us in, within about a minute."""
        if self._run is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        chosen = self._settings
        try:
            run = self._wandb.init(
                project=chosen.project,
                entity=chosen.entity,
                mode=chosen.mode,
                tags=list(chosen.tags) or None,
                dir=str(self._folder),
                id=self._id,
                resume="allow" if chosen.mode == "online" else None,
                name=self._name,
                group=self._group or None,
                config=self._config,
                reinit="create_new",
                settings=self._wandb.Settings(
                    silent=True, console="off", save_code=False, disable_git=True, init_timeout=60, finish_timeout=120
                ),
            )
        except (self._wandb.errors.Error, OSError) as error:
            raise ConfigError(
                f"loggers.wandb: the run cannot start ({error}). Hint: `export WANDB_API_KEY=…` or `wandb login`, check "
                "entity and network; or mode: offline, and `wandb sync` later."
            ) from error
        run.define_metric("step", hidden=True)
        run.define_metric("*", step_metric="step")
        self._run = run
        print(f"wandb: {run.url if chosen.mode == 'online' else run.dir}", file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        return {"id": self._id, "step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The run begins here, so that a missing key or network is told before the first step is trained."""
        self._id, self._step = str(state.get("id", self._id)), int(state.get("step", -1))
        self._start()

    def close(self, status: str) -> None:
        """Waits at most two minutes for what was not sent yet; it stays on disk."""
        if self._run is not None:
            self._run.summary["status"] = status
            self._run.finish(exit_code=0 if status.startswith(FINE) else 1)


def make_loggers(
    settings: LoggerSettings,
    *,
    history: Path,
    folder: Path,
    name: str,
    total_steps: int,
    best: Mapping[str, str] | None = None,
    samples_per_step: int = 0,
    config: Mapping[str, Any] | None = None,
    extra: Sequence[tuple[str, Logger]] = (),
) -> Loggers:
    """The loggers of a training as its settings ask for them; history.csv and the console always.

    history: path of history.csv. folder: holds `tensorboard/` and `wandb/`. name: what the training is called.
    best: scores → min or max, as the settings say. samples_per_step: of all devices and accumulated batches, for samples/s.
    config: what W&B shows beside the curves.
    """
    made: dict[str, Logger] = {"history": HistoryCsv(history, total_steps=total_steps, best=best)}
    made["console"] = ConsoleLogger(total_steps=total_steps, name=name, samples_per_step=samples_per_step)
    if settings.tensorboard:
        made["tensorboard"] = TensorBoardLogger(Path(folder) / "tensorboard")
    if settings.wandb is not None:
        made["wandb"] = WandbLogger(Path(folder), settings.wandb, name=name, config=config)
    return Loggers(made | dict(extra))
