"""Sweeps and searches: named members of an entry, `base--epochs-25`, that stand for it on the boards.

Works on the settings as they were read, before they are validated for good. Not here: how an override is written
(overrides.py), which members a search draws (search.py), single new variants (new_variants.py).
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
from lib.config.overrides import Override, Value, known_entry, meaning, parse_path, put, text_of
from lib.config.search import Search, draw, read_search
from lib.config.tasks import TASKS

if TYPE_CHECKING:
    from lib.config.study import Study

SWEPT = {"variants": "variants", "detectors": "detectors", "trackers": "trackers", "tta": "tta"}
"""Tables whose entries can be swept → the list of a board that names them."""
_BLOCKS = {"sweep", "search"}
LONGEST_NAME = 150  # a name is one part of a path (255 bytes at most), with suffixes behind it


# `sweep:` and `search:` of settings files


@dataclass(frozen=True)
class Searched:
    """One `search:` block: where it stands, and the variant that it is about (None: every trained row of the boards)."""

    where: str
    variant: str | None
    search: Search

    def overrides(self, most: int) -> list[Override]:
        """A place with the column of its drawn values each; the members are the rows. most: how many are allowed."""
        if self.search.n > most:
            raise ConfigError(
                f"{self.where}.n: {self.search.n} members are more than sweep_limit: {most}. "
                f"Hint: draw fewer, or allow it: --config sweep_limit={self.search.n}"
            )
        rows = draw(self.search, self.where)
        table = ("variants", self.variant) if self.variant else ()
        found = []
        for place in self.search.space:
            path = parse_path(place, f"{self.where}.space")
            if not table and (path[0] != "training" or len(path) < 2):
                raise ConfigError(
                    f"{self.where}.space.{place}: the study's `search:` draws places of training.* only. "
                    "Hint: any place of one variant goes into variants.NAME.search.space"
                )
            column = tuple(row[place] for row in rows)
            found.append(Override(f"{self.where}.space.{place}", (*table, *path), column, drawn=self.where))
        return found


def taken_out(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[Override], list[Searched]]:
    """The settings without any `sweep:` and `search:` (top level, or in a variant), and what stood there."""
    rest = {key: value for key, value in settings.items() if key not in _BLOCKS}
    sweeps, searches = list(_written(settings.get("sweep"), "sweep")), [("search", None, settings.get("search"))]
    variants = rest.get("variants")
    if isinstance(variants, dict) and any(
        isinstance(entry, dict) and _BLOCKS & entry.keys() for entry in variants.values()
    ):
        rest["variants"] = dict(variants)
        for name, entry in variants.items():
            if not isinstance(entry, dict):
                continue
            rest["variants"][name] = {key: value for key, value in entry.items() if key not in _BLOCKS}
            own = _written(entry.get("sweep"), f"variants.{name}.sweep")
            sweeps += [one.below("variants", str(name)) for one in own]
            searches.append((f"variants.{name}.search", str(name), entry.get("search")))
    found = ((where, variant, read_search(block, where)) for where, variant, block in searches)
    return rest, sweeps, [Searched(where, variant, search) for where, variant, search in found if search]


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
        yield Override(word, parse_path(str(place), where), tuple(Value(text_of(value), value) for value in values))


# Members


@dataclass(frozen=True)
class Dimension:
    """One swept or searched place of one entry, and what its members are called by."""

    override: Override
    place: tuple[str, ...]  # within the entry; empty = a variant takes the members of its arm
    label: str

    def mark(self, value: Value) -> str:
        """The part of a member's name that says this value."""
        return mark(self.label, value)


Combination = tuple[tuple[Dimension, Value], ...]


def expanded(
    settings: Mapping[str, Any], study: Study, sweeps: Sequence[Override], searches: Sequence[Searched], most: int
) -> dict[str, Any]:
    """The settings with the members of all sweeps and searches, in the place of their base on every board that lists it.

    study: what the settings mean before that. most: how many entries they may make together. Several sweeps of one entry
    make their product, in the order in which they were given; with a search, each of its members is one more factor.
    """
    sweeps = [*sweeps, *(column for searched in searches for column in searched.overrides(most))]
    entries = _dimensions(study, sweeps)
    many = sum(_count(found) for found in entries.values())
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


def _count(dimensions: Sequence[Dimension]) -> int:
    """How many members an entry gets: a search counts once, with all its places."""
    lengths = {one.override.drawn or one.override.path: len(one.override.values) for one in dimensions}
    return math.prod(lengths.values())


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
    else:  # of tasks that know the setting; where none does, all are refused by name
        tasks = {study.variants[name].task for name in rows if _takes(study, name, sweep.path[1])}
        rows = [name for name in rows if not tasks or study.variants[name].task in tasks]
    if not rows:
        raise ConfigError(f"{sweep.word!r}: no board lists a variant of kind model that it is about: nothing to sweep.")
    return rows


def _takes(study: Study, variant: str, key: str) -> bool:
    """Whether the training of a variant has this setting."""
    entry = study.variants[variant]
    settings = TASKS[entry.task].settings_of(study.common_training(variant) | entry.training)
    return key in settings.model_fields or key in getattr(settings, "shorthands", ())


