"""Which video belongs to which split: by hash rank with exact sizes, or by name patterns; and a check that no medium lies
in two splits. Not here: choosing frames inside a split (subsample.py).

A split is drawn from the hash of (seed, original name), never from file order, so that it is the same on every machine.
Sizes follow Hamilton's largest-remainder method with exact decimals (0.1 means 1/10, not the nearest binary number).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from hashlib import blake2b
from itertools import pairwise
from math import floor

import pandas as pd

from lib.config.base import ConfigError
from lib.files import DataError


def exact(number: float) -> Fraction:
    """The decimal that was written, as a rational: 0.3 gives 3/10 (the binary float lies slightly beside it)."""
    return Fraction(repr(float(number)))


def draw_splits(originals: Iterable[str], splits: Mapping[str, float | Sequence[str]], seed: int = 0) -> dict[str, str]:
    """Original name -> split, for the videos that are in a split (the others are left out of the answer).

    splits: split -> fraction of the videos in (0, 1], summing to at most 1; or split -> glob patterns on original names
    (`*` also matches `/`), each video in at most one. The order of `originals` and of `splits` does not matter.
    ConfigError: a split that gets no video, a pattern without a match, a video that two splits claim.
    """
    names = sorted(set(originals))
    by_pattern = {split: value for split, value in splits.items() if not isinstance(value, int | float)}
    if by_pattern and len(by_pattern) != len(splits):
        raise ConfigError("splits: give every split glob patterns or every split a fraction, not a mixture.")
    return _by_pattern(names, by_pattern) if by_pattern else _by_fraction(names, splits, seed)


def _by_fraction(names: list[str], splits: Mapping[str, float], seed: int) -> dict[str, str]:
    ranked = sorted(names, key=lambda name: (_hash(seed, name), name))
    order = sorted(splits)
    sizes = split_sizes(len(ranked), [splits[split] for split in order])
    for split, size in zip(order, sizes, strict=True):
        if not size:
            raise ConfigError(
                f"splits.{split}: {splits[split]} of {len(ranked)} videos is no video. "
                "Hint: raise the fraction, add videos, or leave the split out."
            )
    ends = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    spans = zip(order, pairwise(ends), strict=True)
    return {name: split for split, (start, stop) in spans for name in ranked[start:stop]}


def split_sizes(total: int, fractions: Sequence[float]) -> list[int]:
    """Whole sizes for fractions of `total` by largest remainder; what the fractions leave open counts as a share of its
    own.

    Each size is its quota rounded down or up and all of them sum to `total` where the fractions sum to 1. Equal remainders:
    the earlier one first. ConfigError: a fraction outside (0, 1], or a sum above 1 (rounding as in 3 x 0.3333333333
    aside).
    """
    if any(not 0 < fraction <= 1 for fraction in fractions) or sum(fractions) > 1 + 1e-9:
        raise ConfigError(f"splits: fractions must each exceed 0 and sum to at most 1, got {list(fractions)}.")
    shares = [exact(fraction) for fraction in fractions]
    rest = 1 - sum(shares)
    if abs(rest) <= Fraction(1, 10**9):  # meant to sum to 1
        shares, rest = [share / sum(shares) for share in shares], Fraction(0)
    quotas = [share * total for share in [*shares, rest]]
    sizes = [floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda place: sizes[place] - quotas[place])  # stable: earlier first
    for place in by_remainder[: total - sum(sizes)]:
        sizes[place] += 1
    return sizes[:-1]


def _by_pattern(names: list[str], splits: Mapping[str, Sequence[str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for split in sorted(splits):
        for pattern in splits[split]:
            matches = [name for name in names if fnmatchcase(name, pattern)]
            if not matches:
                some = ", ".join(repr(name) for name in names[:3])
                raise ConfigError(
                    f"splits.{split}: pattern {pattern!r} matches no video. Hint: names look like {some or 'none'}."
                )
            for name in matches:
                if found.setdefault(name, split) != split:
                    raise ConfigError(
                        f"splits: {name!r} is claimed by {found[name]!r} and by {split!r} (pattern {pattern!r}). "
                        "Hint: a video belongs to one split; narrow one of the patterns."
                    )
    return found


def _hash(seed: int, name: str) -> bytes:
    return blake2b(f"{seed}\0split\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def check_leaks(manifest: pd.DataFrame) -> None:
    """Refuse a manifest in which the same medium (by sha256) lies in two splits; DataError names both videos.

    Rows without a sha256 (media that are not there) are passed over.
    """
    known = manifest[manifest["sha256"] != ""]
    leaking = known.groupby("sha256")["split"].nunique()
    leaking = leaking[leaking > 1]
    if leaking.empty:
        return
    same = known[known["sha256"] == leaking.index[0]].drop_duplicates("split").iloc[:2]
    first, second = (f"{row.original!r} ({row.split})" for row in same.itertuples())
    raise DataError(
        f"the same file is in two splits: {first} and {second}, sha256 {leaking.index[0][:12]}… ({len(leaking)} such). "
        "Hint: remove the copy, or put both into one split; a model must not be tested on what it was trained on."
    )
