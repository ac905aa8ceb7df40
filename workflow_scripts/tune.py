"""Tune a variant: Optuna chooses trials by their scores on val, Snakemake trains them as variants of the DAG.

python -m workflow_scripts.tune --variant person-25 --trials 20 -c 2 \
    --space 'training.lr0={low: 1e-3, high: 1e-2, log: true} training.batch={choices: [4, 8]}'
python -m workflow_scripts.tune --configfile config/studies/X.yaml --variant V    with the space of V's `search:` block
python -m workflow_scripts.tune … -n                                              what would be trained, nothing run

The score is what the training itself keeps of its best checkpoint on val (`best` in model.json), the mean over the seeds;
the settings' class says which scores there are and whether high or low is good. The test split decides nothing. A trial
begins at a fraction of the budget (--rungs, --factor) and goes on to a larger one while it is among the best (--pruner);
every rung is a training of its own, from start to end. The same command goes on after a kill and with more --trials. In
results/tuning/STUDY/NAME/: trials.csv, trials.png, best.yaml (a further --configfile for snakemake), tuning.json,
optuna.journal. A training that diverged ranks behind all scores. Exit code: 4 when a trial failed (its cause is in
trials.csv; the others went on), else as of all programs.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.config.base import NAME_PATTERN, ConfigError
from lib.config.names import refuse_taken_names
from lib.config.overrides import parse_overrides
from lib.config.safe_yaml import load_yaml
from lib.config.search import SearchDimension, read_space, space_of
from lib.config.study import DEFAULT_CONFIG, Study, load_study, read_settings
from lib.files import DataError, disk_errors
from lib.runs import running
from lib.tuning.question import Question, ask, checked, new_text
from workflow_scripts import _program

TRIALS_FAILED, INTERRUPTED = 4, 130


def main() -> None:
    given = _arguments()
    texts = _program.overrides_of(given)
    study = load_study(given.configfile, texts)
    stated, _ = read_settings(given.configfile, {key: text for key, text in texts.items() if key == "set"})
    question = ask(
        study,
        given.variant,
        _space(given.space) if given.space else space_of(stated, given.variant),
        metric=given.metric,
        dataset=given.dataset,
        pruner=given.pruner,
        rungs=given.rungs,
        factor=given.factor,
    )
    _refuse_bad_ends(question, given, texts, study)
    if given.dry_run:
        _tell(question, given, study, texts)
        return
    folder = given.directory / "results" / "tuning" / study.study / (given.name or given.variant)
    with _alone(folder):
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the trainings end with the tuning
        try:
            rows = _tune(question, given, study, stated, texts, folder)
        except KeyboardInterrupt:
            print("interrupted. Hint: the same command goes on from here.", file=sys.stderr)
            sys.exit(INTERRUPTED)
    failed = [row for row in rows if row["state"] == "failed"]
    print(f"{len(rows)} trials: {folder}/trials.csv, trials.png", file=sys.stderr)
    if (folder / "best.yaml").is_file():
        print(f"the best: {folder}/best.yaml", file=sys.stderr)
    if failed:
        print(
            f"error: {len(failed)} of {len(rows)} trials failed; trial {failed[0]['trial']}: {failed[0]['cause']}",
            file=sys.stderr,
        )
        sys.exit(TRIALS_FAILED)


def _arguments() -> Namespace:
    arguments = _program.parser(__doc__)
    _program.add_study(arguments)
    arguments.add_argument("--variant", required=True, help="the variant whose settings are tuned")
    arguments.add_argument("--space", help="PLACE={low: …, high: …} words, or a YAML file of them; default: its `search:`")
    arguments.add_argument("--metric", help="score on val, as `best` in model.json names it (default: its main one)")
    arguments.add_argument("--dataset", help="dataset, where boards of several list the variant")
    arguments.add_argument("--trials", type=_program.positive, default=20, help="trials in all, earlier ones too (20)")
    arguments.add_argument("--parallel", type=_program.positive, help="trials in one snakemake call (default: the cores)")
    arguments.add_argument("-c", "--cores", type=_program.positive, help="cores for snakemake (default: all)")
    arguments.add_argument(
        "--pruner",
        choices=("halving", "hyperband", "none"),
        default="halving",
        help="who goes on to the next rung (halving)",
    )
    arguments.add_argument("--rungs", type=_program.positive, default=2, help="how many budgets, the full one too (2)")
    arguments.add_argument(
        "--factor",
        type=_program.positive,
        default=3,
        help="each rung has FACTOR times the budget; one in FACTOR goes on (3)",
    )
    arguments.add_argument("--startup", type=_program.positive, default=10, help="trials drawn at random at first (10)")
    arguments.add_argument("--seed", type=int, default=0, help="seed of the draws (0)")
    arguments.add_argument("--name", help="name of the tuning (default: the variant's)")
    arguments.add_argument("--directory", type=Path, default=Path(), help="working directory of the run, as snakemake's")
    arguments.add_argument(
        "-n", "--dry-run", action="store_true", help="print the first trials and the command, run nothing"
    )
    arguments.add_argument(
        "words", nargs="*", help="after `--`: more words for snakemake, such as --executor slurm --jobs 8"
    )
    given = arguments.parse_args()
    if given.name and not re.fullmatch(NAME_PATTERN, given.name):
        arguments.error(f"--name: {given.name!r} is no name: lower-case letters, digits, `_` and `-`")
    if given.factor < 2:
        arguments.error("--factor: must be at least 2")
    given.cores = given.cores or len(os.sched_getaffinity(0))
    given.parallel = given.parallel or given.cores
    return given


def _space(text: str) -> dict[str, SearchDimension]:
    """--space: words `PLACE={…}`, or a YAML file of `PLACE: {…}` lines."""
    if "=" not in text:
        if not Path(text).is_file():
            raise ConfigError(
                f"--space: no file {text!r}. Hint: or words: 'training.lr0={{low: 1e-4, high: 1e-2, log: true}}'"
            )
        return read_space(load_yaml(Path(text)), "--space")
    return read_space({one.place: one.values[0].value for one in parse_overrides(text, "--space")}, "--space")


def _refuse_bad_ends(question: Question, given: Namespace, texts: Mapping[str, str], study: Study) -> None:
    """Read the study with trials at the ends of the space: what they would be refused for is told before anything runs."""
    members = [one for one in checked(question) if one.name not in study.variants]
    more = "; ".join(filter(None, [texts.get("new"), new_text(question.variant, members)]))
    try:
        load_study(given.configfile, dict(texts) | ({"new": more} if more else {}))
    except ConfigError as error:
        first, _, rest = str(error).partition("\n")  # the first line lists all words of `new`
        reason = rest if rest and "with " in first else str(error)
        hint = "Hint: a narrower --space, or fewer --rungs."
        raise ConfigError(f"a trial that is not allowed: {reason.rstrip()}\n{hint}") from error
    refuse_taken_names(study, given.directory / "results" / "definitions")


def _tell(question: Question, given: Namespace, study: Study, texts: Mapping[str, str]) -> None:
    """The rungs, the first batch by name, and the command that would train it."""
    from lib.tuning.trials import Trials

    trials = Trials(question, None, seed=given.seed, startup=given.startup)
    batch = [trials.ask().member(question) for _ in range(min(given.parallel, given.trials))]
    good = "higher" if question.mode == "max" else "lower"
    print(f"{given.trials} trials of {question.variant} by {question.scored_by}, {good} is better")
    print("rungs:", " → ".join(map(str, question.rungs)))
    print("the first trials:", *(f"  {one.name}" for one in batch), sep="\n")
    print(shlex.join(["snakemake", *_trainings(question, given, study, texts, Path("results")).command(batch)]))


def _trainings(question: Question, given: Namespace, study: Study, texts: Mapping[str, str], folder: Path) -> Any:
    from lib.tuning.trainings import Trainings

    return Trainings(
        question=question,
        known=frozenset(study.variants),
        configfiles=given.configfile,
        texts=[f"{key}={text}" for key, text in texts.items()],
        cores=given.cores,
        words=given.words,
        folder=given.directory,
        logs=folder / "logs",
        mark=str(folder.absolute()),
    )


def _tune(
    question: Question,
    given: Namespace,
    study: Study,
    stated: Mapping[str, Any],
    texts: Mapping[str, str],
    folder: Path,
) -> list[dict[str, Any]]:
    """Go on from what lies in the folder to the trials that are wanted; their rows."""
    from lib.tuning.trials import JOURNAL, Trials
    from lib.tuning.tuner import Tuner

    trainings = _trainings(question, given, study, texts, folder)
    trials = Trials(question, folder / JOURNAL, seed=given.seed, startup=given.startup)
    _clear(trainings, given.directory)
    files = [str(file) for file in given.configfile or [os.path.relpath(DEFAULT_CONFIG)]]
    overlaid = ["snakemake", f"-c{given.cores}", "--configfile", *files, str(folder / "best.yaml")]
    tuner = Tuner(
        question,
        trials,
        trainings,
        folder=folder,
        study=study,
        stated=stated,
        new=texts.get("new"),
        overlaid=[*overlaid, *(["--config", *trainings.texts] if trainings.texts else [])],
        command=["python", "-m", "workflow_scripts.tune", *sys.argv[1:]],
    )
    return tuner.run(given.trials, given.parallel)


def _clear(trainings: Any, directory: Path) -> None:
    """End what a killed tuning of this name left at work, and unlock; any other run in the folder is a refusal."""
    from lib.tuning.trainings import end_leftovers
    from workflow_scripts import resume

    end_leftovers(trainings.mark)
    killed = running.runs(directory / running.RUNS)
    resume.refuse_living(killed, directory.absolute(), owner_is_gone=False, jobs_are_gone=False)
    for run in killed:
        resume.settle(run, wait=False, grace_s=30)
    resume.settle_slurm(killed, directory.absolute(), wait=False)
    resume.unlock(trainings.command([])[:-1], directory.absolute(), os.getcwd())
    resume.sweep(directory / "results")
    for run in killed:
        running.forget(run, directory / running.RUNS)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the right to work in this folder; a second tuning of the name is refused. A kill frees it."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{folder}: another tuning of this name is at work. Hint: wait for it, or --name."
                ) from error
            yield


if __name__ == "__main__":
    _program.run(main)
