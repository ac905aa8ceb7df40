"""Failures done on purpose to trainings on a real Slurm: what became of each, and what `status --failed` called it.

Each case is a run of its own on the throw-away cluster (tests/slurm/injections.py lists them): time limit, memory, scancel,
sbatch refused, a killed driver, a half-written history, a job that squeue forgets, a node that dies or is lost with its
training alive, preemption with requeue and with cancel, a controller that restarts. In every other round the profile's
retries bring the training to its end; in those between nothing is tried again, `status --failed` is asked for the
cause, and the same command is typed again. No peer: what is counted is what went wrong.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.benchmarks.measure import Result, Row, main
from tests.slurm import cluster
from tests.slurm.injections import KINDS, LONGER, Bench, Outcome
from tests.workflow.test_own_task import TARGET, Copy

ROUNDS = {"tiny": 0, "small": 1, "full": 3}
RETRIES = 3
ENOUGH = 0.95
"""Share of failures whose class has to be right."""


def measure(size: str) -> Result:
    """Run the rounds; tiny runs none (tests/slurm runs the cases)."""
    outcomes: list[Outcome] = []
    if ROUNDS[size]:
        stood = cluster.answers()
        cluster.up()
        try:
            outcomes = run(ROUNDS[size])
        finally:
            if not stood:
                cluster.down()
    return told(outcomes)


def run(rounds: int) -> list[Outcome]:
    """All kinds once per round, in rounds with retries and without in turns."""
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="vipersight-failures-") as base:
        local = Copy(Path(base) / "local")
        local.run("--", TARGET)
        bench = Bench(Path(base), local.folder)
        for number in range(rounds):
            found += bench.round((*KINDS, *LONGER), number, retries=0 if number % 2 else RETRIES)
            for one in found[-len(KINDS) - len(LONGER) :]:
                print(f"  {number + 1}/{rounds} {one}", file=sys.stderr, flush=True)
    return found


def told(outcomes: list[Outcome]) -> Result:
    """The counts, by kind and together."""
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        by_kind[one.kind].append(one)
    rows = [
        Row(f"{kind}: {len(some)} tried, {_s(sum(one.attempts for one in some), 'attempt')}: not finished right",
            sum(not one.right for one in some), unit="runs", spread=_said(some))
        for kind, some in by_kind.items()
    ]  # fmt: skip
    classed = [one for one in outcomes if one.said]
    share = sum(one.as_it_was for one in classed) / len(classed) if classed else 1.0
    none = ("<=", 0)
    rows += [
        Row(
            f"all {len(outcomes)}: wrong", sum(not one.right and not one.lost for one in outcomes), unit="runs", target=none
        ),
        Row(f"all {len(outcomes)}: lost", sum(one.lost for one in outcomes), unit="runs", target=none),
        Row(f"all {len(outcomes)}: trained twice", sum(one.twice for one in outcomes), unit="runs", target=none),
        Row(f"cause right, of {len(classed)} asked for", share, unit="share", target=(">=", ENOUGH)),
    ]
    notes = [f"{one.kind}: {one.why or 'lost'}" for one in outcomes if one.why or one.lost]
    notes += [
        "Right: the weights of a training that nothing interrupted, bit for bit, and no two attempts at a time. Lost: no "
        "model at the end, or begun anew in spite of a saved state.",
        "`job gone from squeue` and PREEMPTED by cancel are ends that Snakemake's plugin may never see: `status` names "
        "them, Ctrl-C and the same command go on.",
    ]
    return Result("Failures on a real Slurm", rows, {"cases": len(outcomes)}, notes)


def _said(outcomes: list[Outcome]) -> str:
    """What status called them, and what Slurm did."""
    words = sorted({one.said for one in outcomes if one.said} | {one.notes for one in outcomes if "Slurm" in one.notes})
    return ", ".join(words)


def _s(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    main(measure, "failures")
