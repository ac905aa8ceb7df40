"""How large a job is, and which past jobs it compares with. Not here: what a size costs (estimate.py).

A size is an amount that the job's seconds grow with (frames, iterations × batch, scaled by the area of the input), and
names of groups, the closest first: jobs of one group may be compared. A rule that is not listed in _SIZES has no amount:
its jobs are compared with each other as they are. An amount that cannot be known yet makes the job unknown, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.config.base import VipersightError
from lib.config.study import Study, size_class
from lib.config.world import WorldSource
from lib.files import DataError, read_json
from lib.pricing.dag import Job, Plan
from lib.pricing.records import Record

INPUT_PX = 640  # an input of this side counts once


@dataclass(frozen=True)
class Size:
    """An amount (> 0, None: cannot be known) in `unit`, and the names of its groups, the closest first."""

    amount: float | None
    groups: tuple[str, ...]
    unit: str = "jobs"


@dataclass(frozen=True)
class Case:
    """What is known of a planned or a past job, by the same names."""

    wildcards: Mapping[str, str]
    settings: Mapping[str, Any]
    frames: Callable[..., float | None]  # (splits, stride, dataset) → frames
    model: Mapping[str, Any]  # of the network that it runs: engine, model, input_size; or {}
    card: Mapping[str, Any]  # of a past training
    samples: Callable[[], float | None]  # training samples of its arm


class Sizes:
    """Sizes of the jobs of one plan and of past jobs."""

    def __init__(self, plan: Plan) -> None:
        self._study, self._folder = plan.study, plan.folder
        self._manifests: dict[tuple[Path, str], Mapping[str, float] | None] = {}
        self._remade = {job.wildcards["dataset"] for job in plan.jobs if job.rule == "download"}

    def of_job(self, job: Job) -> Size:
        """The size of a planned job."""
        dataset = job.wildcards.get("dataset", "")
        source = None if dataset in self._remade else self._manifest(self._folder, dataset)

        def frames(splits: Sequence[str] | None, stride: int, chunked: bool = False) -> float | None:
            found = _recorded(source, splits, stride) if source else _drawn(self._study, dataset, splits, stride)
            return found / self._study.datasets[dataset].chunks if found and chunked else found

        case = Case(job.wildcards, job.settings, frames, self._model(job), {}, lambda: self._samples(job.wildcards, frames))
        return _size(job.rule, case)

    def of_record(self, record: Record) -> Size:
        """The size of a past job."""
        source = self._manifest(record.folder, record.wildcards.get("dataset", ""))

        def frames(splits: Sequence[str] | None, stride: int, chunked: bool = False) -> float | None:
            return _counted(record) if chunked else _recorded(source, splits, stride)

        settings = record.meta.get("settings", {})
        return _size(record.rule, Case(record.wildcards, settings, frames, _model_of(record), record.card, lambda: None))

    def _manifest(self, folder: Path, dataset: str) -> Mapping[str, float] | None:
        if (folder, dataset) not in self._manifests:
            self._manifests[folder, dataset] = _manifest(folder, dataset)
        return self._manifests[folder, dataset]

    def _model(self, job: Job) -> Mapping[str, Any]:
        """The network that a planned job runs, as the card of its model will say."""
        study, rule = self._study, job.rule
        if rule == "detect":
            name = job.settings["detector"].get("weights")
            if name is None:
                return {}
            variant = study.weights[name].variant
            imgsz = job.settings["detector"]["imgsz"]
            known = _network(study, variant) if variant else {"engine": "file", "model": name}
            return known | ({"input_size": imgsz} if imgsz else {})  # 0 = as the model was trained
        return _network(study, job.wildcards["variant"]) if rule == "predict" else {}

    def _samples(self, wildcards: Mapping[str, str], frames: Callable[..., float | None]) -> float | None:
        """Training samples of a variant's arm: as drawn, else all of its split, which is an upper bound."""
        arm = self._study.variants[wildcards["variant"]].arm
        if arm is None:
            return None
        drawn = self._folder / f"results/subsets/{wildcards['dataset']}/{arm}/seed={wildcards['seed']}.counts.json"
        entry = self._study.arms[arm]
        if drawn.is_file() and wildcards["dataset"] not in self._remade:
            try:
                return float(read_json(drawn)["frames"])
            except (DataError, KeyError, TypeError):
                pass
        shardset = self._study.shardsets[entry.shardset]
        if shardset.kind == "clips":
            return _drawn_clips(self._study, wildcards["dataset"], entry.split)
        return frames([entry.split], shardset.stride)


