"""Package predictions as a submission to the Ego4D NLQ challenge, and check any submission before it is sent.

python -m workflow_scripts.submission package --queries nlq_test_unannotated.json --predictions FILE … --output FILE
python -m workflow_scripts.submission package --settings JSON --manifest results/videos/D/manifest.parquet \
    --truth results/videos/D/truth/queries.parquet --predictions FILE --output FILE        as the rule does
python -m workflow_scripts.submission check --queries nlq_test_unannotated.json --submission FILE

A submission has one entry per query with a text, 1 to 5 windows inside the clip, best first. Exit code: 0 when it is valid,
2 when not (each problem in a line that names the query), and then `package` writes nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import provenance
from lib.config.base import ConfigError
from lib.files import read_json, write_json
from workflow_scripts import _program

if TYPE_CHECKING:
    from lib.scoring.grounding_files import Truth

_MOST_LINES = 50


def main() -> None:
    arguments = _program.parser(__doc__)
    ways = arguments.add_subparsers(dest="way", required=True)
    packaging = ways.add_parser("package", help="windows table + queries → submission")
    checking = ways.add_parser("check", help="list what is wrong with a submission")
    for way in (packaging, checking):
        way.add_argument(
            "--queries",
            type=Path,
            required=way is checking,
            metavar="JSON",
            help="Ego4D's nlq_*.json, answers not needed",
        )
    rule = packaging.add_argument_group("the rule's, in place of --queries")
    rule.add_argument("--settings", type=_program.read_settings, help="the job's settings: JSON text or a JSON file")
    rule.add_argument("--manifest", type=Path)
    rule.add_argument("--truth", type=Path, help="queries.parquet")
    packaging.add_argument("--predictions", type=Path, required=True, nargs="+", metavar="PARQUET", help="windows tables")
    packaging.add_argument("--scores", action="store_true", help="keep each window's score as a third number")
    packaging.add_argument("--output", type=Path, required=True, metavar="JSON")
    checking.add_argument("--submission", type=Path, required=True, metavar="JSON")
    given = arguments.parse_args()

    from lib.inference.submission import problems

    queries = asked(given)
    submission = packaged(given, queries) if given.way == "package" else read_json(given.submission)
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
        if given.settings is not None:
            inputs = {"manifest": given.manifest, "queries": given.truth, "predictions": given.predictions}
            provenance.record([given.output], stage="submission", settings=given.settings, inputs=inputs)
    print(f"valid: {len(submission['results'])} queries answered", file=sys.stderr)


def asked(given: argparse.Namespace) -> Truth:
    """The queries that are to be answered, of an annotation file or of the DAG's tables."""
    from lib.inference.submission import asked_of_tables
    from lib.scoring.ego4d_nlq_files import read_truth
    from lib.tables import read_table

    if given.queries is not None:
        return read_truth(given.queries)
    if None in (given.settings, given.manifest, given.truth):
        raise ConfigError("--queries is missing. Hint: name the annotation file, such as nlq_test_unannotated.json.")
    tables = read_table(given.truth, "queries"), read_table(given.manifest, "manifest")
    return asked_of_tables(*tables, given.settings["splits"])


def packaged(given: argparse.Namespace, queries: Truth) -> dict[str, Any]:
    """The submission of the predictions, which may lie in several tables."""
    import pandas as pd

    from lib.inference.submission import as_their_source_names_them, package
    from lib.tables import WINDOWS, read_table

    table = pd.concat([read_table(path, WINDOWS) for path in given.predictions], ignore_index=True)
    if given.queries is None:
        table = as_their_source_names_them(table, read_table(given.manifest, "manifest"))
    return package(table, queries, scores=given.scores)


if __name__ == "__main__":
    _program.run(main)
