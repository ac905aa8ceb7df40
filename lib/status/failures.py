"""Which jobs of a study failed, and why: trainings by their state, other stages by Snakemake's logs. Not here: telling
causes apart (lib/reporting/triage.py), the text for a person (failures_text.py).

A stage counts as failed only when the last thing that Snakemake said of it is an error and its output is not there; where
these logs are gone, when nothing runs, its log ends in an error and nothing of its output is there. What merely has not run
is never failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.reporting.triage import ADVICE, Verdict, classify, tail_of
from lib.reporting.triage_patterns import CANCELLED, PREEMPTED, STALL, UNKNOWN
from lib.reporting.triage_patterns import DIVERGED as NO_NUMBER
from lib.runs.slurm import preempted
from lib.status import states
from lib.status.overview import Overview, Row
from lib.status.snakemake_log import Event

_SIGNALLED = {137: "killed", 143: "cancelled", 130: "cancelled"}
"""Exit status of a shell whose program was ended by a signal → the cause, where its log says nothing."""
SLURM_LOGS = ("results/logs/slurm", ".snakemake/slurm_logs")
"""Where Slurm writes what it says of jobs: by profiles/slurm, and by the plugin's own default."""
_SHOWN_STATES = (states.FAILED, states.STOPPED, states.STALLED, states.DIVERGED)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One job that failed: stage and name, the verdict, its log (None: there is none), the file that a retry asks for."""

    stage: str
    name: str
    state: str
    verdict: Verdict
    log: Path | None
    target: str

    def plain(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "name": self.name,
            "state": self.state,
            "cause": self.verdict.cause,
            "line": self.verdict.line,
            "retry": self.verdict.retry,
            "advice": self.verdict.advice,
            "log": str(self.log) if self.log else None,
            "target": self.target,
        }


def find_failures(overview: Overview, root: Path, *, narrowed: bool = False) -> list[Failure]:
    """All failures, those of trainings first, each group in the order of the study and of the logs.

    narrowed: the overview has not all rows of the study; of other stages then only those of its variants are told.
    """
    told = overview.told
    trainings = [of_training(row, root, told) for row in overview.rows if row.state.name in _SHOWN_STATES]
    idle = not any("a run is active" in line or "another host" in line for line in overview.drivers)
    stages = of_stages(told, root) if told else of_logs(root) if idle else []
    variants = {row.cell.variant for row in overview.rows}
    return [*trainings, *(one for one in stages if not narrowed or variants & set(Path(one.target).parts))]


def of_training(row: Row, root: Path, told: Mapping[str, Event]) -> Failure:
    """Why a training failed, stopped, stalled or diverged."""
    cell, last = row.cell, row.records.last
    event = next((one for path, one in told.items() if path.startswith(f"{cell.folder}/")), None)
    logs = training_logs(row, event)
    text = _said(logs, root, event)
    if row.state.name == states.DIVERGED:
        verdict = Verdict(NO_NUMBER, row.state.why)
    elif row.state.name == states.STALLED:
        verdict = Verdict(STALL, row.state.why)
    else:
        cause = row.state.cause if row.state.cause in ADVICE or last.get("cause") == states.RUNNING else last.get("cause")
        slurm = row.told.ended_by if row.told is not None and not row.told.active else None
        verdict = classify(told=cause, error=str(last.get("error") or row.state.why), slurm=slurm, log=text)
        if verdict.cause == CANCELLED and row.told is not None and preempted(row.told.id):  # told: Slurm answers
            verdict = Verdict(PREEMPTED, verdict.line)
        if verdict.cause == UNKNOWN and row.state.why:
            verdict = Verdict(UNKNOWN, _both(row.state.why, verdict.line))
    log = next((one for one in logs if (root / one).is_file()), None)
    target = str(cell.folder / "model.json")
    return Failure(stage="train", name=cell.name, state=row.state.name, verdict=verdict, log=log, target=target)


def _both(why: str, line: str) -> str:
    return why if line == "its log is empty" else f"{why}: {line}"


def _said(logs: Sequence[Path], root: Path, event: Event | None) -> str:
    """The ends of a job's logs, the program's own words last, and what Snakemake's executor says of it."""
    return "\n".join([*(tail_of(root / one) for one in reversed(logs)), event.message if event else ""])


def training_logs(row: Row, event: Event | None) -> list[Path]:
    """Logs of a training, its program's first, then what Slurm wrote of its job."""
    cell = row.cell
    found = [cell.log, *(Path(one) for one in (event.logs if event else ()) if Path(one) != cell.log)]
    if row.job:
        name = f"rule_train/{cell.dataset}_{cell.variant}_{cell.seed}/{row.job}.log"
        found += [Path(folder, name) for folder in SLURM_LOGS]
    return list(dict.fromkeys(found))


def of_stages(told: Mapping[str, Event], root: Path) -> list[Failure]:
    """Failures of stages other than train: an error was said last, and an output is not there."""
    found = []
    for first, event in told.items():
        if event.rule == "train" or not event.failed or all((root / one).exists() for one in event.outputs):
            continue
        found.append(_stage(event.rule, first, [Path(one) for one in event.logs], root, event))
    return found


def of_logs(root: Path) -> list[Failure]:
    """The same from results/logs alone: a log that ends in an error, and nothing beside its name in results/."""
    found = []
    base = root / "results/logs"
    for path in sorted(base.glob("*/**/*.log")):
        place = path.relative_to(base)
        if place.parts[0] in ("train", "slurm") or _is_made(root / "results" / place.with_suffix("")):
            continue
        failure = _stage(place.parts[0], f"results/{place.with_suffix('')}", [path.relative_to(root)], root)
        if failure.verdict.cause != UNKNOWN or tail_of(path).rstrip().rpartition("\n")[2].startswith("error: "):
            found.append(failure)
    return found


def _is_made(stem: Path) -> bool:
    """Whether anything lies at the place that a log is named after: a folder, or a file with any suffix."""
    return stem.exists() or any(stem.parent.glob(f"{stem.name}.*"))


def _stage(rule: str, target: str, logs: Sequence[Path], root: Path, event: Event | None = None) -> Failure:
    text, signalled = _said(logs, root, event), _SIGNALLED.get(event.exit_status or 0) if event else None
    verdict = classify(log=text)
    if verdict.cause == UNKNOWN and signalled:
        verdict = classify(told=signalled, log=text)
    log = next((one for one in logs if (root / one).is_file()), None)
    name = target.removeprefix("results/")
    return Failure(stage=rule, name=name, state=states.FAILED, verdict=verdict, log=log, target=target)


def grouped(failures: Iterable[Failure]) -> dict[str, list[Failure]]:
    """Cause → its failures, in the order of ADVICE."""
    listed = list(failures)
    groups = {cause: [one for one in listed if one.verdict.cause == cause] for cause in ADVICE}
    return {cause: group for cause, group in groups.items() if group}
