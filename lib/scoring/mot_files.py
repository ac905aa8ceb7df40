"""MOTChallenge text files, read and checked row by row, and found by sequence. Not here: MOT as a dataset
(lib/data/sources/mot.py), scores (lib/metrics/mot_challenge.py).

Truth rows are `frame,id,left,top,width,height,flag,class,visibility`, predictions
`frame,id,left,top,width,height,confidence` with any further columns. Frames count from 1, lengths are px.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from lib.files import DataError
from lib.metrics.mot_challenge import CLASSES, Rows

_TRUTH_COLUMNS, _RESULT_COLUMNS = 8, 7
_LONGEST = 1_000_000
"""Frames of a sequence at most: a longer one is a wrong number, and each frame takes memory."""


@dataclass(frozen=True)
class Pair:
    """The two files of one sequence."""

    name: str
    truth: Path
    predictions: Path


def pairs_of(truths: Sequence[Path], predictions: Sequence[Path]) -> tuple[list[Pair], list[str]]:
    """Sequences and warnings: files in the given order, or two folders matched by sequence name.

    A truth folder holds NAME/gt/gt.txt (as MOTChallenge ships it) or NAME.txt, a predictions folder NAME.txt.
    """
    if len(truths) != len(predictions):
        raise DataError(
            f"--truth is given {len(truths)} times and --predictions {len(predictions)} times; allowed: equally often. "
            "Hint: give them in pairs, or one folder each."
        )
    pairs, warnings = [], []
    for truth, found in zip(truths, predictions, strict=True):
        if truth.is_dir() != found.is_dir():
            one, other = (truth, found) if truth.is_dir() else (found, truth)
            raise DataError(
                f"{one} is a folder and {other} is not; allowed: two files or two folders. Hint: name both alike."
            )
        if truth.is_dir():
            matched, notes = _in_folders(truth, found)
            pairs += matched
            warnings += notes
        else:
            pairs.append(Pair(_name_of(truth), truth, found))
    names = [pair.name for pair in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"sequence {twice[0]!r} is given twice; allowed: each once. Hint: files are named by their sequence."
        )
    return pairs, warnings


def _name_of(truth: Path) -> str:
    """Sequence of a truth file: the folder above gt/, or the file's own name."""
    return truth.resolve().parent.parent.name if truth.resolve().parent.name == "gt" else truth.stem


def _in_folders(truth: Path, found: Path) -> tuple[list[Pair], list[str]]:
    files = {path.parent.parent.name: path for path in sorted(truth.glob("*/gt/gt.txt"))}
    files = files or {path.stem: path for path in sorted(truth.glob("*.txt"))}
    if not files:
        raise DataError(
            f"{truth}: no NAME/gt/gt.txt and no NAME.txt in it. Hint: name the folder that holds the sequences."
        )
    given = {path.stem: path for path in sorted(found.glob("*.txt"))}
    missing = [name for name in files if name not in given]
    if missing:
        raise DataError(
            f"{found / (missing[0] + '.txt')}: absent; allowed: one file for each of the {len(files)} sequences of {truth} "
            f"({len(missing)} are absent). Hint: a sequence without any track needs an empty file."
        )
    extra = sorted(set(given) - set(files))
    notes = [f"{given[extra[0]]}: no such sequence in {truth}; {len(extra)} files are not scored"] if extra else []
    return [Pair(name, path, given[name]) for name, path in files.items()], notes


def read_truth(path: Path) -> Rows:
    """True boxes. DataError names the line that is malformed, has frame 0, a bad flag or class, or an id twice in its
    frame.
    """
    table, lines = _table(path, _TRUTH_COLUMNS, "frame,id,left,top,width,height,flag,class,…")
    if not len(table):
        raise DataError(f"{path}: no row; allowed: at least one true box. Hint: is it the right file?")
    flags, kinds = table[:, 6], table[:, 7]
    hint = "0 = not considered, 1 = considered; a confidence belongs into the predictions"
    _check(path, lines, table, 6, ~np.isin(flags, (0, 1)), "flag", "0 or 1", hint)
    known = f"-1 (MOT15), or 1 to {max(CLASSES)}"
    _check(path, lines, table, 7, ~np.isin(kinds, (-1, *CLASSES)), "class", known, "see MOT16's list of classes")
    return _rows(path, table, lines)


def read_predictions(path: Path) -> Rows:
    """Predicted boxes; an empty file is a tracker that found nothing. DataError names the line, as `read_truth`."""
    table, lines = _table(path, _RESULT_COLUMNS, "frame,id,left,top,width,height,confidence")
    if table.shape[1] > 7:
        hint = "only pedestrians are scored; leave other classes out"
        _check(path, lines, table, 7, table[:, 7] > 1, "class", "-1 or 1", hint)
    return _rows(path, table, lines)


_FAR = 1e9
"""Places and lengths beyond this many px are an error, and overflow areas."""


