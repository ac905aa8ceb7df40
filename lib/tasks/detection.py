"""The task detection: boxes of named classes per frame. Binds shards → engine → boxes → COCO scores.

Not here: the engines (lib/training), the models and floors (lib/models), the scores (lib/metrics/detection.py).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lib.config.base import ConfigError
from lib.config.evaluate import EvaluateSettings
from lib.config.predict import PredictSettings, Tta
from lib.config.running import Running
from lib.config.tasks import TASKS
from lib.config.train import TrainingSettings
from lib.config.train_rfdetr import RfdetrSegSettings, RfdetrSettings
from lib.data.coco_layout import export_coco, read_layout
from lib.data.reader import ShardReader
from lib.data.shards import export_yolo
from lib.files import DataError, read_json, write_json
from lib.history import no_history
from lib.metrics import detection as metrics
from lib.tables import COLUMNS, DETECTIONS, empty, read_table
from lib.tasks import PredictJob, Scored, ScoreJob, Trained, TrainJob

if TYPE_CHECKING:
    from lib.training.yolo import TrainResult

FORMATS = {"yolo": "ultralytics", "rfdetr": "rfdetr"}
"""Engine → format of the weights that it leaves (lib/models)."""
MEANS = ("AP", "AP50", "AP75", "AR", "F1", "precision", "recall", "best_F1")


def train(job: TrainJob) -> Trained:
    """Train, fit or take one variant; what comes out has the same form for all of them."""
    kind, floor = job.settings["kind"], job.settings["floor"]
    makers: dict[str, Callable[[TrainJob], Trained]] = {
        "model": _train_model,
        "pretrained": _pretrained,
        "prior": _fit_floor,
        "chance": _fit_floor,
        "untrained": _untrained,
    }
    return makers[floor or kind](job)


def _train_model(job: TrainJob) -> Trained:
    settings = _settings(job)
    if job.data is not None:
        return _train_in_place(job, settings, job.data)
    reader, keys, classes = _samples(job)
    val = reader.index[reader.index["split"] == "val"]["key"].tolist()
    if not val:
        raise DataError(
            f"{job.shards}: no sample of split val, which chooses the best checkpoint. Hint: add it to `splits`."
        )
    # Both engines read image files: a private copy, made by offset index, that goes away with the job. The budget pays it.
    copied = tempfile.TemporaryDirectory(prefix="vipersight-", dir=os.environ.get("TMPDIR"))
    with _told(job, settings, classes) as told, copied as temporary:
        run = _run_rfdetr if isinstance(settings, RfdetrSettings) else _run_yolo
        factors, sampled = _repeats(settings, reader, keys)
        result = run(settings, reader, {"train": keys, "val": val}, Path(temporary), factors=factors, **told)
        told["loggers"].close(result.status)
    return _made(job, settings, classes, result, {"train_videos": _videos(job)} | sampled)


def _train_in_place(job: TrainJob, settings: Any, folder: Path) -> Trained:
    """RF-DETR on a folder of its own layout: nothing is copied. The videos that the images are from are not known."""
    from lib.training import rfdetr

    if not isinstance(settings, RfdetrSettings):
        raise ConfigError(
            f"--data {folder}: engine {settings.engine} reads no such layout. Hint: engine: rfdetr, or use --shards."
        )
    if settings.sampling is not None:
        raise ConfigError("training.sampling: needs the shards of a dataset. Hint: leave it out, or use --shards.")
    layout = read_layout(folder, masks=isinstance(settings, RfdetrSegSettings))
    with _told(job, settings, layout.classes) as told:
        result = rfdetr.train(settings, data=folder, **told)
        told["loggers"].close(result.status)
    return _made(job, settings, layout.classes, result, {})


@contextmanager
def _told(job: TrainJob, settings: Any, classes: list[str]) -> Iterator[dict[str, Any]]:
    """What both engines are told; while it holds, signals ask the training to leave."""
    from lib.training.preemption import StopRequest
    from lib.training.round_loggers import RoundLoggers

    state, name = job.folder / "state", "/".join(job.folder.parts[-3:])
    values = settings.model_dump(mode="json")
    loggers = RoundLoggers(Running.of_this_run().loggers, state=state, name=name, config=values)
    told = {"names": classes, "state": state, "seed": job.seed, "threads": job.threads, "fingerprint": job.fingerprint}
    told |= {"start": _start_file(job), "on_log": lambda facts: job.on_progress(**facts), "loggers": loggers}
    with StopRequest(budget_s=job.time_budget_s) as asked, loggers:
        yield told | {"asked": asked}


def _made(job: TrainJob, settings: Any, classes: list[str], result: TrainResult, more: dict[str, Any]) -> Trained:
    """What a training leaves, with its card. more: facts of its data."""
    card = _card(job, classes, FORMATS[settings.engine], result.status) | _model(settings)
    card |= {
        "iterations": result.iterations,
        "epochs": result.epochs,
        "parameters": result.parameters,
        "best": result.best,
        "resumed_from_epoch": result.resumed_from,
        **result.facts,
        **more,
    }
    return Trained(weights=result.weights, card=card, history=result.history)


def _repeats(settings: Any, reader: ShardReader, keys: list[str]) -> tuple[dict[str, float] | None, dict[str, Any]]:
    """Repeat factors of the arm's frames by key (None = no `sampling`), and what the card says of them."""
    from lib.training import repeat_factor

    if settings.sampling is None:
        return None, {}
    index = reader.index.iloc[reader.rows(keys)]
    boxes = repeat_factor.counted(index["classes"].tolist(), index["instances"].tolist(), reader.classes)
    of_class = repeat_factor.class_factors(boxes, settings.sampling)
    of_image = repeat_factor.image_factors(boxes, of_class)
    factors = dict(zip(reader.classes, of_class.round(6).tolist(), strict=True))
    per_pass = round(float(of_image.sum()), 3)
    drawn = settings.sampling.model_dump() | {"factors": factors, "images": len(keys), "images_per_pass": per_pass}
    said: dict[str, Any] = {"sampling": drawn}
    if why := repeat_factor.without_effect(boxes, settings.sampling, reader.classes):
        print(f"warning: training.{why}. Hint: a higher threshold, or leave it out.", file=sys.stderr)
        said["warnings"] = [why]
    return dict(zip(keys, of_image.tolist(), strict=True)), said


