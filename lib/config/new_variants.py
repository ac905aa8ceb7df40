"""`--config new=`: variants like another one, with differences, put on the boards that list their base.

Works on the settings as they were read. Not here: lists and draws of members (sweeps.py), how an override is written
(overrides.py).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.config.base import ConfigError, nearest
from lib.config.overrides import Letters, Override, parse_override, put, split_at, split_words
from lib.config.sweeps import described, inherit_block, refuse_name

if TYPE_CHECKING:
    from lib.config.study import Study


@dataclass(frozen=True)
class NewVariant:
    """`name=base path=value …`: a variant like another one, with differences."""

    name: str
    base: str
    word: str
    overrides: tuple[Override, ...]


def parse_new(text: str) -> list[NewVariant]:
    """The variants that one `new=` adds, separated by `;`. Places are those of the variant: training.epochs, arm, seeds."""
    groups: list[list[Letters]] = [[]]
    for word in split_words(text, "new"):
        first, *rest = split_at(word, ";")
        groups[-1].append(first)
        groups += [[piece] for piece in rest]
    found = []
    for words in ([word for word in group if word] for group in groups):
        if words:
            first, *own = (parse_override(word, "new") for word in words)
            if len(first.path) != 1 or len(first.values) != 1 or not isinstance(first.values[0].value, str):
                raise ConfigError(f"new: {first.word!r} must be NAME=BASE. Hint: new='nano-e100=nano training.epochs=100'")
            asked = " ".join(one.word for one in (first, *own))
            found.append(NewVariant(first.path[0], first.values[0].text, asked, tuple(own)))
    if not found:
        raise ConfigError("new: is empty. Hint: new='nano-e100=nano training.epochs=100', or leave new= out.")
    return found


def with_new(settings: Mapping[str, Any], study: Study, new: Sequence[NewVariant]) -> tuple[dict[str, Any], list[Override]]:
    """The settings with the new variants on the boards that list their base, and the sweeps among their differences.

    study: what the settings mean before that.
    """
    result = copy.deepcopy(dict(settings))
    sweeps = []
    for one in new:
        variants = result.get("variants") or {}
        if one.base not in variants:
            raise ConfigError(f"new: {one.word!r}: unknown variant {one.base!r}. {nearest(one.base, variants)}")
        refuse_name(one.name, variants, f"new: {one.word!r}", "another name; to change that variant use set=")
        entry = copy.deepcopy(variants[one.base] or {})
        for override in one.overrides:
            inherit_block(entry, override.path, settings)
            put(entry, override.path, override.values[0].value, override)
        entry["description"] = described(one.base, [override.word for override in one.overrides])
        variants[one.name] = entry
        sweeps += [override.below("variants", one.name) for override in one.overrides if override.sweeps]
        for block in result["boards"].values() if study.boards else ():
            if one.base in (block.get("variants") or ()):
                block["variants"] = [*block["variants"], one.name]
    return result, sweeps
