"""From source to tables, with real files made here; expected rows are worked out by hand. (mirror): real sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib import tables
from lib.config.base import ConfigError
from lib.config.download import Dataset
from lib.data import probing
from lib.data.ingest import Summary, ingest
from lib.data.sources import Item, Source, boxes_table, detections_table, frames_table, read_source
from lib.data.video import write_video
from lib.files import DataError

W, H = 32, 16


def dataset(**settings: Any) -> Dataset:
    return Dataset.model_validate({"source": {"format": "folder", "root": "r"}} | settings)


def box(
    name: str, frame: int = 0, label: str = "cat", edges: tuple[float, ...] = (1, 2, 5, 6), **more: Any
) -> tuple[Any, ...]:
    return (name, frame, label, *edges, more.get("track", -1), more.get("ignore", False), more.get("mask", ""))


@pytest.fixture
def items(tmp_path) -> list[Item]:
    """Two different images (train) and a clip of four frames at 10 frames/s (test)."""
    for number, name in enumerate(("A one.png", "b.png")):
        Image.new("RGB", (W, H), (number * 90, 0, 0)).save(tmp_path / name)
    write_video(tmp_path / "clip.mp4", [np.full((H, W, 3), 60 * index, np.uint8) for index in range(4)], 10, (W, H))
    images = [Item(name, tmp_path / name, "image", "train", 1, None, W, H) for name in ("A one.png", "b.png")]
    return [*images, Item("clip.mp4", tmp_path / "clip.mp4", "video", "test")]


def source_of(items: list[Item], *boxes: tuple[Any, ...], **more: Any) -> Source:
    frames = [("A one.png", 0), ("b.png", 0), ("clip.mp4", 1), ("clip.mp4", 3)]
    names = {item.original for item in items}
    listed = frames_table([row for row in frames if row[0] in names])
    return Source(items=items, classes=["cat", "dog", "cow"], frames=listed, boxes=boxes_table(list(boxes)), **more)


def go(tmp_path: Path, source: Source, **settings: Any) -> Summary:
    return ingest(source, dataset(**settings), tmp_path / "out", workers=2)


def table(tmp_path: Path, kind: str) -> pd.DataFrame:
    place = tmp_path / "out" / ("manifest.parquet" if kind == tables.MANIFEST else f"truth/{kind}.parquet")
    return tables.read_table(place, kind)


def quality(tmp_path: Path) -> pd.DataFrame:
    return pd.read_csv(tmp_path / "out" / "quality.csv", keep_default_na=False).set_index("original")


def test_everything_is_written(tmp_path, items):
    boxes = [
        box("clip.mp4", 3, "dog", track=4),
        box("clip.mp4", 1, track=4),
        box("clip.mp4", 1, track=9, ignore=True),
        box("A one.png", edges=(-3, 2, 5, 99)),
        box("b.png", edges=(40, 2, 50, 6)),
    ]
    noted = [{"original": "b.png", "what": "box", "value": "line 3", "cause": "no area"}]
    summary = go(tmp_path, source_of(items, *boxes, dropped=noted))
    assert (summary.videos, summary.skipped, summary.frames, summary.boxes) == (3, 0, 4, 4)
    assert (summary.boxes_clipped, summary.boxes_dropped) == (1, 2)
    assert summary.warnings == ["class 'cow' does not occur in any video that is used"] and "3 videos" in summary.text()

    manifest = table(tmp_path, tables.MANIFEST).set_index("video")
    assert list(manifest.index) == ["a-one", "b", "clip"]
    assert manifest["kind"].tolist() == ["image", "image", "video"] and manifest["stream"].tolist() == [-1, -1, 0]
    assert manifest.loc["clip", ["frames", "fps", "width", "height"]].tolist() == [4, 10.0, W, H]
    assert manifest.loc["clip", "duration_s"] == pytest.approx(0.4)

    frames = table(tmp_path, tables.FRAMES)
    assert frames["video"].tolist() == ["a-one", "b", "clip", "clip"]
    np.testing.assert_allclose(frames["time_s"], [0, 0, 0.1, 0.3], atol=1e-9)
    written = table(tmp_path, tables.BOXES)
    assert written[["x1", "y1", "x2", "y2"]].to_numpy()[0].tolist() == [0, 2, 5, H]
    assert written[["video", "frame", "class"]].to_numpy()[1:].tolist() == [
        ["clip", 1, "cat"],
        ["clip", 1, "cat"],
        ["clip", 3, "dog"],
    ]
    tracks = table(tmp_path, tables.TRACKS)
    assert tracks[["frame", "class", "score", "track"]].to_numpy().tolist() == [[1, "cat", 1.0, 4], [3, "dog", 1.0, 4]]
    assert all(table(tmp_path, kind).empty for kind in ("queries", "relations", "captions", "answers"))
    assert tables.read_table(tmp_path / "out" / "truth" / "detections.parquet", tables.DETECTIONS).empty

    counts = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert counts["classes"] == ["cat", "dog", "cow"] and counts["source_classes"]["cow"] == ["cow"]
    assert counts["counts"]["test"]["cat"] == {"frames": 1, "instances": 1}  # the ignored one is not counted
    assert counts["counts"]["train"]["dog"] == {"frames": 0, "instances": 0}
    rows = quality(tmp_path)
    assert rows.loc["b.png", ["status", "boxes_dropped", "cause"]].tolist() == ["ok", 2, "1 x box: no area"]
    assert rows["boxes_clipped"].tolist() == [1, 0, 0]


def test_classes_are_chosen_renamed_merged_and_ordered(tmp_path, items):
    boxes = [box("b.png", label=label) for label in ("cat", "dog", "cow")]
    given = detections_table([("b.png", 0, "cow", 0.5, 0, 0, 1, 1), ("b.png", 0, "cat", 0.7, 0, 0, 1, 1)])
    go(tmp_path, source_of(items, *boxes, detections=given), classes={"farm": ["cow"], "pet": ["dog"]})
    assert table(tmp_path, tables.BOXES)["class"].tolist() == ["pet", "farm"]
    assert table(tmp_path, tables.DETECTIONS)["class"].tolist() == ["farm"]
    assert json.loads((tmp_path / "out" / "classes.json").read_text())["classes"] == ["farm", "pet"]
    go(tmp_path, source_of(items, *boxes), classes={"animal": ["cow", "cat"]})
    assert table(tmp_path, tables.BOXES)["class"].tolist() == ["animal", "animal"]
    assert tables.read_table(
        tmp_path / "out" / "truth" / "detections.parquet", tables.DETECTIONS
    ).empty  # the earlier state's is gone
    with pytest.raises(ConfigError, match=r"'dgo' is not a class of the source\. Hint: did you mean 'dog'"):
        go(tmp_path, source_of(items), classes=["dgo"])


def test_all_frames_can_count_as_labelled(tmp_path, items):
    go(tmp_path, source_of(items, box("clip.mp4", 1)), labelled="all")
    assert table(tmp_path, tables.FRAMES)["frame"].tolist() == [0, 0, 0, 1, 2, 3]


def test_splits_by_pattern_leave_the_rest_out_and_say_so(tmp_path, items):
    summary = go(tmp_path, source_of(items, box("b.png")), splits={"val": ["*.mp4"]})
    assert (summary.videos, summary.skipped) == (1, 2)
    assert table(tmp_path, tables.MANIFEST)["split"].tolist() == ["val"]
    assert quality(tmp_path).loc["b.png", ["status", "cause"]].tolist() == ["skipped", "in no split"]
    bare = [Item(item.original, item.path, item.kind, None) for item in items]
    with pytest.raises(ConfigError, match=r"states no split for 'A one\.png'"):
        go(tmp_path, source_of(bare))


def test_broken_media_stop_or_are_counted(tmp_path, items):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    (tmp_path / "b.png").unlink()
    source = source_of(items, box("b.png"), box("A one.png"))
    with pytest.raises(DataError, match=r"2 of 3 files(?s:.*)b\.png: file not found(?s:.*)clip\.mp4: cannot be opened"):
        go(tmp_path, source)
    assert not (tmp_path / "out" / "manifest.parquet").exists()
    assert go(tmp_path, source, on_missing="skip").skipped == 2
    assert table(tmp_path, tables.BOXES)["video"].tolist() == ["a-one"] and len(table(tmp_path, tables.FRAMES)) == 1
    rows = quality(tmp_path)
    assert rows["status"].to_dict() == {"A one.png": "ok", "b.png": "skipped", "clip.mp4": "skipped"}
    assert "cannot be opened" in rows.loc["clip.mp4", "cause"] and rows.loc["clip.mp4", "width"] == ""


def test_truth_that_does_not_fit_the_media_is_named(tmp_path, items):
    late = source_of(items)
    late.frames = frames_table([("clip.mp4", 4)])
    with pytest.raises(DataError, match="the truth names frame 4, but there are 4 frames"):
        go(tmp_path, late)
    Image.new("RGB", (H, W)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=f"the source states {W}x{H} px, the file is {H}x{W}"):
        go(tmp_path, source_of(items))
    bare = Source([Item("n", None, "none", "test", 2, 5.0)], ["cat"], frames_table([("n", 2)]), boxes_table([]))
    with pytest.raises(DataError, match="the truth names frame 2, but there are 2 frames"):
        go(tmp_path, bare)


def test_copies_across_splits_and_doubled_tracks_are_refused(tmp_path, items):
    with pytest.raises(DataError, match="frame 1: track 4 has two boxes"):
        go(tmp_path, source_of(items, box("clip.mp4", 1, track=4), box("clip.mp4", 1, track=4)))
    (tmp_path / "copy.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes())
    copy = Item("copy.mp4", tmp_path / "copy.mp4", "video", "train")
    with pytest.raises(DataError, match=r"same file is in two splits: 'clip\.mp4' .*'copy\.mp4'"):
        go(tmp_path, source_of([*items, copy]))


def test_a_second_run_looks_at_changed_files_only(tmp_path, items, monkeypatch):
    go(tmp_path, source_of(items))
    first = table(tmp_path, tables.MANIFEST)
    with open(tmp_path / "out" / "state" / "probe.jsonl", "a") as log:
        log.write('{"key": "torn')  # as a killed job leaves it
    looked: list[str] = []
    really = probing.probe
    monkeypatch.setattr(
        probing, "probe", lambda path, *more, **keys: looked.append(path.name) or really(path, *more, **keys)
    )
    go(tmp_path, source_of(items))
    pd.testing.assert_frame_equal(table(tmp_path, tables.MANIFEST), first)
    assert looked == []
    Image.new("RGB", (W, H), (1, 2, 3)).save(tmp_path / "b.png")
    go(tmp_path, source_of(items))
    assert looked == ["b.png"]
    assert table(tmp_path, tables.MANIFEST)["sha256"].tolist() != first["sha256"].tolist()


def test_truth_without_media(tmp_path):
    item = Item("seq", None, "none", "test", frames=3, fps=10.0)
    frames, boxes = frames_table([("seq", 0), ("seq", 2)]), boxes_table([box("seq", 2, edges=(-5, 0, 900, 9))])
    go(tmp_path, Source([item], ["cat"], frames, boxes))
    (row,) = table(tmp_path, tables.MANIFEST).to_dict("records")
    assert (row["path"], row["sha256"], row["frames"], row["width"], row["duration_s"]) == ("", "", 3, 0, 0.3)
    np.testing.assert_allclose(table(tmp_path, tables.FRAMES)["time_s"], [0, 0.2])
    assert table(tmp_path, tables.BOXES)["x1"].tolist() == [-5]  # no size known: nothing to clip to


def test_boxes_may_reach_beyond_the_picture(tmp_path, items):
    """MOTChallenge's do, and its scores count on that; cut is the default."""
    reaching = box("b.png", edges=(-5, 2, W + 9, 6))
    for clip, edges in ((True, [0, 2, W, 6]), (False, [-5, 2, W + 9, 6])):
        summary = go(tmp_path / str(clip), source_of(items, reaching), clip=clip)
        assert table(tmp_path / str(clip), tables.BOXES)[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [edges]
        assert summary.boxes_clipped == int(clip)


@pytest.mark.mirror
def test_real_sets_end_to_end(tmp_path, mirror):
    voc = {"source": {"format": "voc", "root": "r"}, "classes": {"cell": ["RBC", "WBC"], "platelet": ["Platelets"]}}
    summary = ingest(read_source(mirror / "det" / "bccd", dataset(**voc).source), dataset(**voc), tmp_path / "a", workers=2)
    assert (summary.videos, summary.boxes, summary.boxes_dropped) == (364, 4888, 0)
    counts = json.loads((tmp_path / "a" / "classes.json").read_text())["counts"]
    assert sum(counts[split]["platelet"]["instances"] for split in counts) == 361
    mot = {
        "source": {"format": "mot", "root": "r", "sequences": {"MOT17-04": "MOT17-04-mini"}},
        "classes": {"person": ["pedestrian"]},
    }
    summary = ingest(read_source(mirror / "mot", dataset(**mot).source), dataset(**mot), tmp_path / "b", workers=2)
    tracks = tables.read_table(tmp_path / "b" / "truth" / "tracks.parquet", tables.TRACKS)
    assert (summary.frames, summary.boxes, len(tracks), tracks["track"].nunique()) == (8, 368, 336, 42)
    assert len(tables.read_table(tmp_path / "b" / "truth" / "detections.parquet", tables.DETECTIONS)) == 205
