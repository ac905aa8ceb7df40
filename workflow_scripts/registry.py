"""Write results/registry.json: every training of this working directory with its settings, scores, cost and state.

python -m workflow_scripts.registry [--directory DIR]

It is made from the runs' own records, by anybody at any time and without a lock: nothing is lost with it. Every run of
Snakemake writes it at its end. `status --show RUN` shows one entry, `compare` sets runs side by side.
"""

from __future__ import annotations

from collections import Counter

from lib.registry.index import PLACE, rebuild
from workflow_scripts import _program


def main() -> None:
    parser = _program.parser(__doc__)
    _program.add_directory(parser)
    root = _program.directory_of(parser.parse_args())
    entries = rebuild(root)
    counted = Counter(one.status for one in entries)
    told = ", ".join(f"{number} {name}" for name, number in sorted(counted.items())) or "no run yet"
    print(f"{root / PLACE}: {told}")


if __name__ == "__main__":
    _program.run(main)
