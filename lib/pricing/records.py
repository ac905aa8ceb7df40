"""What past jobs took, from the files that they left. Not here: what that says of further ones (estimate.py).

Snakemake's benchmark file holds the seconds of a job's last attempt; of a training, `model.json` sums all attempts, and the
larger one counts. Sizes on disk are those that the outputs have now. A file that cannot be read is left out and named.
"""

from __future__ import annotations

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lib.files import DataError, read_json
from lib.pricing.dag import Rule
from lib.provenance import meta_path

BENCHMARKS = Path("results/benchmarks")
PAUSE_S = 1800.0
LEAST_S = 0.01
"""Benchmarks are written to a hundredth of a second; a shorter job counts as one."""


@dataclass(frozen=True)
class Record:
    """One past job: seconds over all attempts, bytes of its outputs (None: they are gone), memory at most in MB.

    meta: the result's meta.json, {} where there is none. card: a training's model.json, {} for other jobs.
    """

    rule: str
    wildcards: Mapping[str, str]
    folder: Path  # the working directory of its run
    run: str  # jobs of one run share a machine's mood
    seconds: float
    bytes: float | None
    memory_mb: float | None
    meta: Mapping[str, Any]
    card: Mapping[str, Any]


@dataclass(frozen=True)
class LeftOut:
    """A file that says nothing usable, and why."""

    path: Path
    why: str


def past(rules: Sequence[Rule], folders: Sequence[Path]) -> tuple[list[Record], list[LeftOut]]:
    """The records of past jobs below some working directories, and the files that were left out."""
    records: list[Record] = []
    left: list[LeftOut] = []
    for folder in dict.fromkeys(one.resolve() for one in folders):
        paths = sorted((folder / BENCHMARKS).rglob("*.tsv"))
        for path, run in zip(paths, _runs(paths), strict=True):
            try:
                record = _record(path, path.relative_to(folder).as_posix(), rules, folder, f"{folder} {run}")
            except DataError as error:
                left.append(LeftOut(path, str(error)))
                continue
            if record is not None:
                records.append(record)
    return records, left


def _runs(paths: Sequence[Path]) -> list[int]:
    """Which run each file is of: another one begins where nothing was written for PAUSE_S."""
    dates = [path.stat().st_mtime for path in paths]
    ordered = sorted(set(dates))
    begins = [date for before, date in pairwise(ordered) if date - before > PAUSE_S]
    return [bisect_right(begins, date) for date in dates]


def _record(path: Path, name: str, rules: Sequence[Rule], folder: Path, run: str) -> Record | None:
    """One file; None where no rule of this workflow writes it. DataError when it cannot be used."""
    found = next(((rule, match) for rule in rules if (match := rule.benchmark.fullmatch(name))), None)
    if found is None:
        return None
    rule, wildcards = found[0], found[1].groupdict()
    row = _row(path)
    outputs = [folder / _filled(one, wildcards) for one in rule.outputs]
    meta = _read(meta_path(outputs[0]))
    card = _read(next((one for one in outputs if one.name == "model.json"), None))
    seconds = max(_number(row, "s"), float(card.get("seconds", 0.0)))
    return Record(
        rule=rule.name,
        wildcards=wildcards,
        folder=folder,
        run=run,
        seconds=max(seconds, LEAST_S),
        bytes=_bytes(rule, outputs, wildcards),
        memory_mb=_number(row, "max_rss") if row.get("max_rss") not in (None, "NA", "-") else None,
        meta=meta,
        card=card,
    )


def _row(path: Path) -> dict[str, str]:
    """The one line of a benchmark file, by column."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read ({error})") from error
    if len(rows) != 1 or None in rows[0] or None in rows[0].values():
        raise DataError(f"holds {len(rows)} whole lines, not one")
    return rows[0]


def _number(row: Mapping[str, str], column: str) -> float:
    text = row.get(column, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise DataError(f"column {column!r} is {text!r}, not a number of at least 0")
    return value


def _read(path: Path | None) -> dict[str, Any]:
    """A JSON object beside a result; {} where there is none to be read."""
    if path is None or not path.is_file():
        return {}
    try:
        values = read_json(path)
    except (OSError, DataError):
        return {}
    return values if isinstance(values, dict) else {}


def _filled(pattern: str, wildcards: Mapping[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda match: wildcards[match[1]], pattern)


def _bytes(rule: Rule, outputs: Sequence[Path], wildcards: Mapping[str, str]) -> float | None:
    """Bytes of a job's outputs; with all that lies beside them where the folder is this job's alone (tars, videos).

    None when an output is missing.
    """
    if not outputs or not all(one.is_file() for one in outputs):
        return None
    folder = rule.outputs[0].rpartition("/")[0]
    named = {name for name in re.findall(r"{(\w+)}", folder)}
    files = _files(outputs[0].parent) if named == set(wildcards) else iter(outputs)
    return float(max(1, sum(one.lstat().st_size for one in files)))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
