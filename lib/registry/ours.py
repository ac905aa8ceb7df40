"""Entries of our own trainings, from what each left in its folder: meta.json, model.json, attempts/, owner.json.

A training that has ended well is told by meta.json and model.json; one that waits, runs or failed by its last attempt,
which keeps what it is of. How it stands is asked as `status` asks it; whether its settings are still those of a study only
`status` knows. Not here: the form of an entry (entry.py), runs of older tools (older.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.config.study import size_class
from lib.config.tasks import TASKS
from lib.config.train import TrainingSettings
from lib.files import DataError, read_json
from lib.registry.entry import Entry, number
from lib.registry.epochs import NAMES, best_of, from_rfdetr
from lib.status.cells import Cell
from lib.status.looking import Cluster, Records, ask_slurm, look, read_records
from lib.status.states import FINISHED, Evidence, State, state_of

Facts = Mapping[str, Any]
_SCORE_OF = {task: {name.removeprefix("val/"): ours for name, ours in names.items()} for task, names in NAMES.items()}


def our_entries(root: Path) -> list[Entry]:
    """All trainings below root/results, of whatever study, by id. root: a working directory of runs."""
    found = [(cell, read_records(root / cell.folder)) for cell in _cells(root)]
    unfinished = {str(records.job) for _, records in found if records.job and records.last.get("cause") != FINISHED}
    cluster = ask_slurm(unfinished, root) if unfinished else Cluster()
    return [_entry(root, cell, records, cluster) for cell, records in found]


def _cells(root: Path) -> Iterator[Cell]:
    for folder in sorted((root / "results/train").glob("*/*/seed=*")):
        seed = folder.name.removeprefix("seed=")
        if folder.is_dir() and seed.isdecimal():
            dataset, variant = folder.parts[-3:-1]
            yield Cell(dataset=dataset, variant=variant, seed=int(seed), task="", kind="model", size="")


def _entry(root: Path, cell: Cell, records: Records, cluster: Cluster) -> Entry:
    folder, model, last = root / cell.folder, records.model, records.last
    made = bool(model) and last.get("fingerprint") in (None, model.get("fingerprint"))
    told = _facts(folder / "meta.json") if made else _facts_of_attempt(last)
    settings, card = told.get("settings") or {}, model if made else {}
    training = settings.get("training") or {}
    same = [one for one in records.attempts if one.get("fingerprint") == last.get("fingerprint")]
    state = _state(root, cell, records, cluster)
    jobs = [str(one["job"]) for one in [*same, last] if one.get("job")]
    return Entry(
        id=cell.name,
        name=cell.variant,
        description=_description(root, cell.variant),
        kind=str(settings.get("floor") or settings.get("kind") or "model"),
        task=settings.get("task") or card.get("task"),
        model=card.get("model") or _title(settings),
        size=training.get("model") if training.get("engine") == "rfdetr" else size_class(str(training.get("model", ""))),
        dataset=cell.dataset,
        dataset_hash=(told.get("inputs") or {}).get("shards"),
        arm=_arm(told),
        seed=cell.seed,
        hyperparameters=training,
        batch=card.get("effective_batch") or _batch(training),
        micro_batch=card.get("micro_batch") or training.get("batch"),
        status=state.name,
        why=state.why or state.cause,
        best=_best(folder, settings, card, made=made),
        jobs=tuple(dict.fromkeys(jobs)),
        restarts=max(len(same) - 1, 0),
        started=same[0].get("start") if same else None,
        finished=told.get("finished") or (last.get("end") if last.get("cause") == FINISHED else None),
        wall_s=number(card.get("seconds")) or _sum(same, "seconds"),
        peak_memory_mb=_most([card, *same], "peak_memory_mb"),
        peak_gpu_memory_mb=_most([card, *same], "peak_gpu_memory_mb"),
        study=told.get("study"),
        fingerprint=model.get("fingerprint") if made else last.get("fingerprint"),
        made=made,
        git=told.get("code") or {},
        versions=told.get("packages") or {},
        output=str(folder),
        log=str(root / cell.log),
    )


def _state(root: Path, cell: Cell, records: Records, cluster: Cluster) -> State:
    """How it stands, without a study that could say what its settings are now."""
    seen: Evidence = look(cell, records, cluster, root)
    if seen.process == "gone":  # perhaps it has ended since its records were read, and has said so
        seen = look(cell, read_records(root / cell.folder), cluster, root)
    return state_of(replace(seen, wanted=None))


def _facts(path: Path) -> Facts:
    with suppress(DataError, OSError):
        found = read_json(path)
        return found if isinstance(found, dict) else {}
    return {}


def _facts_of_attempt(last: Facts) -> Facts:
    """What an attempt says it is of; {} of one that an older version made."""
    found = last.get("of")
    return found if isinstance(found, dict) else {}


def _description(root: Path, variant: str) -> str:
    return str(_facts(root / f"results/definitions/variants/{variant}.json").get("description", ""))


def _title(settings: Facts) -> str | None:
    """What a model is called on cards, before there is a card."""
    with suppress(KeyError, ValueError):
        values = settings["training"]
        return TASKS[settings["task"]].settings_of(values).model_validate(values).title
    return None


def _arm(told: Facts) -> str | None:
    """The arm by the path of its frames, results/subsets/{dataset}/{arm}/seed={seed}.parquet."""
    path = (told.get("input_files") or {}).get("subset")
    return Path(path).parent.name if isinstance(path, str) else None


def _batch(training: Facts) -> int | None:
    """Images of one optimizer step, by the settings."""
    batch = training.get("batch")
    return batch * training.get("accumulate", 1) if isinstance(batch, int) else None


def _best(folder: Path, settings: Facts, card: Facts, *, made: bool) -> dict[str, Any]:
    """Scores of the weights that were kept (of a task without mAP its own); of a training that has not ended well, the best
    that RF-DETR wrote so far.
    """
    if not made:
        with suppress(DataError):
            return best_of(from_rfdetr(folder / "state"))
        return {}
    best, names = card.get("best") or {}, _SCORE_OF.get(str(card.get("task")), {})
    found = {names.get(key, key): value for key, value in best.items() if key != "iteration"}
    training = settings.get("training")
    return found | ({"source": "ema" if _averaged(training) else "regular"} if found and training else {})


def _averaged(training: Facts) -> bool:
    """Whether an average of the weights was scored: YOLO's always is."""
    return training.get("engine") == TrainingSettings.model_fields["engine"].default or bool(training.get("ema"))


def _sum(records: Sequence[Facts], name: str) -> float | None:
    values = [value for one in records if (value := number(one.get(name))) is not None]
    return round(sum(values), 2) if values else None


def _most(records: Sequence[Facts], name: str) -> float | None:
    return max((value for one in records if (value := number(one.get(name))) is not None), default=None)
