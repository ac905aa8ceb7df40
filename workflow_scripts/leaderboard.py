"""Draw one leaderboard from what evaluate, train and subsample left: csv, md, html and png beside each other.

python -m workflow_scripts.leaderboard --settings JSON --board imbalance --output results/leaderboards/world/imbalance.csv
                                       [--partial]     also with missing or failed cells, which say what they wait for
"""

from __future__ import annotations

from pathlib import Path

from lib.config.report import ReportSettings
from lib.reporting.leaderboard import score_board
from lib.reporting.page import write_board
from lib.reporting.track_board import track_board
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--board", required=True, help="the board's name")
    arguments.add_argument("--output", type=Path, required=True, help="the csv; the other forms go beside it")
    arguments.add_argument("--results", type=Path, default=Path("results"))
    arguments.add_argument("--partial", action="store_true", help="draw what exists; the other rows say what they wait for")
    given = arguments.parse_args()
    make = track_board if given.settings["board"]["kind"] == "tracks" else score_board
    ranking = make(given.board, given.settings, given.results, partial=given.partial)
    write_board(ranking, given.output, ReportSettings.model_validate(given.settings["report"]))


if __name__ == "__main__":
    _program.run(main)
