"""Other words for queries: a table of phrases, then rules. Not here: their settings (lib/config/embed_wording.py), what
words become (text.py)."""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib.config.base import nearest
from lib.config.embed_wording import Rewrite, WordingSection, phrases_digest, phrases_path
from lib.files import DataError

VARIABLE = "VIPERSIGHT_RAW"
COLUMNS = ["query", "text"]


def reworded(texts: pd.DataFrame, wording: WordingSection, place: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """All texts of a dataset (columns query, video, text) in other words, in their order; and notes for meta.json.

    place: the featureset, for messages. DataError: a table of phrases that is damaged or tells of unknown queries, or a
    query of which nothing is left.
    """
    raw = Path(os.environ[VARIABLE]).expanduser() if os.environ.get(VARIABLE) else None
    words, notes = texts["text"], {}
    if wording.phrases is not None:
        table = read_phrases(phrases_path(wording.phrases, raw), set(texts["query"]))
        words = texts["query"].map(table).fillna(words)
        notes["phrases_digest"] = phrases_digest(wording, raw)
    found = texts.assign(text=[rewritten(text, wording.rewrite) for text in words])
    blank = found["text"].str.strip() == ""
    if blank.any():
        row = texts[blank].iloc[0]
        raise DataError(
            f"query {row['query']!r} of video {row['video']!r}: {place}.rewrite leaves nothing of {row['text']!r}. "
            "Hint: a rule that finds less."
        )
    if len(found) and found["text"].equals(texts["text"]) and (wording.rewrite or wording.phrases):
        print(f"warning: {place} changes the words of no query: it is no paraphrase", file=sys.stderr)
    return found, notes


def rewritten(text: str, rules: Iterable[Rewrite]) -> str:
    """A text after every rule in turn; all that a rule finds is changed."""
    for rule in rules:
        text = re.sub(rule.pattern, rule.by, text)
    return text


def read_phrases(path: Path, known: set[str]) -> dict[str, str]:
    """Query -> its other words. known: the queries of the dataset. DataError names file and line of what is wrong."""
    rows = _rows(path)
    if not rows or rows[0] != COLUMNS:
        told = rows[0] if rows else []
        raise DataError(f"{path}: its columns are {told}, expected {COLUMNS}. Hint: a first line query,text")
    found: dict[str, str] = {}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS):
            raise DataError(f"{path}: row {line} has {len(row)} cells, expected 2. Hint: quote a text that holds a comma.")
        query, text = row
        if query not in known:
            raise DataError(f"{path}: row {line}: the dataset has no query {query!r}. {_near(query, known)}")
        if query in found:
            raise DataError(f"{path}: row {line}: query {query!r} is there twice. Hint: a second table for other words.")
        if not text.strip():
            raise DataError(f"{path}: row {line}: query {query!r} has no text. Hint: leave the row out to keep its words.")
        found[query] = text
    return found


def _rows(path: Path) -> Sequence[list[str]]:
    """The rows of a csv file that are not blank."""
    if not path.is_file():
        raise DataError(f"{path}: no such file. Hint: check `phrases` of the featureset, and paths.raw ({VARIABLE}).")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [row for row in csv.reader(file, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no table of UTF-8 text with commas between ({error}).") from error


def _near(query: str, known: set[str]) -> str:
    """A hint at the likely query: a dataset has thousands, so that only few are listed."""
    hint = nearest(query, known)
    return hint if len(known) <= 20 else hint.split("Known:")[0] + f"It has {len(known)}."
