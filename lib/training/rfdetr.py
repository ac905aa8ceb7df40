"""Train an RF-DETR, or save one untrained. Not here: its settings in the library's words (rfdetr_knobs.py), rounds and
checkpoints (rfdetr_rounds.py, rfdetr_state.py), where the images come from (lib/data/coco_layout.py).

`state` outlives a kill: the same fingerprint goes on after the last finished round, another one starts afresh. A training
that is asked to leave does so after the iteration in hand; what it did since its last round is made again.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lib.config.running import Running
from lib.config.train_rfdetr import RfdetrSettings
from lib.files import DataError, atomic
from lib.models import rfdetr as models
from lib.training import rfdetr_knobs
from lib.training.preemption import StopRequest
from lib.training.rfdetr_state import Kept, read_state
from lib.training.yolo import FIRST_COLUMNS, TrainResult

if TYPE_CHECKING:
    from lib.training.rfdetr_images import Images
    from lib.training.rfdetr_rounds import Rounds
    from lib.training.round_loggers import RoundLoggers


def train(
    settings: RfdetrSettings,
    *,
    names: list[str],
    data: Path,
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

    names: the C classes, in the order of the labels. data: a folder in RF-DETR's layout (lib/data/coco_layout.py). start:
    a .pth to start from. factors: of `sampling`, by the stems of the training images. on_log: told `round` when one begins,
    epoch, steps, val_AP50, val_AP after it. asked: to leave early. loggers: told every round. Raises ConfigError when a
    knob does not reach RF-DETR, DataError for damaged images, Preempted when it was asked to leave (on_log is told
    lost_iterations and lost_seconds before).
    """
    models.quiet_rfdetr()
    from lib.training.rfdetr_rounds import SafeCheckpoints

    kept, checkpoints = read_state(state, fingerprint), SafeCheckpoints()
    done = kept is not None and (kept.stop or kept.epoch >= settings.budget.rounds)  # killed after its last round
    if kept is not None and not done and not checkpoints.is_whole(state / kept.checkpoint):
        kept = None
    if kept is None:
        shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True, exist_ok=True)
    told = {"threads": threads, "start": start, "factors": factors, "loggers": loggers}
    run = Run(settings, names=names, data=data, state=state, seed=seed, **told)
    if kept is not None and done:
        return run.result(kept, resumed_from=kept.epoch, status="finished", iterations=kept.step)
    return run.train(
        kept or Kept(fingerprint),
        checkpoints,
        on_log=on_log or (lambda facts: None),
        asked=asked or StopRequest(),  # nothing ends a training that nobody asks
    )


def untrained(settings: RfdetrSettings, *, names: list[str], seed: int, folder: Path) -> Path:
    """A floor: the model as it is before any training, in the form that a training leaves. Returns folder/untrained.pth."""
    net, config = models.build(settings, names, seed=seed)
    path = folder / "untrained.pth"
    with atomic(path) as temporary:
        models.save_model(
            net.state_dict(), temporary, config=config, name=models.library_name(settings), names=names, epoch=0
        )
    return path


def _silent(*_: Any, **__: Any) -> None:
    """Print nothing."""


