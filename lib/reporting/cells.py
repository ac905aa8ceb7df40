"""Reads all that is known of one cell of a leaderboard: scores, units, model card, arm counts. Not here: ranks, intervals.

A cell is one (variant, seed, tta). With `partial`, an absent file becomes a status with its cause instead of an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.files import DataError, read_json

FINISHED, DIVERGED = "finished", "diverged"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (variant, seed, tta); scores and units are None unless status is “finished”."""

    seed: int
    status: str
    scores: dict[str, Any] | None = None
    units: pd.DataFrame | None = None
    card: dict[str, Any] | None = None
    counts: dict[str, Any] | None = None


def read_cell(
    results: Path,
    *,
    dataset: str,
    variant: str,
    facts: dict[str, Any],
    seed: int,
    tta: str,
    columns: Sequence[str],
    partial: bool,
) -> Cell:
    """Everything about one cell below the results folder.

    facts: `arm` and `train_on` of the variant (None = no arm, trained on the board's dataset). columns: of the units.
    Raises DataError naming the absent or damaged file; with `partial` both are told by the status.
    """
    try:
        return _read(
            results, dataset=dataset, variant=variant, facts=facts, seed=seed, tta=tta, columns=columns, partial=partial
        )
    except DataError as error:
        if not partial:
            raise
        return Cell(seed=seed, status=f"unreadable: {str(error).split(' Hint:')[0].rstrip('.')}")


def _read(
    results: Path,
    *,
    dataset: str,
    variant: str,
    facts: dict[str, Any],
    seed: int,
    tta: str,
    columns: Sequence[str],
    partial: bool,
) -> Cell:
    on = facts["train_on"] or dataset
    training = results / "train" / on / variant / f"seed={seed}"
    scores = results / "metrics" / dataset / variant / f"seed={seed}" / f"tta={tta}.json"
    counts = results / "subsets" / on / str(facts["arm"]) / f"seed={seed}.counts.json" if facts["arm"] else None
    known = read_json(counts) if counts is not None and (counts.is_file() or not partial) else None
    if partial and not (training / "model.json").is_file():
        return Cell(seed=seed, status=_training_status(training / "attempts"), counts=known)
    card = _with(read_json(training / "model.json"), ("status",), training / "model.json")
    if card["status"] != FINISHED:
        return Cell(seed=seed, status=str(card["status"]), card=card, counts=known)
    units = scores.with_suffix(".units.parquet")
    if partial and not (scores.is_file() and units.is_file()):
        return Cell(seed=seed, status="waiting: prediction or scores", card=card, counts=known)
    return Cell(
        seed=seed,
        status=FINISHED,
        scores=_with(read_json(scores), ("metrics", "classes", "per_class"), scores),
        units=read_units(units, columns),
        card=card,
        counts=known,
    )


def _with(values: Any, keys: Sequence[str], path: Path) -> dict[str, Any]:
    """What a JSON file holds; DataError where it lacks one of these keys."""
    missing = [key for key in keys if not isinstance(values, dict) or key not in values]
    if missing:
        raise DataError(f"{path}: holds no `{missing[0]}`. Hint: delete it and let its rule write it again.")
    return values


def _training_status(attempts: Path) -> str:
    """What the last attempt says about a training that has left no model."""
    records = sorted(attempts.glob("*.json"), key=lambda path: int(path.stem)) if attempts.is_dir() else []
    if not records:
        return "waiting: training"
    cause = str(read_json(records[-1]).get("cause", "unknown"))
    # a killed attempt keeps the cause of its last note, so that “running” may also mean: killed without a word
    return {"running": "running, or killed", FINISHED: "waiting: training"}.get(cause, f"failed: {cause}")


def read_units(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """One row per video, as the bootstrap takes it; DataError when the file is absent, damaged or lacks a column."""
    if not path.is_file():
        raise DataError(f"{path}: file not found. Hint: was the stage that writes it run?")
    try:
        units = pq.read_table(path, partitioning=None).to_pandas()
    except (pa.ArrowException, OSError) as error:
        hint = "Hint: delete it and let its rule write it again."
        raise DataError(f"{path}: not a readable Parquet table ({error}). {hint}") from error
    missing = [column for column in columns if column not in units.columns]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing. Hint: delete it and let its rule write it again.")
    return units


def joint_status(cells: Sequence[Cell]) -> str:
    """One text for all seeds of a row: “finished”, or what keeps it from being so and for which seeds."""
    seeds: dict[str, list[int]] = {}
    for cell in cells:
        if cell.status != FINISHED:
            seeds.setdefault(cell.status, []).append(cell.seed)
    if not seeds:
        return FINISHED
    if len(cells) == 1:
        return cells[0].status
    parts = []
    for status, which in seeds.items():
        named = f"seed{'s' if len(which) > 1 else ''} {', '.join(map(str, which))}"
        parts.append(f"{status} ({'all seeds' if len(which) == len(cells) else named})")
    return "; ".join(parts)


def diverged(cells: Sequence[Cell]) -> bool:
    """Whether any seed ended without a finite loss: the mean of the others would flatter the variant."""
    return any(cell.status.startswith(DIVERGED) for cell in cells)
