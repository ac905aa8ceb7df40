"""Get one dataset: its files (folder, downloads, mirror or the synthetic world), then manifest, quality and truth tables.

python -m workflow_scripts.download --settings JSON --dataset world --output results/videos/world/manifest.parquet

Files already there whole are kept, so a stopped download goes on where it was. Environment: VIPERSIGHT_MIRROR, a folder
looked into before any download; VIPERSIGHT_RAW, the folder that relative roots start from.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lib import provenance
from lib.config.download import CocoSource, Dataset
from lib.config.raw import root_of, table_path
from lib.config.world import WorldSource
from lib.data.fetch import fetch, read_file_table
from lib.data.ingest import ingest
from lib.data.sources import Source, read_source
from lib.files import sha256_file, sha256_text
from lib.tables import read_table
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--dataset", required=True)
    arguments.add_argument("--output", type=Path, required=True, help="the manifest; the other tables go beside it")
    arguments.add_argument("--workers", type=int, default=4)
    given = arguments.parse_args()

    settings = dict(given.settings)
    settings.pop("recipe", None)
    dataset = Dataset.model_validate(settings)
    folder = given.output.parent
    folder.mkdir(parents=True, exist_ok=True)
    source = get_source(dataset, folder / "raw", workers=given.workers)
    summary = ingest(source, dataset, folder, workers=given.workers)
    for warning in summary.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{given.dataset}: {summary.text()}", file=sys.stderr)
    truth = sorted((folder / "truth").glob("*.parquet"))
    media = read_table(given.output, "manifest")[["video", "split", "sha256"]].to_csv(index=False)
    raw = sha256_text(media + "".join(sha256_file(path) for path in truth))
    outputs = [given.output, folder / "classes.json", *truth]
    provenance.record(outputs, stage="download", settings=given.settings, inputs={}, raw=raw)


def get_source(dataset: Dataset, raw: Path, *, workers: int) -> Source:
    """Bring the files of a dataset within reach and read their annotations."""
    source = dataset.source
    if isinstance(source, WorldSource):
        from lib.data.world.files import annotations_of, generate

        generate(source, raw, progress=tell, workers=workers)
        return read_source(raw, CocoSource(format="coco", root=str(raw), videos="videos", **annotations_of(source)))
    site_raw = os.environ.get("VIPERSIGHT_RAW")
    root = root_of(source, Path(site_raw) if site_raw else None)
    if root is None:
        mirror = os.environ.get("VIPERSIGHT_MIRROR")
        table = table_path(source)
        files = read_file_table(table) if table else list(source.files)
        fetch(
            files,
            raw,
            mirror=Path(mirror) if mirror else None,
            on_missing=dataset.on_missing,
            workers=workers,
            status_file=raw.parent / "files.json",
        )
        root = raw
    return read_source(root, source)


def tell(done: int, total: int) -> None:
    """Say now and then how far the drawing of the world is."""
    if done % 10 == 0 or done == total:
        print(f"drawn {done} of {total} videos", file=sys.stderr)


if __name__ == "__main__":
    _program.run(main)
