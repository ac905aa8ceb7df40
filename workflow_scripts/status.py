"""Say how every training of a study stands, from its records, its heartbeat, its process and Slurm; changes nothing.

python -m workflow_scripts.status                                       the default study in this folder
python -m workflow_scripts.status --configfile config/studies/X.yaml --only 'person-*' --state failed stalled
python -m workflow_scripts.status --failed                              failures by cause, with log and next command
python -m workflow_scripts.status --leaderboard                         the best training of each model size, by val
python -m workflow_scripts.status --show nano_cosine                    one training in full, of whatever study
python -m workflow_scripts.status --watch                               again every few seconds
python -m workflow_scripts.status --json                                the same for programs

States: waiting, submitted, running, stalled, stopped (it goes on when it is started again), failed, diverged, completed,
outdated (its model is of other settings), unknown (and why). Exit code 0, whatever they are; 2 for wrong input.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from lib.config.study import load_study
from lib.registry.entry import chosen as chosen_entries
from lib.registry.ours import our_entries
from lib.registry.show import shown as entry_text
from lib.status import table
from lib.status.cells import cells_of
from lib.status.failures import Failure, find_failures
from lib.status.failures_text import by_cause
from lib.status.overview import Looker, Overview, Row, chosen
from workflow_scripts import _program
from workflow_scripts.watch import seconds

PIPE_WIDTH = 240
"""Columns where the output is no terminal: nothing is folded."""


def main() -> None:
    given = arguments()
    if given.show:
        show(given)
        return
    study = load_study(given.configfile, _program.overrides_of(given))
    root = _program.directory_of(given)
    cells = cells_of(study, given.only)
    looker = Looker(study.study, cells, root, timeout_s=given.slurm_timeout)
    keep = chosen(given.state, given.size, given.task, cells)
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    with suppress(KeyboardInterrupt):
        if given.watch is not None and console.is_terminal and not given.json:
            follow(looker, keep, given, console)
        elif given.json:
            print(json.dumps(plain(looker, keep, given), indent=1, ensure_ascii=False, allow_nan=False))
        else:
            console.print(shown(looker.look(keep), given), soft_wrap=not console.is_terminal)


def arguments() -> Namespace:
    """What was typed."""
    parser = _program.parser(__doc__)
    _program.add_study(parser)
    parser.add_argument("--only", metavar="PATTERNS", help="variants and boards, as in snakemake --config only=PATTERNS")
    _program.add_directory(parser)
    parser.add_argument("--state", nargs="+", default=[], help="only trainings in these states")
    parser.add_argument("--size", nargs="+", default=[], help="only models of these sizes (tiny, nano, small …)")
    parser.add_argument("--task", nargs="+", default=[], help="only trainings of these tasks")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--failed", action="store_true", help="failures of all stages by cause, and what to do")
    form.add_argument("--show", nargs="+", metavar="RUN", help="trainings in full: ids, variants or patterns")
    form.add_argument("--leaderboard", action="store_true", help="the best completed training of each model size, by val")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--watch", type=seconds, nargs="?", const=10.0, help="look again every so many seconds (default 10)"
    )
    parser.add_argument("--slurm-timeout", type=seconds, default=10.0, help="seconds that a Slurm command may take")
    return parser.parse_args()


def show(given: Namespace) -> None:
    """Everything that the records of some trainings say."""
    found = chosen_entries(our_entries(_program.directory_of(given)), given.show, option="--show")
    if given.json:
        print(json.dumps([one.plain() for one in found], indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print("\n\n".join(map(entry_text, found)))


def shown(overview: Overview, given: Namespace) -> RenderableType:
    """What a person sees."""
    if given.failed:
        text = by_cause(failures(overview, given), command(given, overview))
        return Group(table.head(overview), Text(""), Text(text))
    body = table.leaderboard(overview) if given.leaderboard else table.table(overview)
    return Group(table.head(overview), Text(""), body)


def failures(overview: Overview, given: Namespace) -> list[Failure]:
    """All failures, or those of the rows that were asked for."""
    narrowed = given.only is not None or bool(given.state or given.size or given.task)
    return find_failures(overview, given.directory, narrowed=narrowed)


def command(given: Namespace, overview: Overview) -> list[str]:
    """How a run of this study is typed; where one was killed, it is resumed."""
    if any(line.startswith("a run was killed") for line in overview.drivers):
        return ["make", "resume"]
    words = ["snakemake", "-c2"]
    words += ["--directory", str(given.directory)] if given.directory != Path() else []
    words += ["--configfile", *map(str, given.configfile)] if given.configfile else []
    texts = [f"{key}={text}" for key, text in _program.overrides_of(given).items()]
    return [*words, *(["--config", *texts] if texts else [])]


def plain(looker: Looker, keep: Callable[[Row], bool], given: Namespace) -> dict[str, Any]:
    """What a program reads: always all of it; `failures` with --failed."""
    overview = looker.look(keep)
    values = overview.plain()
    if given.failed:
        values["failures"] = [one.plain() for one in failures(overview, given)]
    return values


def follow(looker: Looker, keep: Callable[[Row], bool], given: Namespace, console: Console) -> None:
    """The same again and again, in place, until Ctrl-C."""
    with Live(console=console, auto_refresh=False, screen=False, vertical_overflow="visible") as live:
        while True:
            live.update(shown(looker.look(keep), given), refresh=True)
            time.sleep(given.watch)


if __name__ == "__main__":
    _program.run(main)
