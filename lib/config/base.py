"""What every section of the settings is built from: the strict model, names, and errors that end in a hint.

Not here: any section itself (one file per stage beside this one) and how files are found and merged (study.py).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A name that becomes part of a path: lower case letters, digits, `_` and `-`; no dots, no spaces."""


class VipersightError(Exception):
    """Any refusal that a person can act on: the programs print its text without a traceback and leave with code 2."""


class ConfigError(VipersightError):
    """A setting is wrong: the text names the setting, its value, what is allowed and the likely fix."""


class Section(BaseModel):
    """One block of settings: unknown keys are refused, values do not change after validation.

    A field marked with `shown()` is for display or logging only: it never enters the settings that a job is given, so
    editing it reruns nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        """Name the nearest known key for a misspelt one (pydantic's own message only says that it is not permitted)."""
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                hint = nearest(str(key), cls.model_fields)
                raise PydanticCustomError("unknown_key", "unknown key {key}. {hint}", {"key": repr(key), "hint": hint})
        return data


def shown(default: Any = None, description: str = "") -> Any:
    """A field that people read and no job sees (titles, descriptions, licences)."""
    return Field(default, description=description, json_schema_extra={"shown": True})


def identity(section: BaseModel) -> dict[str, Any]:
    """The plain values of a section without its `shown` fields, at every depth: what a job's results depend on."""
    fields = type(section).model_fields
    values: dict[str, Any] = {}
    for key, field in fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("shown"):
            continue
        values[key] = _plain(getattr(section, key))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return identity(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def canonical(values: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, the same text for the same values (floats by their shortest form)."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: “did you mean 'x'? Known: …”."""
    names = sorted(str(name) for name in known)
    match = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f"did you mean {match[0]!r}? " if match else ""
    listed = ", ".join(names) if names else "none"
    return f"Hint: {hint}Known: {listed}."


def explain(error: ValidationError, where: str = "") -> str:
    """A pydantic error in the words of the settings file: one line per fault with its dotted place and value."""
    lines = []
    for fault in error.errors(include_url=False):
        place = ".".join(str(part) for part in fault["loc"] if not _is_union_tag(part))
        place = ".".join(part for part in (where, place) if part) or "the settings"
        text = fault["msg"].removeprefix("Value error, ")
        given = fault.get("input")
        shown_value = "" if isinstance(given, dict | BaseModel) else f" (given: {given!r})"
        lines.append(f"{place}: {text}{shown_value}")
    return "\n".join(lines)


def _is_union_tag(part: int | str) -> bool:
    """pydantic puts the chosen member of a union into the place of a fault; people did not write it."""
    return isinstance(part, str) and ("[" in part or part.endswith(("Source", "Detector", "Tracker", "Section")))
