"""Write results/registry.json: every training of this working directory with its settings, scores, cost and state.

python -m workflow_scripts.registry [--directory DIR]

It is made from the runs' own records, by anybody at any time and without a lock: nothing is lost with it. Every run of
Snakemake writes it at its start and its end. `status --show RUN` shows one entry, `compare` sets runs side by side.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lib.files import DataError
from lib.registry.index import PLACE, rebuild
from workflow_scripts import _program


def main() -> None:
    parser = _program.parser(__doc__)
    parser.add_argument("--directory", type=Path, default=Path(), help="working directory of the runs (default: this one)")
    given = parser.parse_args()
    if not given.directory.is_dir():
        raise DataError(f"--directory: {given.directory} is no folder. Hint: the working directory of the runs.")
    entries = rebuild(given.directory)
    counted = Counter(one.status for one in entries)
    told = ", ".join(f"{number} {name}" for name, number in sorted(counted.items())) or "no run yet"
    print(f"{given.directory / PLACE}: {told}")


if __name__ == "__main__":
    _program.run(main)
