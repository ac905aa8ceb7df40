"""A model on one's own videos, without a study: boxes, on demand tracks, as JSON and drawn. Not here: the stages of the
workflow, which do the same for whole datasets (workflow_scripts/predict.py, export.py)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from lib.config.base import ConfigError
from lib.config.export import ExportSettings
from lib.config.predict import PredictSettings, Tta, View
from lib.config.tasks import DRAWN, TASKS
from lib.config.track import Tracker
from lib.data.ids import unique_ids
from lib.data.progress import track
from lib.data.sources import media_kind
from lib.data.video import probe
from lib.files import DataError, sha256_file
from lib.inference.export import export_videos
from lib.inference.predict import predict_videos
from lib.inference.predict_masks import predict_masks
from lib.models import load_predictor
from lib.models.cards import find_model
from lib.perception.streaming import rate
from lib.perception.trackers import track_video
from lib.tables import COLUMNS, MANIFEST


def table_of(files: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """Videos, images and folders of frames as MANIFEST rows of split `test`, in the order of their names, and warnings.

    Raises DataError for a file that is missing, damaged or named twice.
    """
    ids = unique_ids(_name(file) for file in files)
    rows, warnings = [], []
    for file in track(files, total=len(files), label="looking at media"):
        kind = "frames" if file.is_dir() else media_kind(file) or "video"
        seen = probe(file, check=True)  # frames behind damage are left out here, not met half way
        if seen.cut:
            stated = f" of {seen.stated}" if seen.stated > seen.frames else ""
            warnings.append(
                f"{file}: damaged or cut ({seen.damage}); only the first {seen.frames}{stated} frames are looked at"
            )
        digest = "" if kind == "frames" else sha256_file(file)
        row = [ids[_name(file)], _name(file), "test", str(file), kind, digest, seen.stream, seen.fps, seen.frames]
        rows.append([*row, seen.width, seen.height, seen.duration_s])
    return pd.DataFrame(rows, columns=list(COLUMNS[MANIFEST])).sort_values("video", ignore_index=True), warnings


def _name(file: Path) -> str:
    return Path(os.path.abspath(file)).name  # not resolved: a link goes by its own name


def views(flip: bool, scales: Sequence[float]) -> Tta:
    """The plain view, its mirror image with `flip`, and one at each of `scales`; more views are merged."""
    mirrored = [View(flip=True)] if flip else []
    return Tta(views=[View(), *mirrored, *(View(scale=scale) for scale in scales)])


def predict_by_hand(
    model: Path,
    files: Sequence[Path],
    out: Path,
    *,
    settings: PredictSettings,
    export: ExportSettings,
    tta: Tta,
    tracker: str | None = None,
    imgsz: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Run a model over files and write `{video}_detections.json` and `detected_{video}.mp4` (.jpg for images) into `out`.

    model: what `find_model` takes. tracker: kind of tracker whose ids are drawn and written (its default settings), None =
    boxes, and masks of a model that has them (unless frames are looked at again). imgsz: input size in px, None = the one
    that the model was trained at. Files that `out` holds already stay, those of the same videos are replaced. Returns what
    index.json of an export holds, with the counts per class and the warnings about damaged files, of which the frames
    before the damage were looked at.

    Raises ConfigError for a floor (it looks at no picture), a model that finds no boxes or an unknown tracker, DataError
    for a damaged model or video.
    """
    weights, card = find_model(model)
    if card["format"] == "floor":
        raise ConfigError(f"{model}: a floor has learnt no picture. Hint: name a trained model, or a .pt, .onnx or .pth.")
    _refuse_other_tasks(model, card.get("task"))
    videos, warnings = table_of(files)
    _refuse_own_input(videos, out)
    predictor = load_predictor(weights, card)
    size, plain = imgsz or int(card["input_size"]), tta == Tta() and tracker is None
    if card.get("task") == "segmentation" and plain:
        rows = predict_masks(videos, predictor, settings, imgsz=size, progress=progress)
    else:
        rows, _ = predict_videos(videos, predictor, settings, tta, imgsz=size, progress=progress)
    if tracker is not None:
        rows = _tracked(videos, rows, tracker, settings.stride)
    origin = {"file": str(weights), "sha256": card.get("sha256") or sha256_file(weights)}
    index = export_videos(
        videos, rows, export, out, classes=list(predictor.names), model=origin, stride=settings.stride, progress=progress,
        whole_folder=False,
    )  # fmt: skip
    return index | {"counts": rows["class"].value_counts().to_dict(), "warnings": warnings}


def _refuse_other_tasks(model: Path, task: str | None) -> None:
    if task in TASKS and TASKS[task].predictions not in DRAWN:
        raise ConfigError(
            f"{model}: a model of task {task} predicts {TASKS[task].predictions}, and finds no boxes in pictures. "
            "Hint: what it predicts of a study's dataset is in results/predictions/."
        )


def _tracked(videos: pd.DataFrame, rows: pd.DataFrame, kind: str, stride: int) -> pd.DataFrame:
    tracked = []
    for video in videos.itertuples(index=False):
        settings = TypeAdapter(Tracker).validate_python({"kind": kind} | _rate_of(kind, rate(video.fps) / stride))
        looked_at = range(0, int(video.frames), stride)
        size = (int(video.width), int(video.height))
        own = rows[rows["video"] == video.video]
        tracked.append(track_video(own, settings, frame_size=size, frames=looked_at, fps=video.fps))
    return pd.concat(tracked, ignore_index=True)


def _rate_of(kind: str, frames_per_s: float) -> dict[str, int]:
    """Frames per second for the trackers that count a lost track's patience in frames."""
    return {"frame_rate": max(1, round(frames_per_s))} if kind == "bytetrack" else {}


def _refuse_own_input(videos: pd.DataFrame, out: Path) -> None:
    """A drawn video that would replace one of the videos to look at."""
    names = [f"detected_{row.video}.{'jpg' if row.kind == 'image' else 'mp4'}" for row in videos.itertuples()]
    targets = {(out / name).resolve() for name in names}
    for path in videos["path"]:
        if Path(path).resolve() in targets:
            raise DataError(f"--out {out}: would replace the input {path}. Hint: choose another folder.")
