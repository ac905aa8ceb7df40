"""A small study as plain values, for tests that change one thing in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.config.base import ConfigError
from lib.config.study import Study, load_study

SMALL: dict[str, Any] = {
    "study": "small",
    "seeds": [0, 1],
    "datasets": {"site": {"source": {"format": "world", "seed": 3}, "chunks": 2, "licence": "CC0-1.0"}},
    "weights": {"own": {"variant": "detector", "dataset": "site"}},
    "detectors": {"nano": {"kind": "yolo", "weights": "own", "imgsz": 64}, "truth": {"kind": "truth"}},
    "trackers": {"bytetrack": {"kind": "bytetrack"}},
    "shardsets": {"bare": {"splits": ["train", "val"]}, "full": {"tracks": {"detector": "nano", "tracker": "bytetrack"}}},
    "arms": {
        "d": {"shardset": "bare", "background": "all"},
        "half": {"shardset": "full", "background": {"fraction": 0.5}, "fractions": {"person": 0.5}},
    },
    "training": {"imgsz": 64, "budget": {"iterations": 4, "evaluations": 2}},
    "variants": {
        "detector": {"arm": "d"},
        "less": {"arm": "half", "training": {"lr0": 0.01}},
        "prior": {"kind": "floor", "floor": "prior", "arm": "half"},
    },
    "tta": {"none": {"views": [{}]}, "flip": {"views": [{}, {"flip": True}]}},
    "boards": {
        "main": {"dataset": "site", "variants": ["less", "prior"], "tta": ["none"]},
        "followed": {"kind": "tracks", "dataset": "site", "detectors": ["nano"], "trackers": ["bytetrack"]},
    },
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """SMALL with the value at a dotted place set; blocks on the way are made."""
    values = copy.deepcopy(SMALL)
    block = values
    *way, last = place.split(".")
    for key in way:
        block = block.setdefault(key, {})
    block[last] = value
    return values


def load(folder: Path, values: dict[str, Any], *later: dict[str, Any]) -> Study:
    """The study as it is read from settings files in `folder`; `later` are further --configfiles."""
    files = [folder / f"{number}.yaml" for number in range(1 + len(later))]
    for file, one in zip(files, (values, *later), strict=True):
        file.write_text(yaml.safe_dump(one, sort_keys=False))
    return load_study(files)


def refusal(folder: Path, values: dict[str, Any]) -> str:
    """The text with which a study is refused."""
    with pytest.raises(ConfigError) as refused:
        load(folder, values)
    return str(refused.value)
