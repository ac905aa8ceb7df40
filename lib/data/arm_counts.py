"""What an arm asked for and what it got: counts per class or template, and whether two arms are the same samples.

Not here: drawing (subsample.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import ConfigError
from lib.config.subsample import Arm
from lib.data.splits import exact
from lib.data.subsample import Pool, pool_of, requested_background
from lib.files import sha256_text


def counts(index: pd.DataFrame, frames: pd.DataFrame, arm: Arm) -> dict[str, Any]:
    """Requested and achieved numbers of an arm, as plain values.

    index: as for `subsample`, with `instances` (list of the number of boxes, parallel to `classes`) and, if present,
    `ignored` (boxes that are neither object nor background). Per class: fraction (stated or 1), frames and instances in
    the split (`pool_`), requested (frames, or videos with that unit), achieved, with unit segment also the segments; ratio
    = frames against the class with most frames, as 1:4 is 0.25. sha256 is that of the sorted keys: equal sums mean equal
    arms.
    """
    pool = pool_of(index, arm)
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
        "videos": len(np.unique(pool.codes[kept])),
        "pool_videos": len(np.unique(pool.codes)),
        "background": background,
        "classes": of_class,
        "sha256": key_digest(frames["key"]),
    }


def clip_counts(index: pd.DataFrame, clips: pd.DataFrame, arm: Arm) -> dict[str, Any]:
    """What an arm over clips holds, of what its split holds (`pool_`): clips, queries, annotated ones, steps; per template
    its queries. index: of a shardset of clips; clips: the arm's rows, as of `subsample`."""
    pool = index[index["split"] == arm.split]
    found: dict[str, Any] = {}
    templates: dict[str, dict[str, int]] = {}
    for prefix, rows in (("pool_", pool), ("", pool[pool["key"].isin(clips["key"])])):
        found[f"{prefix}clips"] = len(rows)
        found |= {f"{prefix}{name}": int(rows[name].sum()) for name in ("queries", "annotated", "steps")}
        for names, numbers in zip(rows["templates"], rows["template_queries"], strict=True):
            for name, number in zip(names, numbers, strict=True):
                one = templates.setdefault(str(name), {"pool_queries": 0, "queries": 0})
                one[f"{prefix}queries"] += int(number)
    return found | {"templates": dict(sorted(templates.items()))}


def _class_counts(pool: Pool, kept: np.ndarray, name: str, rows: np.ndarray, arm: Arm) -> dict[str, Any]:
    found: dict[str, Any] = {"pool_frames": len(rows), "frames": int(kept[rows].sum())}
    if arm.size_of is None:
        fraction = arm.fractions.get(name, 1.0)
        found |= {"fraction": fraction, "stated": name in arm.fractions}
        videos = arm.unit == "video"
        units = len(np.unique(pool.codes[rows])) if videos else len(rows)
        found["requested_videos" if videos else "requested_frames"] = ceil(exact(fraction) * units)
    if arm.unit == "segment":
        inside = pool.units[rows]
        found |= {"pool_segments": len(np.unique(inside)), "segments": len(np.unique(inside[kept[rows]]))}
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
