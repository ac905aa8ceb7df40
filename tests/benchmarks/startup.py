"""What starting costs: `--help` of every program and reading a study, beside a bare Python. Floor: `python -c pass`."""

from __future__ import annotations

import subprocess
import sys

from lib.provenance import PROJECT
from tests.benchmarks.measure import Result, Run, child, compared, interleaved, main

REPEATS = {"tiny": 1, "small": 2, "full": 5}
HEAVY = ("torch", "torchvision", "ultralytics", "boxmot", "onnxruntime", "lightning", "transformers")


def programs() -> dict[str, list[str]]:
    """Every program with --help, and the one that reads the default study."""
    names = sorted(path.stem for path in (PROJECT / "workflow_scripts").glob("*.py") if not path.stem.startswith("_"))
    words = {f"{name} --help": ["-m", f"workflow_scripts.{name}", "--help"] for name in names}
    return words | {"describe (the demo study)": ["-m", "workflow_scripts.describe"]}


def heavy(words: list[str]) -> list[str]:
    """Heavy libraries that a run loads."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return sorted({line.rpartition("|")[2].strip().split(".")[0] for line in lines} & set(HEAVY))


def measure(size: str) -> Result:
    result = Result("Starting the programs")
    runs_of = programs()
    if size == "tiny":
        runs_of = {name: runs_of[name] for name in ("detect --help", "describe (the demo study)")}

    def starting(words: list[str]) -> Run:
        return lambda: child([sys.executable, *words])

    sides = {"python": starting(["-c", "pass"])} | {name: starting(words) for name, words in runs_of.items()}
    runs = interleaved(sides, REPEATS[size])
    for name in runs_of:
        result.rows.append(compared(f"{name}: CPU", runs, "cpu", ours=name, peer="python"))
    result.facts["heavy libraries loaded"] = {name: heavy(words) for name, words in runs_of.items()}
    return result


if __name__ == "__main__":
    main(measure, "startup")
