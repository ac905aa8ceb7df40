"""Draw one leaderboard from what evaluate, train and subsample left: csv, md, html and png beside each other.

python -m workflow_scripts.leaderboard --settings JSON --board imbalance --output results/leaderboards/world/imbalance.csv
                                       [--partial]     also with missing or failed cells, which say what they wait for
"""

from __future__ import annotations

from pathlib import Path

from lib.config.evaluate import EvaluateSettings
from lib.config.leaderboard import Board
from lib.reporting import leaderboard
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_settings(arguments)
    arguments.add_argument("--board", required=True, help="the board's name")
    arguments.add_argument("--output", type=Path, required=True, help="the csv; the other forms go beside it")
    arguments.add_argument("--results", type=Path, default=Path("results"))
    arguments.add_argument("--partial", action="store_true", help="draw what exists; the other rows say what they wait for")
    given = arguments.parse_args()
    leaderboard.write(
        given.board,
        Board.model_validate(given.settings["board"]),
        given.settings["variants"],
        EvaluateSettings.model_validate(given.settings["evaluate"]),
        results=given.results,
        output=given.output,
        partial=given.partial,
    )


if __name__ == "__main__":
    _program.run(main)
