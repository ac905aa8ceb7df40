"""Entries of runs that this project did not make: registry.json of an older experiment manager, output folders of RF-DETR.

Such a registry is a mapping (or list) of experiments, perhaps below the key `experiments`; what it calls its facts differs
from one version to the next, so that several words are known for each, and what is not known is kept in `other`. Where a
run's folder is still there, its metrics.csv (RF-DETR since 1.6) or log.txt (before) says how good it was. Read-only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.files import DataError, read_json
from lib.registry.entry import REGISTRY, RFDETR, Entry, number, rfdetr_size
from lib.registry.epochs import Row, best_of, from_rfdetr
from lib.runs.rfdetr_metrics import FILES
from lib.status.states import COMPLETED, FAILED, STATES, UNKNOWN

CONFIG = "training_config.json"
_ENDED = ("checkpoint_best_total.pth", "results.json")
"""What RF-DETR writes when a training has come to its end."""
_WORDS = {
    "id": ("id", "experiment_id", "run_id"),
    "name": ("name", "experiment_name"),
    "description": ("description",),
    "size": ("model_size", "size"),
    "hyperparameters": ("hyperparameters", "hyperparams", "config", "training"),
    "job": ("slurm_job_id", "job_id", "job_ids", "slurm_job_ids"),
    "status": ("status", "state"),
    "output": ("output_dir", "output_directory", "output", "checkpoint_dir"),
    "log": ("log_path", "log_file", "slurm_log", "log"),
    "best": ("best_metrics", "metrics", "best", "results"),
    "started": ("submitted_at", "created_at", "created", "started_at", "timestamp", "submitted"),
    "finished": ("completed_at", "finished_at", "ended_at"),
}
_SCORES = {
    "mask_mAP": ("mask_map", "segm_map", "mask_ap", "map_mask", "segm_map_50_95", "mask_map_50_95"),
    "mask_mAP50": ("mask_map50", "mask_map_50", "segm_map_50", "mask_ap50"),
    "box_mAP": ("bbox_map", "box_map", "bbox_ap", "map_bbox", "map", "map_50_95", "bbox_map_50_95"),
    "box_mAP50": ("bbox_map50", "bbox_map_50", "box_map50", "map_50", "bbox_ap50"),
    "epoch": ("best_epoch", "epoch"),
    "source": ("source", "best_source"),
}
_ENDINGS = {"cancelled": FAILED, "timeout": FAILED, "out_of_memory": FAILED, "node_fail": FAILED, "pending": "submitted"}
_ENDINGS |= {"finished": COMPLETED, "done": COMPLETED}


def read_older_registry(path: Path, values: Any) -> list[Entry]:
    """The experiments of a registry.json of another tool. DataError when it holds none that can be told."""
    listed = values.get("experiments", values) if isinstance(values, dict) else values
    pairs = list(listed.items()) if isinstance(listed, dict) else [("", one) for one in listed or ()]
    if any(not isinstance(one, dict) for _, one in pairs) or not isinstance(listed, dict | list):
        raise DataError(f"{path}: is no registry of experiments: a mapping of id → facts, or a list of facts, is expected.")
    return [_registered(path, name, facts) for name, facts in pairs]


def _registered(path: Path, key: str, facts: Mapping[str, Any]) -> Entry:
    told = {name: next((facts[word] for word in words if word in facts), None) for name, words in _WORDS.items()}
    strange = {word: value for word, value in facts.items() if not any(word in words for words in _WORDS.values())}
    snapshot = told["hyperparameters"] if isinstance(told["hyperparameters"], dict) else {}
    settings = _settings(snapshot)
    folder = _place(path, told["output"])
    status, why = (COMPLETED, "") if folder and _ended(folder) else _status(told["status"])
    rows, trouble = _rows(folder)
    best = best_of(rows) or _best(told["best"])
    jobs = told["job"] if isinstance(told["job"], list) else [told["job"]]
    name = str(told["name"] or told["id"] or key)
    return Entry(
        id=str(told["id"] or key or name),
        name=name,
        description=str(told["description"] or ""),
        origin=REGISTRY,
        task="detection" if best and "mask_mAP" not in best else "segmentation",
        model=f"rfdetr-seg-{told['size']}" if told["size"] else None,
        size=told["size"],
        dataset=_dataset(facts, snapshot),
        seed=settings.get("seed") if isinstance(settings.get("seed"), int) else None,
        hyperparameters=settings,
        **_batches(settings),
        status=status,
        why=why or (trouble if not best else ""),
        best=best,
        jobs=tuple(str(job) for job in jobs if job),
        started=_text(told["started"]),
        finished=_text(told["finished"]),
        output=str(folder) if folder else _text(told["output"]),
        log=_text(told["log"]),
        other=strange,
    )


def read_run_folder(folder: Path) -> Entry:
    """One output folder of RF-DETR, of either form. It need not hold a score yet."""
    rows, trouble = _rows(folder)
    config = _config(folder)
    settings = config.get("train_config") if isinstance(config.get("train_config"), dict) else {}
    known = rfdetr_size(str(config.get("model_config_type", "")))
    task = known[0] if known else "segmentation" if any("mask_mAP" in row for row in rows) else "detection"
    ended = _ended(folder)
    return Entry(
        id=folder.name,
        name=folder.name,
        origin=RFDETR,
        task=task,
        model=f"rfdetr-{'seg-' if task == 'segmentation' else ''}{known[1]}" if known else None,
        size=known[1] if known else None,
        dataset=Path(str(settings["dataset_dir"])).name if settings.get("dataset_dir") else None,
        seed=settings.get("seed") if isinstance(settings.get("seed"), int) else None,
        hyperparameters=settings,
        **_batches(settings),
        status=COMPLETED if ended else UNKNOWN,
        why=trouble or ("" if ended else "nothing in its folder says that it has ended"),
        best=best_of(rows),
        output=str(folder.absolute()),
    )


def _ended(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _ENDED)


def is_run_folder(folder: Path) -> bool:
    """Whether RF-DETR wrote its metrics or settings here."""
    return any((folder / name).is_file() for name in (*FILES, CONFIG))


def run_folders(folder: Path) -> Iterator[Path]:
    """The run itself, or the runs that lie directly in a folder of runs, by name."""
    if is_run_folder(folder):
        yield folder
        return
    yield from sorted(one for one in folder.iterdir() if one.is_dir() and is_run_folder(one))


def _rows(folder: Path | None) -> tuple[list[Row], str]:
    """The epochs of a folder, and why there are none."""
    if folder is None:
        return [], "its folder is gone"
    try:
        return from_rfdetr(folder), ""
    except (DataError, OSError) as error:
        return [], str(error).split(" Hint:")[0]


def _config(folder: Path) -> Mapping[str, Any]:
    with suppress(DataError, OSError):
        found = read_json(folder / CONFIG)
        return found if isinstance(found, dict) else {}
    return {}


def _settings(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters in one level: blocks of an experiment file (`training:`, `checkpoints:`) are laid together."""
    inner = {key: value for one in snapshot.values() if isinstance(one, dict) for key, value in one.items()}
    outer = {key: value for key, value in snapshot.items() if not isinstance(value, dict)}
    strange = ("name", "description", "dataset_dir", "model_size", "tensorboard", "wandb")
    return {key: value for key, value in {**inner, **outer}.items() if key not in strange}