def _size(rule: str, case: Case) -> Size:
    if rule not in _SIZES:
        return Size(1.0, (rule,))
    try:
        return _SIZES[rule](case)
    except (KeyError, TypeError, ValueError):  # settings of another version, or none
        return Size(None, (rule,))


def _network(study: Study, variant: str) -> dict[str, Any]:
    """Engine, model and input size of a variant, as the card of a training says them."""
    entry, training = study.variants[variant], study.training_of(variant)
    side = getattr(training, "imgsz", INPUT_PX)
    if entry.kind == "floor" and entry.floor != "untrained":
        return {"engine": "floor", "model": entry.floor, "input_size": side}
    if entry.kind == "ensemble":
        return {"engine": "none", "model": "ensemble", "input_size": side}
    if entry.kind == "pretrained":
        return {"engine": "none", "model": entry.weights, "input_size": side}
    return {"engine": "network", "model": training.title or entry.task, "input_size": side}


def _model_of(record: Record) -> Mapping[str, Any]:
    """The network that a past job ran, from the card that it read."""
    files = record.meta.get("input_files", {})
    given = files.get("model") or files.get("weights")
    path = record.folder / given if isinstance(given, str) else None
    try:
        card = read_json(path) if path is not None and path.is_file() else {}
    except (OSError, DataError):
        card = {}
    detector = record.meta.get("settings", {}).get("detector", {})
    named = {"model": detector["weights"]} if "weights" in detector else {}
    if card.get("format") == "ensemble":
        card = card | {"model": "ensemble"}  # of how many models it is, is no matter of merging
    return {**named, **card, "input_size": detector.get("imgsz") or card.get("input_size", INPUT_PX)}


def _area(side: Any) -> float:
    return (float(side) / INPUT_PX) ** 2


def _class(model: str) -> str:
    """Size class of a model by its name; the name itself where that says nothing."""
    return size_class(model) or model


def _times(amount: float | None, factor: float) -> float | None:
    return amount * factor if amount else None


def _train(case: Case) -> Size:
    settings, training = case.settings, case.settings["training"]
    kind = settings["floor"] or settings["kind"]
    if kind != "model":
        return Size(1.0, (f"train {settings['task']} {kind}",))
    batch, side = training["batch"] * training.get("accumulate", 1), training.get("imgsz", INPUT_PX)
    budget = training["budget"]
    steps = case.card.get("iterations") or budget.get("iterations") or budget.get("steps")
    if not steps:
        samples = case.samples()
        steps = budget["epochs"] * math.ceil(samples / batch) if samples else None
    model = str(training.get("model", ""))
    shape = [settings["task"], model, f"{side} px", f"batch {batch}", f"{training.get('devices', 1)} devices"]
    groups = (f"train {' '.join(shape)}", f"train {settings['task']} {_class(model)}")
    return Size(_times(steps, batch * _area(side)), groups, f"images of {INPUT_PX} px")


def _detect(case: Case) -> Size:
    detector = case.settings["detector"]
    frames = case.frames(detector.get("splits"), detector["stride"], chunked=True)
    if "weights" not in detector:
        return Size(frames, (f"detect {detector['kind']}",), "frames")
    model = str(case.model["model"])
    side = detector["imgsz"] or case.model.get("input_size", INPUT_PX)
    groups = (f"detect {model} {side} px", f"detect {_class(model)}")
    return Size(_times(frames, _area(side)), groups, f"frames of {INPUT_PX} px")


def _predict(case: Case) -> Size:
    frames = case.frames(case.settings["predict"]["splits"], case.settings["predict"].get("stride", 1))
    model, task = str(case.model["model"]), case.settings["task"]
    if case.model["engine"] == "floor":
        return Size(frames, (f"predict {task} {model}",), "frames")
    side = case.model["input_size"]
    work = sum(float(view.get("scale", 1.0)) ** 2 for view in case.settings["tta"]["views"]) * _area(side)
    groups = (f"predict {task} {model} {side} px", f"predict {task} {_class(model)}")
    return Size(_times(frames, work), groups, f"frames of {INPUT_PX} px")


def _track(case: Case) -> Size:
    kind = case.settings["tracker"]["kind"]
    frames = case.frames(None, case.settings["stride"], chunked=True)
    return Size(frames, (f"track {kind} {case.settings['tracker'].get('cmc', '')}".strip(), f"track {kind}"), "frames")


