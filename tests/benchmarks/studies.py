"""The studies on real data, run to their end in a temporary folder; their boards are kept with minutes and memory.

Needs VIPERSIGHT_MIRROR (or the internet). Half an hour and more; `make bench-long ONLY=studies`, or one of them by
STUDY=real_video. There is no peer: the records say what a run on this machine took.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from lib.config.study import load_study
from lib.config.targets import study_targets
from lib.files import write_text
from lib.provenance import PROJECT
from tests.benchmarks.measure import RECORDS, Result, Row, child, context, main

STUDIES = {"tiny": [], "small": [], "full": ["real_video", "mot", "blood_cells", "grounding", "tacos"]}


def measure(size: str) -> Result:
    result = Result("Studies on real data")
    asked = os.environ.get("STUDY")
    for name in [asked] if asked in STUDIES[size] else STUDIES[size]:
        file = f"config/studies/{name}.yaml"
        with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as folder:
            words = ["-m", "snakemake", "-c2", "--directory", folder, "--configfile", file]
            spent = child([sys.executable, *words])
            pages = [page for page in study_targets(load_study([PROJECT / file]), "leaderboards") if page.endswith(".md")]
            boards = "\n".join((Path(folder) / page).read_text() for page in pages)
        figures = f"{spent.cpu:,.0f} CPU s, {spent.wall:,.0f} s wall, {spent.memory:,.0f} MiB at most"
        header = context(f"snakemake -c2 --configfile {file}").replace(" -->", f": {figures} -->")
        write_text(RECORDS / f"{name}.md", f"{header}\n{boards}")
        for what, value, unit in (("wall", spent.wall / 60, "min"), ("CPU", spent.cpu / 60, "min")):
            result.rows.append(Row(f"{name}: {what}", value, None, unit))
        result.rows.append(Row(f"{name}: peak memory", spent.memory, None, "MiB"))
    if not STUDIES[size]:
        result.notes.append("Only `make bench-long` runs them.")
    return result


if __name__ == "__main__":
    main(measure, "studies")
