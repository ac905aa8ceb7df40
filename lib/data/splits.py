"""Which split each video belongs to: as the source states, by patterns, or by a drawn fraction. Not here: sampling frames.

Splits are by video, so that no frame of a test video is ever trained on.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase

from lib.config.base import ConfigError, nearest
from lib.data.sources import Item
from lib.files import DataError


def assign(items: list[Item], splits: str | dict[str, list[str] | float], seed: int) -> dict[str, str | None]:
    """Original name -> split, None = in no split.

    splits: "source"; split -> glob patterns on original names (`*` matches `/` too); or split -> fraction. Fractions rank all
    videos by a hash of (seed, original name) and cut that order, so that sizes are exact and do not depend on the order of
    items. Raises ConfigError (a pattern or a split without any video) and DataError (one video in two splits).
    """
    if isinstance(splits, str):
        return _stated(items)
    names = [item.original for item in items]
    if all(isinstance(value, list) for value in splits.values()):
        return _matched(names, {split: value for split, value in splits.items() if isinstance(value, list)})
    return _drawn(names, {split: value for split, value in splits.items() if not isinstance(value, list)}, seed)


def _stated(items: list[Item]) -> dict[str, str | None]:
    for item in items:
        if item.split is None:
            raise ConfigError(
                f"splits: 'source', but the source states no split for {item.original!r}. Hint: give patterns or fractions."
            )
    return {item.original: item.split for item in items}


def _matched(names: list[str], patterns: dict[str, list[str]]) -> dict[str, str | None]:
    found: dict[str, str | None] = dict.fromkeys(names)
    for split, globs in patterns.items():
        for glob in globs:
            matching = [name for name in names if fnmatchcase(name, glob)]
            if not matching:
                raise ConfigError(f"splits.{split}: pattern {glob!r} matches no video. {nearest(glob, names[:20])}")
            for name in matching:
                if found[name] not in (None, split):
                    raise DataError(
                        f"splits: {name!r} is in split {found[name]!r} and, by the pattern {glob!r}, in split {split!r}. "
                        f"Hint: a video belongs to one split only; narrow one of the patterns."
                    )
                found[name] = split
    return found


def _drawn(names: list[str], fractions: dict[str, float], seed: int) -> dict[str, str | None]:
    ranked = sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).hexdigest(), name))
    found: dict[str, str | None] = dict.fromkeys(names)
    start, share = 0, 0.0
    for split, fraction in fractions.items():
        share += fraction
        end = int(share * len(ranked) + 0.5)
        if end == start:
            raise ConfigError(
                f"splits.{split}: {fraction} of {len(ranked)} videos is none. Hint: raise the fraction or name patterns."
            )
        found.update(dict.fromkeys(ranked[start:end], split))
        start = end
    return found
