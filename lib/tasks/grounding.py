"""The task grounding: the window in a video that answers a query in words. Binds clips → batch → model → loss → windows →
recall.

Not here: clips and batches (grounding_batches.py), the loss (grounding_loss.py), models and floors (lib/models), windows
from outputs (lib/inference), scores (lib/metrics/grounding.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.config.predict import PredictSettings, Tta, View
from lib.config.predict_windows import WindowMerge, WindowSettings
from lib.config.running import Running
from lib.config.train_grounding import GroundingSettings
from lib.files import DataError, read_json, write_json
from lib.history import no_history
from lib.metrics import grounding as metrics
from lib.tables import WINDOWS, empty, read_table
from lib.tasks import PredictJob, Scored, ScoreJob, Trained, TrainJob, loop

if TYPE_CHECKING:
    from lib.data.clip_samples import ClipReader
    from lib.training.evaluator import Evaluator
    from lib.training.run import Parts

PLAIN = [View()]
ON_VAL = WindowSettings()
"""How windows are kept while a training is scored on val; `predict.windows` is not known then."""


def train(job: TrainJob) -> Trained | None:
    """Train, fit or gather one variant; what comes out has the same form for all of them."""
    makers: dict[str, Callable[[TrainJob], Trained | None]] = {
        "model": _train_model,
        "ensemble": _gathered,
        "prior": _fit_floor,
        "chance": _fit_floor,
        "untrained": _untrained,
    }
    kind = job.settings["floor"] or job.settings["kind"]
    if kind not in makers:
        raise DataError(f"task grounding: nothing can be made of kind {kind}. Hint: one of {', '.join(makers)}.")
    return makers[kind](job)


def _train_model(job: TrainJob) -> Trained | None:
    settings = GroundingSettings.model_validate(job.settings["training"])
    reader, keys = _clips(job)
    card = _card(job, settings, reader)
    return loop.train(job, settings, _parts(job, settings, reader, keys), card=card)


def _clips(job: TrainJob) -> tuple[ClipReader, list[str]]:
    """Reader of the shards, and the keys of the arm's clips."""
    from lib.data.clip_samples import ClipReader

    if job.subset is None or job.shards is None:
        raise DataError("a trained variant or a floor needs --subset and --shards")
    return ClipReader(job.shards), read_table(job.subset, "subset")["key"].tolist()


def _card(job: TrainJob, settings: GroundingSettings, reader: ClipReader) -> dict[str, Any]:
    from lib.tasks.grounding_batches import widths

    told = widths(reader)
    card = {"task": "grounding", "model": settings.model, "network": settings.network(**told), "widths": told}
    return card | {"max_steps": settings.max_steps, "candidates": settings.candidates.model_dump(), **_NO_PICTURES}


_NO_PICTURES: dict[str, Any] = {"class_names": []}


def _parts(job: TrainJob, settings: GroundingSettings, reader: ClipReader, keys: list[str]) -> Parts:
    from lib.data.loader import ShardLoader
    from lib.models import build_network
    from lib.tasks.grounding_batches import Looking, collated, refuse_long, widths, with_answers
    from lib.tasks.grounding_loss import GroundingLoss
    from lib.training.run import Parts

    val = reader.index[reader.index["split"] == "val"]["key"].tolist()
    if not val:
        raise DataError(f"{job.shards}: no clip of split val, which chooses the best checkpoint. Hint: add it to `splits`.")
    refuse_long(reader, [*keys, *val], settings.max_steps, str(job.shards))
    truth, keys = _truth_of(reader, val), with_answers(reader, keys)
    network = settings.network(**widths(reader))
    given = {"collate": collated, "batch": settings.batch, "workers": Running.of_this_run().workers}
    asked = {"paraphrases": settings.paraphrases, "answered": True}
    drawn = Looking(PLAIN, settings.max_steps, settings.queries_per_clip, **asked)

    def loader(ranks: int, rank: int) -> ShardLoader:
        share = {"ranks": ranks, "rank": rank, "tail": "drop" if ranks > 1 else "keep"}
        return ShardLoader(reader, keys, seed=job.seed, transform=drawn, **share, **given)

    def evaluator(ranks: int, rank: int) -> Evaluator:
        share = {"ranks": ranks, "rank": rank, "tail": "pad", "shuffle": False}
        every = Looking(PLAIN, settings.max_steps)
        return _evaluator(ShardLoader(reader, val, seed=0, transform=every, **share, **given), truth, settings)

    return Parts(
        build=lambda: build_network(settings.model, **network),
        loss=GroundingLoss(settings),
        loader=loader,
        evaluator=evaluator,
    )


