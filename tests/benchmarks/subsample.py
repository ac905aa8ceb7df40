"""Drawing the frames of an arm out of a million. Floor: hashing the same keys once and numpy's argsort of the hashes.

The arm draws two classes with different shares over 2,000 videos; the floor does one class and no quotas.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.config.subsample import Arm
from lib.data.hashing import hashes
from lib.data.subsample import subsample
from tests.benchmarks.measure import Result, compared, in_process, interleaved, main

FRAMES = {"tiny": 20_000, "small": 1_000_000, "full": 1_000_000}
REPEATS = {"tiny": 1, "small": 2, "full": 5}
LIMIT_S = 2.0
UNITS = ("frame", "segment", "video")
SHARES = {"person": 0.25, "hook": 0.5}


def index_of(frames: int) -> pd.DataFrame:
    """An offset index as the shards have it: 500 frames a video, a third with persons, a tenth with a hook."""
    rng = np.random.default_rng(0)
    number = np.arange(frames)
    video = np.char.add("v", np.char.zfill((number // 500).astype(str), 5)).astype(object)
    person, hook = rng.random(frames) < 0.33, rng.random(frames) < 0.1
    kinds = np.array([[], ["person"], ["hook"], ["hook", "person"]], dtype=object)
    names = [kinds[place] for place in person + 2 * hook]
    key = np.char.add(video.astype(str), np.char.add("-", np.char.zfill((number % 500).astype(str), 6))).astype(object)
    return pd.DataFrame(
        {
            "key": key,
            "video": video,
            "frame": number % 500,
            "time_s": (number % 500) / 25,
            "split": "train",
            "classes": names,
        }
    )


def arm(unit: str, scale: float = 1.0) -> Arm:
    shares = {name: share * scale for name, share in SHARES.items()}
    return Arm.model_validate({"shardset": "s", "background": "none", "unit": unit, "fractions": shares})


def measure(size: str) -> Result:
    index = index_of(FRAMES[size])
    result = Result(f"Subsampling of {FRAMES[size]:,} frames")
    holders = {name: index["classes"].map(lambda held, name=name: name in held).to_numpy() for name in SHARES}

    def floor() -> None:
        np.argsort(hashes(index["key"], 0, "person"), kind="stable")

    for unit in UNITS:
        runs = interleaved(
            {
                "ours": lambda unit=unit: in_process(lambda: subsample(index, arm(unit), 0)),
                "hash and argsort": lambda: in_process(floor),
            },
            REPEATS[size],
        )
        result.rows.append(compared(f"unit {unit}: CPU", runs, "cpu", ours="ours", target=("<=", LIMIT_S)))
        result.rows.append(compared(f"unit {unit}: wall", runs, "wall", ours="ours", target=("<=", LIMIT_S)))
        result.rows.append(compared(f"unit {unit}: beside the floor", runs, "cpu", ours="ours", peer="hash and argsort"))
        drawn, less = (set(subsample(index, arm(unit, scale), 0)["key"]) for scale in (1.0, 0.5))
        taken = index["key"].isin(drawn).to_numpy()
        reached = {name: round(float(taken[rows].mean()), 3) for name, rows in holders.items()}
        result.facts[f"unit {unit}: reached (union, asked {SHARES})"] = reached
        result.facts[f"unit {unit}: half the shares is a part of it"] = less <= drawn
    return result


if __name__ == "__main__":
    main(measure, "subsample")
