"""Draw the pictures of the report, and write the summary of one run.

python -m workflow_scripts.report curves --settings JSON --history results/train/…/history.csv [--card …/model.json] \
    --output …/curves.png
python -m workflow_scripts.report components --settings JSON --history …/history.csv --output …/loss_components.png
python -m workflow_scripts.report arms --settings JSON --counts results/subsets/…/seed=0.counts.json … --output …/seed=0.png
python -m workflow_scripts.report summary --settings JSON --card results/train/…/model.json --scores …/tta=none.json \
    [--counts …/seed=0.counts.json] [--exports …/index.json] --output …/summary.json   (class_info.json goes beside it)
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lib import provenance
from lib.config.report import ReportSettings
from lib.files import read_json, write_json
from lib.reporting.summary import class_info, summary
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
    run = figures.add_parser("summary", help="all that is known of one run, in one JSON file")
    run.add_argument("--card", type=Path, required=True, help="model.json of the training")
    run.add_argument("--scores", type=Path, required=True, help="its scores on test")
    run.add_argument("--counts", type=Path, nargs="?", help="counts of its arm")
    run.add_argument("--exports", type=Path, nargs="?", help="index.json of its drawn videos")
    lengths = figures.add_parser("lengths", help="recall of a board's rows by length of the answer")
    windows = figures.add_parser("windows", help="predicted and true windows of a few queries")
    for figure in (lengths, windows):
        figure.add_argument("--manifest", type=Path, required=True)
        figure.add_argument("--truth", type=Path, required=True, help="queries.parquet")
        figure.add_argument("--predictions", type=Path, nargs="+", required=True, help="windows, row by row, seed by seed")
    for figure in (curves, components, arms, run, lengths, windows):
        _program.add_settings(figure)
        figure.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    if given.figure == "summary":
        write_summary(given)
        return
    if given.figure in ("lengths", "windows"):
        draw_grounding(given)
        return
    from lib.history import history_frame  # here: a summary needs no matplotlib
    from lib.reporting.curves import components_figure, curves_figure
    from lib.reporting.plots import counts_figure

    settings = ReportSettings.model_validate(given.settings)
    if given.figure == "curves":
        best = read_json(given.card)["best"] if given.card else None
        curves_figure(history_frame(given.history), given.output, settings, best=best)
    elif given.figure == "components":
        components_figure(history_frame(given.history), given.output, settings)
    else:
        counts_figure([read_json(path) for path in given.counts], given.output, settings)


def draw_grounding(given: Namespace) -> None:
    """Draw recall by length, or windows of a few queries."""
    from lib.reporting.grounding_report import draw_lengths, draw_windows, of_splits
    from lib.tables import read_table

    told, manifest = given.settings, read_table(given.manifest, "manifest")
    truth = of_splits(read_table(given.truth, "queries"), manifest, told["splits"])
    tables = [read_table(path, "windows") for path in given.predictions]
    if given.figure == "lengths":
        draw_lengths(told, truth, tables, given.output, title=told["title"])
    else:
        draw_windows(told, truth, manifest, tables[0], given.output, title=told["title"])


def write_summary(given: Namespace) -> None:
    """Write summary.json and class_info.json of one run."""
    card, counts = read_json(given.card), read_json(given.counts) if given.counts else None
    found = summary(
        given.settings,
        card=card,
        meta=read_json(provenance.meta_path(given.card)),
        scores=read_json(given.scores),
        counts=counts,
        exported=read_json(given.exports) if given.exports else None,
        model=str(given.card.parent / "model.weights"),
        exports=str(given.exports.parent) if given.exports else None,
    )
    write_json(given.output, found)
    write_json(given.output.with_name("class_info.json"), class_info(card, counts))


if __name__ == "__main__":
    _program.run(main)
