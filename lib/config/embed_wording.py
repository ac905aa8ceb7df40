"""Other words for the queries of a featureset of texts: rules, and a table of phrases. Not here: applying them
(lib/perception/wording.py), encoders of texts (embed.py), looking with them (`paraphrase` of a view, predict.py)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from lib.config.base import Section, added
from lib.files import DataError, sha256_file


class Rewrite(Section):
    """One rule by which words are changed: what a regular expression finds becomes something else, everywhere."""

    pattern: str = Field(
        min_length=1, description="Regular expression of Python's re; upper and lower case differ without (?i)."
    )
    by: str = Field(description=r"What it becomes; `\1` and `\g<name>` are what a group found.")

    @model_validator(mode="after")
    def _works(self) -> Rewrite:
        try:
            rule = re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern: {self.pattern!r} is no regular expression: {error}") from error
        try:
            rule.sub(self.by, "")  # reads `by` whether or not it finds anything
        except (re.error, IndexError) as error:
            names = ", ".join([*(rf"\{number + 1}" for number in range(rule.groups)), *rule.groupindex]) or "none"
            raise ValueError(
                f"by: {self.by!r} does not go with pattern {self.pattern!r}: {error}. Groups of the pattern: {names}."
            ) from error
        return self


class WordingSection(Section):
    """What featuresets of texts may do to the words of queries before they are encoded: phrases first, then rules."""

    rewrite: list[Rewrite] = added(
        [],
        "Rules applied in their order to the words of every query; with them a featureset is a paraphrase (`paraphrases` "
        "of a shardset of clips). A query of which nothing is left is refused by name.",
    )
    phrases: str | None = added(
        None,
        "A table of other words, .csv with columns query and text, below paths.raw (VIPERSIGHT_RAW; without one: the "
        "working directory; $VARIABLES are filled in). A query that it lacks keeps its own words.",
    )

    @field_validator("phrases")
    @classmethod
    def _table(cls, phrases: str | None) -> str | None:
        if phrases is not None and not phrases.endswith(".csv"):
            raise ValueError("must be a table that ends in .csv, with columns query and text")
        return phrases


def phrases_path(phrases: str, raw: Path | None) -> Path:
    """Where a table of phrases lies. raw: the folder of `paths.raw`, from which relative ones start."""
    path = Path(os.path.expandvars(phrases)).expanduser()
    return raw / path if raw is not None and not path.is_absolute() else path


def phrases_digest(settings: WordingSection, raw: Path | None) -> str:
    """What Snakemake watches of a featureset's phrases: the content of their table ("" without one)."""
    if settings.phrases is None:
        return ""
    path = phrases_path(settings.phrases, raw)
    if not path.is_file():
        raise DataError(f"{path}: no such file. Hint: check `phrases` of the featureset, and paths.raw (VIPERSIGHT_RAW).")
    return sha256_file(path)
