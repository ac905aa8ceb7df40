"""All benchmark programs one after the other, each in a process of its own: what `make bench` and `make bench-long` run.

python -m tests.benchmarks [--size full] [--only plan,follow] [--record]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from lib.provenance import PROJECT
from tests.benchmarks.measure import SIZES

PROGRAMS = (
    "startup",
    "plan",
    "subsample",
    "shards",
    "feature_shards",
    "planted",
    "decode",
    "coco_scores",
    "temporal",
    "follow",
    "rfdetr_video",
    "rfdetr_train",
    "checkpoint",
    "loop",
    "engine_parts",
    "grounding_step",
    "add_variant",
    "price",
    "failures",
    "slurm_overhead",
    "studies",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--only", default="", help=f"names with commas between them, of {', '.join(PROGRAMS)}")
    parser.add_argument("--record", action="store_true", help="keep the tables in tests/benchmarks/records/")
    given = parser.parse_args()
    chosen = [name for name in given.only.split(",") if name] or list(PROGRAMS)
    unknown = sorted(set(chosen) - set(PROGRAMS))
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]!r}. Known: {', '.join(PROGRAMS)}.")
    failed = []
    for name in chosen:
        print(f"{name} …", file=sys.stderr, flush=True)
        started = time.monotonic()
        words = ["--size", given.size, *(["--record"] if given.record else [])]
        done = subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *words], cwd=PROJECT)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        failed += [name] if done.returncode else []
    if failed:
        sys.exit(f"error: {', '.join(failed)} did not end well; see above.")


if __name__ == "__main__":
    main()
