"""Package predictions as a submission to the Ego4D NLQ challenge, and check any submission before it is sent.

python -m workflow_scripts.submission package --queries nlq_test_unannotated.json --predictions FILE … --output FILE
python -m workflow_scripts.submission check --queries nlq_test_unannotated.json --submission FILE

A submission has one entry per query with a text, 1 to 5 windows inside the clip, best first. Exit code: 0 when it is valid,
2 when not (each problem in a line that names the query), and then `package` writes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lib.files import read_json, write_json
from workflow_scripts import _program

_MOST_LINES = 50


def main() -> None:
    arguments = _program.parser(__doc__)
    ways = arguments.add_subparsers(dest="way", required=True)
    packaging = ways.add_parser("package", help="windows table + queries → submission")
    checking = ways.add_parser("check", help="list what is wrong with a submission")
    for way in (packaging, checking):
        way.add_argument(
            "--queries", type=Path, required=True, metavar="JSON", help="Ego4D's nlq_*.json, answers not needed"
        )
    packaging.add_argument("--predictions", type=Path, required=True, nargs="+", metavar="PARQUET", help="windows tables")
    packaging.add_argument("--scores", action="store_true", help="keep each window's score as a third number")
    packaging.add_argument("--output", type=Path, required=True, metavar="JSON")
    checking.add_argument("--submission", type=Path, required=True, metavar="JSON")
    given = arguments.parse_args()

    from lib.inference.submission import package, problems
    from lib.scoring.ego4d_nlq_files import read_truth

    queries = read_truth(given.queries)
    if given.way == "package":
        import pandas as pd

        from lib.tables import WINDOWS, read_table

        tables = [read_table(path, WINDOWS) for path in given.predictions]
        submission = package(pd.concat(tables, ignore_index=True), queries, scores=given.scores)
    else:
        submission = read_json(given.submission)
    wrong = problems(submission, queries)
    for text in wrong[:_MOST_LINES]:
        print(text)
    if len(wrong) > _MOST_LINES:
        print(f"… and {len(wrong) - _MOST_LINES} more")
    if wrong:
        print(f"{len(wrong)} problems: not a valid submission", file=sys.stderr)
        sys.exit(_program.WRONG_INPUT)
    if given.way == "package":
        write_json(given.output, submission)
    print(f"valid: {len(submission['results'])} queries answered", file=sys.stderr)


if __name__ == "__main__":
    _program.run(main)
