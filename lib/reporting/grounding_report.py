"""Pictures of grounding from tables: recall by length of all rows of a board, windows of a few queries of one row.

Not here: how they are drawn (grounding_figures.py), scores (lib/metrics/grounding.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib.config.report import ReportSettings
from lib.files import DataError
from lib.metrics.grounding import length_units, per_query
from lib.reporting.grounding_figures import (
    LengthCurve,
    length_estimates,
    length_figure,
    queries_of_each_length,
    spread_queries,
    windows_figure,
)

METRICS = ("R1@0.3", "R1@0.5", "R5@0.5")
QUERIES_SHOWN, SHOWN_BY = 6, "R1@0.5"


def of_splits(truth: pd.DataFrame, manifest: pd.DataFrame, splits: Sequence[str]) -> pd.DataFrame:
    """The queries (QUERIES) of the videos of these splits."""
    return truth[truth["video"].isin(manifest.loc[manifest["split"].isin(splits), "video"])]


def draw_lengths(
    settings: Mapping[str, Any], truth: pd.DataFrame, tables: Sequence[pd.DataFrame], output: Path, *, title: str
) -> None:
    """Recall of every row by length of the answer.

    settings: rows (name, variant, kind, seeds) in the order of `tables`, which has a windows table for each seed of each;
    draws, seed, level of the intervals; report. DataError where the numbers of tables and of seeds differ.
    """
    wanted = sum(len(row["seeds"]) for row in settings["rows"])
    if wanted != len(tables):
        raise DataError(f"{len(tables)} tables of predictions for {wanted} seeds of the board's rows. Hint: one for each.")
    given = iter(tables)
    curves, counts = [], []
    for row in settings["rows"]:
        seeds = [next(given) for _ in row["seeds"]]
        if any(table.empty for table in seeds):
            continue  # diverged: the board says so
        units = [length_units(per_query(truth, table), METRICS) for table in seeds]
        counts = queries_of_each_length(units[0], METRICS[0])
        how = {"row": row["variant"], "draws": settings["draws"], "seed": settings["seed"], "level": settings["level"]}
        estimates = {metric: length_estimates(units, metric, **how) for metric in METRICS}
        curves.append(LengthCurve(row["name"], estimates, floor=row["kind"] == "floor"))
    if not curves:
        raise DataError("no row of the board has a window. Hint: did all trainings diverge?")
    report = ReportSettings.model_validate(settings["report"])
    length_figure(curves, counts, output, report, title=title, level=settings["level"])


def draw_windows(
    settings: Mapping[str, Any],
    truth: pd.DataFrame,
    manifest: pd.DataFrame,
    table: pd.DataFrame,
    output: Path,
    *,
    title: str,
) -> None:
    """Predicted against true windows of a few queries of all lengths, found and missed ones. settings: seed, report."""
    rows = spread_queries(per_query(truth, table), QUERIES_SHOWN, metric=SHOWN_BY, seed=settings["seed"])
    keys = rows[["video", "query"]]
    shown = keys.merge(truth, on=["video", "query"], how="left", sort=False)
    durations = dict(zip(manifest["video"], manifest["duration_s"], strict=True))
    windows_figure(shown, table, durations, output, ReportSettings.model_validate(settings["report"]), title=title)
