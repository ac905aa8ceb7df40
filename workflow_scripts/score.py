"""Score anyone's files in official formats: no DAG, no project, the numbers as JSON on stdout.

python -m workflow_scripts.score detection --format coco --truth instances.json --predictions results.json --masks
python -m workflow_scripts.score tracking --format mot --truth gt.txt --predictions tracks.txt --benchmark MOT17
python -m workflow_scripts.score tracking --truth MOT17/train --predictions results/ --out scores.json
python -m workflow_scripts.score grounding --format ego4d_nlq --truth nlq_val.json --predictions submission.json

Both files are checked first; what cannot be scored is refused with its file, line and value. Exit code 2 = refused.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from lib.files import write_json
from lib.scoring import TASKS
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    tasks = arguments.add_subparsers(dest="task", required=True)
    for name, module in TASKS.items():
        task = importlib.import_module(module)
        parser = tasks.add_parser(name, help=task.HELP)
        task.add_arguments(parser)
        parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there too")
        parser.set_defaults(score=task.score)
    given = arguments.parse_args()
    scores = given.score(given)
    for warning in scores.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)
    if given.out:
        write_json(given.out, scores)
    print(json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False))


if __name__ == "__main__":
    _program.run(main)
