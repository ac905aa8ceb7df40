"""Names of datasets, weights, detectors, trackers, … are global in one results folder: one name, one meaning.

A run writes down what its names mean (results/definitions/{table}/{name}.json). A study that gives one of them another
meaning is refused with both definitions; the study that owns a name may edit it, and what hangs on it reruns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.config.base import ConfigError, canonical, identity
from lib.config.study import Study
from lib.files import read_json, write_json

TABLES = ("datasets", "weights", "detectors", "trackers", "featuresets", "shardsets", "arms", "variants", "tta")


def definitions(study: Study) -> dict[tuple[str, str], Any]:
    """What each global name means in this study: its resolved settings without display fields."""
    found = {(table, name): identity(entry) for table in TABLES for name, entry in getattr(study, table).items()}
    for name, variant in study.variants.items():
        meaning = identity(variant) | {"training": identity(study.training_of(name))}
        found["variants", name] = {key: value for key, value in meaning.items() if key != "seeds"}  # paths tell seeds apart
    return found


def refuse_taken_names(study: Study, folder: Path) -> None:
    """Raise ConfigError when a name was given another meaning by another study in the same results folder."""
    for (table, name), meaning in definitions(study).items():
        path = folder / table / f"{name}.json"
        if not path.is_file():
            continue
        taken = read_json(path)
        if taken["study"] != study.study and canonical(taken["definition"]) != canonical(meaning):
            raise ConfigError(
                f"{table}.{name} already means something else: study {taken['study']!r} made its results here.\n"
                f"  {taken['study']}: {canonical(taken['definition'])}\n  {study.study}: {canonical(meaning)}\n"
                f"Hint: use another name, or another results folder (--directory), or delete {path} and its results."
            )


def claim_names(study: Study, folder: Path) -> None:
    """Write down this study's definitions, with what they say of themselves for people.

    A name that another study defined the same way stays that study's.
    """
    for (table, name), meaning in definitions(study).items():
        path = folder / table / f"{name}.json"
        said = getattr(getattr(study, table)[name], "description", "") or ""
        known = read_json(path) if path.is_file() else {}
        same = bool(known) and canonical(known["definition"]) == canonical(meaning)
        if same and (known["study"] != study.study or known.get("description", "") == said):
            continue
        write_json(path, {"study": study.study, "definition": meaning} | ({"description": said} if said else {}))
