"""Draw the pictures of the report.

python -m workflow_scripts.report curves --settings JSON --history results/train/…/history.csv --output …/curves.png
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lib.config.report import ReportSettings
from lib.reporting.plots import curves_figure
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("figure", choices=["curves"])
    _program.add_settings(arguments)
    arguments.add_argument("--history", type=Path, required=True)
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    settings = ReportSettings.model_validate(given.settings)
    curves_figure(pd.read_csv(given.history), given.output, settings)


if __name__ == "__main__":
    _program.run(main)
