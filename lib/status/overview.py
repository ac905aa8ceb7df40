"""How all trainings of a study stand at one moment, as plain values. Not here: drawing them (table.py), why some failed
(failures.py).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.config.base import ConfigError, nearest
from lib.files import DataError
from lib.history import HistoryReader
from lib.runs import running
from lib.runs.slurm import TIMEOUT_S, Job
from lib.status.cells import Cell, by_comment
from lib.status.looking import Cluster, Records, ask_slurm, look, read_records
from lib.status.progress import Progress, history_reader, progress_of
from lib.status.snakemake_log import Event, Events
from lib.status.states import COMPLETED, DIVERGED, OUTDATED, RUNNING, STALLED, STATES, SUBMITTED, State, state_of

VERSION = 1
"""Of the JSON that `status --json` prints; raised when a key goes or changes its meaning."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training and how it stands; job: its Slurm job's number; place: node or host."""

    cell: Cell
    state: State
    progress: Progress
    records: Records
    job: str | None = None
    place: str = ""
    told: Job | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON; numbers that are none are null."""
        cell, done = self.cell, self.progress
        facts = {key: getattr(cell, key) for key in ("dataset", "variant", "seed", "task", "kind", "size")}
        facts |= {"state": self.state.name, "why": self.state.why, "cause": self.state.cause or None}
        facts |= {"done": done.done, "total": done.total, "unit": done.unit, "left_s": done.left_s, "loss": done.loss}
        facts |= {"best": done.best, "metric": cell.metric, "mode": cell.mode if cell.metric else None}
        facts |= {"elapsed_s": done.elapsed_s, "attempts": len(self.records.attempts), "job": self.job}
        facts |= {"place": self.place or None, "folder": str(cell.folder), "log": str(cell.log)}
        return {key: None if isinstance(one, float) and not math.isfinite(one) else one for key, one in facts.items()}


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All rows at one moment (ISO time, UTC), what Slurm answered, and the drivers of the folder in words."""

    study: str
    at: str
    slurm: str
    drivers: tuple[str, ...]
    rows: tuple[Row, ...]
    told: Mapping[str, Event] = field(default_factory=dict, repr=False)  # what Snakemake said last of every job

    def counts(self) -> dict[str, int]:
        """State → how many, those first that want to be looked at."""
        found = Counter(row.state.name for row in self.rows)
        return {name: found[name] for name in STATES if found[name]}

    def plain(self) -> dict[str, Any]:
        facts = {"version": VERSION, "study": self.study, "at": self.at, "slurm": self.slurm}
        return facts | {"drivers": list(self.drivers), "counts": self.counts(), "cells": [one.plain() for one in self.rows]}


@dataclass
class Looker:
    """Looks again and again at the same trainings; histories are read on from where they were."""

    study: str
    cells: Sequence[Cell]
    root: Path = Path()
    ask: Callable[..., Cluster] = ask_slurm
    timeout_s: float = TIMEOUT_S
    _readers: dict[str, HistoryReader] = field(default_factory=dict)
    _events: Events = field(default_factory=Events)

    def look(self, keep: Callable[[Row], bool] = lambda row: True) -> Overview:
        """How they stand now; keep: which rows are wanted."""
        numbers = {job for cell in self.cells if (job := read_records(self.root / cell.folder).job)}
        cluster = self.ask(numbers, self.root, timeout_s=self.timeout_s)  # before the records: it may answer late
        certain = by_comment(self.cells)
        told = self._events.read(self.root)
        now = time.time()
        rows = []
        for cell in self.cells:
            event = told.get(str(cell.folder / "model.weights"))
            reported = event is not None and event.failed
            known = cluster if cell.comment in certain else replace(cluster, listed=())  # two share it: it tells of neither
            rows.append(self._row(cell, known, reported, now))
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        kept = tuple(row for row in rows if keep(row))
        return Overview(study=self.study, at=at, slurm=cluster.kind, drivers=drivers(self.root), rows=kept, told=told)

    def _row(self, cell: Cell, cluster: Cluster, reported: bool, now: float) -> Row:
        records = read_records(self.root / cell.folder)
        seen = look(cell, records, cluster, self.root, now)
        if seen.process == "gone":  # perhaps it has ended since its records were read, and has said so
            records = read_records(self.root / cell.folder)
            seen = look(cell, records, cluster, self.root, now)
        seen = replace(seen, reported=reported)
        state = state_of(seen)
        begins = state.name in (SUBMITTED, RUNNING, STALLED) and seen.queued is not None and seen.queued.active
        told = seen.queued if begins and (seen.known is None or not seen.known.active) else seen.known
        going = state.name in (RUNNING, STALLED)
        reader = self._readers.setdefault(cell.name, history_reader(cell, self.root))
        result = state.name in (COMPLETED, DIVERGED, OUTDATED)
        progress = progress_of(cell, records, reader, running=going, result=result, now=now)
        return Row(
            cell=cell,
            state=state,
            progress=progress,
            records=records,
            job=told.id if told is not None else seen.job,
            place=(told.node if told is not None else "") or ("" if state.name == SUBMITTED else seen.host),
            told=told,
        )


def drivers(root: Path) -> tuple[str, ...]:
    """The recorded runs of a folder in words: alive, gone, or on another host."""
    words = {"alive": "a run is active", "gone": "a run was killed", "elsewhere": "a run of another host is recorded"}
    try:
        found = running.runs(root / running.RUNS)
    except DataError as error:
        return (f"the records of runs cannot be read: {error}",)
    hints = {"gone": ". Hint: make resume", "elsewhere": "; whether it is alive can be seen there"}
    return tuple(f"{words[how]} ({run.text()}){hints.get(how, '')}" for run in found if (how := running.state(run)))


def chosen(
    states: Iterable[str], sizes: Iterable[str], tasks: Iterable[str], cells: Sequence[Cell]
) -> Callable[[Row], bool]:
    """Which rows the filters leave; an empty filter leaves all. ConfigError for a word that no row can be."""
    wanted = {"--state": set(states), "--size": set(sizes), "--task": set(tasks)}
    known = {"--state": set(STATES), "--size": {cell.size for cell in cells}, "--task": {cell.task for cell in cells}}
    for option, words in wanted.items():
        for word in words - known[option]:
            raise ConfigError(f"{option}: {word!r} is none of this study's. {nearest(word, known[option])}")

    def keep(row: Row) -> bool:
        told = {"--state": row.state.name, "--size": row.cell.size, "--task": row.cell.task}
        return all(not words or told[option] in words for option, words in wanted.items())

    return keep


def best_per_size(rows: Iterable[Row]) -> list[tuple[Row, int]]:
    """Per task, score on val and size the completed training with the best value, and among how many; as rows come.

    What is compared is the score that chose the weights, of one seed, on val: never a result on test.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        value, cell = row.progress.best, row.cell
        if row.state.name == COMPLETED and cell.metric and value is not None and math.isfinite(value):
            groups.setdefault((cell.task, cell.metric, cell.size), []).append(row)
    best = []
    for group in groups.values():
        turned = -1 if group[0].cell.mode == "min" else 1
        best.append((max(group, key=lambda row: turned * (row.progress.best or 0.0)), len(group)))
    return best