def _truth_of(reader: ClipReader, keys: list[str]) -> pd.DataFrame:
    """The QUERIES table of clips. DataError where none of their queries has a window."""
    from lib.tasks.grounding_batches import queries_table

    truth = queries_table(reader.iterate(keys))
    if not truth["start_s"].notna().any():
        raise DataError(
            f"none of the {len(truth)} queries of split val has a window, by which weights are chosen. Hint: is its "
            "annotation file the unannotated one? Divide train by `splits`."
        )
    return truth


def _evaluator(loader: Any, truth: pd.DataFrame, settings: GroundingSettings) -> Evaluator:
    from lib.inference.predict_windows import decoded, gathered
    from lib.inference.windows import windows_table
    from lib.training.evaluator import Evaluator

    def decode(outputs: Any, batch: Mapping[str, Any]) -> dict[tuple[str, str], list[list[float]]]:
        found = gathered(decoded(outputs, batch, settings.candidates), 1, ON_VAL, WindowMerge())
        return {key: windows.tolist() for key, windows in found.items()}

    def score(found: dict[tuple[str, str], list[list[float]]]) -> dict[str, float]:
        table = windows_table({key: np.array(windows).reshape(-1, 3) for key, windows in found.items()})
        names = metrics.metric_names()
        means = metrics.means(metrics.per_query(truth, table), names)
        return {f"val/{name}": float(means[name] or 0.0) for name in names}

    return Evaluator(loader=loader, decode=decode, score=score)


def _untrained(job: TrainJob) -> Trained:
    """The network as it begins: the same seed gives the weights that a training starts from."""
    from lib.models import build_network
    from lib.models.weights import save_weights
    from lib.training.randomness import seed_everything

    settings = GroundingSettings.model_validate(job.settings["training"])
    reader, _ = _clips(job)
    card = _card(job, settings, reader)
    seed_everything(job.seed)
    weights = job.folder / "state" / "untrained.safetensors"
    save_weights(weights, build_network(settings.model, **card["network"]).state_dict())
    return Trained(weights=weights, card=card | _NOTHING | {"format": "safetensors"}, history=no_history())


_NOTHING: dict[str, Any] = {"status": "finished", "iterations": 0, "epochs": 0}


def _fit_floor(job: TrainJob) -> Trained:
    from lib.models import window_floors

    lengths: list[float] = []
    if job.settings["floor"] == "chance":
        reader, keys = _clips(job)
        windows = [window for sample in reader.iterate(keys) for query in sample.queries for window in query["windows"]]
        lengths = [end - start for start, end in windows]
    weights = job.folder / "state" / "floor.json"
    write_json(weights, window_floors.fit(job.settings["floor"], lengths, seed=job.seed))
    card = {"task": "grounding", "format": "floor", "engine": "floor", "model": job.settings["floor"], **_NO_PICTURES}
    return Trained(weights=weights, card=card | _NOTHING, history=no_history())


def _gathered(job: TrainJob) -> Trained:
    """An ensemble: no weights of its own, but a card that says what its members are."""
    cards = [read_json(path) for path in job.members]
    lost = [card["status"] for card in cards if card["status"] != "finished"]
    weights = job.folder / "state" / "members.json"
    write_json(weights, {"members": job.settings["members"], "sha256": [card["sha256"] for card in cards]})
    sizes = [card.get("parameters") for card in cards]
    card = {"task": "grounding", "format": "ensemble", "engine": "none", "model": f"{len(cards)} models", **_NO_PICTURES}
    card |= _NOTHING | {"status": lost[0] if lost else "finished", "members": job.settings["members"]}
    card |= {"parameters": None if None in sizes else sum(sizes)}
    card["train_videos"] = sorted({video for one in cards for video in one.get("train_videos", ())})
    return Trained(weights=weights, card=card, history=no_history())


