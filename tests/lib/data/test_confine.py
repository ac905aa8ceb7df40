"""Links and names of a source's files, by real files in folders made here; and what ingest makes of damaged ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lib import tables
from lib.config.download import Dataset, FolderSource
from lib.data.confine import refusal
from lib.data.ingest import Summary, ingest
from lib.data.sources import read_source
from lib.files import DataError
from tests.faults.media import encode


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with one sound video, reached itself by a link, as shared disks are."""
    real = tmp_path / "disk" / "root"
    (real / "sub").mkdir(parents=True)
    encode(real / "sound.mp4", numbers=range(30))
    encode(tmp_path / "secret.mp4", numbers=range(5, 9))
    (tmp_path / "root").symlink_to(real)
    return tmp_path / "root"


def go(root: Path, *, follow_links: bool = False, **policy: Any) -> tuple[Summary, pd.DataFrame]:
    options = FolderSource(format="folder", root=str(root), follow_links=follow_links)
    dataset = Dataset.model_validate({"source": options.model_dump()} | policy)
    out = root.parent / "out"
    summary = ingest(read_source(root, options), dataset, out, workers=2)
    return summary, pd.read_csv(out / "quality.csv", keep_default_na=False).set_index("original")


def test_links_out_of_the_root_circles_and_dead_ends_are_named(root: Path) -> None:
    (root / "out.mp4").symlink_to(root.parent / "secret.mp4")
    (root / "up.mp4").symlink_to("../../secret.mp4")
    (root / "dead.mp4").symlink_to("absent.mp4")
    (root / "circle.mp4").symlink_to("circle.mp4")
    (root / "sub" / "inside.mp4").symlink_to("../sound.mp4")
    (root / "sub" / "round").symlink_to("..")
    os.mkfifo(root / "pipe.mp4")
    with pytest.raises(DataError, match="5 of 7 files are missing or broken"):
        go(root)
    summary, quality = go(root, on_missing="skip")
    assert summary.videos == 2
    assert quality["status"].to_dict() == {
        "circle.mp4": "skipped", "dead.mp4": "skipped", "out.mp4": "skipped", "pipe.mp4": "skipped",
        "up.mp4": "skipped", "sound.mp4": "ok", "sub/inside.mp4": "ok",
    }  # fmt: skip
    for name in ("out.mp4", "up.mp4"):
        assert "leads out of the source's root" in quality.loc[name, "cause"]
        assert "follow_links: true" in quality.loc[name, "cause"]
    assert "nowhere or in a circle" in quality.loc["circle.mp4", "cause"]
    assert "nowhere or in a circle" in quality.loc["dead.mp4", "cause"]
    assert "not a regular file" in quality.loc["pipe.mp4", "cause"]


def test_links_are_followed_where_they_are_meant(root: Path) -> None:
    (root / "out.mp4").symlink_to(root.parent / "secret.mp4")
    summary, quality = go(root, follow_links=True)
    assert summary.videos == 2 and quality.loc["out.mp4", "frames"] == 4


def test_a_folder_of_frames_may_not_hold_a_link_out(root: Path) -> None:
    frames = root / "frames"
    frames.mkdir()
    (frames / "0.png").touch()
    assert refusal(frames, root, "frames", follow_links=False) == ""
    (frames / "1.png").symlink_to("/etc/hostname")
    assert "1.png: leads out of the source's root" in refusal(frames, root, "frames", follow_links=False)
    (root / "elsewhere").symlink_to(root.parent)
    assert "leads out" in refusal(root / "elsewhere" / "secret.mp4", root, "video", follow_links=False)


def test_a_name_that_is_not_utf8_is_refused_by_a_name_that_can_be_written(root: Path) -> None:
    os.rename(os.fsencode(encode(root / "x.mp4")), os.fsencode(root) + b"/latin-\xe9.mp4")
    with pytest.raises(DataError, match=r"latin-\\xe9\.mp4: its name is not UTF-8"):
        go(root)
    _, quality = go(root, on_missing="skip")
    assert quality.loc["latin-\\xe9.mp4", "status"] == "skipped"


@pytest.mark.parametrize("how", ["cut", "hole"])
def test_damaged_videos_are_kept_left_out_or_refused_by_policy(root: Path, how: str) -> None:
    path = encode(root / "spoilt.mp4", container={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    summary, quality = go(root)
    row = quality.loc["spoilt.mp4"]
    assert row["status"] == "ok" and 0 < row["frames"] < 48 == row["frames"] + row["frames_lost"]
    assert f"{row['frames_lost']} of 48 frames are lost" in row["cause"]
    assert len(summary.warnings) == 1 and "it is used as far as it goes" in summary.warnings[0]
    assert quality.loc["sound.mp4", "frames_lost"] == 0
    summary, quality = go(root, on_damaged="skip")
    assert summary.videos == 1 and quality.loc["spoilt.mp4", "status"] == "skipped"
    assert tables.read_table(root.parent / "out" / "manifest.parquet", tables.MANIFEST)["video"].tolist() == ["sound"]
    with pytest.raises(DataError, match=r"1 videos are cut or damaged inside:\n  spoilt\.mp4: cut: .*\nHint:"):
        go(root, on_damaged="fail")


def test_with_headers_only_damage_inside_is_met_later(root: Path) -> None:
    path = encode(root / "spoilt.mp4", container={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    summary, quality = go(root, check="headers")
    assert not summary.warnings and quality.loc["spoilt.mp4", "frames"] == 48
