"""What `plan` says that a study will cost, beside what it then took.

Tiny studies of the synthetic world run one after the other, each with another seed, size, length of training and number of
videos, each in a folder of its own. From the fourth on each is priced from the earlier ones' records, then run. Asked is:
how many jobs lie in their 80 % interval, how wide the intervals are, and how far the medians of the totals are off. Peer:
the mean seconds of each rule's records, whatever their size, which is what one would note down by hand.
"""

from __future__ import annotations

import copy
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lib.files import read_json
from lib.provenance import PROJECT
from tests.benchmarks.measure import Result, Row, main, python
from tests.workflow.conftest import TINY

LEARNT = 3
STUDIES = {"tiny": 4, "small": 4, "full": 7}
"""Studies in all; those after LEARNT are priced first."""
SHAPES = (  # seed, [width, height] in px, shortest and longest video in s, factor on videos, iterations
    (3, (160, 96), (1.0, 1.5), 1.0, 4),
    (4, (320, 192), (1.5, 2.5), 1.0, 8),
    (5, (160, 96), (2.0, 3.0), 1.5, 12),
    (6, (320, 192), (2.0, 4.0), 2.0, 16),
    (7, (160, 96), (1.0, 2.0), 1.0, 6),
    (8, (320, 192), (3.0, 5.0), 2.0, 24),
    (9, (160, 96), (2.0, 3.0), 2.0, 10),
)
BUSY = "A machine whose load changes between and within runs is no model's to foresee; see the medians below."
TRACKS_ONLY = ("study", "seeds", "datasets", "detectors", "trackers", "boards")


