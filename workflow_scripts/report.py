"""Draw the pictures of the report.

python -m workflow_scripts.report curves --settings JSON --history results/train/…/history.csv [--card …/model.json] \
    --output …/curves.png
python -m workflow_scripts.report components --settings JSON --history …/history.csv --output …/loss_components.png
python -m workflow_scripts.report arms --settings JSON --counts results/subsets/…/seed=0.counts.json … --output …/seed=0.png
"""

from __future__ import annotations

from pathlib import Path

from lib.config.report import ReportSettings
from lib.files import read_json
from lib.history import history_frame
from lib.reporting.curves import components_figure, curves_figure
from lib.reporting.plots import counts_figure
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    figures = arguments.add_subparsers(required=True, dest="figure")
    curves = figures.add_parser("curves", help="losses and scores of one training")
    components = figures.add_parser("components", help="the whole loss of one training and its parts")
    for figure in (curves, components):
        figure.add_argument("--history", type=Path, required=True)
    curves.add_argument("--card", type=Path, help="model.json: at which step the weights were kept")
    arms = figures.add_parser("arms", help="frames per class of all arms")
    arms.add_argument("--counts", type=Path, nargs="+", required=True)
    for figure in (curves, components, arms):
        _program.add_settings(figure)
        figure.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    settings = ReportSettings.model_validate(given.settings)
    if given.figure == "curves":
        best = read_json(given.card)["best"] if given.card else None
        curves_figure(history_frame(given.history), given.output, settings, best=best)
    elif given.figure == "components":
        components_figure(history_frame(given.history), given.output, settings)
    else:
        counts_figure([read_json(path) for path in given.counts], given.output, settings)


if __name__ == "__main__":
    _program.run(main)
