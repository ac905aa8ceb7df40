"""Videos whose names are payloads, through every stage by real Snakemake: nothing is executed, and originals are shown."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from lib.config.base import NAME_PATTERN
from lib.files import csv_cell, write_json
from lib.tables import read_table
from tests.conftest import PROJECT
from tests.faults.media import encode
from tests.workflow.conftest import Tree

NAMES = [
    "with space.mp4",
    "'single' \"double\".mp4",
    "$(touch pwned-a).mp4",
    "`touch pwned-b`.mp4",
    "; touch pwned-c; echo .mp4",
    "x | tee pwned-d & .mp4",
    "$HOME ${IFS}.mp4",
    "-rf.mp4",
    "--output=pwned-e.mp4",
    "new\nline.mp4",
    "tab\there \x07bell.mp4",
    unicodedata.normalize("NFC", "café.mp4"),
    unicodedata.normalize("NFD", "café.mp4"),
    "שלום עולם.mp4",
    "\u202egpj.mp4",
    "Case.mp4",
    "case.mp4",
    "👷🏗️.mp4",
    "{wildcards.dataset} {input} {{7*7}}.mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "=cmd|' !A0.mp4",
    "%d %s #frag?q=1.mp4",
    "back\\slash.mp4",
    "..dots...mp4",
    "n" * 251 + ".mp4",
    "字" * 83 + ".mp4",
]
STUDY = {
    "study": "names",
    "detectors": {"truth": {"kind": "truth"}},
    "trackers": {"bytetrack": {"kind": "bytetrack", "frame_rate": 25}},
    "shardsets": {"s": {"splits": ["train"]}},
    "arms": {"all": {"shardset": "s", "background": "all"}},
    "variants": {"prior": {"kind": "floor", "floor": "prior", "arm": "all", "size": "tiny"}},
    "export": {"videos": 99},
    "boards": {
        "scores": {"dataset": "d", "variants": ["prior"], "tta": ["none"]},
        "tracks": {"kind": "tracks", "dataset": "d", "detectors": ["truth"], "trackers": ["bytetrack"]},
    },
}


def source(root: Path) -> dict[str, object]:
    """Every name as a short video of both splits' kind, with one tracked box per frame, as CocoVID."""
    root.mkdir()
    for split, names in (("train", NAMES[::2]), ("test", NAMES[1::2])):
        videos, images, annotations = [], [], []
        for place, name in enumerate(names, 1):
            first = 4 * NAMES.index(name)
            encode(root / "made.mp4", numbers=range(first, first + 4)).rename(root / name)
            videos.append({"id": place, "file_name": name, "name": name})
            for frame in range(4):
                number = len(images) + 1
                images.append({"id": number, "video_id": place, "frame_id": frame, "width": 128, "height": 96})
                box = {"bbox": [10 + frame, 10, 40, 40], "area": 1600, "iscrowd": 0, "track_id": 1}
                annotations.append(box | {"id": number, "image_id": number, "category_id": 1, "video_id": place})
        classes = [{"id": 1, "name": "thing"}]
        values = {"videos": videos, "images": images, "annotations": annotations, "categories": classes}
        write_json(root / f"{split}.json", values)
    return {"format": "coco", "root": str(root), "annotations": {"train": "train.json", "test": "test.json"}}


@pytest.mark.slow
def test_payloads_as_names_pass_every_stage_and_none_is_executed(tmp_path: Path) -> None:
    folder = tmp_path / "run $(touch pwned-f)"  # the working directory and the root are named so, too
    folder.mkdir()
    root = tmp_path / "root `touch pwned-g` '"
    tree = Tree(folder, STUDY | {"datasets": {"d": {"source": source(root), "chunks": 2}}})
    tree.snakemake()

    results = folder / "results"
    manifest = read_table(results / "videos" / "d" / "manifest.parquet", "manifest")
    assert sorted(manifest["original"]) == sorted(NAMES) and manifest["video"].is_unique
    assert all(re.fullmatch(NAME_PATTERN, video) and len(video) < 140 for video in manifest["video"])
    quality = pd.read_csv(results / "videos" / "d" / "quality.csv", keep_default_na=False)
    assert sorted(quality["original"]) == sorted(map(csv_cell, NAMES)) and set(quality["status"]) == {"ok"}
    for place in (PROJECT, tmp_path, folder, root, Path.home(), Path.cwd()):
        assert not list(place.glob("pwned*")), f"a payload was executed in {place}"
    assert not list(results.rglob("pwned*"))

    tracks = json.loads(next(results.glob("exports/d/truth/bytetrack/index.json")).read_text())
    assert sorted(entry["original"] for entry in tracks["files"]) == sorted(NAMES)
    assert all((results / "exports/d/truth/bytetrack" / entry["media"]).stat().st_size for entry in tracks["files"])
    rows = read_table(next(results.glob("tracks/d/truth/bytetrack/chunk=0.parquet")), "tracks")
    assert set(rows["video"]) <= set(manifest["video"]) and len(rows)
    for page in results.glob("leaderboards/d/*.html"):
        text = page.read_text()
        assert "<img src=x" not in text
        assert html.escape("<img src=x onerror=alert(1)>", quote=False) in text or "onerror" not in text