def _run_yolo(settings: Any, reader: ShardReader, keys: dict[str, list[str]], folder: Path, **told: Any) -> TrainResult:
    from lib.training import yolo

    images = export_yolo(reader, keys, told["names"], folder)
    return yolo.train(settings, train_images=images["train"], val_images=images["val"], **told)


def _run_rfdetr(settings: Any, reader: ShardReader, keys: dict[str, list[str]], folder: Path, **told: Any) -> TrainResult:
    from lib.training import rfdetr

    layout = export_coco(reader, keys, told["names"], folder, masks=isinstance(settings, RfdetrSegSettings))
    return rfdetr.train(settings, data=layout.folder, **told)


def _untrained(job: TrainJob) -> Trained:
    from lib.training import rfdetr, yolo

    settings = _settings(job)
    _, _, classes = _samples(job)
    engine = rfdetr if isinstance(settings, RfdetrSettings) else yolo
    weights = engine.untrained(settings, names=classes, seed=job.seed, folder=job.folder / "state")
    card = _floor_card(job, classes, FORMATS[settings.engine]) | _model(settings)
    return Trained(weights=weights, card=card, history=no_history())


def _settings(job: TrainJob) -> Any:
    """The training's settings, of the class that its engine has."""
    values = job.settings["training"]
    return TASKS[job.settings["task"]].settings_of(values).model_validate(values)


def _fit_floor(job: TrainJob) -> Trained:
    from lib.models import floors

    reader, keys, classes = _samples(job)
    boxes, frames = _truth_of(reader, keys)
    fitted = floors.fit(job.settings["floor"], boxes, frames, classes, seed=job.seed)
    weights = job.folder / "state" / "floor.json"
    write_json(weights, fitted)
    card = _floor_card(job, classes, "floor") | {"engine": "floor", "model": job.settings["floor"]}
    return Trained(weights=weights, card=card, history=no_history())


def _pretrained(job: TrainJob) -> Trained:
    if job.weights is None:
        raise DataError("a pretrained variant needs --weights, the card of a `weights:` entry")
    card = read_json(job.weights)
    kept = {key: card[key] for key in ("parameters", "train_videos") if key in card}
    made = _floor_card(job, card["class_names"], card["format"]) | {"engine": "none", "model": job.settings["weights"]}
    return Trained(weights=job.weights.parent / card["file"], card=made | kept, history=no_history())


