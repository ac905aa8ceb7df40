"""Oracle and floor of the synthetic world's boxes, masks and tracks, from the truth tables that ingest writes.

The masks' oracle is pycocotools on the annotation file; boxes and tracks go through the project's own scores.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lib import tables
from lib.config.download import CocoSource, Dataset
from lib.config.world import CLASSES, WorldSource
from lib.data.ingest import ingest
from lib.data.sources import read_source
from lib.data.world.files import annotations_of, generate
from lib.metrics import detection, tracking

OPTIONS: dict[str, Any] = {"format": "world", "videos": {"train": 6, "test": 6}, "size": (160, 96), "fps": 5.0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    options = WorldSource.model_validate(OPTIONS)
    generate(options, folder, workers=1)
    source = read_source(folder, CocoSource(format="coco", root=str(folder), videos="videos", **annotations_of(options)))
    ingest(source, Dataset.model_validate({"source": OPTIONS}), folder, workers=1)
    return folder


def table(folder: Path, kind: str, split: str | None = "test") -> pd.DataFrame:
    found = tables.read_table(folder / "truth" / f"{kind}.parquet", kind)
    return found[found["video"].str.contains(f"-{split}-")].reset_index(drop=True)


def test_boxes(world: Path) -> None:
    """The truth finds all; boxes that stand where each class usually is, in every frame, find next to nothing."""
    boxes, frames = table(world, "boxes"), table(world, "frames")
    found = detection.evaluate(boxes, boxes.assign(score=1.0), frames, list(CLASSES), f1_threshold=0.5)
    assert found["AP"] == found["AP50"] == found["AR"] == 1.0 and found["precision"] == found["recall"] == 1.0
    edges = ["x1", "y1", "x2", "y2"]
    usual = table(world, "boxes", "train").groupby("class")[edges].median().reset_index().assign(score=1.0)
    blind = detection.evaluate(boxes, frames.merge(usual, how="cross"), frames, list(CLASSES), f1_threshold=0.5)
    assert blind["AP50"] < 0.15


def test_masks(world: Path) -> None:
    """The truth's masks score 1; boxes filled in are no masks."""
    path = world / "annotations" / "test.json"
    stated = json.loads(path.read_text())["annotations"]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        scores = []
        for filled in (False, True):
            results = [one | {"score": 1.0} for one in copy.deepcopy(stated)]
            for one in results if filled else ():
                high, wide = one["segmentation"]["size"]
                mask = np.zeros((high, wide), np.uint8, order="F")
                x, y, width, height = (int(side) for side in one["bbox"])
                mask[y : y + height, x : x + width] = 1
                one["segmentation"] = rle.encode(mask)
            evaluator = COCOeval(truth, truth.loadRes(results), "segm")
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
            scores.append(evaluator.stats[0])
    assert scores[0] == pytest.approx(1.0) and scores[1] < 0.5


def test_tracks(world: Path) -> None:
    """True tracks score 1; true boxes of which each is a track of its own keep their boxes and lose who is who."""
    tracks, frames = table(world, "tracks"), table(world, "frames")
    whole = tracking.evaluate(tracks, tracks, frames, list(CLASSES))["overall"]
    assert whole["HOTA"] == whole["IDF1"] == whole["MOTA"] == whole["AssA"] == 1.0
    torn = tracking.evaluate(tracks, tracks.assign(track=np.arange(len(tracks))), frames, list(CLASSES))["overall"]
    assert torn["DetA"] == pytest.approx(1.0) and torn["IDF1"] < 0.3 and torn["AssA"] < 0.3


def test_truth_in_words_is_of_known_videos_and_full(world: Path) -> None:
    """All truth tables of a world are filled, also for captions of stretches, whose times the contract keeps."""
    for kind in tables.LANGUAGE:
        assert set(table(world, kind)["video"]) <= set(table(world, "frames")["video"]) and len(table(world, kind)) >= 6
    captions = table(world, "captions")
    whole = captions["start_s"].isna()
    assert whole.sum() == 6 and (captions["end_s"].isna() == whole).all() and (~whole).sum() >= 6
