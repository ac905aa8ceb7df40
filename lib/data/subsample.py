"""Which frames of a split an arm holds: drawn per class by hash, nested, exact in size, spread over videos; pure functions.

Not here: splits (splits.py), settings (lib/config/subsample.py), reading samples (reader.py), counts (arm_counts.py).

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

Whole units. With unit `video`, S_c is all of F_c in the first ceil(p_c V_c) of the V_c videos that hold c, ordered by hash.
With unit `segment` videos are cut at every multiple of segment_s; the segments that hold c stand in the order above (a
segment takes the place of a frame), and S_c is all of F_c in the first of them that together hold at least ceil(p_c |F_c|)
frames: nested, and too large by less than one segment. Segments of equal weight give exactly ceil(p_c N_c) of N_c.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd

from lib.config.base import ConfigError, nearest
from lib.config.subsample import Arm
from lib.data.hashing import hashes
from lib.data.splits import exact
from lib.files import DataError

BACKGROUND, CONTROL = "background", "control"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """The N frames of the arm's split as arrays: keys, videos (N,) str, numbers (N,) int64, codes (N,) int, number of the
    video.

    members: class -> (n,) int64, rows of the frames that hold it, ascending. boxes: class -> (n,) int64, how many of it
    each of them holds (empty when the index does not say). background: (m,) int64, rows without a class. ignored: (N,)
    bool, whether a frame holds ignored boxes (None when the index does not say). units: (N,) int64, number of the video or
    segment that is drawn whole with a frame; unit_names, unit_videos: (U,) its name and the number of its video (None with
    unit frame).
    """

    keys: np.ndarray
    videos: np.ndarray
    numbers: np.ndarray
    codes: np.ndarray
    members: dict[str, np.ndarray]
    boxes: dict[str, np.ndarray]
    background: np.ndarray
    ignored: np.ndarray | None
    units: np.ndarray | None
    unit_names: np.ndarray | None
    unit_videos: np.ndarray | None

    def __len__(self) -> int:
        return len(self.keys)


def subsample(
    index: pd.DataFrame, arm: Arm, seed: int, *, size: int | None = None, classes: Collection[str] | None = None
) -> pd.DataFrame:
    """The frames of an arm: key, video, frame, reason, in the order of `index`.

    index: key, video, frame, classes (list of the distinct classes in the frame), with unit segment also time_s; with a
    column `split`, only rows of arm.split are drawn from. size: frames of the arm named by arm.size_of. classes: those of
    the dataset, for better messages (default: those that `index` holds). reason: the classes that drew the frame, joined
    by `+` in order of name, or `background`, or `control`. ConfigError: an unknown class, a class without frames in the
    split, a result without frames.
    """
    known = set(classes if classes is not None else _distinct_classes(index))
    pool = pool_of(index, arm)
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


def pool_of(index: pd.DataFrame, arm: Arm) -> Pool:
    """The frames of the arm's split; index as for `subsample`. ConfigError: none. DataError: a key that stands twice."""
    inside = (index["split"] == arm.split).to_numpy() if "split" in index.columns else slice(None)
    columns = {name: index[name].to_numpy()[inside] for name in index.columns}
    keys, lists = columns["key"].astype(object), columns["classes"].tolist()
    if not len(keys):
        raise ConfigError(f"split: {arm.split!r} has no frames in the shards. Hint: list it in `splits:` of the shardset.")
    if (repeated := pd.Index(keys).duplicated()).any():
        raise DataError(f"the index lists {keys[repeated][0]!r} twice. Hint: pack the shards again.")
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    numbers, names = pd.factorize(np.asarray([name for some in lists for name in some], dtype=object), sort=True)
    by_class = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(names)))[:-1]

    def per_class(values: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.split(values[by_class], ends)
        return {str(name): part for name, part in zip(names, parts, strict=False)}  # no class at all: one empty part

    boxes = {}
    if "instances" in columns:
        boxes = per_class(np.asarray([number for some in columns["instances"] for number in some], dtype=np.int64))
    videos = columns["video"].astype(object)
    codes, video_names = pd.factorize(videos)
    units, unit_names, unit_videos = _units(columns, codes, video_names, arm)
    return Pool(
        keys=keys,
        videos=videos,
        numbers=columns["frame"],
        codes=codes,
        members=per_class(np.repeat(np.arange(len(lists)), lengths)),
        boxes=boxes,
        background=np.flatnonzero(lengths == 0),
        ignored=columns["ignored"] > 0 if "ignored" in columns else None,
        units=units,
        unit_names=unit_names,
        unit_videos=unit_videos,
    )


def _units(
    columns: Mapping[str, np.ndarray], codes: np.ndarray, videos: np.ndarray, arm: Arm
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """(units, unit_names, unit_videos) as Pool has them; codes: (N,) int, place of a frame's video in `videos`."""
    if arm.unit == "frame":
        return None, None, None
    if arm.unit == "video":
        return codes, videos, np.arange(len(videos))
    if "time_s" not in columns:
        raise DataError("unit segment needs the index's column time_s. Hint: pack the shards again.")
    # whole microseconds: 0.3 s / 0.1 s as binary numbers is a little less than 3
    times = np.rint(columns["time_s"].astype(np.float64) * 1e6).astype(np.int64)
    numbers = times // round(arm.segment_s * 1e6)
    distinct, units = np.unique(codes * (numbers.max() + 1) + numbers, return_inverse=True)
    of_video, number = np.divmod(distinct, numbers.max() + 1)
    names = [f"{videos[video]}\0{one}" for video, one in zip(of_video.tolist(), number.tolist(), strict=True)]
    return units, np.asarray(names, dtype=object), of_video


def _check(pool: Pool, arm: Arm, known: set[str], size: int | None) -> None:
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


def _united(pool: Pool, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """Frames that any class drew."""
    kept = np.zeros(len(pool), dtype=bool)
    for rows in drawn.values():
        kept[rows] = True
    return np.flatnonzero(kept)


def _accepted_by_all(pool: Pool, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """Frames that every class in them drew."""
    size = len(pool)
    held, accepted = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for name, rows in pool.members.items():
        held[rows] += 1
        accepted[drawn[name]] += 1
    return np.flatnonzero((held > 0) & (accepted == held))


def _background(pool: Pool, arm: Arm, seed: int, *, objects: int) -> np.ndarray:
    """Rows of background frames; objects: how many frames with an object the arm holds."""
    if isinstance(arm.background, str):
        return pool.background if arm.background == "all" else pool.background[:0]
    if arm.background.fraction is not None:
        return _share(pool, pool.background, arm.background.fraction, arm.unit, seed, f"\0{BACKGROUND}")
    count = min(len(pool.background), requested_background(arm, objects, len(pool.background)))
    if arm.unit == "frame":
        return _first_frames(pool, pool.background, count, seed, f"\0{BACKGROUND}")
    order, lengths = _unit_order(pool, pool.background, arm.unit, seed, f"\0{BACKGROUND}")
    return _frames_of(pool, pool.background, order[: _enough(lengths, count)])


def requested_background(arm: Arm, objects: int, background: int) -> int:
    """Background frames that the settings ask for, given how many object frames are held and background frames exist."""
    if isinstance(arm.background, str):
        return background if arm.background == "all" else 0
    if arm.background.fraction is not None:
        return ceil(exact(arm.background.fraction) * background)
    return ceil(exact(arm.background.ratio or 0.0) * objects)


def _share(pool: Pool, rows: np.ndarray, share: float, unit: str, seed: int, purpose: str) -> np.ndarray:
    if share in (0, 1):
        return rows if share else rows[:0]
    count = ceil(exact(share) * len(rows))
    if unit == "frame":
        return _first_frames(pool, rows, count, seed, purpose)
    order, lengths = _unit_order(pool, rows, unit, seed, purpose)
    units = ceil(exact(share) * len(order)) if unit == "video" else _enough(lengths, count)
    return _frames_of(pool, rows, order[:units])


def _first_frames(pool: Pool, rows: np.ndarray, count: int, seed: int, purpose: str) -> np.ndarray:
    """The first `count` of `rows` in the order of `frame_order`, without putting all of them into it."""
    if not count:
        return rows[:0]
    u = hashes(pool.keys[rows], seed, purpose)
    seat = _seats(u, pool.codes[rows])
    last = np.partition(seat, count - 1)[count - 1]
    surely, perhaps = np.flatnonzero(seat < last), np.flatnonzero(seat == last)
    perhaps = perhaps[np.argsort(u[perhaps])]
    return rows[np.concatenate([surely, perhaps[: count - len(surely)]])]


def frame_order(keys: Iterable[str], videos: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """(N,) int64: places of the N frames in the order in which they are drawn (the rule is in the module's docstring).

    videos: (N,) names or numbers of the frames' videos. purpose: the class, so that the draws of different classes are
    independent.
    """
    u = hashes(keys, seed, purpose)
    return np.lexsort((u, _seats(u, np.asarray(videos))))


def _seats(u: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """(N,) float64: Webster seat of each frame among its video's frames, which stand by u."""
    codes, _ = pd.factorize(videos)
    by_u = np.argsort(u)
    lengths = np.bincount(codes)
    small = codes.astype(np.uint16) if len(lengths) < 2**16 else codes  # numpy sorts 16 bits by radix, in linear time
    by_video = by_u[np.argsort(small[by_u], kind="stable")]
    starts = np.cumsum(lengths) - lengths
    rank = np.empty(len(u), dtype=np.int64)
    rank[by_video] = np.arange(len(u)) - np.repeat(starts, lengths)
    return np.where(rank == 0, 0.0, (rank + 0.5) / lengths[codes])  # every video's first frame before any second one


def _unit_order(pool: Pool, rows: np.ndarray, unit: str, seed: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """((U,) numbers of the units in the order in which they are drawn, (U,) how many of `rows` each holds)."""
    present, lengths = np.unique(pool.units[rows], return_counts=True)
    names = pool.unit_names[present]
    if unit == "video":
        order = np.argsort(hashes(names, seed, f"{purpose}\0video"), kind="stable")
    else:
        order = frame_order(names, pool.unit_videos[present], seed, f"{purpose}\0segment")
    return present[order], lengths[order]


def _enough(lengths: np.ndarray, count: int) -> int:
    """How many units, taken in order, hold at least `count` frames."""
    return int(np.searchsorted(np.cumsum(lengths), count)) + 1 if count else 0


def _frames_of(pool: Pool, rows: np.ndarray, units: np.ndarray) -> np.ndarray:
    drawn = np.zeros(len(pool.unit_names), dtype=bool)
    drawn[units] = True
    return rows[drawn[pool.units[rows]]]


def _result(pool: Pool, drawn: Mapping[str, np.ndarray], kept: np.ndarray) -> pd.DataFrame:
    reasons = np.full(len(pool), "", dtype=object)
    for name, rows in drawn.items():
        reasons[rows] = np.where(reasons[rows] == "", name, reasons[rows] + f"+{name}")
    columns = {"key": pool.keys, "video": pool.videos, "frame": pool.numbers, "reason": reasons}
    return pd.DataFrame({name: values[kept] for name, values in columns.items()})
