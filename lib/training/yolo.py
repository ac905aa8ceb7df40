"""Train a YOLO detector, or save one untrained. Not here: the loop itself (yolo_trainer.py), where the images come from.

`state` outlives a kill: the same fingerprint goes on after the last finished round, another one starts afresh. A training
that is asked to leave does so after the iteration in hand; what it did since its last round is made again.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from lib.config.running import Running
from lib.config.train import TrainingSettings
from lib.files import DataError, atomic
from lib.models import yolo as models
from lib.models.loading import load_checkpoint
from lib.training.preemption import StopRequest

if TYPE_CHECKING:
    from lib.training.round_loggers import RoundLoggers
    from lib.training.yolo_trainer import Trainer

FIRST_COLUMNS = ("epoch", "iteration", "seconds")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training leaves."""

    weights: Path  # ultralytics .pt inside `state`: the best round on val (EMA, float16)
    history: pd.DataFrame  # a row per round: epoch, iteration, seconds, train/…, val/…, lr
    status: str  # "finished" or "diverged at step N", N counted from 1
    best: dict[str, Any]  # epoch, iteration, AP50, AP, precision, recall on val; empty when no round was finished
    iterations: int  # optimizer steps done, over all attempts
    epochs: int  # rounds done
    parameters: int
    resumed_from: int  # rounds that an earlier attempt had finished, 0 = from the beginning
    facts: dict[str, Any]  # for the model's card: micro-batch, effective batch, whether with cuDNN


def train(
    settings: TrainingSettings,
    *,
    names: list[str],
    train_images: list[Path],
    val_images: list[Path],
    state: Path,
    seed: int,
    threads: int,
    fingerprint: str,
    start: Path | None = None,
    factors: Mapping[str, float] | None = None,
    on_log: Callable[[dict[str, Any]], None] | None = None,
    asked: StopRequest | None = None,
    loggers: RoundLoggers | None = None,
) -> TrainResult:
    """Train with these settings.

    names: the C classes, in the order of the labels' indices. train_images, val_images: files in folders `images`, with
    YOLO label files in sibling folders `labels`; private copies, as ultralytics leaves a cache beside them. start: a .pt to
    start from. factors: of `sampling`, by the stems of the training images. on_log: told `round` when one begins, epoch,
    steps, val_AP50, val_AP after it. asked: to leave early. loggers: told every round.
    Raises ConfigError when a knob does not reach ultralytics or the batch does not fit, DataError for missing or damaged
    images, Preempted when it was asked to leave (on_log is told lost_iterations and lost_seconds before).
    """
    models.quiet_ultralytics()
    if read_state(state, fingerprint) is None:
        shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vipersight-") as folder:
        data = _describe(names, {"train": train_images, "val": val_images}, Path(folder))
        trainer = make_trainer(
            settings,
            names=names,
            data=data,
            state=state,
            seed=seed,
            threads=threads,
            fingerprint=fingerprint,
            start=start,
            factors=factors,
            on_log=on_log,
            asked=asked,
            loggers=loggers,
        )
        return _run(trainer, state, fingerprint)


def make_trainer(settings: TrainingSettings, **given: Any) -> Trainer:
    """The trainer of a job (arguments as of Trainer); its import brings torch and ultralytics."""
    models.quiet_ultralytics()
    from lib.training.yolo_trainer import Trainer

    return Trainer(settings, **given)


def untrained(settings: TrainingSettings, *, names: list[str], seed: int, folder: Path) -> Path:
    """A floor: the model as it is before any training, in the form that a training leaves. Returns folder/untrained.pt."""
    net = models.build(settings.model, names, seed=seed)
    path = folder / "untrained.pt"
    with atomic(path) as temporary:
        models.save_model(net, temporary, {"task": "detect", "imgsz": settings.imgsz})
    return path


def read_state(state: Path, fingerprint: str) -> dict[str, Any] | None:
    """What an earlier attempt with this fingerprint left, or None; damage costs time, not results, so it counts as none."""
    if not (state / "last.pt").is_file():
        return None
    try:
        kept = load_checkpoint(state / "last.pt")
    except DataError as error:
        print(f"warning: {error}; training starts afresh", file=sys.stderr)
        return None
    best = state / f"best-{kept.get('best', {}).get('epoch')}.pt"
    return kept if kept.get("fingerprint") == fingerprint and best.is_file() else None


