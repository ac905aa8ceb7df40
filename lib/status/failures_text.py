"""The failures of a study for a person: by cause, with the line that says so, the log, and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lib.reporting.triage import ADVICE
from lib.status.failures import Failure, grouped

MOST = 8
"""Failures of one cause that are listed."""


def by_cause(failures: Sequence[Failure], words: Sequence[str] = ("snakemake", "-c2")) -> str:
    """Several lines; words: how the next command begins."""
    if not failures:
        return "No failure: nothing has failed, stalled, stopped or diverged."
    parts = []
    for cause, group in grouped(failures).items():
        retry, advice = ADVICE[cause]
        lines = [f"{cause} ({len(group)}): {'a retry makes sense' if retry else 'no retry as it is'}; {advice}"]
        for one in group[:MOST]:
            lines.append(f"  {one.stage} {one.name}" + ("" if one.state == "failed" else f" ({one.state})"))
            lines.append(f"    {one.verdict.line}")
            lines += [f"    log: {one.log}"] if one.log else []
        if len(group) > MOST:
            lines.append(f"  … and {len(group) - MOST} more")
        first = "next: " if retry else "then: "
        lines.append(f"  {first}{next_command(group, words)}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def next_command(group: Sequence[Failure], words: Sequence[str]) -> str:
    """The command that makes the outputs of a group; of many, or after a kill, the one that makes all."""
    targets = [one.target for one in group]
    return shlex.join([*words, *(("--", *targets) if len(targets) <= 3 and words[0] == "snakemake" else ())])