def _model(settings: TrainingSettings | RfdetrSettings) -> dict[str, Any]:
    """What was trained by which engine, for the card."""
    return {"engine": settings.engine, "model": settings.title}


def _card(job: TrainJob, classes: list[str], form: str, status: str) -> dict[str, Any]:
    size = job.settings["training"]["imgsz"]
    task = job.settings["task"]
    return {"task": task, "format": form, "class_names": classes, "input_size": size, "status": status}


def _floor_card(job: TrainJob, classes: list[str], form: str) -> dict[str, Any]:
    return _card(job, classes, form, "finished") | {"iterations": 0, "epochs": 0}


def _samples(job: TrainJob) -> tuple[ShardReader, list[str], list[str]]:
    """Reader of the shards, keys of the arm's frames, class names."""
    if job.subset is None or job.shards is None:
        raise DataError("a trained variant or a floor needs --subset and --shards")
    reader = ShardReader(job.shards)
    return reader, read_table(job.subset, "subset")["key"].tolist(), reader.classes


def _videos(job: TrainJob) -> list[str]:
    """Videos that the training has seen, so that a detector made of it can be flagged on them."""
    return sorted(read_table(job.subset, "subset")["video"].unique())


def _start_file(job: TrainJob) -> Path | None:
    if job.weights is None:
        return None
    return job.weights.parent / read_json(job.weights)["file"]


def _truth_of(reader: ShardReader, keys: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Boxes (class, x1, y1, x2, y2 in px) and frames (key, width, height) of the samples."""
    boxes, frames = [], []
    for key in keys:
        sample = reader.labels(key)
        frames.append({"key": key, "width": sample["width"], "height": sample["height"]})
        for box, name, ignore in zip(sample["boxes"], sample["labels"], sample["ignore"], strict=True):
            if not ignore:
                boxes.append({"key": key, "class": name, **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))})
    return pd.DataFrame(boxes, columns=["key", "class", "x1", "y1", "x2", "y2"]), pd.DataFrame(frames)


def predict(job: PredictJob) -> pd.DataFrame:
    """DETECTIONS of the dataset's classes on the chosen splits; a diverged model predicts nothing."""
    if job.card["status"] != "finished":
        return empty(DETECTIONS)
    from lib.inference.predict import predict_videos
    from lib.models import load_predictor

    settings = PredictSettings.model_validate(job.settings["predict"])
    videos = job.manifest[job.manifest["split"].isin(settings.splits)].reset_index(drop=True)
    if videos.empty:
        raise DataError(f"no video in splits {settings.splits}. Hint: `predict.splits` must name splits of the dataset.")
    predictor = load_predictor(job.model, job.card)
    tta = Tta.model_validate(job.settings["tta"])
    found, _ = predict_videos(videos, predictor, settings, tta, imgsz=job.card["input_size"])
    return found[found["class"].isin(job.classes)].reset_index(drop=True)[list(COLUMNS[DETECTIONS])]


def labelled(job: ScoreJob) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labelled frames that were predicted, and the true boxes on them."""
    videos = job.manifest[job.manifest["split"].isin(job.settings["splits"])]["video"]
    frames, boxes = (job.truth[name] for name in ("frames", "boxes"))
    frames = frames[frames["video"].isin(videos) & (frames["frame"] % job.settings["stride"] == 0)]
    return frames, boxes.merge(frames[["video", "frame"]], on=["video", "frame"])


def score(job: ScoreJob) -> Scored:
    """COCO scores on the labelled frames that were predicted, and the per-video units of the bootstrap."""
    settings = EvaluateSettings.model_validate(job.settings["evaluate"])
    frames, boxes = labelled(job)
    found = metrics.evaluate(
        boxes, job.predictions, frames, job.classes, f1_threshold=settings.f1_threshold, max_det=settings.max_det
    )
    units = metrics.match_units(boxes, job.predictions, frames, job.classes, max_det=settings.max_det)
    counts = {key: value for key, value in found.items() if key.startswith("n_")}
    scores = {
        "metrics": {key: found[key] for key in MEANS},
        "classes": job.classes,
        "per_class": found["per_class"],
        "counts": counts,
        "warnings": found["warnings"],
    }
    return Scored(scores=scores, units=units)
