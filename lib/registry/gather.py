"""All runs that a person names: a working directory of ours, registries, output folders of RF-DETR, whatever lies there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lib.files import DataError, read_json
from lib.registry.entry import Entry
from lib.registry.index import is_ours, read_registry
from lib.registry.older import read_older_registry, read_run_folder, run_folders
from lib.registry.ours import our_entries

_REGISTRIES = ("experiments/registry.json", "registry.json")


def gathered(root: Path, also: Iterable[Path] = ()) -> list[Entry]:
    """The runs of a working directory, then those of the other places; a folder that two of them name stands once.

    Two runs of one id are told apart by their folders. DataError: a place is not there, or holds no run.
    """
    entries = our_entries(root)
    for place in also:
        entries += _runs_at(place)
    once: dict[str, Entry] = {}
    for number, one in enumerate(entries):
        once.setdefault(str(Path(one.output).resolve()) if one.output else f"nowhere {number}", one)
    shared = Counter(one.id for one in once.values())
    return [replace(one, id=f"{one.output}") if shared[one.id] > 1 and one.output else one for one in once.values()]


def _runs_at(place: Path) -> list[Entry]:
    if place.is_file():
        values = read_json(place)
        return read_registry(place, values) if is_ours(values) else read_older_registry(place, values)
    if not place.is_dir():
        raise DataError(f"--also: {place} is not there. Hint: a registry.json, a working directory, or a folder of runs.")
    if (place / "results/train").is_dir():
        return our_entries(place)
    for name in _REGISTRIES:
        if (place / name).is_file():
            return _runs_at(place / name)
    folders = list(run_folders(place))
    if not folders:
        raise DataError(
            f"--also: {place} holds no run: neither results/train, nor a registry.json, nor metrics.csv or log.txt of "
            "RF-DETR in it or in a folder below it. Hint: name a run's output folder, or the folder that holds several."
        )
    return [read_run_folder(one) for one in folders]
