"""Adding one variant to a finished study: the jobs and seconds that it takes, beside the full run.

Small sizes run the tests' tiny study, `full` the demo. What is added is the same model on a new arm, and it joins the
board. Everything happens in a temporary folder.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from lib.config.study import DEFAULT_CONFIG, load_study
from lib.provenance import PROJECT
from tests.benchmarks.measure import Result, Row, child, main
from tests.workflow.conftest import TINY

ADDED = "added-arm"


def addition(files: list[Path]) -> dict[str, Any]:
    """Settings laid over a study: an arm like one that a board's first trained variant has, with fewer persons."""
    study = load_study(files)
    name, board = next(iter(study.score_boards.items()))
    like = next(one for one in board.variants if study.variants[one].kind == "model")
    shardset = study.arms[study.variants[like].arm].shardset
    arm = {"shardset": shardset, "background": "all", "fractions": {"person": 0.4}, "mode": "exclusive"}
    return {
        "arms": {ADDED: arm},
        "variants": {ADDED: {"arm": ADDED, "size": "tiny"}},
        "boards": {name: {"variants": [*board.variants, ADDED]}},
    }


class Site:
    """A folder in which a study runs."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        base = ["-m", "snakemake", "-c2", "--snakefile", PROJECT / "Snakefile", "--directory", folder, "--configfile"]
        self.command = [sys.executable, *map(str, [*base, *files])]

    def planned(self) -> int:
        """Jobs that a dry run would do, `all` left aside."""
        done = subprocess.run([*self.command, "--dry-run", "--quiet", "rules"], cwd=PROJECT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        counts = re.findall(r"^(\w+)\s+(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        return sum(int(count) for rule, count in counts if rule not in ("total", "all"))

    def finish(self) -> tuple[float, float]:
        """Run it to its end: (wall clock s, CPU s)."""
        spent = child(self.command)
        return spent.wall, spent.cpu


def measure(size: str) -> Result:
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        folder = Path(name)
        base = DEFAULT_CONFIG
        if size != "full":
            base = folder / "tiny.yaml"
            base.write_text(yaml.safe_dump(TINY, sort_keys=False))
        more = folder / "more.yaml"
        more.write_text(yaml.safe_dump(addition([base])))
        whole, grown = Site(folder, [base]), Site(folder, [base, more])
        jobs = whole.planned()
        if size == "tiny":
            more_jobs, seconds, added = grown.planned() - jobs, None, None
        else:
            seconds = whole.finish()
            again, more_jobs = whole.planned(), grown.planned()
            added = grown.finish()
    result = Result(f"Adding one variant to the finished {'demo' if size == 'full' else 'tiny study'}")
    result.rows.append(Row("jobs, beside a full run", more_jobs, jobs, "jobs"))
    if seconds is None or added is None:
        result.notes.append("Planned only: the study was not run, so the boards' new runs are not among the added jobs.")
        return result
    result.facts["jobs of the finished study"] = again
    for place, figure in enumerate(("wall", "CPU")):
        result.rows.append(Row(f"{figure}, beside a full run", added[place], seconds[place]))
    return result


if __name__ == "__main__":
    main(measure, "add_variant")
