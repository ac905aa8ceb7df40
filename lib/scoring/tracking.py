"""`score tracking`: MOTChallenge truth and tracks become TrackEval's numbers. Not here: the file checks (mot_files.py).

Several sequences (repeated --truth and --predictions, or two folders) give a row each and COMBINED, TrackEval's
combination.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.files import DataError

if TYPE_CHECKING:
    from lib.metrics.mot_challenge import Benchmark, Rows

HELP = "tracks: MOTChallenge text files, scored as TrackEval does"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The task's own arguments."""
    parser.add_argument("--format", choices=["mot"], default="mot", help="format of both files")
    many = {"type": Path, "required": True, "action": "append"}
    parser.add_argument("--truth", metavar="TXT", help="gt.txt, or a folder of sequences; may be repeated", **many)
    parser.add_argument("--predictions", metavar="TXT", help="tracks, or a folder of NAME.txt; may be repeated", **many)
    parser.add_argument(
        "--benchmark",
        choices=["MOT15", "MOT16", "MOT17", "MOT20"],
        help="whose rules hold; without it MOT15 where no true box has a class, else MOT17",
    )
    parser.add_argument(
        "--length",
        type=int,
        metavar="FRAMES",
        help="frames of the sequence; without it seqinfo.ini beside gt/, else the last one",
    )


def score(given: argparse.Namespace) -> dict[str, Any]:
    """TrackEval's numbers per sequence and COMBINED. Raises DataError."""
    from lib.metrics.mot_challenge import Sequence, mot_numbers
    from lib.scoring.mot_files import pairs_of, read_predictions, read_truth, stated_length

    pairs, warnings = pairs_of(given.truth, given.predictions)
    if given.length is not None and (given.length < 1 or len(pairs) > 1):
        raise DataError(
            f"--length {given.length}; allowed: at least 1, for one sequence. Hint: a folder states it in seqinfo.ini."
        )
    truths = {pair.name: read_truth(pair.truth) for pair in pairs}
    benchmark, stated = _benchmark(given.benchmark, {str(pair.truth): truths[pair.name] for pair in pairs})
    sequences = {}
    for pair in pairs:
        truth, found = truths[pair.name], read_predictions(pair.predictions)
        length = given.length or stated_length(pair.truth)
        for path, rows in ((pair.truth, truth), (pair.predictions, found)):
            _within(path, rows, length)
        last = max(int(rows.frame.max(initial=1)) for rows in (truth, found))
        sequences[pair.name] = Sequence(truth, found, length or last)
        if not len(found.frame):
            warnings.append(f"{pair.predictions}: no row: every true box of {pair.name} is missed")
    rows, together = mot_numbers(sequences, benchmark)
    values = {"task": "tracking", "format": "mot", "benchmark": benchmark, "benchmark_stated": stated}
    frames = {name: sequence.frames for name, sequence in sequences.items()}
    return values | {"frames": frames, "sequences": rows, "COMBINED": together, "warnings": warnings}


def _benchmark(wanted: Benchmark | None, truths: dict[str, Rows]) -> tuple[Benchmark, bool]:
    """Whose rules hold, and whether that was stated."""
    unclassed = {path: bool((rows.kind == -1).any()) for path, rows in truths.items()}
    benchmark: Benchmark = wanted or ("MOT15" if all((rows.kind == -1).all() for rows in truths.values()) else "MOT17")
    if benchmark != "MOT15" and any(unclassed.values()):
        path = next(path for path, without in unclassed.items() if without)
        raise DataError(
            f"{path}: holds boxes of class -1; allowed under {benchmark}: classes 1 to 13. "
            "Hint: a MOT15 file needs --benchmark MOT15."
        )
    return benchmark, wanted is not None


def _within(path: Path, rows: Rows, length: int | None) -> None:
    last = int(rows.frame.max(initial=1))
    if length is not None and last > length:
        raise DataError(
            f"{path}: frame {last}; allowed: 1 to {length}, the length of the sequence. Hint: frames count from 1; "
            "--length states another length."
        )
