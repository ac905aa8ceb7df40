"""Finding out what is known of a training: its records, its files' times, its process, and what Slurm says. Read-only.

Whatever is missing, cut or damaged counts as not known; nothing here raises for it. Not here: what follows (states.py).
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil

from lib.files import DataError, read_json
from lib.runs import running, slurm
from lib.runs.slurm import Job
from lib.status.cells import Cell, wanted_fingerprint
from lib.status.states import RUNNING, Attempt, Evidence, Model

BEAT_LATE_S = 120.0
"""A heartbeat is written every 10 s; a file server may show it a minute late."""
AHEAD_S = 60.0
"""A sign of life that lies further in the future than this is of another clock, and tells nothing."""
_SAME_START_S = 5.0
_TRAININGS = "rule_train_wildcards_"
_RUN_ID = re.compile(r"SLURM run ID: (\S+)")
_HEAD_BYTES = 262_144
_LOGS_READ = 100
Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What Slurm says at one moment; none = it is not here, or there was nothing to ask.

    runs: names of the jobs of this folder's runs, oldest first.
    """

    kind: Literal["answers", "silent", "none"] = "none"
    listed: tuple[Job, ...] = ()
    numbered: Mapping[str, Job] = field(default_factory=dict)
    runs: tuple[str, ...] = ()

    def job(self, number: str | None, comment: str) -> Job | None:
        """The job of a record, unless its comment says that the number stands for another job by now."""
        found = self.numbered.get(number or "")
        if found is None or found.comment == comment or not found.comment.startswith("rule_"):
            return found
        group = found.name in self.runs and not found.comment.startswith(_TRAININGS)  # several jobs of ours in one
        return found if group else None

    def queued(self, comment: str, but: str | None) -> Job | None:
        """The newest job of this folder's runs with a comment, ended ones of earlier runs left out."""
        mine = [one for one in self.listed if one.comment == comment and one.id != but and one.name in self.runs]
        alive = [one for one in mine if one.active]
        return max(alive or [one for one in mine if one.name == self.runs[-1]], key=_number, default=None)


def _number(job: Job) -> int:
    return int(re.split(r"\D", job.id)[0] or 0)


@dataclass(frozen=True, kw_only=True)
class Records:
    """What a training's folder holds: the attempts, oldest first, the owner, the model; {} for what is not there."""

    attempts: tuple[Facts, ...] = ()
    owner: Facts = field(default_factory=dict)
    model: Facts = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)  # of owner.json and the history, s since 1970

    @property
    def last(self) -> Facts:
        """The attempt that counts: the last one, or the owner's, whose record may be late."""
        last = self.attempts[-1] if self.attempts else {}
        if self.owner and self._owners_attempt() > _whole(last.get("attempt")):
            return {**self.owner, "attempt": self._owners_attempt(), "cause": RUNNING, "start": self.owner.get("since")}
        return last

    @property
    def owned(self) -> bool:
        """Whether owner.json is of the attempt that counts."""
        return bool(self.owner) and self._owners_attempt() >= _whole(self.last.get("attempt"))

    def _owners_attempt(self) -> int:
        """The number of the attempt that the owner is at; one that names none yet is about to begin the next."""
        told = self.owner.get("attempt")
        return _whole(told) if told is not None else _whole(self.attempts[-1].get("attempt") if self.attempts else 0) + 1

    @property
    def job(self) -> str | None:
        number = (self.owner if self.owned else {}).get("job") or self.last.get("job")
        return str(number) if number else None


def read_records(folder: Path) -> Records:
    """Everything that the folder of a training says."""
    places = {"owner": folder / "owner.json", "history": folder / "state/history.csv"}
    times = {}
    for name, path in places.items():
        with suppress(OSError):
            times[name] = path.stat().st_mtime
    numbered = [path for path in folder.glob("attempts/*.json") if path.stem.isdecimal()]
    attempts = []
    for path in sorted(numbered, key=lambda path: int(path.stem)):
        attempts.append({"cause": "unreadable", **_facts(path), "attempt": int(path.stem)})
    owner = _facts(places["owner"])
    if not owner.get("host") or owner.get("released"):
        owner = {}
        times.pop("owner", None)
    return Records(attempts=tuple(attempts), owner=owner, model=_facts(folder / "model.json"), times=times)


