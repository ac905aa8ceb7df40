"""Dotted overrides such as `training.epochs=100 arms.p25.fractions.'crane hook'=0.5`: read like a shell line, laid over
settings.

Quotes keep spaces, dots, commas and `=` in a part; within [ ] and { } the text is YAML. A comma outside both separates the
values of a sweep. Not here: what a sweep makes (sweeps.py) and which words came with --config (commandline.py).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from lib.config.base import ConfigError, nearest

Letters = list[tuple[str, bool]]
"""The letters of one word without its quotes, each with whether a quote or a bracket protects it."""

_CLOSES = {"[": "]", "{": "}"}
_MARKS = ("kind", "format")
_EXCLUDES = {
    "training": {"epochs": ("budget",), "budget": ("epochs",)},
    "budget": {"epochs": ("iterations", "evaluations"), "iterations": ("epochs",), "evaluations": ("epochs",)},
    "background": {"fraction": ("ratio",), "ratio": ("fraction",)},
}
"""Block → key → the keys beside it that it replaces."""


@dataclass(frozen=True)
class Value:
    """One value: as it was typed (a sweep names its members by that) and what it means."""

    text: str
    value: Any


def text_of(value: Any) -> str:
    """A value of a settings file as a person would type it on the command line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def meaning(value: Any) -> str:
    """A value so that 1e-4 (text for YAML) and 0.0001 are the same."""
    try:
        return str(float(value)) if not isinstance(value, bool) else str(value)
    except (TypeError, ValueError):
        return text_of(value)


@dataclass(frozen=True)
class Override:
    """One `path=value`, or `path=value,value`: a sweep."""

    word: str
    path: tuple[str, ...]
    values: tuple[Value, ...]
    drawn: str = ""
    """The search that drew the values, "" for a sweep; values of one search go together row by row."""

    @property
    def place(self) -> str:
        """The dotted place, as messages name it."""
        return ".".join(self.path)

    @property
    def sweeps(self) -> bool:
        return len(self.values) > 1

    def below(self, *parts: str) -> Override:
        """The same override of an entry: its path starts at `parts`."""
        return replace(self, path=(*parts, *self.path))


def parse_overrides(text: str, key: str = "set") -> list[Override]:
    """The overrides of one line; ConfigError names the word that cannot be read and says how it is written.

    key: what the text was given as, for messages.
    """
    found = [parse_override(word, key) for word in split_words(text, key)]
    if not found:
        raise ConfigError(f"{key}: is empty. Hint: {key}='training.epochs=100', or leave {key}= out.")
    places = [override.path for override in found]
    for number, override in enumerate(found):
        if override.path in places[:number]:
            raise ConfigError(
                f"{key}: {override.place} is set twice. Hint: a sweep is one comma list: {override.place}=1,2"
            )
    return found


def parse_override(letters: Letters, key: str = "set") -> Override:
    """One word `path=value`."""
    word = "".join(letter for letter, _ in letters)
    equals = letters.index(("=", False)) if ("=", False) in letters else None
    if equals is None:
        raise ConfigError(
            f"{key}: {word!r} has no `=`. Hint: an override is path=value; a value with spaces stands in quotes."
        )
    path = _path(letters[:equals], key, word)
    parts = list(split_at(letters[equals + 1 :], ","))
    if not all(parts):
        raise ConfigError(f"{key}: {word!r} has an empty value. Hint: write null for nothing, '' for an empty text.")
    return Override(word, path, tuple(_value(part, key, word) for part in parts))


def parse_path(text: str, key: str) -> tuple[str, ...]:
    """The parts of a dotted place, such as one that `sweep:` of a settings file names."""
    words = split_words(text, key)
    if len(words) != 1:
        raise ConfigError(f"{key}: {text!r} is no place. Hint: parts with spaces stand in quotes: fractions.'crane hook'")
    return _path(words[0], key, text)


def _path(letters: Letters, key: str, word: str) -> tuple[str, ...]:
    parts = ["".join(letter for letter, _ in part) for part in split_at(letters, ".")]
    if not all(parts):
        raise ConfigError(f"{key}: {word!r} has an empty key. Hint: a place is dotted names: training.epochs=100")
    return tuple(parts)


def _value(letters: Letters, key: str, word: str) -> Value:
    """Read one value as YAML: a number, true, null, a word, [a list] or {a: block}. Text in quotes stays text."""
    text = "".join(letter for letter, _ in letters)
    whole = text[:1] in _CLOSES and text[-1:] == _CLOSES[text[0]]
    if all(protected for _, protected in letters) and not whole:
        return Value(text, text)
    try:
        return Value(text, yaml.safe_load(text) if whole else _scalar(text))
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{key}: {word!r}: {text!r} is not valid YAML ({reason}). Hint: put text in quotes.") from error


def _scalar(text: str) -> Any:
    """A plain YAML scalar: `1` is a number, `a: b` and `# a` are text."""
    loader = yaml.SafeLoader("")
    return loader.construct_object(yaml.ScalarNode(loader.resolve(yaml.ScalarNode, text, (True, False)), text))


