"""`score grounding`: official truth and ranked windows become the official numbers. Not here: the file checks
(…_files.py), metrics.

Each format is scored by its own convention. ego4d_nlq: IoU > θ, as EGO4D's evaluate_ego4d_nlq; tacos: IoU > θ, as 2D-TAN's
evaluator, whose JSON it is; charades: IoU ≥ θ, as TALL's (the authors of Charades-STA); qvhighlights: IoU ≥ θ with average
precision, as moment_detr's standalone_eval. `official` holds the numbers that these print, in percent with two decimals.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lib.scoring.grounding_files import Answers, Truth

HELP = "windows in time: Ego4D NLQ, QVHighlights, Charades-STA and TACoS, each by its own rule"


@dataclass(frozen=True)
class Convention:
    """How a format is scored by recall: which K and IoU thresholds, and what a hit is (as its own evaluator has it)."""

    thresholds: tuple[float, ...]
    rule: Literal[">", ">="]
    ks: tuple[int, ...] = (1, 3, 5)


RECALLS = {
    "ego4d_nlq": Convention((0.3, 0.5, 0.7), ">"),
    "charades": Convention((0.3, 0.5, 0.7), ">="),
    "tacos": Convention((0.1, 0.3, 0.5, 0.7), ">"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The task's own arguments."""
    parser.add_argument("--format", choices=[*RECALLS, "qvhighlights"], required=True, help="format of both files")
    parser.add_argument("--truth", type=Path, required=True, metavar="FILE", help="annotations as the data set ships them")
    parser.add_argument(
        "--predictions",
        type=Path,
        required=True,
        metavar="FILE",
        help="challenge submission, JSON lines (qvhighlights), or {video: [[[start, end], …] per sentence]} in s",
    )
    parser.add_argument(
        "--partial", action="store_true", help="score the queries that have an entry; without it a missing one is refused"
    )


def score(given: argparse.Namespace) -> dict[str, Any]:
    """The format's numbers (0–1), those that its official evaluator prints, and what they are of. Raises DataError."""
    from lib.scoring.grounding_files import matched, require_annotated

    read_truth, read_answers = _readers(given.format)
    whole = read_truth(given.truth)
    answers = read_answers(given.predictions, whole)
    truth, unscored = require_annotated(given.truth, whole)
    scored, warnings = matched(given.predictions, truth, answers, partial=given.partial)
    needed = sum(query.needed for query in truth.values())
    values: dict[str, Any] = {
        "task": "grounding",
        "format": given.format,
        "queries": needed,
        "scored": len(scored),
        "coverage": sum(query.needed for query in scored.values()) / needed if needed else 1.0,
        "windows": int(sum(len(answers[key]) for key in scored)),
    }
    values |= _moments(scored, answers) if given.format == "qvhighlights" else _recalls(given.format, scored, answers)
    return values | {"warnings": [*unscored, *warnings, *_beyond(given, scored, answers)]}


def _beyond(given: argparse.Namespace, truth: Truth, answers: Answers) -> list[str]:
    """A warning where a query has more windows than count for a score by recall."""
    most = max(RECALLS[given.format].ks) if given.format in RECALLS else None
    many = [key for key in truth if most is not None and len(answers[key]) > most]
    if not many:
        return []
    first = f"first: query {many[0][1]} of {many[0][0]}, {len(answers[many[0]])} windows"
    return [
        f"{given.predictions}: {len(many)} queries have more than {most} windows, of which the first {most} count ({first})"
    ]


def _readers(name: str) -> tuple[Callable[[Path], Truth], Callable[[Path, Truth], Answers]]:
    from lib.scoring import ego4d_nlq_files, qvhighlights_files, sentence_files

    return {
        "ego4d_nlq": (ego4d_nlq_files.read_truth, ego4d_nlq_files.read_submission),
        "qvhighlights": (qvhighlights_files.read_truth, qvhighlights_files.read_predictions),
        "charades": (sentence_files.read_charades, sentence_files.read_predictions),
        "tacos": (sentence_files.read_tacos, sentence_files.read_predictions),
    }[name]


def _recalls(name: str, truth: Truth, answers: Answers) -> dict[str, Any]:
    from lib.metrics.grounding import evaluate
    from lib.scoring.grounding_files import tables

    how = RECALLS[name]
    scores, _ = evaluate(*tables(truth, answers), ks=how.ks, thresholds=how.thresholds, rule=how.rule)
    metrics = scores["metrics"]
    return {
        "hit": f"IoU {how.rule} threshold",
        "official": {key: _percent(value) for key, value in metrics.items()},
        "metrics": metrics,
        "per_template": scores["per_class"],
        "per_length": scores["per_length"],
    }


def _moments(truth: Truth, answers: Answers) -> dict[str, Any]:
    from lib.metrics.grounding import means
    from lib.metrics.qvhighlights import RANGES, metric_names, per_query

    rows = per_query([answers[key] for key in truth], [query.windows for query in truth.values()])
    metrics = {name: means(rows, metric_names(name)) for name in RANGES}
    official = {}
    for name, values in metrics.items():
        plain = {key.replace(f"_{name}", ""): value for key, value in values.items()}
        shown = ("mAP", "mAP@0.5", "mAP@0.75", "R1@0.5", "R1@0.7") if name == "full" else ("mAP",)
        official |= {f"MR-{name}-{key}": _percent(plain[key]) for key in shown}
    counts = {name: int(rows[metric_names(name)[0]].notna().sum()) for name in RANGES}
    return {
        "hit": "IoU >= threshold",
        "official": official,
        "metrics": {key: value for values in metrics.values() for key, value in values.items()},
        "queries_with_window": counts,
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)
