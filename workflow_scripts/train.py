"""Train one variant with one seed; fit a floor or card pretrained weights, which go the same way.

python -m workflow_scripts.train --settings JSON --seed 0 --subset results/subsets/D/ARM/seed=0.parquet \
    --shards results/shards/D/SHARDSET/manifest.json [--weights results/weights/W/weights.json] \
    [--model-size S] --output results/train/D/VARIANT/seed=0/model.json

By hand, --settings may be a YAML file with `task` and `training` alone, and --data DIR, a folder in RF-DETR's own layout,
stand in place of --subset and --shards.

A killed training goes on from `state/` beside the output when settings and data are the same; every try is kept in
`attempts/`. A training whose loss is no number ends well with that status: it is a result. On SIGTERM, on SIGUSR1 and when
--time-budget is used up (in a scheduler's job: --runtime) it leaves with code 75. Started again, our own loop goes on at
the exact step, a YOLO after its last finished round. While a training lives, `owner.json` beside the output names it; a
second one for the same folder leaves at once with code 69 and touches nothing. With `running.launcher` torchrun, accelerate
or srun, that launcher starts this program once for every rank.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib import provenance
from lib.config.base import ConfigError, identity, nearest
from lib.config.jobs import RECIPES
from lib.config.running import Running
from lib.config.tasks import TASKS
from lib.data.coco_layout import annotation_files
from lib.files import atomic, sha256_file, write_json, write_link, write_text
from lib.runs import attempts, finished, ownership, running
from lib.tasks import Trained, TrainJob, task
from workflow_scripts import _program

SUFFIXES = {"ultralytics": ".pt", "onnx": ".onnx", "rfdetr": ".pth", "floor": ".json", "safetensors": ".safetensors",
            "ensemble": ".json"}  # fmt: skip


def main() -> None:
    given = _arguments().parse_args()

    if "recipe" not in given.settings:
        given.settings = by_hand(given.settings)
    if given.model_size:
        given.settings = of_size(given.settings, given.model_size)
    folder = given.output.parent
    files = {role: getattr(given, role) for role in ("subset", "shards", "weights")}
    inputs: dict[str, Any] = {role: path for role, path in files.items() if path is not None}
    inputs |= {"members": given.members} if given.members else {}
    if given.data is not None:
        inputs |= {"data": annotation_files(given.data)}  # by content; of the images, by their names in it
    sources = provenance.identities(inputs)
    fingerprint = provenance.identity("train", given.settings["recipe"], given.settings | {"seed": given.seed}, sources)
    job = TrainJob(
        settings=given.settings,
        seed=given.seed,
        subset=given.subset,
        shards=given.shards,
        weights=given.weights,
        members=tuple(given.members),
        data=given.data,
        folder=folder,
        threads=given.threads,
        time_budget_s=given.time_budget or scheduled(given.runtime),
        fingerprint=fingerprint,
        on_progress=lambda **facts: None,
    )
    make = task(given.settings["task"]).train
    if not Running.of_this_run().is_first():
        if not finished.stands(folder, fingerprint):
            make(job)  # a further rank of a training: the first one keeps records and results
        return
    with ownership.own(folder, fingerprint) as held:
        if finished.stands(folder, fingerprint):
            finished.restore(folder)
            print(f"{folder}: another run finished this very training meanwhile; its results are taken.", file=sys.stderr)
            return
        finished.forget(folder)
        with attempts.attempt(folder, fingerprint, given.attempt) as attempt:
            held.keep(attempt=attempt.facts["attempt"])
            attempt.keep(of=provenance.origin("train", given.settings | {"seed": given.seed}, inputs))
            trained = make(replace(job, on_progress=attempt.keep))
            keep_results(trained, folder)
        cost = attempts.attempts_so_far(folder, fingerprint)
        weights, history = folder / "model.weights", folder / "history.csv"
        own = {"sha256": sha256_file(weights), "seed": given.seed, "fingerprint": fingerprint}
        write_json(given.output, trained.card | cost | own)
        settings = given.settings | {"seed": given.seed}
        outputs = [weights, given.output, history]
        provenance.record(outputs, stage="train", settings=settings, inputs=inputs, extra=cost)
        if os.environ.get(running.TOKEN):  # by hand, nobody deletes them
            finished.keep([*outputs, provenance.meta_path(weights)])
        shutil.rmtree(folder / "state", ignore_errors=True)  # only now: until all results stand, a kill goes on from it


def _arguments() -> argparse.ArgumentParser:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--seed", type=int, required=True)
    arguments.add_argument(
        "--model-size",
        metavar="S",
        help="another size than the settings say: nano, small, … (YOLO: n, s, …); it is recorded",
    )
    arguments.add_argument("--subset", type=Path, nargs="?", help="frames of the arm")
    arguments.add_argument("--shards", type=Path, nargs="?", help="manifest of the shards that hold them")
    arguments.add_argument(
        "--weights", type=Path, nargs="?", help="card of the weights to start from (or to take as they are)"
    )
    arguments.add_argument("--members", type=Path, nargs="*", default=[], help="cards of the members of an ensemble")
    arguments.add_argument(
        "--data", type=Path, help="in place of both: a folder in RF-DETR's layout (train, valid), read where it lies"
    )
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument(
        "--time-budget", type=minutes, default=None, help="minutes after which a training leaves early, its state saved"
    )
    arguments.add_argument(
        "--runtime", type=minutes, default=None, help="minutes of this job; obeyed inside a scheduler's job, which ends it"
    )
    arguments.add_argument("--attempt", type=int, default=1, help="number of this try within one run of the workflow")
    arguments.add_argument("--output", type=Path, required=True)
    return arguments


def by_hand(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as a person writes them, `task` and `training` alone, with all that a rule would add."""
    missing = [key for key in ("task", "training") if key not in settings]
    if missing:
        raise ConfigError(f"--settings: {missing[0]} is missing. Hint: {{task: segmentation, training: {{model: nano}}}}")
    if settings["task"] not in TASKS:
        raise ConfigError(f"--settings: task {settings['task']!r} is unknown. {nearest(str(settings['task']), TASKS)}")
    values = {"kind": "model", "floor": None, "weights": None, "recipe": RECIPES["train"]} | settings
    training = TASKS[values["task"]].settings_of(values["training"]).model_validate(values["training"])
    return values | {"training": identity(training.resolved())}


