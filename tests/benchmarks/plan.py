"""Planning a large study: a dry run over 10,000 videos in 200 chunks, with detectors, trackers, shards, arms and variants.

The videos are files of a few bytes: a plan looks at names and sizes only. Floor: Snakemake's dry run of one rule, which is
what its start alone takes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from lib.files import write_json
from lib.provenance import PROJECT
from tests.benchmarks.measure import Result, compared, interleaved, main, python

VIDEOS = {"tiny": 400, "small": 10_000, "full": 10_000}
CHUNKS = {"tiny": 20, "small": 200, "full": 200}
REPEATS = {"tiny": 1, "small": 2, "full": 5}
LIMIT_S = 6.0
HEAVY = ("torch", "torchvision", "ultralytics", "boxmot")
ARMS = (0.1, 0.25, 0.5, 0.75, 1.0)
SEEDS = 3


def study(root: Path, chunks: int) -> dict[str, Any]:
    """A study with every stage: two detectors, two trackers, shards with tracks, an arm and two models per share."""
    arms = {
        f"p{int(100 * share)}": {"shardset": "full", "background": "all", "fractions": {"car": share}} for share in ARMS
    }
    models = {
        f"{model}-{arm}": {"arm": arm, "training": {"model": model}} for arm in arms for model in ("yolo11n", "yolo11s")
    }
    floor = {"prior": {"kind": "floor", "floor": "prior", "arm": "p100"}}
    trackers = {"bytetrack": {"kind": "bytetrack"}, "ocsort": {"kind": "ocsort"}}
    pairs = {"detectors": ["own", "truth"], "trackers": list(trackers)}
    return {
        "study": "large",
        "seeds": list(range(SEEDS)),
        "datasets": {
            "many": {
                "source": {
                    "format": "coco",
                    "root": str(root),
                    "annotations": {split: f"{split}.json" for split in ("train", "val", "test")},
                },
                "chunks": chunks,
            }
        },
        "weights": {"w": {"variant": "detector", "dataset": "many"}},
        "detectors": {"own": {"kind": "yolo", "weights": "w"}, "truth": {"kind": "truth"}},
        "trackers": trackers,
        "shardsets": {
            "bare": {"splits": ["train", "val"]},
            "full": {"splits": ["train", "val"], "tracks": {"detector": "own", "tracker": "bytetrack"}},
        },
        "arms": {"bare": {"shardset": "bare", "background": "all"}, **arms},
        "variants": {"detector": {"arm": "bare", "seeds": [0]}, **models, **floor},
        "tta": {"none": {"views": [{}]}, "flip": {"views": [{}, {"flip": True}]}},
        "boards": {
            "scores": {"dataset": "many", "variants": [*models, *floor], "tta": ["none", "flip"]},
            "tracks": {"kind": "tracks", "dataset": "many", **pairs},
        },
    }


def make(folder: Path, videos: int, chunks: int) -> None:
    """The files that a plan looks at."""
    root = folder / "raw"
    for number in range(videos):
        path = root / f"{number % 100:02d}" / f"video-{number:05d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(number % 7 + 1))
    for split in ("train", "val", "test"):
        write_json(root / f"{split}.json", {"images": [], "annotations": [], "categories": []})
    (folder / "study.yaml").write_text(yaml.safe_dump(study(root, chunks)))
    (folder / "one.smk").write_text('rule all:\n    output: "one.txt"\n    shell: "touch {output}"\n')


def measure(size: str) -> Result:
    videos, chunks = VIDEOS[size], CHUNKS[size]
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        folder = Path(name)
        make(folder, videos, chunks)
        words = ["--dry-run", "--quiet", "rules", "--directory", folder, "--cores", "2"]
        ours = ["--snakefile", PROJECT / "Snakefile", "--configfile", folder / "study.yaml", *words]
        floor = ["--snakefile", folder / "one.smk", *words]
        sides = {"ours": lambda: python("snakemake", *ours), "one rule": lambda: python("snakemake", *floor)}
        runs = interleaved(sides, REPEATS[size])
        jobs = planned(ours)
        loaded = imported(ours)
    what = f"dry run, {videos:,} videos in {chunks} chunks, {jobs:,} jobs"
    result = Result("Planning a large study")
    for figure in ("wall", "cpu"):
        result.rows.append(compared(f"{what}: {figure}", runs, figure, ours="ours", target=("<=", LIMIT_S)))
        result.rows.append(compared(f"the same beside one rule: {figure}", runs, figure, ours="ours", peer="one rule"))
    result.facts = {"jobs": jobs, "heavy modules loaded": sorted(loaded & set(HEAVY)), "schedulers": schedulers()}
    return result


def _output(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)


def planned(words: list[Any]) -> int:
    """Jobs of the plan, as Snakemake counts them."""
    done = _output([sys.executable, "-m", "snakemake", *map(str, words)])
    total = re.findall(r"^total\s+(\d+)", done.stdout + done.stderr, re.MULTILINE)
    return int(total[-1])


def imported(words: list[Any]) -> set[str]:
    """Top-level modules that the plan loads."""
    done = _output([sys.executable, "-X", "importtime", "-m", "snakemake", *map(str, words)])
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


def schedulers() -> dict[str, str | None]:
    """The scheduler that each shipped profile names."""
    profiles = sorted((PROJECT / "profiles").glob("*/config.yaml"))
    return {path.parent.name: yaml.safe_load(path.read_text()).get("scheduler") for path in profiles}


if __name__ == "__main__":
    main(measure, "plan")
