"""What a person typed behind `--config`, as it was typed: in the run that they started and in the jobs of a cluster.

Snakemake reads the values as YAML and strips quotes at their ends, which would harm `set`, `new` and `only`, so their texts
are taken from the raw words. It hands them to cluster jobs through a shell without quoting `$(…)`; so the words travel
encoded. Not here: what the texts mean (overrides.py, sweeps.py, targets.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TEXTS = {"set": " ", "new": "; ", "only": ","}
"""Keys whose value is read by this project → what joins several of them."""
HANDED_DOWN = "handed_down"


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
        """The words that a result depends on: all but `only`, which does not matter to one file."""
        return tuple(word for word in self.words if word.partition("=")[0] != "only")

    def for_jobs(self) -> list[str]:
        """The same as one --config word of letters, digits, `-` and `_`, which no shell changes."""
        text = json.dumps({"words": list(self.words), "values": dict(self.values)}, ensure_ascii=False)
        return [f"{HANDED_DOWN}={base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')}"] if self.words else []


def read_config(words: Sequence[str] | None, parsed: Mapping[str, Any]) -> CommandLine:
    """What was typed, from Snakemake's raw words and its own reading of them; a job decodes what it was handed."""
    if HANDED_DOWN in parsed:
        text = str(parsed[HANDED_DOWN])
        given = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return CommandLine(tuple(given["words"]), given["values"])
    return CommandLine(tuple(words or ()), dict(parsed))


def _bare(text: str) -> str:
    """A text without one pair of quotes around the whole of it, as Snakemake takes values too."""
    inner = text[1:-1]
    return inner if len(text) > 1 and text[0] == text[-1] in ("'", '"') and text[0] not in inner else text
