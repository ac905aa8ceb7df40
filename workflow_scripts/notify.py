"""Tell the webhook or mail address of a study's `notify:` how a run ended: boards' top rows, failures by cause.

python -m workflow_scripts.notify --outcome success --configfile config/studies/X.yaml     (Snakemake calls it at the end)
python -m workflow_scripts.notify --outcome error --print                                  what would be told, as JSON

Exit code 0 told or nobody to tell, 2 it could not be told; the run's own exit code stays what it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lib.config.study import Study, load_study
from lib.runs.notifying import NotTold, message, post, send_mail, top_rows
from lib.status.cells import cells_of
from lib.status.failures import find_failures
from lib.status.overview import Looker
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("--outcome", required=True, choices=["success", "error"], help="how the run ended")
    arguments.add_argument("--configfile", type=Path, nargs="*", default=[], help="settings files, as snakemake takes them")
    arguments.add_argument("--overrides", type=mapping, default={}, help="what stands behind --config, as JSON")
    arguments.add_argument("--only", metavar="PATTERNS", help="what was made, as in snakemake --config only=PATTERNS")
    arguments.add_argument(
        "--directory", type=Path, default=Path(), help="working directory of the run (default: this one)"
    )
    arguments.add_argument("--print", action="store_true", help="print what would be told; nobody is told")
    given = arguments.parse_args()

    study = load_study(given.configfile, given.overrides)
    if not study.notify.wanted and not given.print:
        return
    facts = told(study, given.outcome, given.only, given.directory)
    if given.print:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    tell(study, facts)


def told(study: Study, outcome: str, only: str | None, root: Path) -> dict[str, Any]:
    """What the people are told. After an error boards are left out: they are those of an earlier run."""
    overview = Looker(study.study, cells_of(study, only), root).look()
    boards = [found for name, board in study.boards.items() if (found := top_rows(name, board, root))]
    return message(
        study.study,
        outcome,
        counts=overview.counts(),
        boards=boards if outcome == "success" else [],
        failures=find_failures(overview, root) if outcome == "error" else [],
        folder=str(root.resolve()),
    )


def tell(study: Study, facts: dict[str, Any]) -> None:
    """By all ways that are set; one that fails does not keep the others from it. NotTold says what failed."""
    wrong = []
    if study.notify.webhook:
        try:
            post(study.notify.webhook, facts, study.notify.timeout_seconds)
        except NotTold as error:
            wrong.append(str(error))
    if study.notify.mail:
        try:
            send_mail(study.notify.mail, f"{study.study}: {facts['outcome']}", facts["text"])
        except NotTold as error:
            wrong.append(str(error))
    if wrong:
        raise NotTold("\n".join(wrong))


def mapping(text: str) -> dict[str, Any]:
    """A JSON object, for argparse."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return found


if __name__ == "__main__":
    _program.run(main)
