"""Sweeps and new variants: named entries made from others, `base--epochs-25`, and put on the boards that list their base.

Works on the settings as they were read, before they are validated for good. Not here: how an override is written
(overrides.py).
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.config.base import NAME_PATTERN, ConfigError, nearest
from lib.config.merge import REPLACED_WHOLE
from lib.config.overrides import (
    Letters,
    Override,
    Value,
    known_entry,
    parse_override,
    parse_path,
    put,
    split_at,
    split_words,
)

if TYPE_CHECKING:
    from lib.config.study import Study

SWEPT = {"variants": "variants", "detectors": "detectors", "trackers": "trackers", "tta": "tta"}
"""Tables whose entries can be swept → the list of a board that names them."""
LONGEST_NAME = 150  # a name is one part of a path (255 bytes at most), with suffixes behind it


# `sweep:` of settings files


def taken_out(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[Override]]:
    """The settings without any `sweep:` (top level, or in a variant), and the sweeps that stood there."""
    rest = {key: value for key, value in settings.items() if key != "sweep"}
    sweeps = list(_written(settings.get("sweep"), "sweep"))
    variants = rest.get("variants")
    if isinstance(variants, dict) and any(isinstance(entry, dict) and "sweep" in entry for entry in variants.values()):
        rest["variants"] = {
            name: {key: value for key, value in entry.items() if key != "sweep"} if isinstance(entry, dict) else entry
            for name, entry in variants.items()
        }
        for name, entry in variants.items():
            own = _written(entry.get("sweep"), f"variants.{name}.sweep") if isinstance(entry, dict) else ()
            sweeps += [one.below("variants", str(name)) for one in own]
    return rest, sweeps


def _written(block: Any, where: str) -> Iterator[Override]:
    """The sweeps of one `sweep:` block: place → list of values."""
    if block is None:
        return
    if not isinstance(block, dict):
        raise ConfigError(f"{where}: must be a block of `place: [values]` lines, found {block!r}")
    for place, values in block.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"{where}.{place}: must be a list of values, found {values!r}. Hint: training.lr0: [1e-4, 5e-5]"
            )
        word = f"{where}: {place}: {json.dumps(values, ensure_ascii=False, default=str)}"
        yield Override(word, parse_path(str(place), where), tuple(Value(_text(value), value) for value in values))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# `--config new=`


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
        _refuse_name(one.name, variants, f"new: {one.word!r}", "another name; to change that variant use set=")
        entry = copy.deepcopy(variants[one.base] or {})
        for override in one.overrides:
            _inherit_block(entry, override.path, settings)
            put(entry, override.path, override.values[0].value, override)
        entry["description"] = _described(one.base, [override.word for override in one.overrides])
        variants[one.name] = entry
        sweeps += [override.below("variants", one.name) for override in one.overrides if override.sweeps]
        for block in result["boards"].values() if study.boards else ():
            if one.base in (block.get("variants") or ()):
                block["variants"] = [*block["variants"], one.name]
    return result, sweeps


def _inherit_block(entry: dict[str, Any], place: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Give a variant the study's own block before one key of it is set, where a variant's block replaces the study's whole.

    Without it `training.budget.iterations=120` would forget how many evaluations there are.
    """
    common = settings.get("training") or {}
    if len(place) > 2 and place[0] == "training" and place[1] in REPLACED_WHOLE and isinstance(common.get(place[1]), dict):
        own = entry.setdefault("training", {})
        own.setdefault(place[1], copy.deepcopy(common[place[1]]))


def _described(base: str, words: Sequence[str]) -> str:
    return f"{base} with {' '.join(words)}" if words else f"Like {base}."


# Sweeps


@dataclass(frozen=True)
class Dimension:
    """One swept place of one entry, and what its members are called by."""

    override: Override
    place: tuple[str, ...]  # within the entry; empty = a variant takes the members of its arm
    label: str

    def mark(self, value: Value) -> str:
        """The part of a member's name that says this value: `lr0-5e-5`; a dot between digits becomes `p`."""
        return f"{self.label}-{_slug(value.text)}"


