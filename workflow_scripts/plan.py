"""Tell what a run will cost before it starts: a priced dry run.

python -m workflow_scripts.plan                                         the default study
python -m workflow_scripts.plan -- --configfile FILE -- TARGETS          behind `--`: the words that snakemake would get
python -m workflow_scripts.plan --gpus 4 --jobs 20 -- --profile slurm    on a cluster
python -m workflow_scripts.plan --budget 40h                            exit code 5 when it takes more, 6 when unknown
python -m workflow_scripts.plan --sbatch                                what would be submitted to Slurm

Jobs and reasons are those of `snakemake --dry-run`: what is finished costs nothing, what is made again is counted. What
they take is learnt from results/benchmarks and model.json of past runs here and below --records; where fewer than three
past jobs compare, a job is unknown. Intervals are 80 %. A budget is kept when the upper end of the GPU-hours is within it.

Exit codes: 0, 2 for a refusal (also of snakemake), 5 over the budget, 6 the budget cannot be told.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lib.pricing.budget import WITHIN, hours, verdict
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("--gpus", type=_program.positive, help="GPUs at a time (default: of the words, else no limit)")
    arguments.add_argument(
        "--cores", type=_program.positive, help="cores of this machine (default: of the words, else all)"
    )
    arguments.add_argument("--jobs", type=_program.positive, help="jobs of a cluster at a time; on one machine its cores")
    arguments.add_argument("--budget", metavar="TIME", help="GPU-hours that it may take: 40h, 2d, 90min")
    arguments.add_argument(
        "--records", type=Path, nargs="+", default=[], help="further working directories whose results/ are learnt from"
    )
    arguments.add_argument("--json", action="store_true", help="print all figures as JSON, each job with its reason")
    arguments.add_argument(
        "--sbatch",
        nargs="?",
        const="kind",
        choices=("kind", "job"),
        help="print sbatch's lines, one per kind (or job)",
    )
    ours, words = _split(sys.argv[1:])
    given = arguments.parse_args(ours)
    budget = hours(given.budget) if given.budget else None
    missing = next((folder for folder in given.records if not folder.is_dir()), None)
    if missing is not None:
        arguments.error(f"--records: {missing} is no folder. Hint: the folder in which results/ lies.")
    if given.sbatch:
        print_submissions(words, given.jobs, each=given.sbatch == "job")
        if budget is None:
            return
    sys.exit(print_price(words, given, budget))


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Our words, and those behind the first `--`."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


def print_price(words: list[str], given: object, budget: float | None) -> int:
    """Print the plan with its figures; the exit code."""
    from rich.console import Console  # here and below: what `--help` needs not load

    from lib.pricing.dag import plan
    from lib.pricing.price import price
    from lib.pricing.show import WIDTH, as_json, show

    planned = plan(words, gpus=given.gpus, cores=given.cores, jobs=given.jobs)
    cost = price(planned, [planned.folder, *given.records])
    code, told = verdict(budget, cost.gpu_hours(), len(cost.unknown(gpu=True))) if budget else (WITHIN, "")
    if given.json:
        print(json.dumps(as_json(cost) | ({"budget": {"gpu_hours": budget, "exit": code, "told": told}} if budget else {})))
    else:
        console = Console(width=max(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH, highlight=False)
        show(cost, console)
        if told:
            print(told)
    return code


def print_submissions(words: list[str], jobs: int | None, *, each: bool) -> None:
    """Print what sbatch would be given, by rule."""
    from lib.pricing.dag import plan
    from lib.pricing.sbatch import Submissions

    lines = Submissions(each=each)
    plan(words, jobs=jobs, executor="slurm", also=lines)
    for one in lines.found:
        more = f"   the first of {one.jobs} jobs alike" if one.jobs > 1 else ""
        print(f"# {one.rule}{more}\n{one.line}")
    print(f"# {sum(one.jobs for one in lines.found)} jobs are submitted; {lines.local} run beside snakemake.")


if __name__ == "__main__":
    _program.run(main)
