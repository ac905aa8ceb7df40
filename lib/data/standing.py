"""Shards that stand already in a folder of the site (`paths.shards`, WDS_SHARDS) in place of packing them again.

Only the same thing is taken: the same identity (settings, recipe, identities of the manifest of videos and of the tracks),
and every tar with its recorded sha256. The tars are linked, not copied; later reads check every sample as always. Not here:
packing (shards.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lib.data.reader import verify
from lib.data.tar_index import INDEX_FILE, read_manifest, shards_of
from lib.data.tar_writer import remove_stale
from lib.files import DataError, atomic, read_json, sha256_file
from lib.provenance import identity

VARIABLE = "WDS_SHARDS"
_HINT = f"Hint: unset paths.shards ({VARIABLE}) to pack them here, or name a folder that holds the same."


def standing_shards(output: Path) -> Path | None:
    """The manifest.json that stands in the site's folder for results/shards/{dataset}/{shardset}/manifest.json, or None."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    dataset, shardset = output.absolute().parts[-3:-1]
    manifest = Path(folder).expanduser() / dataset / shardset / output.name
    if not manifest.is_file() or manifest.resolve() == output.resolve():
        return None
    return manifest.resolve()


def take_over(standing: Path, output: Path, wanted: Mapping[str, Any]) -> None:
    """Link the tars of a standing shardset beside `output` and copy its index and manifest.

    wanted: identity, stage, recipe, settings, inputs as lib.provenance.making gives them. DataError: it is not the same
    thing, or damaged; nothing is written then.
    """
    meta = read_json(standing.with_name("meta.json"))
    try:
        _check_same(meta, wanted)
        for name in (standing.name, INDEX_FILE):
            if meta["content"].get(name) != sha256_file(standing.with_name(name)):
                raise DataError(f"{name} is not the one that meta.json records")
        verify(standing)
    except (DataError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DataError(f"{standing.parent}: these shards cannot stand in for {output.parent}: {error}. {_HINT}") from error
    manifest = read_manifest(standing)
    output.parent.mkdir(parents=True, exist_ok=True)
    for shard in shards_of(manifest):
        _link(standing.with_name(shard["file"]), output.with_name(shard["file"]))
    for name in (INDEX_FILE, standing.name):
        with atomic(output.with_name(name)) as temporary:
            shutil.copyfile(standing.with_name(name), temporary)
    remove_stale(output.parent, manifest)


def _check_same(meta: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compare what a meta.json says of its making with what is wanted; DataError lists what differs."""
    keys = ("stage", "recipe", "settings", "inputs")
    differing = list(_differences("", {key: meta[key] for key in keys}, {key: wanted[key] for key in keys}))
    if differing:
        raise DataError("; ".join(differing))
    if not meta["identity"] == wanted["identity"] == identity(*(meta[key] for key in keys)):
        raise DataError(f"meta.json states the identity {meta['identity']}, wanted is {wanted['identity']}")


def _differences(place: str, found: Any, wanted: Any) -> Iterator[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for key in dict.fromkeys([*wanted, *found]):
            yield from _differences(f"{place}.{key}".strip("."), found.get(key), wanted.get(key))
    elif found != wanted:
        yield f"{place} is {found!r}, wanted is {wanted!r}"


def _link(target: Path, place: Path) -> None:
    """A symbolic link at `place`, whole or as it was before."""
    temporary = place.with_name(f".writing-{os.getpid()}-{place.name}")
    temporary.unlink(missing_ok=True)
    os.symlink(target, temporary)
    os.replace(temporary, place)