def _rows(path: Path, table: np.ndarray, lines: Callable[[int], int]) -> Rows:
    """The checks that both files share."""
    bad = (table[:, 0] < 1) | (table[:, 0] > _LONGEST) | (table[:, 0] % 1 != 0)
    _check(path, lines, table, 0, bad, "frame", "a whole number from 1", "frames count from 1, as 000001.jpg")
    bad = (table[:, 1] < 0) | (table[:, 1] > 2**53) | (table[:, 1] % 1 != 0)
    _check(
        path, lines, table, 1, bad, "id", "a whole number from 0", "-1 stands for a detection without identity: track first"
    )
    for column, name in ((4, "width"), (5, "height")):
        hint = "corners x1, y1, x2, y2 must become left, top, width, height"
        bad = (table[:, column] <= 0) | (table[:, column] > _FAR)
        _check(path, lines, table, column, bad, name, "above 0 px, at most 1e9", hint)
    for column, name in ((2, "left"), (3, "top")):
        _check(
            path, lines, table, column, np.abs(table[:, column]) > _FAR, name, "at most 1e9 px away", "is the file damaged?"
        )
    frames, tracks = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    order = np.lexsort((np.arange(len(table)), tracks, frames))
    same = (np.diff(frames[order]) == 0) & (np.diff(tracks[order]) == 0)
    twice = np.zeros(len(table), dtype=bool)
    twice[order[1:][same]] = True
    hint = "one identity has one box in a frame; is the file joined from two runs?"
    _check(path, lines, table, 1, twice, "id", "each id once in a frame", hint)
    kinds = table[:, 7].astype(np.int64) if table.shape[1] > 7 else np.ones(len(table), dtype=np.int64)
    return Rows(frames, tracks, table[:, 2:6], kinds, table[:, 6])


def _table(path: Path, least: int, columns: str) -> tuple[np.ndarray, Callable[[int], int]]:
    """All numbers of a file (N, columns ≥ `least`), and a function row -> line number for messages."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        what = "absent" if isinstance(error, FileNotFoundError) else "a folder"
        raise DataError(f"{path}: {what}; allowed: a MOTChallenge text file. Hint: check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file ({error}). Hint: unpack archives first.") from error
    filled = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not filled:
        return np.empty((0, least)), lambda row: row + 1
    try:
        table = np.loadtxt([line.rstrip().rstrip(",") for _, line in filled], delimiter=",", ndmin=2, comments=None)
    except ValueError:
        _refuse_text(path, filled, columns)
    if table.shape[1] < least:
        _refuse(path, filled[0][0], filled[0][1].strip(), f"at least {least} columns: {columns}", "is it another format?")
    bad = ~np.isfinite(table).all(axis=1)
    if bad.any():
        number, line = filled[int(np.argmax(bad))]
        _refuse(path, number, line.strip(), "finite numbers", "is the tracker's output NaN?")
    return table, lambda row: filled[row][0]


def _refuse_text(path: Path, filled: list[tuple[int, str]], columns: str) -> NoReturn:
    """Name the first line that is no row of numbers, or whose number of columns differs from the first one's."""
    wide = len(filled[0][1].rstrip().rstrip(",").split(","))
    for number, line in filled:
        words = line.rstrip().rstrip(",").split(",")
        if not all(_is_number(word) for word in words):
            _refuse(
                path,
                number,
                line.strip(),
                f"numbers with commas between: {columns}",
                "is there a header, or another format?",
            )
        if len(words) != wide:
            _refuse(path, number, line.strip(), f"{wide} columns, as in the first row", "is the file cut?")
    raise DataError(f"{path}: not a MOTChallenge text file; allowed: rows {columns}. Hint: is it another format?")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _check(
    path: Path,
    lines: Callable[[int], int],
    table: np.ndarray,
    column: int,
    bad: np.ndarray,
    name: str,
    allowed: str,
    hint: str,
) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        _refuse(
            path,
            lines(row),
            f"{name} {table[row, column]:g} (frame {table[row, 0]:g}, id {table[row, 1]:g})",
            allowed,
            hint,
        )


def _refuse(path: Path, line: int, value: str, allowed: str, hint: str) -> NoReturn:
    end = "" if hint.endswith("?") else "."
    raise DataError(f"{path}:{line}: {value[:200]}; allowed: {allowed}. Hint: {hint}{end}")


def stated_length(truth: Path) -> int | None:
    """seqLength of the seqinfo.ini beside gt/, None where there is none. DataError when it is no whole number from 1."""
    path = truth.resolve().parent.parent / "seqinfo.ini"
    if truth.resolve().parent.name != "gt" or not path.is_file():
        return None
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        length = parser.getint("Sequence", "seqLength", fallback=None)
    except (configparser.Error, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path}: not a readable seqinfo.ini ({error}). Hint: state --length, or mend the file.") from error
    if length is not None and not 1 <= length <= _LONGEST:
        raise DataError(f"{path}: seqLength {length}; allowed: 1 to {_LONGEST}. Hint: state --length, or mend the file.")
    return length
