"""From drawn files to truth tables: what the makers say is what ingest writes, row for row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lib import tables
from lib.config.download import CocoSource, Dataset
from lib.config.world import WorldSource
from lib.data.ingest import ingest
from lib.data.sources import read_source
from lib.data.world.files import annotations_of, generate
from lib.data.world.plan import plan_videos
from lib.data.world.truths import MAKERS
from tests.lib.data.world.made import episode

OPTIONS: dict[str, Any] = {"format": "world", "videos": {"train": 2, "test": 2}, "seconds": (4.0, 5.0)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    options = WorldSource.model_validate(OPTIONS)
    generate(options, folder / "raw", workers=1)
    source = read_source(
        folder / "raw", CocoSource(format="coco", root=str(folder / "raw"), videos="videos", **annotations_of(options))
    )
    ingest(source, Dataset.model_validate({"source": OPTIONS}), folder, workers=1)
    return folder


def table(folder: Path, kind: str) -> pd.DataFrame:
    return tables.read_table(folder / "truth" / f"{kind}.parquet", kind)


def test_truth_tables_hold_what_the_makers_say(world: Path) -> None:
    options = WorldSource.model_validate(OPTIONS)
    for kind, make in MAKERS.items():
        stated = []
        for split in ("test", "train"):  # tables are sorted by video
            stated += make([episode(plan, options) for plan in plan_videos(options) if plan.split == split])
        written = table(world, kind)
        expected = pd.DataFrame(stated, columns=written.columns).sort_values("video", kind="stable", ignore_index=True)
        pd.testing.assert_frame_equal(written, expected, check_dtype=False)
        assert len(written) >= 8


def test_relations_name_boxes_of_their_frame(world: Path) -> None:
    boxes = table(world, "boxes")
    kinds = {(row.video, row.frame, row.track): row._4 for row in boxes[["video", "frame", "track", "class"]].itertuples()}
    for row in table(world, "relations").itertuples():
        assert kinds[row.video, row.frame, row.subject] == "person"
        assert kinds[row.video, row.frame, row.object] != "person"


def test_quality_counts_and_leaves_nothing_out(world: Path) -> None:
    quality = pd.read_csv(world / "quality.csv", keep_default_na=False).set_index("video")
    for kind in MAKERS:
        counts = table(world, kind)["video"].value_counts()
        assert quality[kind].to_dict() == {video: counts.get(video, 0) for video in quality.index}
    assert (quality["cause"] == "").all() and quality["audio"].all()


def test_classes_that_are_not_taken_lose_their_relations_and_it_is_said(world: Path, tmp_path: Path) -> None:
    options = WorldSource.model_validate(OPTIONS)
    root = world / "raw"
    source = read_source(root, CocoSource(format="coco", root=str(root), videos="videos", **annotations_of(options)))
    ingest(source, Dataset.model_validate({"source": OPTIONS, "classes": ["person", "vehicle"]}), tmp_path, workers=1)
    lost = len(table(world, "relations")) - len(table(tmp_path, "relations"))
    quality = pd.read_csv(tmp_path / "quality.csv", keep_default_na=False)
    noted = quality["cause"].str.extract(r"(\d+) x relation: object without a box")[0].dropna().astype(int).sum()
    assert noted == lost > 0


def test_a_line_of_the_language_file_per_video(world: Path) -> None:
    lines = (world / "raw" / "annotations" / "test.language.json").read_text().splitlines()
    assert lines[0] == '{"videos": [' and lines[-1] == "]}"
    videos = [json.loads(line.rstrip(",")) for line in lines[1:-1]]
    assert [video["file_name"] for video in videos] == ["site-test-000.mp4", "site-test-001.mp4"]
    assert all(set(video) == {"file_name", *MAKERS} for video in videos)
