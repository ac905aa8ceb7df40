"""Which frames of a split an arm holds: drawn per class by hash, nested, exact in size, spread over videos; pure functions.

Not here: splits (splits.py), settings (lib/config/subsample.py), reading samples (shards.py).

The rule. F_c = the frames that hold class c, p_c its stated fraction (1 where none is stated). Every frame of F_c gets u
= BLAKE2b-64(seed, c, key), which puts F_c into one order; S_c is its first ceil(p_c |F_c|) frames, p_c taken as the
decimal that was written. One order for all p makes S_c(p) a subset of S_c(q) for p <= q, with exact sizes. Union: the arm
is the union of all S_c. Exclusive: a frame is in when every class that it holds drew it. Frames without a class are
background, a draw of its own. A kept frame keeps all its labels: dropping some would teach a model that objects are
background.

The order spreads over videos (neighbouring frames are near-duplicates). First comes the frame with the smallest u of
every video, by u: the smallest of n_v hashes puts long videos first in proportion to their length, and no video is
without a frame once there are as many frames as videos. The others follow by (rank within the video by u + 1/2) / n_v,
ties by u: the Webster / Sainte-Laguë seats of the videos. Largest remainder would share as fairly, but is not monotone in
the total (the Alabama paradox): with it, a larger arm could lose a frame of a smaller one. Ranks within a video do not
depend on the others.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import ConfigError, nearest
from lib.config.subsample import Arm
from lib.data.splits import exact
from lib.files import DataError, sha256_text

BACKGROUND, CONTROL = "background", "control"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pool:
    """The N frames of the arm's split as arrays: keys, videos (N,) str, numbers (N,) int64.

    members: class -> (n,) int64, rows of the frames that hold it, ascending. boxes: class -> (n,) int64, how many of it
    each of them holds (empty when the index does not say). background: (m,) int64, rows without a class. ignored: (N,)
    bool, whether a frame holds ignored boxes (None when the index does not say).
    """

    keys: np.ndarray
    videos: np.ndarray
    numbers: np.ndarray
    members: dict[str, np.ndarray]
    boxes: dict[str, np.ndarray]
    background: np.ndarray
    ignored: np.ndarray | None

    def __len__(self) -> int:
        return len(self.keys)


def subsample(
    index: pd.DataFrame, arm: Arm, seed: int, *, size: int | None = None, classes: Collection[str] | None = None
) -> pd.DataFrame:
    """The frames of an arm: key, video, frame, reason, in the order of `index`.

    index: key, video, frame, classes (list of the distinct classes in the frame); with a column `split`, only rows of
    arm.split are drawn from. size: frames of the arm named by arm.size_of. classes: those of the dataset, for better
    messages (default: those that `index` holds). reason: the classes that drew the frame, joined by `+` in order of name,
    or `background`, or `control`. ConfigError: an unknown class, a class without frames in the split, a result without
    frames.
    """
    known = set(classes if classes is not None else _distinct_classes(index))
    pool = _pool(index, arm)
    _check(pool, arm, known, size)
    if size is not None:
        objects = _united(pool, pool.members)
        rows = np.sort(np.concatenate([objects, _background(pool, arm, seed, objects=len(objects))]))
        if size > len(rows):
            raise ConfigError(
                f"size_of: {arm.size_of} holds {size} frames, but the control can draw from {len(rows)} only. "
                "Hint: give the control the background of that arm."
            )
        drawn = {CONTROL: _first_frames(pool, rows, size, seed, f"\0{CONTROL}")}
        return _result(pool, drawn, np.sort(drawn[CONTROL]))
    drawn = {
        name: _share(pool, rows, arm.fractions.get(name, 1.0), arm.unit, seed, name) for name, rows in pool.members.items()
    }
    kept = _united(pool, drawn) if arm.mode == "union" else _accepted_by_all(pool, drawn)
    extra = _background(pool, arm, seed, objects=len(kept))
    if not len(kept) + len(extra):
        raise ConfigError(
            f"fractions {arm.fractions} ({arm.mode}) with background {arm.background!r} leave no frame of split "
            f"{arm.split!r}. Hint: raise a fraction, or allow background."
        )
    return _result(pool, drawn | {BACKGROUND: extra}, np.sort(np.concatenate([kept, extra])))


def _distinct_classes(index: pd.DataFrame) -> set[str]:
    return {name for names in index["classes"] for name in names}


def _pool(index: pd.DataFrame, arm: Arm) -> _Pool:
    inside = (index["split"] == arm.split).to_numpy() if "split" in index.columns else slice(None)
    columns = {name: index[name].to_numpy()[inside] for name in index.columns}
    keys, lists = columns["key"].astype(object), columns["classes"].tolist()
    if not len(keys):
        raise ConfigError(f"split: {arm.split!r} has no frames in the shards. Hint: list it in `splits:` of the shardset.")
    if (repeated := pd.Index(keys).duplicated()).any():
        raise DataError(f"the index lists {keys[repeated][0]!r} twice. Hint: pack the shards again.")
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    codes, names = pd.factorize(np.asarray([name for some in lists for name in some], dtype=object), sort=True)
    by_class = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))[:-1]

    def per_class(values: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.split(values[by_class], ends)
        return {str(name): part for name, part in zip(names, parts, strict=False)}  # no class at all: one empty part

    boxes = {}
    if "instances" in columns:
        boxes = per_class(np.asarray([number for some in columns["instances"] for number in some], dtype=np.int64))
    return _Pool(
        keys=keys,
        videos=columns["video"].astype(object),
        numbers=columns["frame"],
        members=per_class(np.repeat(np.arange(len(lists)), lengths)),
        boxes=boxes,
        background=np.flatnonzero(lengths == 0),
        ignored=columns["ignored"] > 0 if "ignored" in columns else None,
    )


def _check(pool: _Pool, arm: Arm, known: set[str], size: int | None) -> None:
    if (size is None) != (arm.size_of is None):
        raise ConfigError(f"size_of is {arm.size_of!r}, but the size of that arm is {size!r}. Hint: give both or neither.")
    for name in arm.fractions:
        if name not in known:
            raise ConfigError(f"fractions.{name}: the dataset has no class {name!r}. {nearest(name, known)}")
        if name not in pool.members:
            raise ConfigError(
                f"fractions.{name}: no frame of split {arm.split!r} holds {name!r}. "
                "Hint: leave the class out, or check the splits."
            )
    silent = sorted(set(pool.members) - set(arm.fractions))
    if arm.fractions and silent:
        _log.warning("classes without a stated fraction are taken whole (1.0): %s", ", ".join(silent))


def _united(pool: _Pool, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """Frames that any class drew."""
    kept = np.zeros(len(pool), dtype=bool)
    for rows in drawn.values():
        kept[rows] = True
    return np.flatnonzero(kept)


def _accepted_by_all(pool: _Pool, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """Frames that every class in them drew."""
    size = len(pool)
    held, accepted = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for name, rows in pool.members.items():
        held[rows] += 1
        accepted[drawn[name]] += 1
    return np.flatnonzero((held > 0) & (accepted == held))


def _background(pool: _Pool, arm: Arm, seed: int, *, objects: int) -> np.ndarray:
    """Rows of background frames; objects: how many frames with an object the arm holds."""
    if isinstance(arm.background, str):
        return pool.background if arm.background == "all" else pool.background[:0]
    if arm.background.fraction is not None:
        return _share(pool, pool.background, arm.background.fraction, arm.unit, seed, f"\0{BACKGROUND}")
    count = min(len(pool.background), requested_background(arm, objects, len(pool.background)))
    if arm.unit == "frame":
        return _first_frames(pool, pool.background, count, seed, f"\0{BACKGROUND}")
    order, lengths = _video_order(pool, pool.background, seed, f"\0{BACKGROUND}")
    videos = int(np.searchsorted(np.cumsum(lengths), count)) + 1 if count else 0  # whole videos until there are enough
    return _frames_of(pool, pool.background, order[:videos])


def requested_background(arm: Arm, objects: int, background: int) -> int:
    """Background frames that the settings ask for, given how many object frames are held and background frames exist."""
    if isinstance(arm.background, str):
        return background if arm.background == "all" else 0
    if arm.background.fraction is not None:
        return ceil(exact(arm.background.fraction) * background)
    return ceil(exact(arm.background.ratio or 0.0) * objects)


def _share(pool: _Pool, rows: np.ndarray, share: float, unit: str, seed: int, purpose: str) -> np.ndarray:
    if share in (0, 1):
        return rows if share else rows[:0]
    if unit == "frame":
        return _first_frames(pool, rows, ceil(exact(share) * len(rows)), seed, purpose)
    order, _ = _video_order(pool, rows, seed, purpose)
    return _frames_of(pool, rows, order[: ceil(exact(share) * len(order))])


def _first_frames(pool: _Pool, rows: np.ndarray, count: int, seed: int, purpose: str) -> np.ndarray:
    return rows[frame_order(pool.keys[rows], pool.videos[rows], seed, purpose)[:count]]


def frame_order(keys: Iterable[str], videos: Iterable[str], seed: int, purpose: str) -> np.ndarray:
    """(N,) int64: places of the N frames in the order in which they are drawn (the rule is in the module's docstring).

    purpose: the class, so that the draws of different classes are independent.
    """
    u = _hashes(keys, seed, purpose)
    codes, _ = pd.factorize(np.asarray(videos, dtype=object))
    by_video = np.lexsort((u, codes))
    lengths = np.bincount(codes)
    starts = np.cumsum(lengths) - lengths
    rank = np.empty(len(u), dtype=np.int64)
    rank[by_video] = np.arange(len(u)) - np.repeat(starts, lengths)
    seat = np.where(rank == 0, 0.0, (rank + 0.5) / lengths[codes])  # every video's first frame before any second one
    return np.lexsort((u, seat))


def _video_order(pool: _Pool, rows: np.ndarray, seed: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """((V,) video ids in the order in which they are drawn, (V,) how many of `rows` each holds)."""
    codes, videos = pd.factorize(pool.videos[rows], sort=True)
    lengths = np.bincount(codes)
    order = np.argsort(_hashes(videos, seed, f"{purpose}\0video"), kind="stable")
    return videos[order], lengths[order]


def _frames_of(pool: _Pool, rows: np.ndarray, videos: np.ndarray) -> np.ndarray:
    return rows[np.isin(pool.videos[rows], videos)]


def _hashes(names: Iterable[str], seed: int, purpose: str) -> np.ndarray:
    """(N,) uint64: BLAKE2b-64 of (seed, purpose, name); u / 2^64 would be uniform in [0, 1)."""
    start = blake2b(f"{seed}\0{purpose}\0".encode(), digest_size=8)
    digests = []
    for name in names:
        one = start.copy()
        one.update(name.encode())
        digests.append(one.digest())
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def _result(pool: _Pool, drawn: Mapping[str, np.ndarray], kept: np.ndarray) -> pd.DataFrame:
    reasons = np.full(len(pool), "", dtype=object)
    for name, rows in drawn.items():
        reasons[rows] = np.where(reasons[rows] == "", name, reasons[rows] + f"+{name}")
    columns = {"key": pool.keys, "video": pool.videos, "frame": pool.numbers, "reason": reasons}
    return pd.DataFrame({name: values[kept] for name, values in columns.items()})


def counts(index: pd.DataFrame, frames: pd.DataFrame, arm: Arm) -> dict[str, Any]:
    """Requested and achieved numbers of an arm, as plain values.

    index: as for `subsample`, with `instances` (list of the number of boxes, parallel to `classes`) and, if present,
    `ignored` (boxes that are neither object nor background). Per class: fraction (stated or 1), frames and instances in
    the split (`pool_`), requested (of the unit), achieved; ratio = frames against the class with most frames, as 1:4 is
    0.25. sha256 is that of the sorted keys: equal sums mean equal arms.
    """
    pool = _pool(index, arm)
    kept = pd.Index(pool.keys).isin(frames["key"])
    of_class = {name: _class_counts(pool, kept, name, rows, arm) for name, rows in pool.members.items()}
    for prefix in ("pool_", ""):
        most = max((one[f"{prefix}frames"] for one in of_class.values()), default=0)
        for one in of_class.values():
            one[f"{prefix}ratio"] = round(one[f"{prefix}frames"] / most, 6) if most else None
    held = int(kept[pool.background].sum())
    objects = int(kept.sum()) - held
    background: dict[str, Any] = {"pool": len(pool.background), "achieved": held}
    background["requested"] = requested_background(arm, objects, len(pool.background)) if arm.size_of is None else None
    if pool.ignored is not None:  # such a frame holds something that the labels pass over
        background["with_ignored_boxes"] = int((kept & pool.ignored)[pool.background].sum())
    return {
        "frames": int(kept.sum()),
        "pool_frames": len(pool),
        "videos": len(set(pool.videos[kept])),
        "pool_videos": len(set(pool.videos)),
        "background": background,
        "classes": of_class,
        "sha256": key_digest(frames["key"]),
    }


def _class_counts(pool: _Pool, kept: np.ndarray, name: str, rows: np.ndarray, arm: Arm) -> dict[str, Any]:
    found: dict[str, Any] = {"pool_frames": len(rows), "frames": int(kept[rows].sum())}
    if arm.size_of is None:
        fraction = arm.fractions.get(name, 1.0)
        found |= {"fraction": fraction, "stated": name in arm.fractions}
        units = len(set(pool.videos[rows])) if arm.unit == "video" else len(rows)
        found[f"requested_{arm.unit}s"] = ceil(exact(fraction) * units)
    found["achieved_fraction"] = round(found["frames"] / len(rows), 6)
    if pool.boxes:
        boxes = pool.boxes[name]
        found |= {"pool_instances": int(boxes.sum()), "instances": int(boxes[kept[rows]].sum())}
    return found


def key_digest(keys: Iterable[str]) -> str:
    """sha256 of a set of keys, whatever their order."""
    return sha256_text("\n".join(sorted(keys)))


def check_arms(digests: Mapping[str, str], *, allow_equal: bool = False) -> list[list[str]]:
    """Groups of arms (name -> key_digest) that are the same frames; ConfigError naming them unless `allow_equal`."""
    same: dict[str, list[str]] = {}
    for name in sorted(digests):
        same.setdefault(digests[name], []).append(name)
    equal = [names for names in same.values() if len(names) > 1]
    if equal and not allow_equal:
        raise ConfigError(
            f"these arms resolve to the same frames: {'; '.join(' = '.join(names) for names in equal)}. "
            "Hint: change their fractions, leave one out, or state `allow_equal_arms: true`."
        )
    return equal
