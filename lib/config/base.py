"""What every section of the settings is built from: the strict model, names, and errors that end in a hint.

Not here: any section itself (one file per stage beside this one) and how files are found and merged (study.py).
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

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
    editing it reruns nothing. One marked with `added()` enters them only where it says something.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    shorthands: ClassVar[tuple[str, ...]] = ()
    """Keys that a person may write and that a section turns into its fields before they are checked."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        """Name the nearest known key for a misspelt one (pydantic's own message only says that it is not permitted)."""
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                hint = nearest(str(key), [*cls.model_fields, *cls.shorthands])
                raise PydanticCustomError("unknown_key", "unknown key {key}. {hint}", {"key": repr(key), "hint": hint})
        return data


def shown(default: Any = None, description: str = "", **limits: Any) -> Any:
    """A field that no result depends on and no job's settings hold (titles, licences, limits of a site)."""
    return Field(default, description=description, json_schema_extra={"shown": True}, **limits)


def added(default: Any = None, description: str = "", **limits: Any) -> Any:
    """A field that came after results had been made: at its default no job's settings hold it, so that these stay."""
    return Field(default, description=description, json_schema_extra={"added": True}, **limits)


def refuse_idle(section: Section, *names: str, needs: str) -> None:
    """Refuse values other than the default in settings that have no effect as things stand; needs: what gives them one."""
    for name in names:
        value: Any = getattr(section, name)
        if value != type(section).model_fields[name].default:
            raise ValueError(f"{name} {value} has an effect only with {needs}. Hint: set that, or leave it out.")


class SiteSection(Section):
    """Settings of this site, never part of a result: the run hands them to its programs by the environment, as JSON."""

    VARIABLE: ClassVar[str]
    PLACE: ClassVar[str]
    """Name of the environment variable, and of the section in a study."""

    @classmethod
    def of_this_run(cls) -> Self:
        """What the run was told, or the defaults. ConfigError names the variable and what is wrong in it."""
        text = os.environ.get(cls.VARIABLE)
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError as error:
            raise ConfigError(f"{cls.VARIABLE} is not valid: {explain(error, cls.PLACE)}") from error


def identity(section: BaseModel) -> dict[str, Any]:
    """The plain values of a section without its `shown` fields, at every depth: what a job's results depend on."""
    fields = type(section).model_fields
    values: dict[str, Any] = {}
    for key, field in fields.items():
        mark = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if mark.get("shown") or (mark.get("added") and getattr(section, key) == field.default):
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


def explain(error: ValidationError, where: str = "", given: Any = None) -> str:
    """A pydantic error in the words of the settings file: one line per faulty place, with its value.

    where: dotted place of the block that was validated. given: that block as people wrote it; with it, what pydantic puts
    into a place by itself (the chosen member of a union) is told from keys and left out.
    """
    found: dict[str, tuple[list[str], str]] = {}
    for fault in error.errors(include_url=False):
        place = ".".join(part for part in (where, *_written_place(fault, given)) if part) or "the settings"
        value = fault.get("input")
        hidden = isinstance(value, dict | list | tuple | BaseModel) or fault["type"].startswith(("union_tag", "secret"))
        texts, _ = found.setdefault(place, ([], "" if hidden else f" (given: {value!r})"))
        texts.append(_plain_words(fault))
    return "\n".join(f"{place}: {', or '.join(dict.fromkeys(texts))}{value}" for place, (texts, value) in found.items())


def _written_place(fault: ErrorDetails, given: Any) -> list[str]:
    """The parts of a fault's place that stand in the settings file, found by walking along it; others are union tags."""
    parts: list[str] = []
    here = given
    for number, part in enumerate(fault["loc"]):
        is_missing_key = fault["type"] == "missing" and number == len(fault["loc"]) - 1
        inside = isinstance(here, dict) and part in here
        inside |= isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
        if inside:
            here = here[part]
        elif part != "[key]" and given is not None and not is_missing_key:
            continue
        parts.append(str(part))
    if parts[-1:] == ["[key]"]:  # the fault is the name itself: its place is the table
        parts = parts[:-2]
    if fault["type"].startswith("union_tag"):
        parts.append(_mark(fault["ctx"]))
    return parts


def _plain_words(fault: ErrorDetails) -> str:
    """What is allowed, without Python's words, and with the nearest name where a list of names is known."""
    context = fault.get("ctx", {})
    mark = _mark(context)
    if fault["type"] == "union_tag_invalid":
        return f"unknown {mark} {context['tag']!r}. {nearest(context['tag'], _quoted(context))}"
    if fault["type"] == "union_tag_not_found":
        return f"is missing. Hint: state `{mark}: …`, which says what this block is"
    if context.get("pattern") == NAME_PATTERN:
        return "a name holds only lower-case letters, digits, `_` and `-`, and starts with a letter or digit"
    text = re.sub(r"valid dictionary.*", "block of `key: value` lines", fault["msg"].removeprefix("Value error, "))
    text = text.replace("Input should be", "must be").replace("Field required", "is required and missing")
    if fault["type"] == "literal_error" and isinstance(fault.get("input"), str):
        match = difflib.get_close_matches(fault["input"], _quoted(context), n=1, cutoff=0.5)
        text += f". Hint: did you mean {match[0]!r}?" if match else ""
    return text


def _mark(context: dict[str, Any]) -> str:
    """The key by which a member of a union is chosen; a function that looks for it is called like the key."""
    return context.get("discriminator", "").strip("'()")


def _quoted(context: dict[str, Any]) -> list[str]:
    """The names that pydantic lists as `'a', 'b' or 'c'`."""
    return re.findall(r"'([^']*)'", context.get("expected_tags") or context.get("expected", ""))
