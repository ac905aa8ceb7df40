"""Standing shards, compared with packing the same again: the same files and identity, or a refusal with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lib import provenance
from lib.data.reader import ShardReader, verify
from lib.data.standing import standing_shards, take_over
from lib.files import DataError, read_json, sha256_file, write_json
from tests.lib.data import packed

SETTINGS = {"recipe": 2, "shardset": {"stride": 2, "splits": ["train"]}}


@pytest.fixture
def videos(tmp_path) -> Path:
    path = tmp_path / "videos.parquet"
    path.write_bytes(b"the videos")
    return path


@pytest.fixture
def site(tmp_path, videos, monkeypatch) -> Path:
    """A shardset `d/s` in the folder that WDS_SHARDS names."""
    manifest = packed.write(tmp_path / "site" / "d" / "s", 24)
    outputs = [manifest, manifest.with_name("index.parquet")]
    provenance.record(outputs, stage="shard", settings=SETTINGS, inputs={"manifest": videos, "tracks": []})
    monkeypatch.setenv("WDS_SHARDS", str(tmp_path / "site"))
    return manifest


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "results" / "shards" / "d" / "s" / "manifest.json"


def wanted(videos: Path, settings: dict = SETTINGS) -> dict:
    return provenance.making("shard", settings, {"manifest": videos, "tracks": []})


def test_the_same_is_linked_and_read(site, videos, output):
    assert standing_shards(output) == site
    output.parent.mkdir(parents=True)
    output.with_name("train-000099.tar").write_bytes(b"of an older build")
    take_over(site, output, wanted(videos))
    verify(output)
    names = {path.name for path in output.parent.iterdir()}
    assert names == {"manifest.json", "index.parquet", *(f"train-00000{number}.tar" for number in range(4))}
    assert all(path.is_symlink() == (path.suffix == ".tar") for path in output.parent.iterdir())
    for path in output.parent.iterdir():
        assert sha256_file(path) == sha256_file(site.with_name(path.name))
    assert ShardReader(output).read("v1-000002") == packed.sample(12)
    packed.write(output.parent, 10)  # packing here later replaces the links and leaves the site's tars alone
    verify(site)


def test_no_folder_or_the_result_itself_is_no_stand_in(site, output, monkeypatch):
    assert standing_shards(site) is None
    assert standing_shards(output.parent.with_name("other") / "manifest.json") is None
    monkeypatch.delenv("WDS_SHARDS")
    assert standing_shards(output) is None


def _other_settings(site: Path, videos: Path) -> dict:
    return wanted(videos, SETTINGS | {"shardset": {"stride": 1, "splits": ["train"]}})


def _other_recipe(site: Path, videos: Path) -> dict:
    return wanted(videos, SETTINGS | {"recipe": 3})


def _other_videos(site: Path, videos: Path) -> dict:
    videos.write_bytes(b"other videos")
    return wanted(videos)


def _damaged(site: Path, videos: Path) -> dict:
    raw = bytearray(site.with_name("train-000001.tar").read_bytes())
    raw[600] ^= 1
    site.with_name("train-000001.tar").write_bytes(raw)
    return wanted(videos)


def _missing_tar(site: Path, videos: Path) -> dict:
    site.with_name("train-000002.tar").unlink()
    return wanted(videos)


def _other_shards_under_this_meta(site: Path, videos: Path) -> dict:
    packed.write(site.parent, 10)
    return wanted(videos)


def _invented_meta(site: Path, videos: Path) -> dict:
    meta = read_json(site.with_name("meta.json"))
    write_json(site.with_name("meta.json"), meta | {"identity": "0" * 64})
    return wanted(videos)


def _empty_meta(site: Path, videos: Path) -> dict:
    write_json(site.with_name("meta.json"), {})
    return wanted(videos)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_other_settings, r"settings\.shardset\.stride is 2, wanted is 1\."),
        (_other_recipe, "recipe is 2, wanted is 3"),
        (_other_videos, "inputs.manifest is 'sha256:"),
        (_damaged, r"train-000001\.tar: its sha256 .* 'v0-000007\.jpg'"),
        (_missing_tar, r"train-000002\.tar: the shard is missing"),
        (_other_shards_under_this_meta, "is not the one that meta.json records"),
        (_invented_meta, "meta.json states the identity 000"),
        (_empty_meta, "cannot stand in for"),
    ],
)
def test_anything_else_is_refused_with_the_reason_and_nothing_is_written(site, videos, output, change, text):
    asked = change(site, videos)
    with pytest.raises(DataError, match=text) as refusal:
        take_over(site, output, asked)
    assert str(site.parent) in str(refusal.value) and "Hint: unset paths.shards (WDS_SHARDS)" in str(refusal.value)
    assert not output.parent.exists()


def test_moved_shards_still_stand_in(site, videos, output, tmp_path, monkeypatch):
    """Identity knows no path: what another machine packed is the same thing."""
    shutil.copytree(tmp_path / "site", tmp_path / "elsewhere")
    monkeypatch.setenv("WDS_SHARDS", str(tmp_path / "elsewhere"))
    take_over(standing_shards(output), output, wanted(videos))
    verify(output)
