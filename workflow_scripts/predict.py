"""Run one model over videos: a trained variant over the test videos of a dataset, or any model over one's own files.

python -m workflow_scripts.predict --model FILE --video VIDEO … --out DIR [--tracker bytetrack] [--flip] [--threshold 0.3]
    by hand: boxes as COCO JSON and drawn into a copy of each video; FILE is a model.json, .pt or .onnx, a VIDEO is a video,
    an image or a folder of frames

python -m workflow_scripts.predict --settings JSON --manifest results/videos/D/manifest.parquet \
    --classes results/videos/D/classes.json --model results/train/D/VARIANT/seed=0/model.json --seed 0 \
    --output results/predictions/D/VARIANT/seed=0/tta=none.parquet
    as the rule does
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from lib import provenance
from lib.config.base import ConfigError, explain
from lib.config.export import ExportSettings
from lib.config.predict import PredictSettings
from lib.config.tasks import TASKS
from lib.files import read_json
from lib.tables import read_table, write_table
from lib.tasks import PredictJob, task
from workflow_scripts import _program

OF_THE_RULE = ("settings", "manifest", "classes", "seed", "output")
BY_HAND = ("video", "out")


def main() -> None:
    given = _arguments().parse_args()
    if given.video:
        _refuse(given, OF_THE_RULE, "--video")
        if given.out is None:
            raise ConfigError("--out is missing. Hint: name the folder for the JSON and the drawn videos.")
        by_hand(given)
    else:
        _refuse(given, BY_HAND, "--settings")
        missing = [name for name in OF_THE_RULE if getattr(given, name) is None]
        if missing:
            raise ConfigError(f"missing: --{', --'.join(missing)}. Hint: for your own videos, --video FILE --out FOLDER.")
        as_the_rule(given)


def _arguments() -> argparse.ArgumentParser:
    arguments = _program.parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True, help="model.json, or by hand also a .pt or .onnx file")
    own = arguments.add_argument_group("one's own files")
    own.add_argument("--video", type=Path, nargs="+", help="videos, images or folders of frames to look at")
    own.add_argument("--out", type=Path, help="folder for JSON and drawn videos")
    own.add_argument("--stride", type=int, default=1, help="every how many frames one is looked at (default: %(default)s)")
    own.add_argument("--conf", type=float, default=0.05, help="lowest score that is kept, 0..1 (default: %(default)s)")
    own.add_argument("--threshold", type=float, default=0.3, help="lowest score that is drawn, 0..1 (default: %(default)s)")
    own.add_argument(
        "--iou", type=float, default=0.7, help="boxes overlapping by more are one object (default: %(default)s)"
    )
    own.add_argument("--imgsz", type=int, help="input size in px (default: the model's own)")
    own.add_argument("--batch", type=int, default=16, help="frames per model call (default: %(default)s)")
    own.add_argument("--flip", action="store_true", help="also look at each frame mirrored, and merge")
    own.add_argument(
        "--scale", type=float, nargs="+", default=[], help="also look at these input sizes (0.8 1.2), and merge"
    )
    own.add_argument("--tracker", help="follow objects: bytetrack, ocsort, … with default settings")
    own.add_argument("--no-drawing", action="store_true", help="write JSON only")
    rule = arguments.add_argument_group("the rule's")
    rule.add_argument("--settings", type=_program.read_settings, help="the job's settings: JSON text or a JSON file")
    rule.add_argument("--manifest", type=Path)
    rule.add_argument("--classes", type=Path)
    rule.add_argument("--shards", type=Path, nargs="?", help="manifest of the shards whose samples are predicted")
    rule.add_argument("--members", type=Path, nargs="*", default=[], help="predictions that an ensemble merges")
    rule.add_argument("--seed", type=int)
    rule.add_argument("--output", type=Path)
    return arguments


def _refuse(given: argparse.Namespace, names: tuple[str, ...], beside: str) -> None:
    stray = [name for name in names if getattr(given, name) is not None]
    if stray:
        raise ConfigError(f"--{', --'.join(stray)} cannot stand beside {beside}. Hint: --help shows both ways to call it.")


def by_hand(given: argparse.Namespace) -> None:
    """Any model over one's own files: JSON and drawn copies in a folder."""
    from lib.inference.by_hand import predict_by_hand, views

    try:
        settings = PredictSettings(stride=given.stride, conf=given.conf, iou=given.iou, batch=given.batch)
        drawing = ExportSettings(
            threshold=given.threshold, json_threshold=given.conf, videos=0 if given.no_drawing else None
        )
        looks = views(given.flip, given.scale)
    except ValidationError as fault:
        raise ConfigError(f"--{explain(fault)}") from fault
    made = predict_by_hand(
        given.model,
        given.video,
        given.out,
        settings=settings,
        export=drawing,
        tta=looks,
        tracker=given.tracker,
        imgsz=given.imgsz,
    )
    for warning in made["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    for entry in made["files"]:
        for name in filter(None, (entry["json"], entry["media"])):
            print(given.out / name)
    found = ", ".join(f"{count} {name}" for name, count in made["counts"].items())
    print(f"{sum(made['counts'].values())} boxes in {len(made['files'])} file(s): {found or 'none'}")


def as_the_rule(given: argparse.Namespace) -> None:
    """One trained variant over the test videos of a dataset, plain or merged over test-time views."""
    card, kind = read_json(given.model), TASKS[given.settings["task"]].predictions
    job = PredictJob(
        settings=given.settings,
        seed=given.seed,
        manifest=read_table(given.manifest, "manifest"),
        classes=read_json(given.classes)["classes"],
        shards=given.shards,
        model=given.model.parent / "model.weights",
        card=card,
        members=tuple(read_table(path, kind) for path in given.members),
    )
    write_table(given.output, task(given.settings["task"]).predict(job), kind)
    inputs = {"manifest": given.manifest, "model": given.model, "shards": given.shards, "members": given.members}
    provenance.record(
        [given.output],
        stage="predict",
        settings=given.settings | {"seed": given.seed},
        inputs={role: file for role, file in inputs.items() if file},
        extra={"status": card["status"]},
    )


if __name__ == "__main__":
    _program.run(main)
