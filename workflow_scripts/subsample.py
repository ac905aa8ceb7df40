"""Choose the training frames or clips of an arm, or check that the arms of a study are different ones.

python -m workflow_scripts.subsample draw --settings JSON --arm p25 --seed 0 --index results/shards/D/S/index.parquet \
    [--size-of results/subsets/D/OTHER/seed=0.parquet] --output results/subsets/D/p25/seed=0.parquet
python -m workflow_scripts.subsample compare --settings JSON --counts FILE … --output results/subsets/D/S.arms/seed=0.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from lib import provenance
from lib.config.subsample import Arm
from lib.data.arm_counts import check_arms, clip_counts, counts
from lib.data.subsample import BACKGROUND, subsample
from lib.data.tar_index import kind_of, read_shardset
from lib.files import read_json, write_json
from lib.tables import read_table, write_table
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    verbs = arguments.add_subparsers(required=True)
    drawing = verbs.add_parser("draw", help="choose the frames of one arm")
    _program.add_settings(drawing)
    drawing.add_argument("--arm", required=True)
    drawing.add_argument("--seed", type=int, required=True)
    drawing.add_argument("--index", type=Path, required=True)
    drawing.add_argument("--size-of", type=Path, nargs="?", help="frames of the arm whose size is taken")
    drawing.add_argument("--output", type=Path, required=True)
    drawing.set_defaults(verb=draw)
    comparing = verbs.add_parser("compare", help="refuse a study whose arms are the same frames")
    _program.add_settings(comparing)
    comparing.add_argument("--counts", type=Path, nargs="+", required=True)
    comparing.add_argument("--output", type=Path, required=True)
    comparing.set_defaults(verb=compare)
    given = arguments.parse_args()
    given.verb(given)


def draw(given: argparse.Namespace) -> None:
    arm = Arm.model_validate(given.settings["arm"])
    shardset, index = read_shardset(given.index.with_name("manifest.json"))
    size = len(read_table(given.size_of, "subset")) if given.size_of else None
    if kind_of(shardset) == "clips":
        frames, counted = drawn_clips(index, arm, given.seed, size)
    else:
        frames = subsample(index, arm, given.seed, size=size, classes=shardset["classes"])
        counted = counts(index, frames, arm)
    write_table(given.output, frames, "subset")
    counts_path = given.output.with_suffix(".counts.json")
    write_json(counts_path, {"arm": given.arm, "seed": given.seed, **counted})
    inputs = {"index": given.index} | ({"size_of": given.size_of} if given.size_of else {})
    provenance.record([given.output, counts_path], stage="subsample", settings=given.settings, inputs=inputs)


def drawn_clips(index: pd.DataFrame, arm: Arm, seed: int, size: int | None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The clips of an arm and their counts: clips have no classes, so all of them stand where background frames do."""
    index = index.assign(classes=[[]] * len(index))
    clips = subsample(index, arm, seed, size=size, classes=())
    counted = counts(index, clips, arm) | clip_counts(index, clips, arm)
    return clips.replace({"reason": {BACKGROUND: "clip"}}), counted


def compare(given: argparse.Namespace) -> None:
    digests = {counted["arm"]: counted["sha256"] for counted in map(read_json, given.counts)}
    equal = check_arms(digests, allow_equal=given.settings["allow_equal_arms"])
    write_json(given.output, {"arms": given.settings["arms"], "equal": equal})


if __name__ == "__main__":
    _program.run(main)