def study(number: int, *, tracks_only: bool) -> dict[str, Any]:
    """The tests' tiny study in another size; tracks_only: true boxes followed, nothing trained."""
    seed, size, seconds, factor, iterations = SHAPES[number]
    made = copy.deepcopy(TINY)
    source = made["datasets"]["site"]["source"]
    source |= {"seed": seed, "size": list(size), "seconds": list(seconds)}
    source["videos"] = {split: round(factor * videos) for split, videos in source["videos"].items()}
    made["training"]["budget"]["iterations"] = iterations
    if tracks_only:
        made = {key: made[key] for key in TRACKS_ONLY}
        source["videos"] = {"test": source["videos"]["test"] // 2}
        made["detectors"] = {"truth": {"kind": "truth"}}
        made["boards"] = {"followed": {**made["boards"]["followed"], "detectors": ["truth"]}}
    return made


@dataclass
class Told:
    """What was said of one study, and what it took: seconds by job, of all jobs and of the run."""

    jobs: list[Mapping[str, Any]] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    naive: list[float] = field(default_factory=list)
    total: Mapping[str, Any] = field(default_factory=dict)
    wall: float = 0.0
    bytes: int = 0

    @property
    def inside(self) -> list[bool]:
        return [
            one["seconds"]["low"] <= took <= one["seconds"]["high"] for one, took in zip(self.jobs, self.took, strict=True)
        ]

    @property
    def machine(self) -> float:
        """How many times as long the median job took as was said: a machine that was busier or quieter than before."""
        pairs = zip(self.jobs, self.took, strict=True)
        return statistics.median(took / one["seconds"]["median"] for one, took in pairs)

    @property
    def inside_by_its_own_speed(self) -> list[bool]:
        """The same once that is taken out."""
        ends = [one["seconds"] for one in self.jobs]
        return [one["low"] <= took / self.machine <= one["high"] for one, took in zip(ends, self.took, strict=True)]

    @property
    def widths(self) -> list[float]:
        return [one["seconds"]["high"] / one["seconds"]["low"] for one in self.jobs]


def measure(size: str) -> Result:
    tracks_only = size == "tiny"
    told: list[Told] = []
    unknown: list[int] = []
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        folders = [Path(name) / f"study{number}" for number in range(STUDIES[size])]
        for number, folder in enumerate(folders):
            folder.mkdir()
            (folder / "study.yaml").write_text(yaml.safe_dump(study(number, tracks_only=tracks_only)))
            said = priced(folder, folders[:number])
            wall = python("snakemake", *words(folder)).wall
            print(f"  study {number + 1}/{len(folders)}: {wall:.0f} s", file=sys.stderr, flush=True)
            if number < LEARNT:
                unknown.append(said["total"]["unknown"])
            else:
                told.append(compared(said, folder, folders[:number], wall))
    return result_of(told, unknown, jobs=len(told[0].jobs))


def words(folder: Path) -> list[str | Path]:
    """What stands behind `snakemake` for the study in a folder."""
    snakefile = ["--snakefile", PROJECT / "Snakefile"]
    return ["-c2", *snakefile, "--directory", folder, "--configfile", folder / "study.yaml"]


def priced(folder: Path, others: Sequence[Path]) -> dict[str, Any]:
    """What the program says of the study in a folder, with the records of others."""
    records = ["--records", *others] if others else []
    command = [sys.executable, "-m", "workflow_scripts.plan", "--json", *records, "--", *words(folder)]
    done = subprocess.run(list(map(str, command)), cwd=PROJECT, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def compared(said: Mapping[str, Any], folder: Path, others: Sequence[Path], wall: float) -> Told:
    """What was said beside what is recorded now."""
    found = Told(total=said["total"], wall=wall)
    for job in said["plan"]:
        if job["benchmark"] and job["seconds"] is not None:
            found.jobs.append(job)
            found.took.append(seconds_of(folder / job["benchmark"]))
            found.naive.append(statistics.mean(rule_seconds(job, others)))
    found.bytes = sum(path.stat().st_size for path in outputs(folder))
    return found


def outputs(folder: Path) -> list[Path]:
    """The files that jobs made: no logs, records of runs, and no links."""
    aside = ("logs", "benchmarks", "definitions", "run_config.yaml")
    every = (path for path in (folder / "results").rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in every if path.relative_to(folder / "results").parts[0] not in aside]


def seconds_of(benchmark: Path) -> float:
    """Seconds of a job by its own record; of a training those of all attempts, as model.json says."""
    with open(benchmark, encoding="utf-8") as file:
        seconds = float(next(csv.DictReader(file, delimiter="\t"))["s"])
    card = Path(str(benchmark.with_suffix("")).replace("results/benchmarks/train", "results/train")) / "model.json"
    return max(seconds, read_json(card)["seconds"] if "benchmarks/train/" in str(benchmark) else 0.0, 0.01)


def rule_seconds(job: Mapping[str, Any], folders: Sequence[Path]) -> list[float]:
    """Seconds of all records of a job's rule: those whose file has its place but for the names of this job."""
    stage = Path(job["benchmark"]).parts[2]
    depth = len(Path(job["benchmark"]).parts)
    files = [path for folder in folders for path in (folder / "results/benchmarks" / stage).rglob("*.tsv")]
    alike = [path for path in files if len(path.parts) - len(path.parents[depth - 1].parts) == depth]
    return [seconds_of(path) for path in alike]


def result_of(told: Sequence[Told], unknown: Sequence[int], jobs: int) -> Result:
    """The table: coverage and width over all jobs, errors of totals as medians over studies."""
    inside = [one for study in told for one in study.inside]
    widths = [one for study in told for one in study.widths]
    result = Result("What a study will cost, said before it runs")
    result.rows = [
        Row(
            "share of jobs inside their 80 % interval, at least",
            float(np.mean(inside)),
            None,
            "",
            (">=", 0.70),
            reason=BUSY,
        ),
        Row("the same, at most", float(np.mean(inside)), None, "", ("<=", 0.95)),
        Row("upper end of the interval / lower end, median over jobs", statistics.median(widths), None, "", ("<=", 3.0)),
    ]
    errors = [off(study.total["seconds"]["median"], sum(study.took)) for study in told]
    naive = [off(sum(study.naive), sum(study.took)) for study in told]
    walls = [off(study.total["makespan_s"]["median"], study.wall) for study in told]
    disks = [off(study.total["bytes"]["median"], study.bytes) for study in told]
    pairs = [pair for study in told for pair in zip(study.jobs, study.took, strict=True)]
    job_errors = [off(job["seconds"]["median"], took) for job, took in pairs]
    for what, values in (
        ("error of the total of job seconds", errors),
        ("the same of the mean of each rule, size not looked at", naive),
        ("error of the makespan on two cores, beside the run's wall clock", walls),
        ("error of the disk", disks),
        ("error of a single job", job_errors),
    ):
        target = ("<=", 0.30) if what == "error of the total of job seconds" else None
        spread = f"{min(values):.2f}–{max(values):.2f}"
        result.rows.append(Row(what, statistics.median(values), None, "", target, spread, BUSY))
    own = [one for study in told for one in study.inside_by_its_own_speed]
    low_high = [study.total["seconds"] for study in told]
    held = [one["low"] <= sum(study.took) <= one["high"] for one, study in zip(low_high, told, strict=True)]
    result.facts = {
        "studies learnt from and priced": f"{LEARNT} to {LEARNT + len(told) - 1}, {len(told)}",
        "jobs known of each": jobs,
        "jobs unknown before the first, second, third study": list(unknown),
        "totals inside their interval": f"{sum(held)} of {len(held)}",
        "jobs compared": len(inside),
        "inside, study by study": [round(float(np.mean(study.inside)), 2) for study in told],
        "the median job took so many times what was said": [round(study.machine, 2) for study in told],
        "inside once that is taken out": round(float(np.mean(own)), 2),
    }
    return result


def off(said: float, took: float) -> float:
    """Relative error, 0 = right."""
    return abs(said - took) / took


if __name__ == "__main__":
    main(measure, "price")
