"""What all programs share: naming a study, reading --settings, one-line errors with exit codes.

Not here: any stage. Exit codes: 0 done, 1 unexpected error (with traceback), 2 settings or data are wrong (one line, with a
hint), 3 an earlier attempt of this run ended by a cause that a retry cannot heal, 69 somebody else trains there already
(nothing was touched), or took this training over, 70 a training hung and was ended, 75 a training was asked to stop or ran
out of memory on one of its ranks; its state is saved and it goes on when it is started again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lib.config.base import ConfigError, VipersightError, explain
from lib.config.safe_yaml import load_yaml
from lib.files import DataError, read_json
from lib.runs.attempts import EarlierAttemptFinal
from lib.runs.ownership import BUSY, Busy
from lib.training.preemption import PREEMPTED, Preempted

WRONG_INPUT = 2
NOT_AGAIN = 3


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser whose help is the program's own docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_settings(arguments: argparse.ArgumentParser) -> None:
    """--settings: canonical JSON as the rules pass it, or a JSON file for a run by hand."""
    arguments.add_argument(
        "--settings",
        required=True,
        type=read_settings,
        help="the job's settings: JSON text, a JSON or YAML file, meta.json",
    )


def add_study(arguments: argparse.ArgumentParser) -> None:
    """--configfile, --set and --new, which name a study as they do behind snakemake."""
    arguments.add_argument("--configfile", type=Path, nargs="*", default=[], help="settings files, as snakemake takes them")
    arguments.add_argument("--set", metavar="OVERRIDES", help="dotted overrides, as in snakemake --config set=OVERRIDES")
    arguments.add_argument("--new", metavar="VARIANTS", help="added variants, as in snakemake --config new=VARIANTS")


def overrides_of(given: argparse.Namespace) -> dict[str, str]:
    """What was typed behind --set and --new, for load_study."""
    return {key: text for key in ("set", "new") if (text := getattr(given, key)) is not None}


def read_settings(text: str) -> dict[str, Any]:
    """Parse --settings: a JSON object, or the path of a file that holds one; of a result's meta.json those that made it."""
    try:
        if Path(text).suffix in (".yaml", ".yml"):
            values = load_yaml(Path(text))
        else:
            values = json.loads(text) if text.lstrip().startswith("{") else read_json(text)
    except FileNotFoundError as error:
        raise ConfigError(f"--settings {text}: there is no such file. Hint: JSON text, or a JSON or YAML file.") from error
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    if {"identity", "settings", "recipe"} <= values.keys():
        return values["settings"] | {"recipe": values["recipe"]}
    return values


def add_directory(arguments: argparse.ArgumentParser) -> None:
    """--directory: where the runs are."""
    arguments.add_argument(
        "--directory", type=Path, default=Path(), help="working directory of the runs (default: this one)"
    )


def directory_of(given: argparse.Namespace) -> Path:
    """The working directory that was typed. DataError when that is no folder."""
    if not given.directory.is_dir():
        raise DataError(f"--directory: {given.directory} is no folder. Hint: the working directory of the runs.")
    return given.directory


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def run(main: Callable[[], None]) -> None:
    """Run a program's main: a refusal is printed as its text alone, anything else keeps its traceback."""
    try:
        main()
    except EarlierAttemptFinal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        sys.exit(NOT_AGAIN)
    except Busy as taken:
        print(f"error: {taken}", file=sys.stderr)
        sys.exit(BUSY)
    except Preempted as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        sys.exit(PREEMPTED)
    except VipersightError as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        sys.exit(WRONG_INPUT)
    except ValidationError as fault:  # settings typed by hand; those of a rule were checked when the study was loaded
        print(f"error: {explain(fault, '--settings')}", file=sys.stderr)
        sys.exit(WRONG_INPUT)