def _embed(case: Case) -> Size:
    entry = case.settings["featureset"]
    names = [entry["kind"], entry.get("model") or entry.get("appearance", {}).get("model")]
    frames = case.frames(entry.get("splits"), 1, chunked=True)
    return Size(frames, (f"embed {' '.join(filter(None, names))}", f"embed {entry['kind']}"), "frames")


def _download(case: Case) -> Size:
    source = case.settings["source"]
    if source["format"] != "world":
        return Size(case.frames(None, 1), (f"download {source['format']}",), "frames")
    seconds = sum(source["videos"].values()) * sum(source["seconds"]) / 2
    pixels = seconds * source["fps"] * source["size"][0] * source["size"][1]
    return Size(pixels / 1e6, ("download world",), "megapixels")


def _shard(case: Case) -> Size:
    entry = case.settings["shardset"]
    if entry.get("kind") == "clips":
        return Size(case.frames(entry["splits"], 1), ("shard clips",), "frames")
    with_tracks = " with tracks" if entry["tracks"] else ""
    return Size(case.frames(entry["splits"], entry["stride"]), (f"shard{with_tracks}", "shard"), "frames")


def _export(case: Case) -> Size:
    settings = case.settings
    frames = case.frames(settings["splits"], settings["stride"])
    videos = settings["export"]["videos"]
    drawn = "all" if videos is None else f"{videos} videos"
    return Size(frames, (f"export {drawn}",), "frames")


def _evaluate(case: Case) -> Size:
    frames = case.frames(case.settings["splits"], case.settings.get("stride", 1))
    return Size(frames, (f"evaluate {case.settings['task']}",), "frames")


def _evaluate_tracks(case: Case) -> Size:
    return Size(case.frames(None, case.settings["stride"]), ("evaluate_tracks",), "frames")


_SIZES: dict[str, Callable[[Case], Size]] = {
    "download": _download,
    "detect": _detect,
    "track": _track,
    "embed": _embed,
    "shard": _shard,
    "shard_clips": _shard,
    "train": _train,
    "predict": _predict,
    "export_predictions": _export,
    "export_tracks": _export,
    "evaluate": _evaluate,
    "evaluate_tracks": _evaluate_tracks,
}


def _drawn(study: Study, dataset: str, splits: Collection[str] | None, stride: int) -> float | None:
    """Frames of a world that is not drawn yet, from its settings; None for other data, which nobody has seen."""
    source = study.datasets[dataset].source if dataset in study.datasets else None
    if not isinstance(source, WorldSource):
        return None
    videos = sum(number for split, number in source.videos.items() if splits is None or split in splits)
    return videos * max(1.0, sum(source.seconds) / 2 * source.fps / stride) or None


def _drawn_clips(study: Study, dataset: str, split: str) -> float | None:
    """Clips of a split of a world, from its settings; None for other data before its arms are drawn."""
    source = study.datasets[dataset].source if dataset in study.datasets else None
    return float(source.videos.get(split, 0)) or None if isinstance(source, WorldSource) else None


def _recorded(source: Mapping[str, float] | None, splits: Collection[str] | None, stride: int) -> float | None:
    """Frames by a manifest, {split: frames}; None where there is none."""
    if source is None:
        return None
    return sum(frames for split, frames in source.items() if splits is None or split in splits) / stride or None


def _counted(record: Record) -> float | None:
    """Frames that a past chunk looked at, by its own statistics."""
    if record.rule == "embed":
        return record.meta.get("features", {}).get("frames") or None
    first = next(iter(record.meta.get("content", {})), "")
    folder = record.folder / "results" / ("detections" if record.rule == "detect" else "tracks")
    names = [record.wildcards[key] for key in ("dataset", "detector", "tracker") if key in record.wildcards]
    path = folder.joinpath(*names) / f"{first.removesuffix('.parquet')}.stats.parquet"
    return _summed(path) if path.is_file() else None


def _summed(path: Path) -> float | None:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        return float(sum(parquet.read_table(path, columns=["frames"])["frames"].to_pylist())) or None
    except (OSError, pyarrow.ArrowException, KeyError):
        return None


def _manifest(folder: Path, dataset: str) -> Mapping[str, float] | None:
    """Frames per split of a dataset that stands; None where it does not."""
    path = folder / "results" / "videos" / dataset / "manifest.parquet"
    if not dataset or not path.is_file():
        return None
    from lib.tables import read_table

    try:
        table = read_table(path, "manifest")
    except (OSError, VipersightError):
        return None
    return {str(split): float(frames) for split, frames in table.groupby("split")["frames"].sum().items()}
