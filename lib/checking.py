"""Looking for holes in a results folder: outputs lost or changed after they were made, inputs that are gone, leftovers.

Every meta.json says what was produced (sha256) and from what (identities); both are compared with the files that stand.
Boards and pictures carry no record (they cost seconds to draw again), nor do media outside of the results.
Not here: healing anything; each hole carries the command that does.
"""

from __future__ import annotations

import base64
import binascii
import os
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.files import LEFTOVERS, PARTIAL, DataError, read_json, sha256_file
from lib.provenance import meta_path
from lib.runs import running

NOT_RESULTS = ("raw", "logs", "benchmarks", "definitions", ".runs", "attempts", "state", ".owner", ".finished")
RESUME = "make resume"


@dataclass(frozen=True, order=True)
class Hole:
    """One thing that is wrong: where, what, and the command that heals it."""

    path: str
    what: str
    heal: str


@dataclass
class Found:
    """What a walk over the results saw: meta files, leftovers, states of trainings; and how many files in all."""

    metas: list[Path] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    states: list[Path] = field(default_factory=list)
    files: int = 0


def find_holes(results: Path = Path("results"), *, workers: int = 4) -> tuple[list[Hole], int, int]:
    """(holes by path, results that carry a record, files seen). Run in the working directory of the study.

    workers: threads that read and hash. Raises DataError when there is no results folder.
    """
    if not results.is_dir():
        raise DataError(f"{results}: no such folder. Hint: run this where the study is run, or name its --directory.")
    found = walk(results)
    memory = _Memory()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        holes = [hole for some in pool.map(lambda path: list(_holes_of(path, memory)), found.metas) for hole in some]
    recorded = {str(path.parent) for path in found.metas}
    holes += [_leftover(path) for path in found.leftovers]
    holes += [_state(path, recorded) for path in found.states]
    holes += _killed_runs(results)
    holes += _incomplete(results.parent)
    return sorted(set(holes)), len(found.metas), found.files


def walk(results: Path) -> Found:
    """See every name once; folders that hold no results are looked through for leftovers only."""
    found = Found()
    for folder, folders, files in os.walk(results):
        here = Path(folder)
        parts = here.relative_to(results).parts
        is_result = not any(part in NOT_RESULTS for part in parts)
        for name in folders:
            if name.startswith(LEFTOVERS):
                found.leftovers.append(here / name)
            if name == "state" and parts[:1] == ("train",):
                found.states.append(here / name)
        folders[:] = [name for name in folders if not name.startswith(LEFTOVERS)]
        found.files += len(files)
        for name in files:
            if name.startswith((*LEFTOVERS, PARTIAL)):
                if not (name.startswith(PARTIAL) and name.endswith(".json")):
                    found.leftovers.append(here / name)
            elif is_result and (name == "meta.json" or name.endswith(".meta.json")):
                found.metas.append(here / name)
    return found


class _Memory:
    """Records and digests that several results ask for, read once."""

    def __init__(self) -> None:
        self.metas: dict[Path, dict[str, Any] | None] = {}
        self.sums: dict[Path, str] = {}

    def meta(self, path: Path) -> dict[str, Any] | None:
        """A meta.json, None when it is missing or damaged."""
        if path not in self.metas:
            try:
                values = read_json(path)
            except DataError:
                values = None
            self.metas[path] = values if isinstance(values, dict) and "identity" in values else None
        return self.metas[path]

    def identity(self, path: Path) -> str | None:
        """What provenance.identity_of says of an input, None when its record is damaged."""
        beside = meta_path(path)
        if beside.is_file():
            values = self.meta(beside)
            return None if values is None else str(values["identity"])
        if path not in self.sums:
            self.sums[path] = f"sha256:{sha256_file(path)}"
        return self.sums[path]


