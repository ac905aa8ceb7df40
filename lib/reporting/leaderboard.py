"""The board of variants: one row per (variant, tta) with intervals, ties, floors and cost. Not here: pictures and pages.

A row with a seed that diverged shows its status and no number: the mean of the seeds that are left would flatter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from lib.config.evaluate import EvaluateSettings
from lib.config.leaderboard import Board
from lib.config.tasks import TASKS, Task
from lib.files import DataError
from lib.metrics.statistics import Estimate, bootstrap_weights, seeds_and_videos_interval
from lib.reporting.cells import FINISHED, Cell, diverged, joint_status, read_cell
from lib.reporting.ranking import (
    Ranking,
    above_floor,
    difference_columns,
    differences,
    interval_note,
    order,
    ranks,
    tie_note,
    verdicts,
)
from lib.reporting.unit_scores import unit_columns, unit_scores


@dataclass(kw_only=True)
class _Row:
    """One row while the board is made."""

    variant: str
    tta: str
    kind: str
    cells: list[Cell]
    estimate: Estimate | None = None
    others: dict[str, Estimate] = field(default_factory=dict)  # other metrics of the whole
    of_class: dict[tuple[str, str], Estimate] = field(default_factory=dict)  # (metric, class)

    @property
    def scored(self) -> list[Cell]:
        """Cells that a number may be made of: none as soon as one seed diverged."""
        return [] if diverged(self.cells) else [cell for cell in self.cells if cell.status == FINISHED]


def score_board(name: str, settings: dict[str, Any], results: Path, *, partial: bool = False) -> Ranking:
    """Make a board of variants from what stands below the results folder.

    settings: as lib/config/jobs.py gives them: `task`, `board`, `variants` (name -> kind, arm, train_on, seeds) and
    `evaluate`.
    With `partial`, cells that are absent become a status (waiting, failed and its cause) and the rest is shown. Raises
    DataError when a file is absent or damaged, or when two rows were scored on different videos.
    """
    board, evaluate = Board.model_validate(settings["board"]), EvaluateSettings.model_validate(settings["evaluate"])
    task, metric = TASKS[settings["task"]], str(board.metric)
    columns = unit_columns(task, metric)
    rows = []
    for variant in board.variants or ():
        facts = settings["variants"][variant]
        for tta in board.tta or ():
            cells = [
                read_cell(
                    results,
                    dataset=board.dataset,
                    variant=variant,
                    facts=facts,
                    seed=seed,
                    tta=tta,
                    columns=columns,
                    partial=partial,
                )
                for seed in facts["seeds"]
            ]
            rows.append(_Row(variant=variant, tta=tta, kind=facts["kind"], cells=cells))
    scored = [row for row in rows if row.scored]
    classes = _classes(scored)
    _estimate(scored, classes, task, metric, evaluate)
    rows = [rows[number] for number in order([row.estimate for row in rows])]
    return _ranking(name, board, task, evaluate, rows, _by_truth(scored, classes))


def _classes(rows: Sequence[_Row]) -> list[str]:
    """What scores are told by, in the order of the units; DataError when two rows were scored by other classes."""
    known = [(row, cell, cell.scores["classes"]) for row in rows for cell in row.scored]
    for row, cell, classes in known:
        if classes != known[0][2]:
            raise DataError(
                f"{row.variant} (tta {row.tta}, seed {cell.seed}) was scored by classes {classes}, {known[0][0].variant} "
                f"by {known[0][2]}. Hint: evaluate all rows again."
            )
    return list(known[0][2]) if known else []


def _estimate(rows: Sequence[_Row], classes: list[str], task: Task, metric: str, evaluate: EvaluateSettings) -> None:
    """Give every row its score and interval, and one per class; all rows share the resamples of videos."""
    if not rows:
        return
    first = rows[0].scored[0].units["video"].tolist()
    weights = bootstrap_weights(max(len(first), 1), evaluate.draws, evaluate.seed)[:, : len(first)]
    for row in rows:
        units = [cell.units for cell in row.scored]
        for cell in row.scored:
            if cell.units["video"].tolist() != first:
                raise DataError(
                    f"{row.variant} (tta {row.tta}, seed {cell.seed}) was scored on other videos than {rows[0].variant} "
                    f"(tta {rows[0].tta}). Hint: one board needs one test split; evaluate all rows again."
                )

        def estimate(score: Any, units: list[pd.DataFrame] = units, row: _Row = row) -> Estimate:
            # rows of one variant use the same trained models, so that their seeds are resampled together
            return seeds_and_videos_interval(units, score, weights=weights, row=row.variant, level=evaluate.level)

        for key in task.metrics:
            if not all(set(unit_columns(task, key)) <= set(one.columns) for one in units):
                continue  # of an earlier version of the task, which did not know this metric
            scores = unit_scores(task, key, classes, f1_threshold=evaluate.f1_threshold)
            row.others[key] = estimate(scores.whole())
            row.of_class |= {(key, one): estimate(scores.of_class(number)) for number, one in enumerate(classes)}
        row.estimate = row.others.pop(metric)


def _by_truth(rows: Sequence[_Row], classes: list[str]) -> list[str]:
    """Classes, most truth first, or in the order that scores say they have; those without truth have no column."""
    if not rows:
        return []
    scores = rows[0].scored[0].scores
    per_class = scores["per_class"]
    found = [name for name in classes if per_class.get(name, {}).get("n_truth", 0) > 0]
    if scores.get("ordered"):
        return found
    return sorted(found, key=lambda name: -per_class[name]["n_truth"])


def _ranking(
    name: str, board: Board, task: Task, evaluate: EvaluateSettings, rows: list[_Row], classes: list[str]
) -> Ranking:
    estimates = [row.estimate for row in rows]
    values = [None if one is None else one.value for one in estimates]
    best = 0 if values and values[0] is not None else None
    floors = [number for number, row in enumerate(rows) if row.kind == "floor" and values[number] is not None]
    floor = floors[0] if floors else None  # rows stand best first: the first floor is the best one
    to_best = differences(estimates, best, evaluate.level)
    # other floors are not compared with the best one: they would only make the correction harsher
    pupils = [None if row.kind == "floor" and number != floor else row.estimate for number, row in enumerate(rows)]
    to_floor = differences(pupils, floor, evaluate.level)
    standing, clear = verdicts(estimates, best, evaluate.level), verdicts(pupils, floor, evaluate.level)
    means = [key for key in _mean_names(rows, task) if key != board.metric]
    table = []
    for number, (row, rank) in enumerate(zip(rows, ranks(values), strict=True)):
        table.append(
            {"rank": rank, "variant": row.variant, "tta": row.tta, "kind": row.kind, "status": joint_status(row.cells)}
            | _score_columns(row, board.metric)
            | {"standing": "best" if number == best else standing[number]}
            | difference_columns("to_best", to_best[number])
            | difference_columns("to_floor", to_floor[number])
            | {"above_floor": above_floor(clear[number])}
            | _mean_columns(row, means)
            | _class_columns(row, [board.metric, *(key for key in task.metrics if key != board.metric)], classes)
            | _arm_columns(row, classes, task)
            | _cost_columns(row)
        )
    notes = [f"{board.metric}: {task.metrics[board.metric].text}."]
    notes += interval_note(estimates, level=evaluate.level, draws=evaluate.draws)
    notes += tie_note(standing, level=evaluate.level)
    notes += _floor_note(rows, floor) + _row_notes(rows, board, task, evaluate)
    return Ranking(
        name=name,
        title=board.title,
        dataset=board.dataset,
        kind="scores",
        metric=board.metric,
        level=evaluate.level,
        rows=pd.DataFrame(table, dtype=object),
        classes=classes,
        notes=notes,
        metrics=tuple(task.metrics),
        mean=task.metrics[board.metric].of == "classes",
        floor=None if floor is None else values[floor],
    )


def _score_columns(row: _Row, metric: str) -> dict[str, Any]:
    estimate = row.estimate
    finished = [cell for cell in row.cells if cell.status == FINISHED]
    per_seed = {cell.seed: cell.scores["metrics"].get(metric) for cell in finished if cell.scores}
    known = [value for value in (estimate.per_seed if estimate else ()) if value is not None]
    return {
        "seeds": len(row.scored),
        "seeds_planned": len(row.cells),
        metric: estimate.value if estimate else None,
        f"{metric}_low": estimate.low if estimate else None,
        f"{metric}_high": estimate.high if estimate else None,
        f"{metric}_sd": stdev(known) if len(known) > 1 else None,
        "seed_scores": "; ".join(f"{seed}: {_short(value)}" for seed, value in per_seed.items()) or None,
    }


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _mean(values: Sequence[Any]) -> Any:
    """Mean over seeds; None as soon as one seed has none. Whole numbers that agree stay whole."""
    if not values or any(value is None for value in values):
        return None
    return values[0] if len(set(values)) == 1 else fmean(values)


def _mean_names(rows: Sequence[_Row], task: Task) -> list[str]:
    """Scores of the whole that have a column: what boards may rank by, then what else was found."""
    found = [key for row in rows for cell in row.scored for key in cell.scores["metrics"]]
    return list(dict.fromkeys([*task.metrics, *found]))


def _mean_columns(row: _Row, names: Sequence[str]) -> dict[str, Any]:
    """Other scores of the whole, with their intervals where they have one."""
    columns: dict[str, Any] = {}
    for key in names:
        columns[key] = _mean([cell.scores["metrics"].get(key) for cell in row.scored])
        if key in row.others:
            columns |= {f"{key}_low": row.others[key].low, f"{key}_high": row.others[key].high}
    return columns


def _class_columns(row: _Row, metrics: Sequence[str], classes: list[str]) -> dict[str, Any]:
    """Every metric of every class, with its interval."""
    columns: dict[str, Any] = {}
    for key in metrics:
        for name in classes:
            estimate = row.of_class.get((key, name))
            columns[f"{key}: {name}"] = estimate.value if estimate else None
            columns[f"{key}_low: {name}"] = estimate.low if estimate else None
            columns[f"{key}_high: {name}"] = estimate.high if estimate else None
    return columns


def _arm_columns(row: _Row, classes: list[str], task: Task) -> dict[str, Any]:
    """What the row was trained on, means over seeds: frames, with each class; or clips and their queries."""
    counts = [cell.counts for cell in row.cells if cell.counts]
    cards = [cell.card for cell in row.cells if cell.card]
    columns: dict[str, Any] = {
        "model": _common([card.get("model") for card in cards]),
        "sampling": _common([(card.get("sampling") or {}).get("kind") for card in cards]),
    }
    if task.samples == "clips":
        return columns | {key: _mean([one[key] for one in counts]) for key in ("clips", "queries")}
    return columns | {"frames": _mean([one["frames"] for one in counts])} | _count_columns(counts, classes)


def _cost_columns(row: _Row) -> dict[str, Any]:
    """What the row took, also where it has no score: cost does not vanish by divergence."""
    cards = [cell.card for cell in row.cells if cell.card]
    return {
        "iterations": _mean([card.get("iterations") for card in cards]),
        "train_seconds": sum(float(card.get("seconds", 0.0)) for card in cards) if cards else None,
        "attempts": sum(int(card.get("attempts", 1)) for card in cards) if cards else None,
    }


def _count_columns(counts: Sequence[dict[str, Any]], classes: list[str]) -> dict[str, Any]:
    """Per class, means over seeds: frames with it in the arm, frames asked for (a control asks for none), its instances."""
    columns: dict[str, Any] = {}
    for title, key in {"frames": "frames", "requested": "requested_frames", "instances": "instances"}.items():
        for name in classes:
            columns[f"{title}: {name}"] = _mean([one["classes"].get(name, {}).get(key) for one in counts])
    return columns


def _common(values: Sequence[Any]) -> Any:
    """What all values are, or None."""
    return values[0] if len(set(values)) == 1 else None


def _floor_note(rows: Sequence[_Row], floor: int | None) -> list[str]:
    if floor is None:
        return ["This board has no floor with a score: nothing here says what can be had without looking."]
    return [
        f"Floor: {rows[floor].variant}, the best row that does not learn from pixels. “above floor: yes”: clearly better "
        "than it, by the same rule."
    ]


_ARMS = {
    "frames": "Frames: training frames of the row's arm, in all and with the class in them (mean over seeds).",
    "clips": "Clips, queries: what the row's arm holds for training (mean over seeds).",
}


def _row_notes(rows: Sequence[_Row], board: Board, task: Task, evaluate: EvaluateSettings) -> list[str]:
    notes = [] if board.metric != "F1" else [f"F1 counts detections with a score of at least {evaluate.f1_threshold:g}."]
    if any(cell.counts for row in rows for cell in row.cells):
        notes.append(_ARMS[task.samples])
    notes.append("Training time: all seeds and all attempts together, failed ones included.")
    for row in rows:
        for cell in row.scored:
            said = [*(cell.card or {}).get("warnings", ()), *cell.scores.get("warnings", ())]
            notes += [f"{row.variant}: {text}." for text in said]
    return list(dict.fromkeys(notes))