Combination = tuple[tuple[Dimension, Value], ...]


def expanded(settings: Mapping[str, Any], study: Study, sweeps: Sequence[Override], most: int) -> dict[str, Any]:
    """The settings with the members of all sweeps, in the place of their base on every board that lists it.

    study: what the settings mean before that. most: how many entries the sweeps may make together. Several sweeps of one
    entry make their product, in the order in which they were given.
    """
    entries = _dimensions(study, sweeps)
    many = sum(math.prod(len(one.override.values) for one in found) for found in entries.values())
    if many > most:
        raise ConfigError(
            f"the sweep makes {many} entries, more than sweep_limit: {most} ({_words(sweeps)}). "
            f"Hint: sweep less, or allow it: --config sweep_limit={many}"
        )
    result = copy.deepcopy(dict(settings))
    for (table, base), dimensions in entries.items():
        members = _members(result, table, base, dimensions)
        for board, block in study.boards.items():
            names = getattr(block, SWEPT[table]) if table in SWEPT else None
            if names and base in names:
                listed = result["boards"][board].get(SWEPT[table]) or list(names)
                place = listed.index(base)
                result["boards"][board][SWEPT[table]] = [*listed[:place], *members, *listed[place + 1 :]]
    return result


def _words(sweeps: Sequence[Override]) -> str:
    """The sweeps as they were written, cut where that would fill the screen."""
    text = " ".join(one.word for one in sweeps)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _dimensions(study: Study, sweeps: Sequence[Override]) -> dict[tuple[str, str], list[Dimension]]:
    """For every swept entry (arms before the variants that are trained on them) its dimensions."""
    found: dict[tuple[str, str], list[Dimension]] = {}
    for sweep in sweeps:
        _refuse_twice(sweep, [one for one in sweeps if one is not sweep])
        table, name = sweep.path[0], sweep.path[1] if len(sweep.path) > 1 else ""
        if table == "training" and name:
            for variant in _trained_rows(study, sweep):
                _add(found, ("variants", variant), sweep, sweep.path)
        elif table == "arms" and len(sweep.path) > 2:
            _named(study, sweep)
            for variant in _trained_rows(study, sweep):
                _add(found, ("variants", variant), sweep, ())
            _add(found, (table, name), sweep, sweep.path[2:])
        elif table in SWEPT and len(sweep.path) > 2:
            _named(study, sweep)
            if not any(name in (getattr(board, SWEPT[table]) or ()) for board in study.boards.values()):
                raise ConfigError(f"{sweep.word!r}: no board lists {name!r} of {table}, so its sweep would make nothing.")
            _add(found, (table, name), sweep, sweep.path[2:])
        else:
            raise ConfigError(_not_swept(study, sweep))
    return dict(sorted(found.items(), key=lambda item: item[0][0] != "arms"))


def _not_swept(study: Study, sweep: Override) -> str:
    known = type(study).model_fields
    if sweep.path[0] not in known:
        return f"{sweep.word!r}: unknown key {sweep.path[0]!r}. {nearest(sweep.path[0], known)}"
    listed = ",".join(value.text for value in sweep.values)
    return (
        f"{sweep.word!r}: a comma list is a sweep, and only training.*, variants.NAME.*, arms.NAME.*, detectors.NAME.*, "
        f"trackers.NAME.* and tta.NAME.* can be swept. Hint: one value that is a list stands in brackets: "
        f"{sweep.place}=[{listed}]"
    )


def _named(study: Study, sweep: Override) -> None:
    known_entry(sweep, {sweep.path[0]: getattr(study, sweep.path[0])})


def _trained_rows(study: Study, sweep: Override) -> list[str]:
    """Variants of kind model that boards list: what a sweep of `training.*` or of an arm makes members of."""
    rows = [name for board in study.score_boards.values() for name in board.variants]
    rows = [name for name in dict.fromkeys(rows) if study.variants[name].kind == "model"]
    if sweep.path[0] == "arms":
        rows = [name for name in rows if study.variants[name].arm == sweep.path[1]]
    if not rows:
        raise ConfigError(f"{sweep.word!r}: no board lists a variant of kind model that it is about: nothing to sweep.")
    return rows


