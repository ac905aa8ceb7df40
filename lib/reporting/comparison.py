"""Runs beside each other: order, runs that differ in their seed alone, the table. Not here: where runs come from
(lib/registry), pictures (comparison_curves.py, comparison_bars.py), boards with intervals on test (leaderboard.py).

A run is ranked when it has ended and has a score on val: of one that goes on, failed or diverged its best so far would be
taken for its last word. Those, and runs without a score, stand below with what keeps them from being ranked.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lib.config.targets import LEAST_RATES
from lib.files import DataError, csv_cell, write_text
from lib.registry.entry import SCORES, Entry
from lib.registry.epochs import NAMES, Row, epochs_of, strange_epochs
from lib.status.states import COMPLETED


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run with its course; why: what keeps it from being ranked, or what is odd about it; test: scores on test."""

    entry: Entry
    epochs: Sequence[Row] = ()
    why: str = ""
    test: dict[str, float] = field(default_factory=dict)

    @property
    def ranked(self) -> bool:
        return self.entry.completed and self.entry.score is not None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Ranked runs that differ in their seed alone, the best first; label: unlike that of any other group."""

    runs: tuple[Run, ...]
    label: str

    def values(self, name: str) -> list[float]:
        """One of SCORES of every run that has it."""
        return [value for run in self.runs if (value := run.entry.value(name)) is not None]

    def mean(self, name: str) -> float | None:
        values = self.values(name)
        return fmean(values) if values else None

    def deviation(self, name: str) -> float | None:
        """Standard deviation over the runs (n − 1); None of one run."""
        values = self.values(name)
        return stdev(values) if len(values) > 1 else None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """runs: all of them, the ranked ones first, best first. groups: of the ranked ones, by their means, best first."""

    runs: tuple[Run, ...]
    groups: tuple[Group, ...]

    @property
    def ranked(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.ranked)

    @property
    def learning_rates(self) -> list[float]:
        """Those of the ranked runs, each once."""
        return sorted({rate for run in self.ranked if (rate := run.entry.learning_rate) is not None})


def compared(entries: Iterable[Entry], test: Callable[[Entry], dict[str, float]] = lambda entry: {}) -> Comparison:
    """Read the course of every trained run and set them in order; floors and pretrained weights are no runs. Never raises.

    test: what is known of a run on test.
    """
    runs = [_run(one, test(one)) for one in entries if one.kind == "model"]
    runs.sort(key=_place)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.ranked:
            groups.setdefault(run.entry.settings, []).append(run)
    listed = [tuple(group) for group in groups.values()]
    made = [Group(runs=group, label=label) for group, label in zip(listed, _labels(listed), strict=True)]
    made.sort(key=lambda group: _order(*(group.mean(name) for name in ("mask_mAP", "box_mAP"))))
    return Comparison(runs=tuple(runs), groups=tuple(made))


def _run(entry: Entry, test: dict[str, float]) -> Run:
    epochs: list[Row] = []
    reasons = [entry.status] if not entry.completed else []
    reasons += [entry.why] if entry.why else []
    try:
        epochs = epochs_of(entry)
    except (DataError, OSError, KeyError) as error:
        if entry.completed:
            reasons.append(f"no curve: {str(error).split(' Hint:')[0]}")
    if entry.score is None:
        reasons.append("no score on val" if entry.task in (None, *NAMES) else f"task {entry.task} has no mAP")
    if strange := strange_epochs(epochs):
        numbers = ", ".join(map(str, strange[:5])) + (" …" if len(strange) > 5 else "")
        reasons.append(f"a value of epoch {numbers} is no number")
    return Run(entry=entry, epochs=epochs, why="; ".join(dict.fromkeys(reasons)), test=test)


def _order(masks: float | None, boxes: float | None) -> tuple[bool, float, float]:
    """Sort key: high mAP of masks first, then of boxes; what has no masks behind all that has."""
    return (masks is None, -(masks or 0.0), -(boxes or 0.0))


def _place(run: Run) -> tuple[Any, ...]:
    """Ranked runs first, then those with some score; by mAP of masks, ties by that of boxes, then the earlier run."""
    entry = run.entry
    values = _order(entry.value("mask_mAP"), entry.value("box_mAP"))
    return (not run.ranked, entry.score is None, *values, entry.started or entry.finished or "~", entry.id)


def _labels(groups: Sequence[Sequence[Run]]) -> list[str]:
    """What groups are called: the name of the best run, with dataset or id where another group is called so too; and
    whether others of another name are with it."""
    forms: tuple[Callable[[Entry], str], ...] = (
        lambda entry: entry.name,
        lambda entry: f"{entry.dataset}/{entry.name}" if entry.dataset else entry.id,
        lambda entry: entry.id,
    )
    firsts = [group[0].entry for group in groups]
    labels = []
    for entry, group in zip(firsts, groups, strict=True):
        unlike = (form(entry) for form in forms if sum(form(one) == form(entry) for one in firsts) == 1)
        more = sum(run.entry.name != entry.name for run in group)
        labels.append(next(unlike, f"{entry.id} ({entry.output})") + (f" and {more} alike" if more else ""))
    return labels


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """leaderboard.csv, one row a run; `…_mean` and `…_sd` are of its group."""
    groups = {id(run): group for group in comparison.groups for run in group.runs}
    return [_row(rank, run, groups.get(id(run))) for rank, run in enumerate(comparison.runs, start=1)]


def _row(rank: int, run: Run, group: Group | None) -> dict[str, Any]:
    entry = run.entry
    values: dict[str, Any] = {"rank": rank if run.ranked else None, "id": entry.id, "name": entry.name}
    values |= {key: getattr(entry, key) for key in ("task", "model", "size", "dataset", "arm", "seed", "status")}
    values |= {"why": run.why} | {name: entry.value(name) for name in SCORES}
    values |= {"best_epoch": entry.best.get("epoch"), "source": entry.best.get("source")}
    values |= {f"test_{name}": run.test.get(name) for name in SCORES}
    values |= {"runs_alike": len(group.runs) if group else None}
    for name in ("mask_mAP", "box_mAP"):
        values |= {f"{name}_mean": group and group.mean(name), f"{name}_sd": group and group.deviation(name)}
    values |= {"lr": entry.learning_rate, "lr_scheduler": entry.schedule, "batch": entry.batch}
    values |= {"epochs": int(max((row["epoch"] for row in run.epochs), default=0)) or None}
    keys = ("micro_batch", "wall_s", "peak_memory_mb", "peak_gpu_memory_mb", "restarts", "started", "finished", "output")
    values |= {key: getattr(entry, key) for key in keys}
    values |= {"jobs": " ".join(entry.jobs) or None, "commit": entry.git.get("commit"), "description": entry.description}
    return values


def write_leaderboard(comparison: Comparison, path: Path) -> None:
    """Write leaderboard.csv; without any run its head alone."""
    listed = rows(comparison)
    head = list(listed[0] if listed else _row(1, Run(entry=Entry(id="", name="")), None))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(row[key]) for key in head] for row in listed)
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    return "" if value is None else round(value, 6) if isinstance(value, float) else csv_cell(value)


def notes(comparison: Comparison) -> list[str]:
    """What a reader of the table has to know."""
    found = [
        "Scores are the best on val, which chose the weights, so they flatter. Boards have scores on test, with intervals."
    ]
    data = {(run.entry.dataset, run.entry.dataset_hash) for run in comparison.ranked}
    if len(data) > 1:
        found.append(f"{len(data)} sets of data stand in one table: scores of different data do not compare.")
    if {run.entry.value("mask_mAP") is None for run in comparison.ranked} == {True, False}:
        found.append("Runs without masks are ordered by boxes, behind all with masks.")
    if any(len(group.runs) > 1 for group in comparison.groups):
        found.append("±: standard deviation over runs that differ in their seed alone.")
    if any(run.entry.completed and run.entry.status != COMPLETED for run in comparison.ranked):
        found.append("Of some runs nobody recorded that they ended; their best so far is taken.")
    return found


def too_few_rates(comparison: Comparison) -> str | None:
    """Why there is no picture of learning rates, None when there is one."""
    rates = comparison.learning_rates
    if len(rates) >= LEAST_RATES:
        return None
    known = ", ".join(f"{rate:g}" for rate in rates) or "none"
    return f"the ranked runs have fewer than {LEAST_RATES} learning rates ({known})"
