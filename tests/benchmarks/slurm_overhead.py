"""Fifty short jobs through `snakemake --profile slurm`, against plain sbatch of the same commands; and what chunks save.

The jobs are `track` jobs of one small video each, on the throw-away cluster (pretended nodes, this machine's cores).
Plain: one sbatch per command as Snakemake prints it, then squeue every second until all have ended. In chunks: the same
videos in a tenth of the jobs. What the profile's time consists of is read off Snakemake's log and Slurm's times: before
the first submission, submitting, until the last job's end, and until Snakemake notices it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from lib.provenance import PROJECT
from lib.runs import slurm
from tests.benchmarks.measure import Result, Row, Spent, compared, interleaved, main
from tests.slurm import cluster
from tests.slurm.cases import written
from tests.workflow.conftest import TINY

JOBS = {"tiny": 0, "small": 20, "full": 50}
REPEATS = {"small": 1, "full": 3}
IN_CHUNK = 10
PATTERN = "results/tracks/site/truth/bytetrack/chunk={}.parquet"
_SUBMITTED = re.compile(r"has been submitted with SLURM jobid (\d+)")


def study(videos: int, chunks: int) -> dict[str, Any]:
    """Videos of a second whose true boxes are tracked."""
    made = {name: TINY[name] for name in ("study", "seeds", "trackers")}
    source = {"format": "world", "seed": 3, "size": [160, 96], "seconds": [1.0, 1.5], "videos": {"test": videos}}
    board = {"kind": "tracks", "dataset": "site", "detectors": ["truth"], "trackers": ["bytetrack"]}
    made |= {"datasets": {"site": {"source": source, "chunks": chunks}}, "detectors": {"truth": {"kind": "truth"}}}
    return made | {"boards": {"followed": board}}


@dataclass
class Site:
    """A folder whose detections are made, so that `jobs` track jobs are left."""

    folder: Path
    home: Path
    jobs: int

    @classmethod
    def made(cls, folder: Path, home: Path, videos: int, jobs: int) -> Site:
        folder.mkdir()
        (folder / "study.yaml").write_text(yaml.safe_dump(study(videos, jobs), sort_keys=False))
        site = cls(folder, home, jobs)
        found = [target.replace("tracks", "detections", 1).replace("/bytetrack", "") for target in site.targets]
        site.snakemake("-c2", "--", *found)
        return site

    @property
    def targets(self) -> list[str]:
        return [PATTERN.format(number) for number in range(self.jobs)]

    def snakemake(self, *words: str) -> str:
        """Run Snakemake here; what it said, with the seconds since the start before every line."""
        base = ["--snakefile", str(PROJECT / "Snakefile"), "--directory", str(self.folder)]
        command = [sys.executable, "-m", "snakemake", *base, "--configfile", str(self.folder / "study.yaml"), *words]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "VIPERSIGHT_"))}
        environment = kept | {"XDG_CONFIG_HOME": str(self.home), "PYTHONPATH": str(PROJECT)}
        begun, lines = time.monotonic(), []
        with subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            lines += [f"{time.monotonic() - begun:.2f} {line}" for line in process.stdout or ()]
        if process.returncode:
            raise RuntimeError("".join(lines)[-3000:])
        return "".join(lines)

    def clear(self) -> None:
        """Take the tracks away."""
        shutil.rmtree(self.folder / "results/tracks", ignore_errors=True)

    def through_profile(self) -> Spent:
        """All jobs by the profile; more: what the time consists of."""
        self.clear()
        wall, clock = time.monotonic(), time.time()
        said = self.snakemake("--profile", "slurm", "--jobs", "200", "--", *self.targets)
        whole = time.monotonic() - wall
        sent = [(float(line.split()[0]), found[1]) for line in said.splitlines() if (found := _SUBMITTED.search(line))]
        self._whole([job for _, job in sent])
        ends, runs = _times([job for _, job in sent])
        first, last, ended = sent[0][0], sent[-1][0], max(ends) - clock
        more = {"begin": first, "submit": last - first, "run": ended - last, "notice": whole - ended, "job": runs}
        return Spent(whole, 0.0, more=more)

    def by_sbatch(self) -> Spent:
        """The same commands, one sbatch each."""
        self.clear()
        commands = self.commands()
        for target in self.targets:
            (self.folder / target).parent.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        words = ["sbatch", "--parsable", "--partition=cpu", "--mem=1000", "--ntasks=1", "--cpus-per-task=1", "--time=60",
                 "--output=/dev/null", f"--chdir={self.folder}"]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        jobs = []
        for command in commands:
            script = f"--wrap=mkdir -p {shlex.quote(str(Path(_log(command)).parent))}; {command}"
            done = subprocess.run([*words, script], capture_output=True, text=True, check=True, env=environment)
            jobs.append(done.stdout.strip())
        while any(job.active for job in (slurm.jobs(jobs) or {}).values()):
            time.sleep(1)
        self._whole(jobs)
        return Spent(time.monotonic() - begun, 0.0, more={"job": _times(jobs)[1]})

    def commands(self) -> list[str]:
        """The shell commands of the track jobs, as Snakemake prints them."""
        said = self.snakemake("-n", "-p", "--", *self.targets)
        found = re.findall(r"^\S+ Shell command: (python -m workflow_scripts\.track .*)$", said, re.MULTILINE)
        if len(found) != self.jobs:
            raise RuntimeError(f"{len(found)} commands of {self.jobs} jobs:\n{said[-2000:]}")
        return found

    def _whole(self, jobs: list[str]) -> None:
        lacking = [target for target in self.targets if not (self.folder / target).exists()]
        if len(jobs) != self.jobs or lacking:
            raise RuntimeError(f"{len(jobs)} jobs of {self.jobs}; missing: {lacking[:3]}")


def _log(command: str) -> str:
    return shlex.split(command.rpartition("> ")[2].removesuffix(" 2>&1"))[0]


def _times(jobs: list[str]) -> tuple[list[float], float]:
    """(end of each job as seconds since 1970, median seconds that a job ran), by Slurm, whole seconds."""
    said = subprocess.run(
        ["squeue", "-h", "-t", "all", "-j", ",".join(jobs), "-O", "StartTime:30,EndTime:30"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    pairs = [[datetime.fromisoformat(word).timestamp() for word in line.split()] for line in said.splitlines()]
    return [end for _, end in pairs], statistics.median(end - start for start, end in pairs)


def measure(size: str) -> Result:
    jobs = JOBS[size]
    result = Result(f"{jobs} short jobs on Slurm: through the profile, plain sbatch, and in chunks of {IN_CHUNK}")
    if not jobs:
        return result
    stood = cluster.answers()
    cluster.up()
    try:
        with tempfile.TemporaryDirectory(prefix="vipersight-overhead-") as base:
            home = written(Path(base) / "home", "cpu", ["slurm"])
            single = Site.made(Path(base) / "single", home, jobs, jobs)
            chunked = Site.made(Path(base) / "chunked", home, jobs, jobs // IN_CHUNK)
            sides = {"profile": single.through_profile, "sbatch": single.by_sbatch, "chunks": chunked.through_profile}
            runs = interleaved(sides, REPEATS[size])
    finally:
        if not stood:
            cluster.down()
    result.rows = rows(runs, jobs)
    result.notes = [
        "A job of the profile starts Python three times (Snakemake for the job, Snakemake for its step, the program), one "
        "of plain sbatch once; nodes here are this machine's cores, so those starts queue up; elsewhere they run side by "
        "side.",
        "Snakemake asks squeue after the profile's poll seconds (here 5), then 10 s later each time while nothing ends.",
    ]
    return result


def rows(runs: dict[str, list[Spent]], jobs: int) -> list[Row]:
    """The ratio first, then what it consists of."""
    parts = {
        "begin": "of that: Snakemake begins, until its first submission",
        "submit": "of that: submitting",
        "run": "of that: from the last submission to the last job's end",
        "notice": "of that: until Snakemake has noticed and ended",
    }
    found = [compared(f"{jobs} jobs: profile / plain sbatch", runs, "wall", ours="profile", peer="sbatch")]
    found += [compared(text, runs, part, ours="profile") for part, text in parts.items()]
    found += [compared("one job on its node, median: profile / plain sbatch", runs, "job", ours="profile", peer="sbatch")]
    found += [compared(f"in chunks of {IN_CHUNK}: profile / plain sbatch of {jobs}", runs, "wall", ours="chunks",
                       peer="sbatch")]  # fmt: skip
    found += [compared(f"in chunks of {IN_CHUNK} / {jobs} jobs, both by the profile", runs, "wall", ours="chunks",
                       peer="profile")]  # fmt: skip
    return found


if __name__ == "__main__":
    main(measure, "slurm_overhead")
