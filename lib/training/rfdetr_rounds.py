"""The rounds of an RF-DETR training, and checkpoints that no kill can spoil.

Lightning writes a checkpoint into the system's temporary folder and moves it: cut in the middle where that is another file
system. RF-DETR writes its best weights in place. Here both are written beside their name, flushed and renamed. Not here:
settings (rfdetr_knobs.py), images (rfdetr_images.py), the training as a whole (rfdetr.py).
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import CheckpointIO
from rfdetr.training.callbacks import RFDETREMACallback

from lib.config.train_rfdetr import RfdetrSegSettings, RfdetrSettings
from lib.files import DataError, atomic, write_json
from lib.models import rfdetr as models
from lib.models.loading import load_checkpoint, save_checkpoint
from lib.training import rfdetr_knobs
from lib.training.preemption import BUDGET_USED, Preempted, StopRequest
from lib.training.rfdetr_images import Images
from lib.training.rfdetr_state import STATE, Kept
from lib.training.round_loggers import RoundLoggers

BOXES = {
    "val/mAP_50_95": "AP", "val/mAP_50": "AP50", "val/mAP_75": "AP75", "val/mAR": "AR", "val/F1": "F1",
    "val/precision": "precision", "val/recall": "recall",
}  # fmt: skip
MASKS = BOXES | {
    "val/segm_mAP_50_95": "AP", "val/segm_mAP_50": "AP50", "val/mAP_50_95": "box_AP", "val/mAP_50": "box_AP50",
    "val/mAP_75": "box_AP75",
}  # fmt: skip
"""RF-DETR's name of a score → ours: `val/…` in the history, bare in `best`."""


class Diverged(Exception):
    """The loss of this iteration (counted from 1) is no finite number."""

    def __init__(self, iteration: int) -> None:
        super().__init__(f"diverged at step {iteration}")


class SafeCheckpoints(CheckpointIO):
    """Lightning's checkpoints by way of our one loader and our atomic writer."""

    def __init__(self) -> None:
        self._read: tuple[Path, dict[str, Any]] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic(Path(path)) as temporary:
            save_checkpoint(checkpoint, temporary)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        kept, self._read = self._read, None
        return kept[1] if kept and kept[0] == Path(path) else load_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)

    def is_whole(self, path: Path) -> bool:
        """Whether a checkpoint can be read; what was read is handed out by the next load. A warning says why not."""
        try:
            self._read = (path, load_checkpoint(path))
        except DataError as error:
            print(f"warning: {error}; training starts afresh", file=sys.stderr)
            return False
        return True