def _facts(path: Path) -> Facts:
    """A JSON object, {} when it is not there or none."""
    try:
        found = read_json(path)
    except (DataError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def ask_slurm(numbers: Iterable[str], folder: Path, *, timeout_s: float = slurm.TIMEOUT_S) -> Cluster:
    """What Slurm says of these jobs and of this user's queue. folder: the working directory of the runs.

    It is not asked where no record and no run of the folder knows of a job: without its controller that takes 9 s.
    """
    numbers, runs = set(numbers), run_ids(folder)
    if not slurm.installed() or not (numbers or runs):
        return Cluster(runs=runs)
    listed = slurm.queued(timeout_s=timeout_s)
    if listed is None:  # sacct has a server of its own
        found = slurm.accounted(numbers, timeout_s=timeout_s)
        return Cluster(kind="silent", numbered={job.id: job for job in found or ()}, runs=runs)
    numbered = slurm.known_among(listed, numbers, timeout_s=timeout_s)
    return Cluster(kind="answers", listed=tuple(listed), numbered=numbered, runs=runs)


def run_ids(folder: Path) -> tuple[str, ...]:
    """Names that the Slurm jobs of a folder's runs have, by Snakemake's logs and the records of runs, oldest first."""
    found = []
    for path in sorted((folder / ".snakemake/log").glob("*.snakemake.log"))[-_LOGS_READ:]:
        with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            found += _RUN_ID.findall(file.read(_HEAD_BYTES))
    with suppress(DataError):
        found += [name for run in running.runs(folder / running.RUNS) if (name := getattr(run, "jobs_name", ""))]
    return tuple(dict.fromkeys(found))


def look(cell: Cell, records: Records, cluster: Cluster, root: Path, now: float | None = None) -> Evidence:
    """All that is known of a training. root: the working directory of the runs; now: s since 1970."""
    now = time.time() if now is None else now
    last, job = records.last, records.job
    known = cluster.job(job, cell.comment)
    quiet, skew = quiet_for(records, now)
    return Evidence(
        model=_model(records.model),
        wanted=wanted_fingerprint(cell, root),
        missing=tuple(path for path in cell.inputs if not (root / path).exists()),
        attempt=_attempt(last),
        host=str(last.get("host", "")),
        process=process_of(records),
        quiet_s=quiet,
        skew=skew,
        patience_s=BEAT_LATE_S if records.owned else max(BEAT_LATE_S, cell.stall_s),
        slurm=cluster.kind,
        job=job,
        known=known,
        queued=cluster.queued(cell.comment, job),
    )


def _model(facts: Facts) -> Model | None:
    if not facts:
        return None
    return Model(status=str(facts.get("status", "finished")), fingerprint=facts.get("fingerprint"))


def _attempt(facts: Facts) -> Attempt | None:
    if not facts:
        return None
    return Attempt(
        number=_whole(facts.get("attempt")),
        cause=str(facts.get("cause", "unknown")),
        fingerprint=facts.get("fingerprint"),
        error=str(facts.get("error", "")),
    )


def process_of(records: Records) -> Literal["alive", "gone", "elsewhere", "untold"]:
    """Whether the process that trains is there, as far as this host can see; a reused number is another process."""
    last = records.last
    facts = records.owner if records.owned else last
    if not facts or not _whole(facts.get("pid")) or not facts.get("host"):
        return "untold"
    if facts["host"] != socket.gethostname() or facts.get("space", _space()) != _space():
        return "elsewhere"
    begun = moment(last.get("start"))
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(_whole(facts["pid"]))
        created = process.create_time()
        if isinstance(facts.get("started"), int | float):
            same = abs(created - facts["started"]) < _SAME_START_S
        else:
            same = begun is None or created <= begun + _SAME_START_S
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return "alive"
    return "gone"


def _space() -> str:
    """This process' namespace of process numbers: in another one (a container), the same number is another process."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def quiet_for(records: Records, now: float) -> tuple[float | None, str]:
    """s since the newest sign of life, None without a usable one; and what is odd about the clocks, "" = nothing.

    Signs are the heartbeat, the times of owner.json and of the history, the attempt's last note. Those of another host's
    clock that lie in the future are not usable.
    """
    last, host = records.last, records.last.get("host", "the other host")
    signs = [moment(last.get("end")), moment(last.get("start")), *records.times.values()]
    if records.owned:
        signs.append(moment(records.owner.get("beat")))
    told = [one for one in signs if one is not None]
    usable = [one for one in told if one <= now + AHEAD_S]
    ahead = max(told, default=now) - now
    skew = f"the clock of {host} is {ahead:.0f} s ahead of this one" if ahead > AHEAD_S else ""
    return (max(0.0, now - max(usable)) if usable else None), skew


def moment(text: Any) -> float | None:
    """An ISO time in s since 1970; without a zone it is UTC. None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _whole(value: Any) -> int:
    """A whole number, 0 for anything else."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
