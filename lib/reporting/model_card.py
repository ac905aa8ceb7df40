"""The model card of an exported model, as Markdown for hubs and people, made from what its training left behind. Not here:
the export itself (lib/models/yolo_export.py).

Every line is read from a file of the results folder: model.json and meta.json of the training, the counts of its arm, the
scores of every evaluation. What is not known is said to be unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import yaml

from lib.files import read_json

METRICS = ("AP", "AP50", "AP75", "AR", "best_F1")
_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
_UNKNOWN = "unknown"


def model_card(weights: Path, card: dict[str, Any], file: Path, *, difference: float | None) -> str:
    """The card's text. weights: the model that was converted; with a meta.json beside it, its whole lineage is told.

    card: its model.json. file: the written file. difference: of the two networks' outputs, None = a plain copy.
    """
    meta_file = weights.parent / "meta.json"
    meta = read_json(meta_file) if meta_file.is_file() else {}
    trained = meta.get("stage") == "train"
    place = _place(weights) if trained else None
    values: dict[str, Any] = {
        "licence": "agpl-3.0",
        "library": "ultralytics",
        "title": f"{place['variant']} on {place['dataset']}" if place else weights.stem,
        "summary": _summary(card, place),
        "facts": _facts(card, file, difference),
        "usage": f"python -m workflow_scripts.predict --model {file.name} --video VIDEO.mp4 --out found",
        "input_size": card.get("input_size", _UNKNOWN),
        "file": file.name,
        "trained": trained,
        "limits": ["Training data, scores and settings are not known here: this file came without its lineage."],
    }
    if place:
        values |= _told_by_results(place, card, meta)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(values).rstrip() + "\n"


def _place(weights: Path) -> dict[str, Any]:
    """Where a trained model lies: results, dataset, variant, seed."""
    folder = weights.resolve().parent
    return {
        "results": folder.parents[3],
        "dataset": folder.parents[1].name,
        "variant": folder.parent.name,
        "seed": folder.name.removeprefix("seed="),
    }


def _summary(card: dict[str, Any], place: dict[str, Any] | None) -> str:
    classes = ", ".join(_cell(name) for name in card["class_names"][:12])
    more = f" and {len(card['class_names']) - 12} more" if len(card["class_names"]) > 12 else ""
    origin = f" Trained by Vipersight with seed {place['seed']}." if place else ""
    return f"A detector of {len(card['class_names'])} classes: {classes}{more}.{origin}"


def _facts(card: dict[str, Any], file: Path, difference: float | None) -> list[tuple[str, str]]:
    from lib.files import sha256_file

    facts = [
        ("architecture", str(card.get("model", _UNKNOWN))),
        ("parameters", f"{card['parameters']:,}" if card.get("parameters") else _UNKNOWN),
        ("input size", f"{card.get('input_size', _UNKNOWN)} px"),
        ("file", f"`{file.name}`, sha256 `{sha256_file(file)}`"),
        ("made from", f"{card['format']} file, sha256 `{card.get('sha256', _UNKNOWN)}`"),
    ]
    if card.get("cudnn") is False:
        pieces = f"in pieces of {card['micro_batch']} of a batch of {card['effective_batch']}"
        facts.append(("trained without cuDNN", f"{pieces}; batch norm saw the pieces"))
    if difference is not None:
        facts.append(("largest difference to it", f"{difference:.2g} (raw outputs: boxes in px, scores)"))
    return facts


def _told_by_results(place: dict[str, Any], card: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """All that the results folder knows of a training."""
    settings = meta["settings"]
    scores, per_class = _scores(place)
    return {
        "data_text": _data_text(place, card),
        "arm_rows": _arm_rows(place, meta),
        "metric_names": METRICS,
        "scores": scores,
        "per_class": per_class,
        "limits": _limits(place, card, scores),
        "lineage": _lineage(card, meta),
        "training": yaml.safe_dump(settings.get("training", {}), sort_keys=True, allow_unicode=True).rstrip(),
    }


def _data_text(place: dict[str, Any], card: dict[str, Any]) -> str:
    dataset = _study_entry(place, "datasets", place["dataset"])
    words = [f"`{place['dataset']}`"]
    words += [_cell(str(dataset["description"]))] if dataset.get("description") else []
    words += [f"Licence of the data: {_cell(str(dataset['licence']))}."] if dataset.get("licence") else []
    return ". ".join(word.rstrip(".") for word in words) + f". {len(card.get('train_videos', []))} training videos."


def _study_entry(place: dict[str, Any], table: str, name: str) -> dict[str, Any]:
    """An entry of the study that ran last in the results folder; empty when that study does not know it."""
    file = place["results"] / "run_config.yaml"
    study = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return (study.get(table) or {}).get(name) or {}


def _arm_rows(place: dict[str, Any], meta: dict[str, Any]) -> list[dict[str, Any]]:
    """Frames and instances per class of the arm: found by the identity of the subset that the training was made from."""
    wanted = meta.get("inputs", {}).get("subset")
    folder = place["results"] / "subsets" / place["dataset"]
    for file in sorted(folder.glob(f"*/seed={place['seed']}.meta.json")):
        if read_json(file)["identity"] == wanted:
            counts = read_json(file.with_name(f"seed={place['seed']}.counts.json"))
            return [
                {
                    "name": _cell(name),
                    "frames": found["frames"],
                    "instances": found["instances"],
                    "share": f"{found['fraction']:.0%}",
                }
                for name, found in counts["classes"].items()
            ]
    return []


def _scores(place: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every evaluation of this model, plain views first, and the classes of the first."""
    folder = place["results"] / "metrics"
    files = sorted(
        (
            file
            for file in folder.glob(f"*/{place['variant']}/seed={place['seed']}/tta=*.json")
            if ".meta." not in file.name
        ),
        key=lambda file: (file.parents[2].name != place["dataset"], file.stem != "tta=none", str(file)),
    )
    rows, classes = [], []
    for file in files:
        found = read_json(file)
        videos = found["counts"]["n_videos"]
        rows.append(
            {
                "dataset": f"{file.parents[2].name} ({videos} test videos)",
                "views": file.stem.removeprefix("tta="),
                "figures": [_number(found["metrics"].get(name)) for name in METRICS],
            }
        )
        if not classes:
            classes = [
                {"name": _cell(name), "figures": [_number(values.get(metric)) for metric in METRICS]}
                for name, values in found["per_class"].items()
            ]
    return rows + [_floor_row(file) for file in _floors(files)], classes


