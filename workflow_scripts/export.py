"""Write what people and other tools look at: annotated videos and one COCO-results JSON per video.

python -m workflow_scripts.export predictions|tracks --settings JSON --manifest results/videos/D/manifest.parquet \
    --classes results/videos/D/classes.json --boxes FILE … --output results/exports/…/index.json
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lib import provenance
from lib.config.export import ExportSettings
from lib.files import read_json, write_json
from lib.inference.export import export_videos
from lib.tables import read_table
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("kind", choices=["predictions", "tracks"])
    _program.add_settings(arguments)
    arguments.add_argument("--manifest", type=Path, required=True)
    arguments.add_argument("--classes", type=Path, required=True)
    arguments.add_argument("--boxes", type=Path, nargs="+", required=True, help="predictions, or tracks of all chunks")
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    settings = ExportSettings.model_validate(given.settings["export"])
    table = given.settings["table"] if given.kind == "predictions" else "tracks"
    rows = pd.concat([read_table(path, table) for path in given.boxes], ignore_index=True)
    manifest = read_table(given.manifest, "manifest")
    videos = manifest[manifest["split"].isin(given.settings["splits"])] if given.settings["splits"] else manifest
    videos = videos[videos["kind"] != "none"].reset_index(drop=True)
    classes = read_json(given.classes)["classes"]
    strangers = [name for name in dict.fromkeys(rows["class"]) if name not in classes]  # a detector's own classes
    origin = {"file": str(given.boxes[0].parent), "identity": provenance.identity_of(given.boxes[0])}
    index = export_videos(
        videos,
        rows[rows["video"].isin(videos["video"])],
        settings,
        given.output.parent,
        classes=[*classes, *sorted(strangers)],
        model=origin,
        stride=given.settings["stride"],
    )
    write_json(given.output, index)
    provenance.record(
        [given.output],
        stage="export",
        settings=given.settings,
        inputs={"manifest": given.manifest, "boxes": given.boxes},
    )


if __name__ == "__main__":
    _program.run(main)
