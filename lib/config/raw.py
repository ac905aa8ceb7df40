"""What a dataset is made from, as Snakemake must watch it: declared files, and a digest of folders.

Annotation files are inputs of the download rule. Folders are not (thousands of files would slow every plan): they enter by
a digest in its params, labels by content and media by size. Not here: reading any of them (lib/data/sources).
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from lib.config.download import AnySource, CocoSource, Dataset, MotSource, YoloSource
from lib.config.download_queries import CharadesSource, QuerySource
from lib.config.merge import CONFIG_FOLDER
from lib.config.study import Study
from lib.files import folder_digest

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
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
    files = [str(root / file) for file in _annotation_files(dataset.source)]
    folder = _media_folder(dataset.source, root)
    cache = Path(DIGEST_CACHE.format(dataset=name))
    return RawInputs(files, folder_digest(folder, labels=LABEL_SUFFIXES, cache=cache) if folder is not None else "")


def without_pictures(study: Study, name: str) -> str:
    """What of a dataset has no pictures to look at, in words ("" = nothing, as far as is known before the download)."""
    source = study.find("datasets", name).source
    if isinstance(source, QuerySource) and source.videos is None:
        return f"dataset {name!r} has no videos (`source.videos` names none)"
    blind = _sequences_without_pictures(study, source) if isinstance(source, MotSource) else []
    return f"sequence {blind[0]!r} of dataset {name!r} has no pictures" if blind else ""


def _sequences_without_pictures(study: Study, source: MotSource) -> list[str]:
    """Sequences for which neither the table of downloads nor the local folder has a picture; no folder yet = none."""
    root = root_of(source, study.paths.resolved("raw"))
    if root is not None:
        folders = {one: root / place for one, place in source.sequences.items() if (root / place).is_dir()}
        return [one for one, folder in folders.items() if not any(map(_is_picture, folder.rglob("*")))]
    paths = [PurePosixPath(path) for path in _downloads(source) if _is_picture(PurePosixPath(path))]
    return [one for one, place in source.sequences.items() if not any(path.is_relative_to(place) for path in paths)]


def _downloads(source: AnySource) -> list[str]:
    """Places of all files of a source that is downloaded; an unreadable table is the download's to refuse."""
    table = table_path(source)
    if table is None:
        return [entry.path for entry in getattr(source, "files", None) or ()]
    if not table.is_file():
        return []
    with open(table, newline="", encoding="utf-8") as file:
        return [row["path"] for row in csv.DictReader(file) if row.get("path")]


def _is_picture(path: PurePath) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def _media_folder(source: AnySource, root: Path) -> Path | None:
    """The folder that holds all that is no declared file; None when a source reads nothing else."""
    if isinstance(source, QuerySource):
        return None if source.videos is None else root / source.videos
    return root


def _annotation_files(source: AnySource) -> list[str]:
    """Single annotation files of a source, relative to its root; whole folders of labels are in the digest."""
    if isinstance(source, CocoSource):
        return [*source.annotations.values(), *source.language.values()]
    if isinstance(source, YoloSource):
        return [source.data]
    if isinstance(source, MotSource):
        return list(source.detections.values())
    if isinstance(source, QuerySource):
        return [*source.annotations.values(), *(source.lengths if isinstance(source, CharadesSource) else ())]
    return []