def _add(
    found: dict[tuple[str, str], list[Dimension]], entry: tuple[str, str], sweep: Override, place: tuple[str, ...]
) -> None:
    """Add a dimension to an entry; labels are the last part of the place, or more of it where two are the same."""
    others = found.setdefault(entry, [])
    clash = next((one for one in others if (place and one.place == place) or {one.place, place} == {(), ("arm",)}), None)
    if clash:
        both = "swept and searched" if bool(clash.override.drawn) != bool(sweep.drawn) else "swept twice"
        raise ConfigError(f"{entry[1]} is {both}: {_words([clash.override, sweep])}. Hint: keep one of both.")
    rival = next((one.override.drawn for one in others if one.override.drawn not in ("", sweep.drawn)), None)
    if sweep.drawn and rival:
        raise ConfigError(
            f"{entry[1]} has two searches: {rival} and {sweep.drawn}. Hint: join their spaces into one of them."
        )
    others.append(Dimension(sweep, place, label_of(sweep.path, [one.label for one in others])))


def label_of(path: Sequence[str], taken: Sequence[str]) -> str:
    """What a place is called in names of members: its last part, or the last two where that is taken."""
    label = _slug(path[-1])
    return "-".join(_slug(part) for part in path[-2:]) if label in taken else label


def mark(label: str, value: Value) -> str:
    """The part of a member's name that says a value: `lr0-5e-5`; a dot between digits becomes `p`."""
    return f"{label}-{_slug(value.text)}"


def _refuse_twice(sweep: Override, others: Sequence[Override]) -> None:
    if sweep.drawn:
        return
    twice = [other for other in others if other.path == sweep.path and not other.drawn]
    if twice:
        raise ConfigError(f"{sweep.place} is swept twice ({_words([sweep, *twice])}). Hint: join both lists into one.")
    meanings = [meaning(value.value) for value in sweep.values]
    for number, one in enumerate(meanings):
        if one in meanings[:number]:
            raise ConfigError(f"{sweep.word!r}: {sweep.values[number].text} is the same value twice. Hint: leave one out.")


def _members(settings: dict[str, Any], table: str, base: str, dimensions: Sequence[Dimension]) -> list[str]:
    """Add the members of one entry to its table, in the order of the product; returns their names."""
    entries, names = settings[table], []
    for combination in _combinations(dimensions):
        name = _member(base, combination)
        asker = _words([one.override for one in dimensions])
        refuse_name(name, entries, asker, "values of a sweep must differ in letters or digits, whatever their case")
        entry = copy.deepcopy(entries[base] or {})
        for dimension, value in combination:
            if dimension.place:
                inherit_block(entry, dimension.place, settings)
                put(entry, dimension.place, value.value, dimension.override)
        through_arm = tuple(pair for pair in combination if not pair[0].place)
        if through_arm:
            entry["arm"] = _member(through_arm[0][0].override.path[1], through_arm)
        entry["description"] = described(base, [f"{one.override.place}={value.text}" for one, value in combination])
        entries[name] = entry
        names.append(name)
    return names


def _combinations(dimensions: Sequence[Dimension]) -> Iterator[Combination]:
    """The product of all sweeps with the rows of the search; the parts of each stand in the order of the dimensions."""
    columns = [[(one, value) for value in one.override.values] for one in dimensions if one.override.drawn]
    factors = [[((one, value),) for value in one.override.values] for one in dimensions if not one.override.drawn]
    for pieces in itertools.product(*factors, *([list(zip(*columns, strict=True))] if columns else [])):
        yield tuple(pair for piece in pieces for pair in piece)


def _member(base: str, combination: Combination) -> str:
    return "--".join([base, *(dimension.mark(value) for dimension, value in combination)])


def _slug(text: str) -> str:
    """A text as part of a name: lower case, a dot before a digit is `p`, a leading minus `m`, anything odd `-`."""
    text = re.sub(r"^-(?=[.\d])", "m", text.strip().lower()).replace("+", "")
    text = re.sub(r"(?:(?<=\d)|^|(?<=m))\.(?=\d)", "p", text)
    return re.sub(r"[^a-z0-9_]+", "-", text).strip("-") or "empty"


def inherit_block(entry: dict[str, Any], place: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Give a variant the study's own block before one key of it is set, where a variant's block replaces the study's whole.

    Without it `training.budget.iterations=120` would forget how many evaluations there are.
    """
    common = settings.get("training") or {}
    if len(place) > 2 and place[0] == "training" and place[1] in REPLACED_WHOLE and isinstance(common.get(place[1]), dict):
        own = entry.setdefault("training", {})
        own.setdefault(place[1], copy.deepcopy(common[place[1]]))


def described(base: str, words: Sequence[str]) -> str:
    return f"{base} with {' '.join(words)}" if words else f"Like {base}."


def refuse_name(name: str, taken: Mapping[str, Any], asker: str, hint: str) -> None:
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