def _holes_of(meta: Path, memory: _Memory) -> Iterator[Hole]:
    values = memory.meta(meta)
    if values is None:
        yield Hole(str(meta), "the record is damaged", f"rm {shlex.quote(str(meta))}; {RESUME} or the same command again")
        return
    for name, digest in values.get("content", {}).items():
        file = _beside(meta, name)
        if not file.is_file():
            yield Hole(str(file), "is missing", _make(values, file))
        elif sha256_file(file) != digest:
            yield Hole(str(file), "was changed after it was made", f"rm {shlex.quote(str(file))} && {_make(values, file)}")
    if values.get("stage") == "shard":
        yield from _tars(meta, values)
    for role, places in values.get("input_files", {}).items():
        known = values["inputs"].get(role, [])
        pairs = [(places, known)] if isinstance(places, str) else list(zip(places, known, strict=False))
        for place, identity in pairs:
            yield from _input(meta, values, role, Path(place), identity, memory)


def _beside(meta: Path, name: str) -> Path:
    file = meta.parent / name
    return file if file.exists() else next((one for one in (meta.parent / "truth" / name,) if one.exists()), file)


def _tars(meta: Path, values: dict[str, Any]) -> Iterator[Hole]:
    """The tars that a shardset's manifest names; the record itself holds manifest and index only."""
    try:
        splits = read_json(meta.parent / "manifest.json")["splits"].values()
        shards = [(meta.parent / one["file"], one["bytes"], one["sha256"]) for split in splits for one in split["shards"]]
    except (DataError, KeyError, TypeError, AttributeError):
        return  # the manifest itself is reported
    for file, size, digest in shards:
        again = f"rm {shlex.quote(str(meta.parent / 'manifest.json'))} && {_make(values, meta.parent / 'manifest.json')}"
        if not file.is_file():
            yield Hole(str(file), "is missing", again)
        elif file.stat().st_size != size or sha256_file(file) != digest:
            yield Hole(str(file), "was changed after it was made", again)


def _input(meta: Path, values: dict[str, Any], role: str, place: Path, identity: str, memory: _Memory) -> Iterator[Hole]:
    output = str(_beside(meta, next(iter(values["content"]), meta.name)))
    if not place.is_file():
        yield Hole(output, f"its input is gone ({role}: {place})", _make(values, place))
    elif memory.identity(place) not in (identity, None):
        yield Hole(output, f"was made from another version of its input ({role}: {place})", _make(values, Path(output)))


def _make(values: dict[str, Any], file: Path) -> str:
    """The command that makes a file, typed as the run was that made these values."""
    run = str(values.get("rebuild") or "snakemake").partition(" -- ")[0]
    run = run.replace("snakemake", "snakemake -c2", 1) if " -c" not in run else run
    return f"{run} -- {shlex.quote(str(file))}"


def _leftover(path: Path) -> Hole:
    if path.name.startswith(PARTIAL):
        return Hole(
            str(path), "is a download that was cut", f"{RESUME}, or the same command again, goes on inside the file"
        )
    return Hole(str(path), "was left half-written by a killed job", f"{RESUME}, or rm -r {shlex.quote(str(path))}")


def _state(path: Path, recorded: set[str]) -> Hole:
    if str(path.parent) in recorded and (path.parent / "model.json").is_file():
        return Hole(str(path), "is the state of a training that is done", f"rm -r {shlex.quote(str(path))}")
    model = path.parent / "model.json"
    return Hole(
        str(path), "belongs to a training that did not end", f"{RESUME}, or snakemake -c2 -- {shlex.quote(str(model))}"
    )


def _killed_runs(results: Path) -> list[Hole]:
    killed = [run for run in running.runs(results / running.RUNS.name) if running.state(run) == "gone"]
    return [Hole(str(results), f"a run was killed here ({run.text()})", RESUME) for run in killed]


def _incomplete(folder: Path) -> list[Hole]:
    """Outputs that stand though their job did not end."""
    again = f"{RESUME}, or the same command again"
    names = [name for name in unfinished_outputs(folder) if (folder / name).exists()]
    return [Hole(name, "belongs to a job that did not end", again) for name in names]


def unfinished_outputs(folder: Path) -> list[str]:
    """Outputs that Snakemake marked when their job began and that still carry the mark; folder: where it was run."""
    marks = folder / ".snakemake" / "incomplete"
    found = (
        (_marked(path.relative_to(marks).parts) for path in marks.rglob("*") if path.is_file()) if marks.is_dir() else ()
    )
    return [name for name in found if name]


def _marked(parts: Sequence[str]) -> str | None:
    """The output that a mark of Snakemake names: its path in base64, cut into pieces."""
    try:
        return base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
