"""What a person typed behind `--config`, as it was typed: in the run that they started and in the jobs of a cluster.

Snakemake reads the values as YAML and strips quotes at their ends, which would harm `set`, `new` and `only`, so their texts
are taken from the raw words. It hands them to cluster jobs through a shell without quoting `$(…)`; so the words travel
encoded. And as soon as one word is typed behind --config, Snakemake drops the `config:` of a profile, with all that a site
needs; here both count. Not here: what the texts mean (overrides.py, sweeps.py, targets.py).
"""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.config.merge import merged

Parser = Callable[[list[str]], dict[str, Any]]
TEXTS = {"set": " ", "new": "; ", "only": ","}
"""Keys whose value is read by this project → what joins several of them."""
HANDED_DOWN = "handed_down"
NO_MATTER = ("only", "running", "limits", "downloads")
"""Keys that no result depends on."""


@dataclass(frozen=True)
class CommandLine:
    """The words behind --config, the values of ordinary keys as Snakemake reads them, and the texts of TEXTS."""

    words: tuple[str, ...]
    values: Mapping[str, Any]

    @property
    def texts(self) -> dict[str, str]:
        """`set`, `new` and `only`, where they were given."""
        found: dict[str, list[str]] = {}
        for word in self.words:
            key, _, text = word.partition("=")
            if key in TEXTS:
                found.setdefault(key, []).append(_bare(text))
        return {key: TEXTS[key].join(parts) for key, parts in found.items()}

    @property
    def overrides(self) -> dict[str, Any]:
        """What load_study lays over the settings files."""
        return {key: value for key, value in self.values.items() if key not in TEXTS} | {
            key: text for key, text in self.texts.items() if key != "only"
        }

    @property
    def only(self) -> str | None:
        """The text of `only=`, which chooses targets and changes no result."""
        return self.texts.get("only")

    @property
    def lineage(self) -> tuple[str, ...]:
        """The words that a result depends on."""
        return tuple(word for word in self.words if word.partition("=")[0] not in NO_MATTER)

    def for_jobs(self) -> list[str]:
        """The same as one --config word of letters, digits, `-` and `_`, which no shell changes."""
        text = json.dumps({"words": list(self.words), "values": dict(self.values)}, ensure_ascii=False)
        return [f"{HANDED_DOWN}={base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')}"] if self.words else []


def read_config(
    words: Sequence[str] | None, parsed: Mapping[str, Any], below: Sequence[str] = (), parse: Parser | None = None
) -> CommandLine:
    """What was typed, from Snakemake's raw words and its own reading of them; a job decodes what it was handed.

    below: words of the profile (profile_words), over which what was typed is laid; parse: Snakemake's reading of words.
    """
    if HANDED_DOWN in parsed:
        text = str(parsed[HANDED_DOWN])
        given = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return CommandLine(tuple(given["words"]), given["values"])
    lower = [word for word in below if word not in (words or ())]
    values = parse(lower) if parse is not None and lower else {}
    return CommandLine((*lower, *(words or ())), merged(values, dict(parsed)))


def profile_words(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The `config:` of the last profile that has one, as Snakemake reads it: `key=value` words.

    arguments: behind `snakemake`; environment: SNAKEMAKE_PROFILE counts where no --profile is typed.
    """
    from snakemake.cli import get_profile_dir
    from snakemake.profiles import ProfileConfigFileParser

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--profile", action="append")
    names = parser.parse_known_args(list(arguments))[0].profile or environment.get("SNAKEMAKE_PROFILE", "").split(",")
    words: list[str] = []
    for name in filter(None, names):
        if (found := get_profile_dir(name)) is not None:
            with found[1].open(encoding="utf-8") as stream:
                words = ProfileConfigFileParser().parse(stream).get("config", words)
    return words


def _bare(text: str) -> str:
    """A text without one pair of quotes around the whole of it, as Snakemake takes values too."""
    inner = text[1:-1]
    return inner if len(text) > 1 and text[0] == text[-1] in ("'", '"') and text[0] not in inner else text