class Run:
    """One attempt at a training: what it is told, and what it leaves."""

    def __init__(
        self,
        settings: RfdetrSettings,
        *,
        names: list[str],
        data: Path,
        state: Path,
        seed: int,
        threads: int,
        start: Path | None,
        loggers: RoundLoggers | None = None,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        self.settings = settings
        self.names = names
        self.data = data
        self.state = state
        self.seed = seed
        self.threads = threads
        self.start = start
        self.loggers = loggers
        self.factors = factors
        self.pieces = rfdetr_knobs.pieces(settings, Running.of_this_run())

    def train(
        self, kept: Kept, checkpoints: Any, *, on_log: Callable[[dict[str, Any]], None], asked: StopRequest
    ) -> TrainResult:
        """Go on from `kept` to the end. Raises as `train` of this module."""
        from lib.training.memory import without_cudnn
        from lib.training.rfdetr_rounds import Diverged

        facts = self.facts()
        if not facts["cudnn"]:
            print(without_cudnn(facts["effective_batch"], facts["micro_batch"]), file=sys.stderr)
            on_log({name: facts[name] for name in ("cudnn", "micro_batch")})
        if self.loggers is not None:
            self.loggers.begin(kept.history)
        trainer, module, images, rounds = self._built(kept, checkpoints, on_log, asked)
        resumed = str(self.state / kept.checkpoint) if kept.epoch else None
        if resumed:
            total = self.settings.budget.rounds
            print(f"goes on after round {kept.epoch}/{total} (iteration {kept.step})", file=sys.stderr)
        status = "finished"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trainer.fit(module, images, ckpt_path=resumed, weights_only=True)
        except Diverged as diverged:
            status = str(diverged)
        except (SystemExit, RuntimeError) as error:
            # Lightning's own answer to a signal while val is scored; a signal to all processes of a job ends readers too
            if asked.reason and (isinstance(error, SystemExit) or "DataLoader worker" in str(error)):
                raise rounds.preempted(asked.reason, trainer) from error
            raise
        if not rounds.kept.epoch:
            if status == "finished":
                raise DataError(f"{self.state}: the training finished no round. Hint: is there an image in the arm?")
            return self._without_round(module, rounds, status)
        iterations = rounds.kept.step if status == "finished" else rounds.step
        return self.result(rounds.kept, resumed_from=rounds.resumed_from, status=status, iterations=iterations)

    def _built(
        self, kept: Kept, checkpoints: Any, on_log: Callable[[dict[str, Any]], None], asked: StopRequest
    ) -> tuple[Any, Any, Images, Rounds]:
        """Lightning's trainer as RF-DETR builds it, with our checkpoints and rounds; its module and its data."""
        import torch
        from pytorch_lightning.callbacks import ModelCheckpoint
        from pytorch_lightning.plugins.environments import LightningEnvironment
        from rfdetr.training import RFDETRModelModule, build_trainer
        from rfdetr.training.callbacks import COCOEvalCallback

        from lib.models.yolo import device
        from lib.training.rfdetr_images import Images
        from lib.training.rfdetr_rounds import Rounds

        where = torch.device(device())
        config = models.model_settings(self.settings, len(self.names))
        told = rfdetr_knobs.train_config(
            self.settings,
            data=self.data,
            state=self.state,
            seed=self.seed,
            device=where.type,
            threads=self.threads,
            cut=self.pieces,
        )
        torch.set_num_threads(self.threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)  # the same random start for every arm of a seed
                module = RFDETRModelModule(config, told)
            if self.start is not None:
                models.fill(module.model, self.start, self.names, config)
            images = Images(config, told, self.settings, seed=self.seed, factors=self.factors)
            trainer = build_trainer(
                told.model_copy(update={"resume": str(self.state / kept.checkpoint)}) if kept.epoch else told,
                config,
                # no environment of Slurm's: it would start the job again by itself
                plugins=[checkpoints, LightningEnvironment()],
                enable_model_summary=False,
                **({} if where.type == "cpu" else {"devices": [where.index or 0]}),
            )
        rounds = Rounds(
            self.settings,
            names=self.names,
            state=self.state,
            seed=self.seed,
            kept=kept,
            images=images,
            on_log=on_log,
            asked=asked,
            archive=self.state.parent / "checkpoints",
            loggers=self.loggers,
        )
        for one in trainer.callbacks:
            if isinstance(one, COCOEvalCallback):
                one._print_metrics_tables = _silent  # a round is told in one line
        # the library's are written in place and hold the same again
        trainer.callbacks = [one for one in trainer.callbacks if not isinstance(one, ModelCheckpoint)] + [rounds]
        return trainer, module, images, rounds

    def facts(self) -> dict[str, Any]:
        """How a batch goes through the model."""
        return {
            "micro_batch": self.settings.batch // self.pieces,
            "accumulate": self.settings.accumulate * self.pieces,
            "effective_batch": self.settings.batch * self.settings.accumulate,
            "cudnn": Running.of_this_run().cudnn,
        }

    def result(self, kept: Kept, *, resumed_from: int, status: str, iterations: int) -> TrainResult:
        """What stands in the state."""
        history = pd.DataFrame(kept.history)
        columns = sorted(name for name in history.columns if name not in FIRST_COLUMNS)  # the state keeps no order
        weights = self.state / kept.weights
        return TrainResult(
            weights=weights,
            history=history[[*FIRST_COLUMNS, *columns]],
            status=status,
            best=kept.best,
            iterations=iterations,
            epochs=kept.epoch,
            parameters=models.inspect(weights)["parameters"],
            resumed_from=resumed_from,
            facts=self.facts(),
        )

    def _without_round(self, module: Any, rounds: Rounds, status: str) -> TrainResult:
        """Diverged before the first round was finished: the weights that it started from."""
        net, config = models.build(self.settings, self.names, seed=self.seed, weights=self.start)
        weights = self.state / "finite.pth"
        with atomic(weights) as temporary:
            name = models.library_name(self.settings)
            models.save_model(net.state_dict(), temporary, config=config, name=name, names=self.names, epoch=0)
        return TrainResult(
            weights=weights,
            history=pd.DataFrame(columns=[*FIRST_COLUMNS]),
            status=status,
            best={},
            iterations=rounds.step,
            epochs=0,
            parameters=sum(parameter.numel() for parameter in net.parameters()),
            resumed_from=0,
            facts=self.facts(),
        )
