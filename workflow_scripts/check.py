"""List the holes of a results folder: files lost or changed after they were made, inputs that are gone, what kills left.

python -m workflow_scripts.check [--directory DIR]        (or: make check)

Reads every result once (about a second per GB). One line per hole with the command that heals it. Exit code: 0 when there
is none, 4 when there are some, 2 for a refusal.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from lib.checking import find_holes
from lib.runs import running
from workflow_scripts import _program

HOLES = 4


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("--directory", type=Path, default=Path(), help="the working directory of the study")
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads that read")
    given = arguments.parse_args()

    begun = time.monotonic()
    home = Path.cwd()
    os.chdir(given.directory)  # recorded paths are relative to it
    try:
        holes, results, files = find_holes(workers=given.workers)
        active = [run for run in running.runs() if running.state(run) != "gone"]
    finally:
        os.chdir(home)
    for run in active:
        print(f"note: a run is active ({run.text()}); what it is making shows as unfinished", file=sys.stderr)
    for hole in holes:
        print(f"{hole.path}: {hole.what}\n    {hole.heal}")
    print(f"{results} results, {files} files, {len(holes)} holes, {time.monotonic() - begun:.1f} s", file=sys.stderr)
    if holes:
        sys.exit(HOLES)


if __name__ == "__main__":
    _program.run(main)
