"""Ultralytics' DetectionTrainer with our budget, order, learning rates and crash-safe state. Not here: what people call
(yolo.py) and the settings' translation (yolo_knobs.py).

What differs from the library, and why: a round (its epoch) is a fixed number of iterations when the budget is one, so arms
of different sizes are trained alike; the learning rate follows the iteration, so the number of evaluations does not change
the training (yolov10 and yolo26 excepted: they shift the weights of their two heads' losses once a round); where cuDNN is
off, an iteration is made of both halves of its batch (batch norm sees halves, and each half's loss is a mean over its own
targets: steps as long on average, but other ones, as with another seed); state is written whole in one file, in full
precision, so that a killed run continues exactly; nothing is drawn, validated twice or read by the library's unrestricted
loader.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import torch_utils

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.config.train import TrainingSettings
from lib.files import DataError, atomic
from lib.models import yolo as models
from lib.models.loading import save_checkpoint
from lib.training import yolo_knobs
from lib.training.preemption import BUDGET_USED, Preempted, StopRequest
from lib.training.round_loggers import RoundLoggers
from lib.training.sampling import RoundLoader, StreamSampler, in_order

SCORES = {
    "metrics/mAP50(B)": "val/AP50",
    "metrics/mAP50-95(B)": "val/AP",
    "metrics/precision(B)": "val/precision",
    "metrics/recall(B)": "val/recall",
}


class Diverged(Exception):
    """The loss of this iteration (counted from 1) is no finite number."""

    def __init__(self, iteration: int) -> None:
        super().__init__(f"diverged at step {iteration}")


class Trainer(DetectionTrainer):
    """One training. `state` holds last.pt (everything needed to continue) and the best checkpoint so far."""

    def __init__(
        self,
        settings: TrainingSettings,
        *,
        names: list[str],
        data: Path,
        state: Path,
        seed: int,
        threads: int,
        fingerprint: str,
        start: Path | None,
        factors: Mapping[str, float] | None = None,
        on_log: Callable[[dict[str, Any]], None] | None,
        asked: StopRequest | None = None,
        loggers: RoundLoggers | None = None,
    ) -> None:
        self.settings = settings
        self.names = names
        self.state = state
        self.seed = seed
        self.fingerprint = fingerprint
        self.start = start
        self.factors = factors
        self.on_log = on_log or (lambda facts: None)
        self.asked = asked or StopRequest()  # nothing ends a training that nobody asks
        self.loggers = loggers
        self.step = 0  # iterations done
        self.pieces = yolo_knobs.pieces(settings, Running.of_this_run())
        self._passes = 0  # forward and backward passes since the last step
        self.history: list[dict[str, float]] = []
        self.best_round: dict[str, Any] = {}
        self.resumed_from = 0
        self._seconds_before = 0.0
        self._round_began = 0.0
        self._shortest_s = math.inf  # of the rounds of this attempt
        overrides = yolo_knobs.arguments(settings, seed=seed, device=models.device(), threads=threads, pieces=self.pieces)
        overrides |= {"model": f"{settings.model}.yaml", "data": str(data), "save_dir": str(data.parent / "run")}
        super().__init__(overrides=overrides)
        torch.set_num_threads(threads)  # ultralytics has just chosen a number by itself

    # -- model and data ---------------------------------------------------------------------------------------------------

    def setup_model(self) -> None:
        """The same random start for every arm of a seed, or the given weights; nothing is looked for by name."""
        self.model = models.build(self.settings.model, self.names, seed=self.seed, weights=self.start)

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """The stream of training images; val as ultralytics does."""
        if mode != "train":
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        listed = len(Path(dataset_path).read_text(encoding="utf-8").split("\n"))
        if len(dataset) != listed:
            raise DataError(f"training images: {listed - len(dataset)} of {listed} are damaged or have impossible boxes.")
        budget = self.settings.budget
        iterations = budget.iterations // budget.rounds if budget.iterations else math.ceil(listed / self.settings.batch)
        self.iterations_per_round = iterations
        self.sampler = StreamSampler(
            len(dataset),
            per_round=iterations * self.settings.batch,
            seed=self.seed,
            factors=in_order(self.factors, dataset.im_files),
        )
        return RoundLoader(
            dataset,
            batch_size=batch_size,
            sampler=self.sampler,
            num_workers=self.args.workers,
            pin_memory=self.device.type == "cuda",
            collate_fn=dataset.collate_fn,
            worker_init_fn=_seed_worker,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _build_train_pipeline(self) -> None:
        if self.batch_size * self.pieces != self.settings.batch:
            raise ConfigError(
                f"training.batch: {self.settings.batch} images of {self.settings.imgsz} px do not fit into GPU memory. "
                f"Hint: batch: {self.batch_size * self.pieces}; it is not lowered by itself, as arms would no longer be "
                "trained alike."
            )
        super()._build_train_pipeline()

    def _setup_train(self) -> None:
        super()._setup_train()
        total = self.iterations_per_round * self.epochs
        if self.settings.warmup >= total:
            raise ConfigError(
                f"training.warmup: {self.settings.warmup} must be shorter than the {total} iterations in all."
            )
        yolo_knobs.check(self, self.settings)
        self.add_callback("on_train_epoch_start", Trainer._begin_round)
        self.add_callback("on_train_start", Trainer._leave_when_asked)
        self.add_callback("on_train_batch_end", Trainer._leave_when_asked)
        self.add_callback("on_fit_epoch_end", Trainer._end_round)

    # -- iterations -------------------------------------------------------------------------------------------------------

    def _get_warmup_iterations(self, num_batches: int) -> int:
        return 0  # optimizer_step does it

    @property
    def warmup(self) -> int:
        """Iterations of the warm-up."""
        return self.settings.warmup

    def rate(self, step: int) -> float:
        """Learning rate of iteration `step` (from 0) as a share of lr0."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return rising * self.lf(step / self.iterations_per_round)

    def _begin_round(self) -> None:
        """Random numbers of a round follow from seed and round only, so a resumed round is the same."""
        self.sampler.round = self.epoch
        seed = (self.seed * 1_000_003 + self.epoch) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.train_loader.generator.manual_seed(seed)
        self._round_began = time.monotonic()
        self.on_log({"round": self.epoch + 1})  # begun: should this attempt be killed, it tells that the round was in vain

    def _end_round(self) -> None:
        """Leave where the next round is sure not to fit into the time that is left: it would be made in vain."""
        self._shortest_s = min(self._shortest_s, time.monotonic() - self._round_began)
        if self.stop:  # by itself: all rounds are done, or patience is at its end
            return
        if not self.asked.reason and self.asked.left_s < self._shortest_s:
            left = max(0.0, self.asked.left_s)
            raise self.preempted(f"{BUDGET_USED}: a round takes {self._shortest_s:.0f} s, {left:.0f} s are left")
        self._leave_when_asked()

    def _leave_when_asked(self) -> None:
        if self.asked.reason:
            raise self.preempted(self.asked.reason)

    def preempted(self, why: str) -> Preempted:
        """The refusal to go on, which says what is kept and what is lost; the record of the attempt gets the same."""
        kept = int(self.history[-1]["iteration"]) if self.history else 0
        lost = self.step - kept
        seconds = time.monotonic() - self._round_began if lost else 0.0
        self.on_log({"lost_iterations": lost, "lost_seconds": round(seconds, 2)})
        state = f"the state after round {len(self.history)} of {self.epochs} is saved" if kept else "nothing is saved yet"
        text = f"stopped at iteration {self.step} of {self.iterations_per_round * self.epochs}: {why}; {state}, "
        text += f"{lost} iterations ({seconds:.0f} s) are made again" if lost else "nothing is lost"
        if BUDGET_USED in why and len(self.history) == self.resumed_from:
            text += (
                f". Hint: this attempt finished no round of {self.iterations_per_round} iterations; give it a longer "
                "runtime, or shorter rounds (more `evaluations`)."
            )
        return Preempted(text)

    def optimizer_step(self) -> None:
        """One step at this iteration's learning rate, once all pieces of the batch are through; Diverged when the loss is
        no number. Ultralytics' own accumulation counts from the start of an attempt, so a resumed one would step elsewhere.
        """
        if not torch.isfinite(self.loss):
            raise Diverged(self.step + 1)
        self._passes = (self._passes + 1) % self.pieces
        if self._passes:
            return
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.rate(self.step)
        super().optimizer_step()
        self.step += 1

    def _handle_nan_recovery(self, epoch: int) -> bool:
        return False  # divergence is a result: it is reported, not repaired

    # -- results ----------------------------------------------------------------------------------------------------------

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """One row of history a round, instead of a results.csv."""
        row: dict[str, float] = {"epoch": self.epoch + 1, "iteration": self.step, "seconds": round(self._seconds(), 2)}
        row |= {SCORES.get(name, name): float(value) for name, value in metrics.items() if not name.startswith("lr/")}
        row["lr"] = float(metrics["lr/pg0"])
        self.history.append(row)
        ap = f"AP50 {row['val/AP50']:.3f} AP {row['val/AP']:.3f}"
        loss = " ".join(f"{name.removeprefix('train/')} {row[name]:.3f}" for name in row if name.startswith("train/"))
        print(f"round {self.epoch + 1}/{self.epochs} iteration {self.step} {loss} val {ap}", file=sys.stderr, flush=True)

    def _seconds(self) -> float:
        return self._seconds_before + time.time() - self.train_time_start

    def save_model(self) -> bool:
        """The best checkpoint when this round is the best, then the state that names it: a kill between costs a round."""
        if not models.is_finite(self.ema.ema):  # the round's last step has spoilt the weights, its loss was still a number
            raise Diverged(self.step)
        row = self.history[-1]
        if self.fitness == self.best_fitness:
            keys = ("epoch", "iteration", *SCORES.values())
            self.best_round = {key.removeprefix("val/"): row[key] for key in keys}
            with atomic(self.best_file) as temporary:
                models.save_model(self.ema.ema, temporary, self.stored_arguments())
        with atomic(self.state / "last.pt") as temporary:
            save_checkpoint(self._state_dict(), temporary)
        for old in set(self.state.glob("best-*.pt")) - {self.best_file}:
            old.unlink()
        # told only now that nobody makes this round again
        if self.loggers is not None:
            self.loggers.tell(row)
        self.on_log({"epoch": row["epoch"], "steps": self.step, "val_AP50": row["val/AP50"], "val_AP": row["val/AP"]})
        return True

    @property
    def best_file(self) -> Path:
        """The best checkpoint so far, named by its round, so that state and file cannot disagree."""
        return self.state / f"best-{self.best_round['epoch']}.pt"

    def stored_arguments(self) -> dict[str, Any]:
        """What ultralytics is told about the training; places on this machine stay out of the file."""
        places = {"model", "data", "project", "name", "save_dir", "device", "workers"}
        return {key: value for key, value in vars(self.args).items() if key not in places}

    def final_eval(self) -> None:
        """Nothing: the best checkpoint has been scored when it was written."""

    def _state_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers and texts: readable without allowing a single class."""
        return {
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "step": self.step,
            "stop": bool(self.stop),
            "seconds": self._seconds(),
            "history": self.history,
            "best": self.best_round,
            "best_fitness": float(self.best_fitness),
            "stopper": {"best_fitness": float(self.stopper.best_fitness), "best_epoch": int(self.stopper.best_epoch)},
            "model": self.model.state_dict(),
            "ema": self.ema.ema.state_dict(),
            "updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def resume_training(self, ckpt: None) -> None:
        """Go on from `state` when its fingerprint is ours (yolo.py has removed any other)."""
        from lib.training.yolo import read_state

        kept = read_state(self.state, self.fingerprint)
        if kept is None:
            return
        self.model.load_state_dict(kept["model"])
        self.ema = torch_utils.ModelEMA(self.model)
        self.ema.ema.load_state_dict(kept["ema"])
        self.ema.updates = kept["updates"]
        for saved, group in zip(kept["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            saved["fused"] = group.get("fused")  # a matter of the device, which may have changed
        self.optimizer.load_state_dict(kept["optimizer"])
        self.scaler.load_state_dict(kept["scaler"])
        self.best_fitness, self.best_round = kept["best_fitness"], kept["best"]
        self.stopper.__dict__.update(kept["stopper"])
        self.history, self.step, self._seconds_before = kept["history"], kept["step"], kept["seconds"]
        self.start_epoch = self.resumed_from = kept["epoch"] + 1
        total = self.iterations_per_round * self.epochs
        print(f"goes on after round {self.resumed_from}/{self.epochs} (iteration {self.step}/{total})", file=sys.stderr)
        criterion = self.model.init_criterion()
        if hasattr(criterion, "update"):  # two heads: their weights shift from round to round
            for _ in range(self.start_epoch):
                criterion.update()
            self.model.criterion = criterion


def _seed_worker(worker: int) -> None:
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)
    with suppress(RuntimeError):  # a worker prepares images: one thread each
        torch.set_num_threads(1)
