"""Compare training runs: a leaderboard by mAP of masks on val, their curves, scores, sizes and learning rates in pictures.

python -m workflow_scripts.compare                                    all runs of this working directory
python -m workflow_scripts.compare --ids nano_baseline 'nano_*' site/nano_cosine/seed=0
python -m workflow_scripts.compare --model-size nano --output comparisons/nano
python -m workflow_scripts.compare --also ../old/experiments/registry.json ../old/checkpoints

A run is called by its id (dataset/variant/seed=…), its variant, or a pattern of either. --also takes what other tools left:
a registry.json, an output folder of RF-DETR (metrics.csv or log.txt), a folder of such, or another working directory.
Written are leaderboard.csv, training_curves.png, metrics_bar_comparison.png, model_size_comparison.png and, from three
learning rates on, hp_lr_scatter.png. What is not ranked is named with its reason. Exit code 2 for an id that nobody has.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

from rich.console import Console

from lib.config.report import ReportSettings
from lib.registry.entry import chosen
from lib.registry.gather import gathered
from lib.registry.tested import scores_on_test
from lib.reporting.comparison import Comparison, compared, too_few_rates, write_leaderboard
from lib.reporting.comparison_text import comparison_text
from workflow_scripts import _program
from workflow_scripts.status import PIPE_WIDTH

RATES = "hp_lr_scatter.png"


def main() -> None:
    given = arguments()
    root = _program.directory_of(given)
    given.output = given.output or root / "results/comparisons/all"
    entries = chosen(gathered(root, given.also), given.ids, given.model_size)
    comparison = compared(entries, partial(scores_on_test, on=given.test_on))
    if given.rates_only:
        draw_rates(comparison, given, given.rates_only)
        return
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    console.print(comparison_text(comparison), soft_wrap=not console.is_terminal)
    draw(comparison, given)
    reason = too_few_rates(comparison)
    stale = given.output / RATES
    if reason is None and not given.without_rates:
        draw_rates(comparison, given, stale)
    elif not given.without_rates:
        stale.unlink(missing_ok=True)  # of an earlier comparison
        print(f"no {RATES}: {reason}.")
    print(f"written to {given.output}{os.sep}")


def arguments() -> Namespace:
    """What was typed."""
    parser = _program.parser(__doc__)
    parser.add_argument("--ids", nargs="+", default=[], metavar="RUN", help="only these: ids, variants or patterns")
    parser.add_argument("--model-size", nargs="+", default=[], metavar="SIZE", help="only models of these sizes (nano …)")
    parser.add_argument("--also", type=Path, nargs="+", default=[], metavar="PATH", help="runs of other tools or folders")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder (results/comparisons/all)")
    _program.add_directory(parser)
    parser.add_argument("--test-on", metavar="DATASET", help="dataset of the scores on test (default: each run's own)")
    parser.add_argument("--settings", type=_program.read_settings, default={}, help="`report:` as JSON, from the rules")
    parser.add_argument("--rates-only", type=Path, metavar="PNG", help=f"draw {RATES} to this file and nothing else")
    parser.add_argument("--without-rates", action="store_true", help=f"leave out {RATES}")
    return parser.parse_args()


def draw(comparison: Comparison, given: Namespace) -> None:
    """The table and the three pictures that every comparison has."""
    from lib.reporting import comparison_bars, comparison_curves

    dpi, folder = dpi_of(given), given.output
    write_leaderboard(comparison, folder / "leaderboard.csv")
    comparison_curves.curves_figure(comparison, folder / "training_curves.png", dpi=dpi)
    comparison_bars.bars_figure(comparison, folder / "metrics_bar_comparison.png", dpi=dpi)
    comparison_bars.sizes_figure(comparison, folder / "model_size_comparison.png", dpi=dpi)


def draw_rates(comparison: Comparison, given: Namespace, output: Path) -> None:
    """Scores against learning rates."""
    from lib.reporting.comparison_curves import rates_figure

    rates_figure(comparison, output, dpi=dpi_of(given))


def dpi_of(given: Namespace) -> int:
    return ReportSettings.model_validate(given.settings).dpi


if __name__ == "__main__":
    _program.run(main)
