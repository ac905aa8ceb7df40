"""What a tuning leaves for people: trials.csv, best.yaml, tuning.json. Not here: the picture (lib/reporting/tuning.py)."""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lib.config.new_variants import parse_new, with_new
from lib.config.overrides import Value
from lib.config.study import Study
from lib.config.sweeps import taken_out
from lib.files import csv_cell, write_json, write_text
from lib.provenance import commit
from lib.tuning.question import Member, Question, new_text


def row_of(
    question: Question,
    number: int,
    state: str,
    facts: Mapping[str, Any],
    values: Mapping[str, Value],
    scores: Mapping[int, float],
) -> dict[str, Any]:
    """One trial as a row: its state, its score at the largest budget that it was trained at, the scores of all its rungs.

    facts: variant, status, seconds by level, cause, as far as they are known. scores: step of Optuna → score on val; where
    a training diverged, its cell stays empty.
    """
    by_rung = {rung: score for rung in question.rungs if (score := scores.get(question.factor**rung.level)) is not None}
    reached = max(by_rung, key=lambda rung: rung.level, default=None)
    shown = {rung: score for rung, score in by_rung.items() if math.isfinite(score)}
    seconds = facts.get("seconds")
    return {
        "trial": number,
        "state": state,
        question.metric: shown.get(reached),
        "budget": None if reached is None else reached.amount,
        **{f"{question.metric} at {rung}": shown.get(rung) for rung in question.rungs},
        **{place: values[place].value if place in values else None for place in question.space},
        "variant": facts.get("variant"),
        "seconds": None if seconds is None else round(sum(seconds.values()), 2),
        "cause": facts.get("cause") or (facts.get("status") if state == "diverged" else None),
    }


def write_trials(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """All trials as a csv table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["trial"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def write_best(
    question: Question,
    best: Mapping[str, Any],
    member: Member,
    *,
    stated: Mapping[str, Any],
    new: str | None,
    study: Study,
    run: Sequence[str],
    trials: int,
    path: Path,
) -> None:
    """The best trial as a settings file to be laid over the study's own: a variant beside its base on the boards.

    best: its row. stated: the study's settings as they are written, sweeps not expanded; new: the text of `new=` on top of
    them; study: what both mean. run: the command that takes this file.
    """
    settings: dict[str, Any] = {}
    if member.name in study.variants:
        note = ["# It is a member of the study's own search already, and stands on its boards."]
    else:
        note = []
        plain, _, _ = taken_out(stated)
        typed = parse_new(new) if new else []
        added, _ = with_new(plain, study, [*typed, *parse_new(new_text(question.variant, [member]))])
        again = {one.name for one in typed}  # the run's own `new=` puts these on the boards
        boards = {
            name: {"variants": [row for row in block["variants"] if row not in again]}
            for name, block in (added.get("boards") or {}).items()
            if member.name in (block.get("variants") or ())
        }
        settings = {"variants": {member.name: added["variants"][member.name]}} | ({"boards": boards} if boards else {})
    head = [
        f"# The best of {trials} trials of {question.variant} by {question.scored_by}: trial {best['trial']}, "
        f"{best[question.metric]:.4g}.",
        "# The best of many is partly luck on val; what it is worth, its boards say on test. Nothing is trained again:",
        f"#   {shlex.join(run)}",
        *note,
    ]
    body = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)
    write_text(path, "\n".join(head) + "\n" + body)


def write_facts(
    question: Question,
    rows: Sequence[Mapping[str, Any]],
    best: Mapping[str, Any] | None,
    *,
    command: Sequence[str],
    path: Path,
) -> None:
    """The question, how many trials ended how, the best, and the command and commit that made them."""
    states = [row["state"] for row in rows]
    write_json(
        path,
        {
            "study": question.study,
            "question": question.facts(),
            "split": "val",
            "trials": {state: states.count(state) for state in sorted(set(states))},
            "best": None if best is None else dict(best),
            "command": shlex.join(command),
            "code": commit(),
        },
    )
