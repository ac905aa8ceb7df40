"""Run one trained variant over the test videos of a dataset, plain or merged over test-time views.

python -m workflow_scripts.predict --settings JSON --manifest results/videos/D/manifest.parquet \
    --classes results/videos/D/classes.json --model results/train/D/VARIANT/seed=0/model.json --seed 0 \
    --output results/predictions/D/VARIANT/seed=0/tta=none.parquet
"""

from __future__ import annotations

from pathlib import Path

from lib import provenance
from lib.files import read_json
from lib.tables import read_table, write_table
from lib.tasks import PredictJob, task
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--manifest", type=Path, required=True)
    arguments.add_argument("--classes", type=Path, required=True)
    arguments.add_argument("--model", type=Path, required=True)
    arguments.add_argument("--seed", type=int, required=True)
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    card = read_json(given.model)
    job = PredictJob(
        settings=given.settings,
        seed=given.seed,
        manifest=read_table(given.manifest, "manifest"),
        classes=read_json(given.classes)["classes"],
        model=given.model.parent / "model.weights",
        card=card,
    )
    predictions = task(given.settings["task"]).predict(job)
    write_table(given.output, predictions, "detections")
    provenance.record(
        [given.output],
        stage="predict",
        settings=given.settings | {"seed": given.seed},
        inputs={"manifest": given.manifest, "model": given.model},
        extra={"status": card["status"]},
    )


if __name__ == "__main__":
    _program.run(main)