class Rounds(Checkpoint):
    """One round after another: random numbers of its own, divergence, leaving when asked, best weights, state."""

    def __init__(
        self,
        settings: RfdetrSettings,
        *,
        names: list[str],
        state: Path,
        seed: int,
        kept: Kept,
        images: Images,
        on_log: Callable[[dict[str, Any]], None],
        asked: StopRequest,
        archive: Path,
        loggers: RoundLoggers | None = None,
    ) -> None:
        self.settings = settings
        self.names = names
        self.state = state
        self.seed = seed
        self.kept = kept
        self.images = images
        self.on_log = on_log
        self.asked = asked
        self.archive = archive
        self.loggers = loggers
        self.resumed_from = kept.epoch
        self.step = kept.step  # iterations done, those of an unfinished round too
        self._seconds_before = kept.seconds
        self._started = self._began = time.monotonic()
        self._shortest_s = math.inf

    # -- iterations -------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rfdetr_knobs.check(trainer, self.settings, iterations=self.images.iterations)
        self._started = time.monotonic()
        self._leave_when_asked(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Random numbers of a round follow from seed and round only, so a resumed round is the same."""
        seed = (self.seed * 1_000_003 + trainer.current_epoch) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.images.generator.manual_seed(seed)
        self.images.sampler.round = trainer.current_epoch
        self._began = time.monotonic()
        self.on_log(
            {"round": trainer.current_epoch + 1}
        )  # should this attempt be killed, it tells that the round was in vain

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if not bool(torch.isfinite(loss)):
            raise Diverged(trainer.global_step)
        self.step = trainer.global_step
        self._leave_when_asked(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        self._leave_when_asked(trainer)

    def _leave_when_asked(self, trainer: Trainer) -> None:
        if self.asked.reason:
            raise self.preempted(self.asked.reason, trainer)

    def preempted(self, why: str, trainer: Trainer) -> Preempted:
        """The refusal to go on, which says what is kept and what is lost; the record of the attempt gets the same."""
        kept = self.kept
        lost = self.step - kept.step
        seconds = time.monotonic() - self._began if lost else 0.0
        self.on_log({"lost_iterations": lost, "lost_seconds": round(seconds, 2)})
        state = (
            f"the state after round {kept.epoch} of {trainer.max_epochs} is saved" if kept.epoch else "nothing is saved yet"
        )
        text = f"stopped at iteration {self.step} of {self.images.iterations * trainer.max_epochs}: {why}; {state}, "
        text += f"{lost} iterations ({seconds:.0f} s) are made again" if lost else "nothing is lost"
        if BUDGET_USED in why and kept.epoch == self.resumed_from:
            text += (
                f". Hint: this attempt finished no round of {self.images.iterations} iterations; give it a longer runtime, "
                "or shorter rounds (more `evaluations`)."
            )
        return Preempted(text)

    # -- results ----------------------------------------------------------------------------------------------------------

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After val was scored: the row of the history, the best weights, the state that names them."""
        weights = self._weights(trainer, pl_module)
        for value in (*weights.values(), *pl_module.model.state_dict().values()):
            if not bool(torch.isfinite(value).all()):  # the last step has spoilt them, its loss was still a number
                raise Diverged(trainer.global_step)
        row = self._row(trainer)
        last, chosen = self.kept, f"val/{self.settings.best_metric}"
        kept = Kept(
            last.fingerprint,
            epoch=trainer.current_epoch + 1,
            step=trainer.global_step,
            seconds=row["seconds"],
            stop=bool(trainer.should_stop),
            history=[*last.history, row],
            best=last.best,
        )
        best = last.best.get(self.settings.best_metric, 0.0)
        if row[chosen] > best or best <= 0:  # of rounds that find nothing the last one has learnt most
            scores = {name.removeprefix("val/"): value for name, value in row.items() if _is_score(name)}
            kept.best = {"epoch": kept.epoch, "iteration": kept.step} | scores
            self._save(weights, self.state / kept.weights, pl_module, kept.epoch)
        every = self.settings.checkpoint_interval
        if every and kept.epoch % every == 0:
            self._save(weights, self.archive / f"round-{kept.epoch}.pth", pl_module, kept.epoch)
        trainer.save_checkpoint(self.state / kept.checkpoint)
        write_json(self.state / STATE, kept.__dict__)
        for old in {*self.state.glob("best-*.pth"), *self.state.glob("round-*.ckpt")}:
            if old.name not in (kept.weights, kept.checkpoint):
                old.unlink()
        self.kept = kept
        if self.loggers is not None:
            self.loggers.tell(row)
        self._tell(row, trainer)
        self._end_round(trainer)

    def _weights(self, trainer: Trainer, module: LightningModule) -> dict[str, torch.Tensor]:
        """What was scored: the average, or the network itself where there is none."""
        average = next((one for one in trainer.callbacks if isinstance(one, RFDETREMACallback)), None)
        return (average.get_ema_model_state_dict() if average else None) or module.model.state_dict()

    def _save(self, weights: dict[str, torch.Tensor], path: Path, module: LightningModule, epoch: int) -> None:
        with atomic(path) as temporary:
            models.save_model(
                weights,
                temporary,
                config=module.model_config,
                name=models.library_name(self.settings),
                names=self.names,
                epoch=epoch,
            )

    def _row(self, trainer: Trainer) -> dict[str, float]:
        """The round in our words: what was logged in it, without what only mirrors the average's scores."""
        names = MASKS if isinstance(self.settings, RfdetrSegSettings) else BOXES
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1, "iteration": trainer.global_step}
        row["seconds"] = round(self._seconds_before + time.monotonic() - self._started, 2)
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row |= {name: value for name, value in logged.items() if name.startswith("train/") and "lr" not in name}
        row |= {f"val/{ours}": logged[name] for name, ours in names.items() if name in logged}
        row |= {name: value for name, value in logged.items() if name.startswith("val/AP/")}
        row["lr"] = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        return row

    def _tell(self, row: dict[str, float], trainer: Trainer) -> None:
        text = f"loss {row['train/loss']:.3f} val AP50 {row['val/AP50']:.3f} AP {row['val/AP']:.3f}"
        print(
            f"round {self.kept.epoch}/{trainer.max_epochs} iteration {self.kept.step} {text}", file=sys.stderr, flush=True
        )
        told = {"epoch": self.kept.epoch, "steps": self.kept.step, "val_AP50": row["val/AP50"], "val_AP": row["val/AP"]}
        self.on_log(told)

    def _end_round(self, trainer: Trainer) -> None:
        """Leave where the next round is sure not to fit into the time that is left: it would be made in vain."""
        self._shortest_s = min(self._shortest_s, time.monotonic() - self._began)
        if self.kept.stop or self.kept.epoch >= trainer.max_epochs:
            return
        if not self.asked.reason and self.asked.left_s < self._shortest_s:
            left = max(0.0, self.asked.left_s)
            raise self.preempted(f"{BUDGET_USED}: a round takes {self._shortest_s:.0f} s, {left:.0f} s are left", trainer)
        self._leave_when_asked(trainer)


def _is_score(name: str) -> bool:
    return name.startswith("val/") and not name.startswith("val/AP/")