def _add(
    found: dict[tuple[str, str], list[Dimension]], entry: tuple[str, str], sweep: Override, place: tuple[str, ...]
) -> None:
    """Add a dimension to an entry; labels are the last part of the place, or more of it where two are the same."""
    others = found.setdefault(entry, [])
    clash = next((one for one in others if (place and one.place == place) or {one.place, place} == {(), ("arm",)}), None)
    if clash:
        raise ConfigError(f"{entry[1]} is swept twice: {_words([clash.override, sweep])}. Hint: keep one of both lists.")
    label = _slug(sweep.path[-1])
    if any(one.label == label for one in others):
        label = "-".join(_slug(part) for part in sweep.path[-2:])
    others.append(Dimension(sweep, place, label))


def _refuse_twice(sweep: Override, others: Sequence[Override]) -> None:
    twice = [other for other in others if other.path == sweep.path]
    if twice:
        raise ConfigError(f"{sweep.place} is swept twice ({_words([sweep, *twice])}). Hint: join both lists into one.")
    meanings = [_meaning(value.value) for value in sweep.values]
    for number, meaning in enumerate(meanings):
        if meaning in meanings[:number]:
            raise ConfigError(f"{sweep.word!r}: {sweep.values[number].text} is the same value twice. Hint: leave one out.")


def _meaning(value: Any) -> str:
    """A value so that 1e-4 (text for YAML) and 0.0001 are the same."""
    try:
        return str(float(value)) if not isinstance(value, bool) else str(value)
    except (TypeError, ValueError):
        return _text(value)


def _members(settings: dict[str, Any], table: str, base: str, dimensions: Sequence[Dimension]) -> list[str]:
    """Add the members of one entry to its table, in the order of the product; returns their names."""
    entries, names = settings[table], []
    for combination in itertools.product(*([(one, value) for value in one.override.values] for one in dimensions)):
        name = _member(base, combination)
        asker = _words([one.override for one in dimensions])
        _refuse_name(name, entries, asker, "values of a sweep must differ in letters or digits, whatever their case")
        entry = copy.deepcopy(entries[base] or {})
        for dimension, value in combination:
            if dimension.place:
                _inherit_block(entry, dimension.place, settings)
                put(entry, dimension.place, value.value, dimension.override)
        through_arm = tuple(pair for pair in combination if not pair[0].place)
        if through_arm:
            entry["arm"] = _member(through_arm[0][0].override.path[1], through_arm)
        entry["description"] = _described(base, [f"{one.override.place}={value.text}" for one, value in combination])
        entries[name] = entry
        names.append(name)
    return names


def _member(base: str, combination: Combination) -> str:
    return "--".join([base, *(dimension.mark(value) for dimension, value in combination)])


def _slug(text: str) -> str:
    """A text as part of a name: lower case, a dot before a digit is `p`, a leading minus `m`, anything odd `-`."""
    text = re.sub(r"^-(?=[.\d])", "m", text.strip().lower()).replace("+", "")
    text = re.sub(r"(?:(?<=\d)|^|(?<=m))\.(?=\d)", "p", text)
    return re.sub(r"[^a-z0-9_]+", "-", text).strip("-") or "empty"


def _refuse_name(name: str, taken: Mapping[str, Any], asker: str, hint: str) -> None:
    """Raise ConfigError for a name that is no name, too long, or taken (then with the hint)."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(
            f"{asker}: {name!r} is no name: lower-case letters, digits, `_` and `-`, starting with a letter or digit."
        )
    if len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{asker}: the name {name[:60]}… has {len(name)} letters, more than {LONGEST_NAME}. "
            "Hint: give variants short names of their own with new='short=base …'"
        )
    if name in taken:
        raise ConfigError(f"{asker}: the name {name!r} is taken. Hint: {hint}.")