def of_size(settings: dict[str, Any], size: str) -> dict[str, Any]:
    """Settings of a job with another size of the model. ConfigError: nothing is trained, or there is no such size."""
    if settings["kind"] != "model":
        raise ConfigError(f"--model-size {size}: a {settings['floor'] or settings['kind']} variant trains no model.")
    training = TASKS[settings["task"]].settings_of(settings["training"]).model_validate(settings["training"])
    return settings | {"training": identity(training.of_size(size))}


def scheduled(runtime_s: float | None) -> float | None:
    """Seconds that a scheduler leaves to this training; None where there is none."""
    from lib.training.preemption import scheduled_budget

    return None if runtime_s is None else scheduled_budget(runtime_s, os.environ, time.time())


def minutes(text: str) -> float:
    """Minutes above 0 as seconds, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of minutes above 0, got {text!r}")
    return 60 * value


def keep_results(trained: Trained, folder: Path) -> None:
    """Copy the weights and the history to their names; a link with the library's own suffix stands beside the weights."""
    weights = folder / "model.weights"
    with atomic(weights) as temporary:
        shutil.copyfile(trained.weights, temporary)
    link = folder / f"model{SUFFIXES[trained.card['format']]}"
    if link.name != "model.json":
        write_link(link, weights.name)
    write_text(folder / "history.csv", trained.history.to_csv(index=False))


if __name__ == "__main__":
    _program.run(main)
