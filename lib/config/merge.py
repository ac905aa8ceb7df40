"""Reading and merging settings files: `include:`, files over each other. Not here: YAML (safe_yaml.py), what keys mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.config.base import ConfigError
from lib.config.safe_yaml import load_yaml

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "config"
REPLACED_WHOLE = frozenset({"budget", "classes", "splits", "background"})
"""Blocks whose keys exclude each other or whose order matters: the later file's block replaces the earlier one."""

_ONE_OF = {"budget": {"epochs"}, "epochs": {"budget"}}
"""In `training:`, what a key of a later file replaces: `epochs: N` is short for `budget: {epochs: N}`."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in one settings file; a missing, unreadable or non-mapping file is a ConfigError that names it."""
    try:
        values = load_yaml(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such settings file. Hint: shipped studies are in config/studies/.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: settings must be `key: value` pairs, found {type(values).__name__}.")
    return values


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: mappings merge key by key, everything else (lists too) is replaced.

    A block that changes its `kind`, its `format` or (a training) its `engine` is another thing, so it replaces the old one
    whole, as do REPLACED_WHOLE.
    """
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        mergeable = isinstance(old, dict) and isinstance(value, dict) and key not in REPLACED_WHOLE
        if mergeable and any(mark in value and value[mark] != old.get(mark) for mark in ("kind", "format")):
            mergeable = False
        if mergeable and key == "training" and "engine" in value and value["engine"] != old.get("engine", "yolo"):
            mergeable = False
        if mergeable and key == "training":
            old = {name: part for name, part in old.items() if not _ONE_OF.get(name, set()) & value.keys()}
        result[key] = merged(old, value) if mergeable else value
    return result


def read_with_includes(path: Path, _open: tuple[Path, ...] = ()) -> dict[str, Any]:
    """One settings file over everything that its `include:` list names (relative to config/ or to the file itself)."""
    path = path.resolve()
    if path in _open:
        chain = " → ".join(str(one) for one in (*_open, path))
        raise ConfigError(f"include: goes in a circle: {chain}")
    values = read_yaml(path)
    includes = values.pop("include", [])
    if not isinstance(includes, list) or not all(isinstance(one, str) for one in includes):
        raise ConfigError(f"{path}: include: must be a list of files, for example [datasets/world.yaml]")
    base: dict[str, Any] = {}
    for name in includes:
        places = [CONFIG_FOLDER / name, path.parent / name]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise ConfigError(f"{path}: include: {name!r} not found in {CONFIG_FOLDER} nor beside the file.")
        base = merged(base, read_with_includes(found, (*_open, path)))
    return merged(base, values)