# The line as a shell would split it


def split_words(text: str, key: str) -> list[Letters]:
    """The words of a line, split at spaces as a shell does, with what protected each letter.

    A bracket behind the first `=` opens a piece of YAML that goes to its end, spaces and quotes included.
    """
    words: list[Letters] = []
    word: Letters = []
    place = 0
    while place < len(text):
        letter = text[place]
        if letter in " \t\r\n":
            words, word, place = [*words, word], [], place + 1
        elif letter in "'\"\\":
            piece, place = _quoted(text, place, key)
            word += [(one, True) for one in piece] or [("", True)]  # '' is a value too
        elif letter in _CLOSES and ("=", False) in word:
            end = _bracket_end(text, place, key)
            word, place = word + [(one, True) for one in text[place:end]], end
        else:
            word, place = [*word, (letter, False)], place + 1
    return [one for one in (*words, word) if one]


def _quoted(text: str, start: int, key: str) -> tuple[str, int]:
    """The piece in quotes (or behind a backslash) that starts here, and where it ends, by the rules of a POSIX shell."""
    quote, place, piece = text[start], start + 1, ""
    if quote == "\\":
        if place == len(text):
            raise ConfigError(f"{key}: {text!r} ends with a backslash. Hint: write \\\\ for one.")
        return text[place], place + 1
    while place < len(text) and text[place] != quote:
        place += quote == '"' and text[place] == "\\" and text[place + 1 : place + 2] in ('"', "\\")
        piece, place = piece + text[place : place + 1], place + 1
    if place >= len(text):
        raise ConfigError(
            f"{key}: the quote {quote} is never closed: {text[start:]!r}. Hint: close it, or write \\{quote}."
        )
    return piece, place + 1


def _bracket_end(text: str, start: int, key: str) -> int:
    """The place behind the bracket that closes the one at `start`; brackets in YAML's quotes do not count."""
    open_brackets, place = [_CLOSES[text[start]]], start + 1
    while open_brackets and place < len(text):
        letter = text[place]
        if letter in "'\"":
            place = text.find(letter, place + 1)
            if place < 0:
                break
        elif letter in _CLOSES:
            open_brackets.append(_CLOSES[letter])
        elif letter == open_brackets[-1]:
            open_brackets.pop()
        place += 1
    if open_brackets:
        raise ConfigError(
            f"{key}: the bracket {text[start]} is never closed: {text[start:]!r}. Hint: close it, or quote it."
        )
    return place


def split_at(letters: Letters, mark: str) -> Iterator[Letters]:
    """The pieces between the unprotected `mark`s."""
    piece: Letters = []
    for letter in letters:
        if letter == (mark, False):
            yield piece
            piece = []
        else:
            piece.append(letter)
    yield piece


# Laying overrides over settings


def overridden(settings: Mapping[str, Any], overrides: Iterable[Override], tables: Iterable[str] = ()) -> dict[str, Any]:
    """The settings with the first value of each override put in its place; the given ones stay as they are.

    tables: top-level keys that hold named entries; a part of an unknown entry is refused with the nearest name.
    """
    result = copy.deepcopy(dict(settings))
    for override in sorted(overrides, key=lambda one: one.path[-1] not in _MARKS):  # a new kind empties its block first
        if override.path[0] in tables and len(override.path) > 2:
            known_entry(override, result)
        put(result, override.path, override.values[0].value, override)
    return result


def known_entry(override: Override, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError when an override is about an entry that its table does not hold."""
    table, name = override.path[:2]
    known = settings.get(table) or {}
    if isinstance(known, dict) and name not in known:
        raise ConfigError(
            f"{override.word!r}: no {name!r} in {table}. {nearest(name, known)} A new entry is stated whole: "
            f"{table}.{name}={{…}}"
        )


def put(settings: dict[str, Any], path: tuple[str, ...], value: Any, override: Override) -> None:
    """Set one place of nested settings in place, making the blocks on the way; keys that exclude it go.

    override: what asks for it, for messages. Raises ConfigError where the way leads into something that is no block.
    """
    block: Any = settings
    for depth, part in enumerate(path):
        if not isinstance(block, dict):
            here = ".".join(path[:depth])
            raise ConfigError(
                f"{override.word!r}: {here} is {block!r}, which has no {part!r} in it. "
                f"Hint: set it whole: {here}=[…] or {here}={{{part}: …}}"
            )
        for other in _EXCLUDES.get(path[depth - 1] if depth else "", {}).get(part, ()):
            block.pop(other, None)
        if depth == len(path) - 1:
            if part in _MARKS and block.get(part, value) != value:
                block.clear()  # another kind is another thing, as when settings files are merged
            block[part] = copy.deepcopy(value)
        else:
            if block.get(part) is None:
                block[part] = {}
            block = block[part]