def _floors(files: list[Path]) -> list[Path]:
    """The same evaluations of the floors: what is to be had without looking."""
    found = []
    for file in files:
        results = file.parents[4]
        for other in sorted(file.parents[2].glob(f"*/seed=*/{file.name}")):
            variant, seed = other.parents[1].name, other.parent.name
            card = results / "train" / file.parents[2].name / variant / seed / "model.json"
            if card.is_file() and read_json(card).get("format") == "floor":
                found.append(other)
    return found


def _floor_row(file: Path) -> dict[str, Any]:
    figures = [_number(read_json(file)["metrics"].get(name)) for name in METRICS]
    return {"dataset": f"floor: {file.parents[1].name}", "views": file.stem.removeprefix("tta="), "figures": figures}


def _limits(place: dict[str, Any], card: dict[str, Any], scores: list[dict[str, Any]]) -> list[str]:
    limits = [
        f"It knows these classes only, in pictures like those of `{place['dataset']}`; elsewhere its scores are unknown.",
        "One seed of one training: another seed gives other scores. The leaderboards give the spread and the floors.",
    ]
    if not scores:
        limits.append("It was not evaluated on test videos.")
    if str(card.get("status")) != "finished":
        limits.append(f"The training {card['status']}.")
    return limits


def _lineage(card: dict[str, Any], meta: dict[str, Any]) -> list[tuple[str, str]]:
    code = meta["code"]
    state = {True: " with uncommitted changes", False: "", None: ""}[code["dirty"]]
    packages = ", ".join(f"{name} {version}" for name, version in meta["packages"].items())
    hardware = meta["hardware"]
    machine = ", ".join(hardware.get("gpus") or [f"{hardware['cpus']} × {hardware['machine']} CPU"])
    memory = f"{card['peak_memory_mb']:.0f} MiB"
    memory += f" and {used:.0f} MiB of GPU memory" if (used := card.get("peak_gpu_memory_mb")) else ""
    inputs = "; ".join(f"{role} `{str(value)[:16]}…`" for role, value in meta["inputs"].items())
    return [
        ("identity", f"`{meta['identity']}`"),
        ("made from", inputs or "nothing"),
        ("rebuild", f"`{meta['rebuild']}`"),
        ("code", f"commit `{code['commit'] or _UNKNOWN}`{state}"),
        ("packages", packages),
        ("cost", f"{card['seconds']:.0f} s in {card['attempts']} attempt(s), {memory}, {machine}"),
        ("finished", str(meta["finished"])),
    ]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _cell(text: str) -> str:
    """Text that cannot break a table or become markup."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
    return " ".join(safe.split())
