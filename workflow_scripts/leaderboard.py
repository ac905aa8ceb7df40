"""Draw one leaderboard (csv, md, html, png) from what evaluate, train and subsample left; by hand: print those of a study.

python -m workflow_scripts.leaderboard --settings JSON --board imbalance --output results/leaderboards/world/imbalance.csv
python -m workflow_scripts.leaderboard [--configfile config/studies/X.yaml] [--board NAME …] [--format text|markdown|csv]

The second form collects what there is at this moment, also while trainings run: rows that are missing, failed, half written
or damaged say so. It writes nothing; the boards of the default study, or those named, go to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

from lib.config.jobs import Jobs
from lib.config.report import ReportSettings
from lib.config.study import load_study
from lib.reporting.leaderboard import score_board
from lib.reporting.page import FORMS, write_board
from lib.reporting.ranking import Ranking
from lib.reporting.track_board import track_board
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("--settings", type=_program.read_settings, help="the job's settings: JSON text or a JSON file")
    arguments.add_argument("--output", type=Path, help="with --settings: the csv; the other forms go beside it")
    arguments.add_argument("--partial", action="store_true", help="draw what exists; the other rows say what they wait for")
    arguments.add_argument("--board", nargs="+", default=[], help="names of boards (by hand; default: all of the study)")
    arguments.add_argument("--results", type=Path, default=Path("results"))
    _program.add_study(arguments)
    arguments.add_argument("--format", choices=list(FORMS), default="text", help="by hand: how boards are printed")
    given = arguments.parse_args()
    if given.settings is None:
        collect(given)
        return
    if given.output is None or len(given.board) != 1:
        arguments.error("--settings goes with --output and one --board")
    ranking = made(given.board[0], given.settings, given.results, partial=given.partial)
    write_board(ranking, given.output, ReportSettings.model_validate(given.settings["report"]))


def made(name: str, settings: dict, results: Path, *, partial: bool) -> Ranking:
    """The board as its kind asks for."""
    make = track_board if settings["board"]["kind"] == "tracks" else score_board
    return make(name, settings, results, partial=partial)


def collect(given: argparse.Namespace) -> None:
    """Print the boards of a study as they stand."""
    study = load_study(given.configfile, _program.overrides_of(given))
    jobs, texts = Jobs(study), []
    for name in given.board or list(study.boards):
        board = study.find("boards", name)
        settings = json.loads(jobs.leaderboard(SimpleNamespace(board=name, dataset=board.dataset)))  # type: ignore[arg-type]
        texts.append(FORMS[given.format](made(name, settings, given.results, partial=True)))
    sys.stdout.write("\n".join(texts))


if __name__ == "__main__":
    _program.run(main)
