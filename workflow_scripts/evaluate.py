"""Score predictions of a variant, or tracks of a detector and a tracker, against the truth.

python -m workflow_scripts.evaluate scores --settings JSON --manifest M --classes C --truth T … \
    --predictions results/predictions/D/VARIANT/seed=0/tta=none.parquet --model …/model.json --output …/tta=none.json
python -m workflow_scripts.evaluate tracks --settings JSON --manifest M --classes C --frames F --boxes B \
    --tracks CHUNK … --tracking-stats CHUNK … --detecting-stats CHUNK … --output …/tracks.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from lib import provenance
from lib.config.evaluate import EvaluateSettings
from lib.config.tasks import TASKS
from lib.files import read_json, write_json
from lib.metrics import track_counts, tracking
from lib.tables import read_table, write_units
from lib.tasks import ScoreJob, task
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    verbs = arguments.add_subparsers(required=True)
    scores = verbs.add_parser("scores", help="predictions of a variant")
    scores.add_argument("--truth", type=Path, nargs="+", required=True, help="the truth tables, named by what they hold")
    scores.add_argument("--predictions", type=Path, required=True)
    scores.add_argument("--model", type=Path, required=True)
    scores.set_defaults(verb=evaluate_scores)
    tracks = verbs.add_parser("tracks", help="tracks of a detector and a tracker")
    tracks.add_argument("--frames", type=Path, required=True)
    tracks.add_argument("--boxes", type=Path, required=True)
    tracks.add_argument("--tracks", type=Path, nargs="+", required=True)
    tracks.add_argument("--tracking-stats", type=Path, nargs="+", required=True)
    tracks.add_argument("--detecting-stats", type=Path, nargs="+", required=True)
    tracks.set_defaults(verb=evaluate_tracks)
    for verb in (scores, tracks):
        _program.add_settings(verb)
        for name in ("manifest", "classes", "output"):
            verb.add_argument(f"--{name}", type=Path, required=True)
    given = arguments.parse_args()
    given.verb(given)


def evaluate_scores(given: argparse.Namespace) -> None:
    card = read_json(given.model)
    job = ScoreJob(
        settings=given.settings,
        manifest=read_table(given.manifest, "manifest"),
        classes=read_json(given.classes)["classes"],
        truth={path.stem: read_table(path, path.stem) for path in given.truth},
        predictions=read_table(given.predictions, TASKS[given.settings["task"]].predictions),
    )
    scored = task(given.settings["task"]).score(job)
    units = given.output.with_suffix(".units.parquet")
    write_units(units, scored.units)
    write_json(given.output, {**scored.scores, "task": given.settings["task"], "status": card["status"]})
    inputs = {"manifest": given.manifest, "predictions": given.predictions}
    provenance.record([given.output, units], stage="evaluate", settings=given.settings, inputs=inputs)


def evaluate_tracks(given: argparse.Namespace) -> None:
    settings = EvaluateSettings.model_validate(given.settings["evaluate"])
    manifest = read_table(given.manifest, "manifest")
    tracks = pd.concat([read_table(path, "tracks") for path in given.tracks], ignore_index=True)
    truth = read_table(given.boxes, "boxes")
    truth = truth[(truth["track"] >= 0) | truth["ignore"]]
    frames = read_table(given.frames, "frames")
    frames = frames[frames["frame"] % given.settings["stride"] == 0]
    detecting = pd.concat([read_table(path, "detect_stats") for path in given.detecting_stats], ignore_index=True)
    following = pd.concat([read_table(path, "track_stats") for path in given.tracking_stats], ignore_index=True)

    scores = {"counts": track_counts.summary(tracks, detecting, manifest)}
    scores["frames_per_second"] = track_counts.speeds(detecting, following)
    units = track_counts.per_video(tracks, detecting)
    if (truth["track"] >= 0).any():
        limits = {"iou": settings.track_iou, "inside": settings.track_inside}
        found = tracking.evaluate(truth, tracks, frames, read_json(given.classes)["classes"], **limits)
        scores |= {"overall": found["overall"], "per_class": found["per_class"], "warnings": []}
        units = units.merge(found["units"], on="video", how="left", suffixes=("", "_labelled"))
    else:
        scores |= {"overall": None, "per_class": None, "warnings": ["no true tracks: HOTA, MOTA and IDF1 are n/a"]}
    seen = int(detecting["seen_in_training"].sum())
    if seen:
        scores["warnings"].append(f"the detector was trained on {seen} of these videos")
    units_path = given.output.with_suffix(".units.parquet")
    write_units(units_path, units)
    write_json(given.output, scores)
    inputs = {"manifest": given.manifest, "tracks": given.tracks}
    provenance.record([given.output, units_path], stage="evaluate_tracks", settings=given.settings, inputs=inputs)


if __name__ == "__main__":
    _program.run(main)