def _dataset(*places: Mapping[str, Any]) -> str | None:
    for place in places:
        for one in (place, place.get("data")):
            if isinstance(one, dict) and one.get("dataset_dir"):
                return Path(str(one["dataset_dir"])).name
    return None


def _batches(settings: Mapping[str, Any]) -> dict[str, int]:
    batch = settings.get("batch_size")
    if not isinstance(batch, int):
        return {}
    return {"micro_batch": batch, "batch": batch * int(settings.get("grad_accum_steps") or 1)}


def _place(registry: Path, output: Any) -> Path | None:
    """The folder of a run, as written, or relative to the project of its registry; None where it is not there."""
    if not output:
        return None
    beside = registry.absolute().parent
    places = [Path(str(output)), beside.parent / str(output), beside / str(output)]
    return next((place.absolute() for place in places if place.is_dir()), None)


def _status(told: Any) -> tuple[str, str]:
    """What a registry says of a run, in our words; what is not a word of either is unknown, and said."""
    word = str(told or "").lower()
    if word in STATES:
        return word, "" if word in (COMPLETED, FAILED) else "so its registry says; nobody can be asked"
    if word in _ENDINGS:
        return _ENDINGS[word], "" if _ENDINGS[word] == COMPLETED else word
    return UNKNOWN, f"its registry says {told!r}" if told else "its registry says nothing of it"


def _best(told: Any) -> dict[str, Any]:
    """Scores as a registry noted them."""
    if not isinstance(told, dict):
        return {}
    words = {str(key).lower(): value for key, value in told.items()}
    found = {name: next((words[word] for word in known if word in words), None) for name, known in _SCORES.items()}
    known = {name: value for name, value in found.items() if number(value) is not None or (name == "source" and value)}
    return known if any(name.endswith("mAP") for name in known) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
