"""What is generated from the settings classes: the JSON schema for editors and the tables of config/README.md."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lib.config.filetree import file_tree
from lib.config.merge import CONFIG_FOLDER
from lib.config.study import Study


def generated_files() -> dict[Path, str]:
    """The files that are made from the code (settings tables, schema, file tree), with the text that they should have."""
    readme = CONFIG_FOLDER / "README.md"
    front = CONFIG_FOLDER.parent / "README.md"
    return {
        readme: _filled(readme, "settings", settings_tables()),
        front: _filled(front, "tree", f"```\n{file_tree(front.parent)}\n```"),
        CONFIG_FOLDER / "schema.json": json.dumps(schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n",
    }


def _filled(path: Path, mark: str, text: str) -> str:
    """A file's text with what stands between `<!-- mark: generated -->` and `<!-- /mark -->` replaced."""
    begin, end = f"<!-- {mark}: generated -->", f"<!-- /{mark} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    return f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}"


def schema() -> dict[str, Any]:
    """The JSON schema of a settings file: the sections of a study, and `include:`."""
    found = Study.model_json_schema()
    found["properties"]["include"] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "Settings files laid under this one, relative to config/.",
    }
    for settings in ("TrainingSettings", "RfdetrSettings"):
        found["$defs"][settings]["properties"]["epochs"] = {
            "type": "integer",
            "minimum": 1,
            "description": "Short for `budget: {epochs: N}`.",
        }
    return found


def settings_tables() -> str:
    """One markdown table per section: key, type, default, meaning and range."""
    parts = []
    for title, section in _sections(Study, "study"):
        rows = [f"### `{title}`", "", (section.__doc__ or "").strip().split("\n\n")[0].replace("\n", " "), ""]
        rows += ["| key | type | default | meaning |", "|---|---|---|---|"]
        rows += [_row(key, field) for key, field in section.model_fields.items()]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _sections(section: type[BaseModel], title: str, seen: set[type] | None = None) -> Iterator[tuple[str, type[BaseModel]]]:
    """A section and all sections below it, each once, in the order in which they are written."""
    seen = set() if seen is None else seen
    if section in seen:
        return
    seen.add(section)
    yield title, section
    for key, field in section.model_fields.items():
        inner = list(_models_in(field.annotation))
        for model in inner:
            mark = _tag(model) if len(inner) > 1 else ""
            place = f"{key}.{mark}".rstrip(".") if title == "study" else f"{title}.{key}.{mark}".rstrip(".")
            yield from _sections(model, place, seen)


def _tag(model: type[BaseModel]) -> str:
    """The value of `kind`, `format` or `engine` by which one member of a union is chosen."""
    for key in ("kind", "format", "engine"):
        if key in model.model_fields:
            return str(typing.get_args(model.model_fields[key].annotation)[0])
    return ""


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _row(key: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _default(field)
    meaning = " ".join((field.description or "").split())
    limits = _limits(field)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    kind = _words(extra["enum"]) if "enum" in extra else _type(field.annotation)
    return f"| `{key}` | {kind} | {default} | {meaning}{f' ({limits})' if limits else ''} |".replace("\n", " ")


def _default(field: FieldInfo) -> str:
    value = field.default if field.default is not PydanticUndefined else None
    if field.default_factory is not None:
        return "see below"
    return "`null`" if value is None else f"`{value}`" if not isinstance(value, list | BaseModel) else "see below"


def _limits(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of", "min_length": "at least"}
    found = [
        f"{sign} {getattr(mark, name)}" for mark in field.metadata for name, sign in signs.items() if hasattr(mark, name)
    ]
    return ", ".join(dict.fromkeys(found))


def _words(values: Iterable[Any]) -> str:
    return " \\| ".join("`null`" if one is None else f"`{one}`" for one in values)


def _type(annotation: Any) -> str:
    """A type as a reader of YAML would say it; `\\|` keeps the table whole."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return _words(arguments)
    if origin in (typing.Union, types.UnionType):
        return " \\| ".join(dict.fromkeys(_type(one) for one in arguments))
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"{_type(arguments[0])} → {_type(arguments[1])}"
    names = {str: "text", int: "integer", float: "number", bool: "true/false", type(None): "`null`"}
    return names.get(annotation, "block" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "any")