def _run(trainer: Trainer, state: Path, fingerprint: str) -> TrainResult:
    from lib.training.memory import without_cudnn
    from lib.training.yolo_trainer import Diverged

    kept = read_state(state, fingerprint)
    status = "finished"
    if kept is not None and (kept["stop"] or kept["epoch"] + 1 >= trainer.epochs):  # killed after its last round
        return _result(kept, state, status, resumed_from=kept["epoch"] + 1, facts=_facts(trainer))
    if not Running.of_this_run().cudnn:
        facts = _facts(trainer)
        print(without_cudnn(facts["effective_batch"], facts["micro_batch"]), file=sys.stderr)
        trainer.on_log({name: facts[name] for name in ("cudnn", "micro_batch")})
    if trainer.loggers is not None:
        trainer.loggers.begin(kept["history"] if kept is not None else [])
    try:
        trainer.train()
    except Diverged as diverged:
        status = str(diverged)
    except RuntimeError as error:
        if trainer.asked.reason and "DataLoader worker" in str(error):  # a signal to all processes of a job
            raise trainer.preempted(trainer.asked.reason) from error
        raise
    kept = read_state(state, fingerprint)
    if kept is None and status != "finished":
        return _without_round(trainer, state, status)
    if kept is None:
        raise DataError(f"{state}: the training's state cannot be read back. Hint: is the disk full?")
    done = trainer.step if status != "finished" else kept["step"]
    return _result(kept | {"step": done}, state, status, resumed_from=trainer.resumed_from, facts=_facts(trainer))


def _result(kept: dict[str, Any], state: Path, status: str, *, resumed_from: int, facts: dict[str, Any]) -> TrainResult:
    history = pd.DataFrame(kept["history"])
    weights = state / f"best-{kept['best']['epoch']}.pt"
    return TrainResult(
        weights=weights,
        history=history[[*FIRST_COLUMNS, *[name for name in history.columns if name not in FIRST_COLUMNS]]],
        status=status,
        best=kept["best"],
        iterations=kept["step"],
        epochs=kept["epoch"] + 1,
        parameters=sum(parameter.numel() for parameter in models.checkpoint_model(weights).parameters()),
        resumed_from=resumed_from,
        facts=facts,
    )


def _without_round(trainer: Trainer, state: Path, status: str) -> TrainResult:
    """Diverged before the first round was finished: the averaged weights if they are finite, else the start's."""
    net = trainer.ema.ema
    if not models.is_finite(net):
        net = models.build(trainer.settings.model, trainer.names, seed=trainer.seed, weights=trainer.start)
    weights = state / "finite.pt"
    with atomic(weights) as temporary:
        models.save_model(net, temporary, trainer.stored_arguments())
    return TrainResult(
        weights=weights,
        history=pd.DataFrame(columns=[*FIRST_COLUMNS]),
        status=status,
        best={},
        iterations=trainer.step,
        epochs=0,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        resumed_from=0,
        facts=_facts(trainer),
    )


def _facts(trainer: Trainer) -> dict[str, Any]:
    """How a batch went through the model."""
    return {
        "micro_batch": trainer.settings.batch // trainer.pieces,
        "effective_batch": trainer.settings.batch,
        "cudnn": Running.of_this_run().cudnn,
    }


def _describe(names: list[str], images: dict[str, list[Path]], folder: Path) -> Path:
    """Write the lists of images and the data.yaml that ultralytics asks for."""
    for split, paths in images.items():
        if not paths:
            raise DataError(f"no image in split {split!r}. Hint: does the arm hold frames, and the shards the split?")
        missing = next((path for path in paths if not path.is_file()), None)
        if missing is not None:
            raise DataError(f"{missing}: image of split {split!r} not found")
        (folder / f"{split}.txt").write_text("\n".join(str(path.resolve()) for path in paths), encoding="utf-8")
    values = {"path": str(folder), "names": dict(enumerate(names))} | {split: f"{split}.txt" for split in images}
    data = folder / "data.yaml"
    data.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return data
