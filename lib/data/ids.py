"""Safe ids for videos with odd names, fit to be part of a path. Not here: the original names (the manifest keeps them)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from lib.files import DataError

_LONGEST = 120  # leaves room for what stages add (suffixes, temporary names) within the 255 bytes of a file name


def safe_id(original: str) -> str:
    """The id of one name: lower case, without a file suffix, characters other than `a-z0-9_-` become `-`.

    A name of which nothing readable remains, or a very long one, gets a short hash of the original. Different names may
    share an id; `unique_ids` tells them apart.
    """
    name = re.sub(r"(?<=.)\.[a-z0-9]{2,4}$", "", original.lower())
    plain = re.sub(r"[^a-z0-9_-]", "-", name).lstrip("-_")
    if not plain:
        return f"v-{_hash(original)}"
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}-{_hash(original)}"


def unique_ids(originals: Iterable[str]) -> dict[str, str]:
    """Original name -> id, no two alike. Every name of a colliding group gets the suffix `-<hash of the original>`, so that
    ids do not depend on the order of the names.

    Raises DataError when an original occurs twice.
    """
    names = list(originals)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{twice[0]!r} is listed twice as a video ({len(twice)} such names). Hint: remove the repeated entry."
        )
    plain = {name: safe_id(name) for name in names}
    count = Counter(plain.values())
    ids = {name: base if count[base] == 1 else f"{base}-{_hash(name)}" for name, base in plain.items()}
    if len(set(ids.values())) != len(ids):  # a name that spells out another's suffix: hash them all
        ids = {name: f"{base}-{_hash(name)}" for name, base in plain.items()}
    return ids


def _hash(original: str) -> str:
    return hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:8]
