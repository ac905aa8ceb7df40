"""What tasks whose models we write have in common: from a job to our own training loop and back. Not here: any task."""

from __future__ import annotations

from typing import Any

from lib.config.train_loop import LoopSettings
from lib.history import history_frame
from lib.tables import read_table
from lib.tasks import Trained, TrainJob


def train(job: TrainJob, settings: LoopSettings, parts: Any, *, card: dict[str, Any]) -> Trained | None:
    """Train and card the model; None in all processes of a training but the first.

    parts: lib/training/run.Parts. card: what the task says of its model: task, model, class_names, input_size.
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
