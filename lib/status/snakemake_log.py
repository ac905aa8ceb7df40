"""What Snakemake's own logs say of jobs: which began, which failed, where their logs are. Not here: why they failed.

They lie in .snakemake/log of the working directory, one per run; only the end of a huge one is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lib.reporting.triage import tail_of

_LOGS_READ = 30
_BYTES = 16 << 20
_BLOCK = re.compile(r"^(?:(?P<error>Error in )(?:local)?rule|(?:local)?rule|checkpoint) (?P<rule>\w+):\s*$")
_FACT = re.compile(r"^ {4}(?P<key>message|output|log|jobid|external_jobid): (?P<value>.*)$")
_STATUS = re.compile(r"returned non-zero exit status (\d+)")
_CHECK = " (check log file(s) for error details)"


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a log says last of a job: that it began, or failed. outputs and logs as the rule names them; message: what the
    executor says of it (that sbatch refused it)."""

    rule: str
    failed: bool
    outputs: tuple[str, ...]
    logs: tuple[str, ...] = ()
    slurm_job: str | None = None
    exit_status: int | None = None
    message: str = ""


class Events:
    """The last events of a working directory's jobs; read again only where a log has grown."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[int, list[Event]]] = {}

    def read(self, root: Path) -> dict[str, Event]:
        """First output of a job → what was said of it last, over all runs of a working directory."""
        found: dict[str, Event] = {}
        for path in sorted((root / ".snakemake/log").glob("*.snakemake.log"))[-_LOGS_READ:]:
            with suppress(OSError):
                size = path.stat().st_size
                if path not in self._read or self._read[path][0] != size:
                    self._read[path] = (size, events(tail_of(path, _BYTES).splitlines()))
                found |= {event.outputs[0]: event for event in self._read[path][1]}
        return found


def events(lines: Iterable[str]) -> list[Event]:
    """The blocks of jobs in a log, in order; groups of jobs are told by their members."""
    found: list[Event] = []
    rule, failed, facts, status = "", False, {}, None

    def close() -> None:
        outputs = _words(facts.get("output", ""))
        if rule and outputs:
            exit_status = status if failed else None
            logs = _words(facts.get("log", "").removesuffix(_CHECK))
            message = facts.get("message", "").removeprefix("None").strip() if failed else ""
            found.append(Event(rule=rule, failed=failed, outputs=outputs, logs=logs, message=message,
                               slurm_job=facts.get("external_jobid"), exit_status=exit_status))  # fmt: skip

    for line in lines:
        if code := _STATUS.search(line):
            status = int(code[1])
        if begins := _BLOCK.match(line):
            close()
            rule, failed, facts = begins["rule"], begins["error"] is not None, {}
        elif (fact := _FACT.match(line)) and rule:
            facts.setdefault(fact["key"], fact["value"])
        elif failed and "output" not in facts and line[:1] not in ("", " ", "["):
            facts["message"] = f"{facts.get('message', '')}\n{line}"  # it has several lines, not indented
        elif rule and line and not line.startswith(" "):
            close()
            status = None if failed else status
            rule, facts = "", {}
    close()
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(", ") if part)