def predict(job: PredictJob) -> pd.DataFrame:
    """WINDOWS of every query of the chosen splits; a diverged model predicts nothing."""
    if job.card["status"] != "finished":
        return empty(WINDOWS)
    settings, tta = PredictSettings.model_validate(job.settings["predict"]), Tta.model_validate(job.settings["tta"])
    if job.card["format"] == "ensemble":
        return _merged(job, settings.windows)
    from lib.data.clip_samples import ClipReader
    from lib.inference.windows import windows_table

    reader = ClipReader(job.shards)
    keys = reader.index[reader.index["split"].isin(settings.splits)]["key"].tolist()
    loop.refuse_nothing(job, keys)
    _tell_missing(job, reader, settings.splits)
    if job.card["format"] == "floor":
        from lib.models import window_floors

        floor = window_floors.load(job.model)
        found = {
            (sample.video, query): windows
            for sample in reader.iterate(keys)
            for query, windows in floor.windows(
                sample.video, [one["query"] for one in sample.queries], sample.grid.duration
            ).items()
        }
        return windows_table({key: windows[: settings.windows.keep] for key, windows in found.items()})
    return windows_table(_looked(job, reader, keys, settings, tta))


def _tell_missing(job: PredictJob, reader: ClipReader, splits: list[str]) -> None:
    """Say which videos cannot be looked at: their queries have no window, and count as missed."""
    videos = job.manifest[job.manifest["split"].isin(splits)]["video"]
    asked = set(videos) - set(reader.without_queries)
    missing = sorted(asked - set(reader.index["video"]))
    if missing:
        named = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        print(
            f"warning: {len(missing)} of {len(asked)} videos have no clip in {job.shards}, so that their queries get no "
            f"window: {named}",
            file=sys.stderr,
        )


def _looked(
    job: PredictJob, reader: ClipReader, keys: list[str], settings: PredictSettings, tta: Tta
) -> dict[tuple[str, str], np.ndarray]:
    """Windows of every query by a network, clip by clip, in parts of at most `batch` queries."""
    import torch
    from lightning_fabric.utilities import move_data_to_device

    from lib.config.train_grounding import CandidateSettings
    from lib.data.loader import ShardLoader
    from lib.data.progress import track
    from lib.inference.predict_windows import decoded, gathered
    from lib.tasks.grounding_batches import Looking, collated, refuse_other_widths, split_queries

    refuse_other_widths(reader, job.card["widths"], str(job.shards))
    network, device = loop.trained_network(job)
    how = CandidateSettings.model_validate(job.card["candidates"])
    looking = Looking(tta.views, settings.windows.slide or job.card["max_steps"])
    given = {"shuffle": False, "batch": 1, "workers": Running.of_this_run().workers}
    loader = ShardLoader(reader, keys, seed=0, transform=looking, collate=collated, **given)
    found: dict[tuple[str, str], np.ndarray] = {}
    with torch.inference_mode():
        for clip in track(loader, total=len(loader), label="predicting"):
            parts = [move_data_to_device(part, device) for part in split_queries(clip, settings.batch)]
            told = [one for part in parts for one in decoded(network(part), part, how)]
            found |= gathered(told, len(tta.views), settings.windows, tta.windows)
    return found


def _merged(job: PredictJob, settings: WindowSettings) -> pd.DataFrame:
    """The windows of an ensemble: those of its members, merged; of one member its own."""
    from lib.inference.merge_windows import merge_predictions

    merged = merge_predictions(job.members, kind=settings.merge.kind, iou=settings.merge.iou)
    return merged[merged["rank"] < settings.keep].reset_index(drop=True)


def score(job: ScoreJob) -> Scored:
    """Recall of the queries of the chosen splits, by template, evidence and length, and the units of the bootstrap.

    DataError for predictions of a video that the manifest lacks, beside those of `per_query`.
    """
    strange = sorted(set(job.predictions["video"]) - set(job.manifest["video"]))
    if strange:
        raise DataError(
            f"predictions: {len(strange)} of their videos are not in the manifest, first {strange[0]!r}. "
            "Hint: were they made of another dataset?"
        )
    videos = job.manifest[job.manifest["split"].isin(job.settings["splits"])]["video"]
    truth = job.truth["queries"]
    truth = truth[truth["video"].isin(videos)]
    predictions = job.predictions[job.predictions["video"].isin(videos)]
    scores, units = metrics.evaluate(truth, predictions, by=job.settings["evaluate"]["queries_by"])
    return Scored(scores=scores, units=units)
