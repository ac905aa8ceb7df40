"""What tasks whose models we write have in common: from a job to our own training loop and back, and to predictions.

Not here: any task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lib.config.base import ConfigError
from lib.config.running import Running
from lib.config.train_loop import LoopSettings
from lib.data.progress import track
from lib.data.reader import ShardReader
from lib.history import history_frame
from lib.tables import read_table
from lib.tasks import PredictJob, Trained, TrainJob


def train(job: TrainJob, settings: LoopSettings, parts: Any, *, card: dict[str, Any]) -> Trained | None:
    """Train and card the model; None in all processes of a training but the first.

    parts: lib/training/run.Parts. card: what the task says of its model: task, model and network (what `build_network`
    makes it again of), class_names, input_size.
    Raises Preempted when a signal or the time budget asked to leave; the state is saved then.
    """
    from lib.training import run
    from lib.training.preemption import StopRequest

    with StopRequest(budget_s=job.time_budget_s) as stop:
        made = run.train(
            settings,
            parts,
            state=job.folder / "state",
            fingerprint=job.fingerprint,
            seed=job.seed,
            name="/".join(job.folder.parts[-3:]),
            stop=stop,
            on_progress=job.on_progress,
        )
    if made is None:
        return None
    facts = {
        "format": "safetensors",
        "engine": "loop",
        "status": made.status,
        "iterations": made.steps,
        "epochs": round(made.epochs, 4),
        "parameters": made.parameters,
        "best": made.best,
        "resumed_from_step": made.resumed_from,
        "train_videos": sorted(read_table(job.subset, "subset")["video"].unique()) if job.subset else [],
    }
    return Trained(weights=made.weights, card=card | facts | made.facts, history=history_frame(made.history))


def predict(
    job: PredictJob,
    reader: ShardReader,
    keys: Sequence[str],
    *,
    transform: Callable[..., Any],
    collate: Callable[[list[Any]], Any],
    decode: Callable[[Any, Any], dict[str, Any]],
) -> dict[str, Any]:
    """What the trained network says of samples: key → prediction, each once.

    transform, collate: as in training (lib/data/loader.ShardLoader). decode: (outputs, batch) → {key: plain values}.
    ConfigError: no sample of the splits that are predicted; a GPU that is asked for and not there.
    """
    import torch
    from lightning_fabric.utilities import move_data_to_device

    from lib.data.loader import ShardLoader

    settings, running = job.settings["predict"], Running.of_this_run()
    refuse_nothing(job, keys)
    network, device = trained_network(job)
    loader = ShardLoader(
        reader,
        keys,
        seed=0,
        shuffle=False,
        batch=settings["batch"],
        workers=running.workers,
        transform=transform,
        collate=collate,
    )
    found: dict[str, Any] = {}
    with torch.inference_mode():
        for given in track(loader, total=len(loader), label="predicting"):
            batch = move_data_to_device(given, device)
            found |= decode(network(batch), batch)
    return found


def refuse_nothing(job: PredictJob, keys: Sequence[str]) -> None:
    """ConfigError when no sample is to be predicted."""
    if not len(keys):
        splits = job.settings["predict"]["splits"]
        raise ConfigError(f"{job.shards}: no sample of splits {splits}. Hint: see `predict.splits`.")


def trained_network(job: PredictJob) -> tuple[Any, Any]:
    """The trained network on its device, in evaluation mode, and the device. ConfigError: a GPU asked for and not there."""
    import torch

    from lib.devices import choose_device, use_cudnn
    from lib.models import build_network
    from lib.models.weights import load_weights

    running = Running.of_this_run()
    use_cudnn(running)
    device = torch.device(choose_device(running.device, 1))
    network = build_network(job.card["model"], **job.card["network"])
    load_weights(job.model, network)
    return network.to(device).eval(), device
