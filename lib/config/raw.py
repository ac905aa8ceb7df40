"""What a dataset is made from, as Snakemake must watch it: declared files, and a digest of folders.

Annotation files are inputs of the download rule. Folders are not (thousands of files would slow every plan): they enter by
a digest in its params, labels by content and media by size. Not here: reading any of them (lib/data/sources).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lib.config.download import AnySource, CocoSource, Dataset, MotSource, YoloSource
from lib.config.merge import CONFIG_FOLDER
from lib.config.study import Study
from lib.files import folder_digest

LABEL_SUFFIXES = (".xml", ".txt", ".csv", ".ini")
DIGEST_CACHE = "results/definitions/digests/{dataset}.json"


@dataclass(frozen=True)
class RawInputs:
    """Files that the download rule declares, and the digest of the folders it reads ("" when it reads none)."""

    files: list[str]
    digest: str


def root_of(source: AnySource, raw: Path | None) -> Path | None:
    """The local folder of a source: variables filled in, relative ones below `raw` where the site states it."""
    root = getattr(source, "root", None)
    if root is None:
        return None
    path = Path(os.path.expandvars(root)).expanduser()
    return raw / path if raw is not None and not path.is_absolute() else path


def table_path(source: AnySource) -> Path | None:
    """The csv table of downloads of a source, found relative to config/."""
    files = getattr(source, "files", None)
    return CONFIG_FOLDER / files if isinstance(files, str) else None


def raw_inputs(study: Study, name: str) -> RawInputs:
    """What to watch for one dataset of a study."""
    dataset: Dataset = study.find("datasets", name)
    table = table_path(dataset.source)
    if table is not None:
        return RawInputs([os.path.relpath(table)], "")
    root = root_of(dataset.source, study.paths.resolved("raw"))
    if root is None:
        return RawInputs([], "")
    digest = folder_digest(root, labels=LABEL_SUFFIXES, cache=Path(DIGEST_CACHE.format(dataset=name)))
    return RawInputs([str(root / file) for file in _annotation_files(dataset.source)], digest)


def _annotation_files(source: AnySource) -> list[str]:
    """Single annotation files of a source, relative to its root; whole folders of labels are in the digest."""
    if isinstance(source, CocoSource):
        return [*source.annotations.values(), *source.language.values()]
    if isinstance(source, YoloSource):
        return [source.data]
    if isinstance(source, MotSource):
        return list(source.detections.values())
    return []
