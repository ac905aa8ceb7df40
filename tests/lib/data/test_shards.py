"""Shards, compared with: webdataset and tarfile reading the same tars, the source JPEG bytes, and labels worked by hand."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import webdataset
from pycocotools import mask as rle
from pydantic import ValidationError

from lib import tables
from lib.config.base import ConfigError
from lib.config.shard import Shardset
from lib.config.subsample import Arm
from lib.data.arm_counts import counts
from lib.data.shards import INDEX_SCHEMA, ShardReader, export_yolo, read_index, verify, write_shards
from lib.data.subsample import subsample
from lib.data.video import probe, write_video
from lib.files import DataError, read_json, sha256_file, write_json

CLASSES = ["person", "hook"]
WIDTH, HEIGHT = 64, 48


def picture(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    smooth = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC)


class World:
    """Two training videos, one of them short, a validation image (JPEG), a frame folder (PNG)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        write_video(folder / "a.mp4", [picture(i) for i in range(12)], 10.0, (WIDTH, HEIGHT))
        write_video(folder / "b.mp4", [picture(50 + i) for i in range(3)], 10.0, (WIDTH, HEIGHT))
        self.jpg = folder / "c.jpg"
        cv2.imwrite(str(self.jpg), picture(90), [cv2.IMWRITE_JPEG_QUALITY, 60])
        (folder / "d").mkdir()
        for number in range(2):
            cv2.imwrite(str(folder / "d" / f"{number:03d}.png"), picture(70 + number))
        media = [("b", "b.mp4", "video", 3, "train"), ("a", "a.mp4", "video", 12, "train")]
        media += [("c", "c.jpg", "image", 1, "val"), ("d", "d", "frames", 2, "val")]
        rows = [
            {
                "video": video,
                "original": path,
                "split": split,
                "path": str(folder / path),
                "kind": kind,
                "sha256": video,
                "stream": 0 if kind == "video" else -1,
                "fps": 10.0,
                "frames": count,
                "width": WIDTH,
                "height": HEIGHT,
                "duration_s": count / 10,
            }
            for video, path, kind, count, split in media
        ]
        self.manifest = pd.DataFrame(rows).astype({"stream": "int32"})
        looked = [(row["video"], frame, frame / 10) for row in rows for frame in range(row["frames"])]
        self.frames = pd.DataFrame(looked, columns=["video", "frame", "time_s"])
        self.boxes = self._boxes()
        self.tracks = self.boxes[self.boxes["track"] >= 0].drop(columns=["ignore", "mask"]).assign(score=0.5)

    def _boxes(self) -> pd.DataFrame:
        whole = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
        whole[10:20, 8:24] = 1
        counts = rle.encode(whole)["counts"].decode()
        rows = [("a", i, i / 10, "person", 8.0, 10.0, 24.0, 20.0, 1, False, counts) for i in range(0, 12, 2)]
        rows += [("a", 4, 0.4, "hook", 40.5, -4.0, 70.0, 12.0, 2, False, "")]
        rows += [("a", 4, 0.4, "person", 0.0, 0.0, 5.0, 5.0, -1, True, "")]
        rows += [("c", 0, 0.0, "hook", 16.0, 12.0, 48.0, 36.0, -1, False, "")]
        return pd.DataFrame(rows, columns=list(tables.COLUMNS[tables.BOXES]))

    def write(self, out: Path, tracks: bool = False, **values) -> dict:
        settings = Shardset(**{"samples_per_shard": 5} | values)
        return write_shards(self.manifest, self.frames, self.boxes, self.tracks if tracks else None, CLASSES, settings, out)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("media") / "world")


@pytest.fixture
def packed(world, tmp_path) -> Path:
    world.write(tmp_path / "shards")
    return tmp_path / "shards" / "manifest.json"


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def test_manifest_and_index(world, packed):
    manifest = read_json(packed)
    assert manifest["classes"] == CLASSES and manifest["index"] == "index.parquet"
    assert manifest["settings"]["samples_per_shard"] == 5
    train, val = manifest["splits"]["train"], manifest["splits"]["val"]
    assert [shard["samples"] for shard in train["shards"]] == [5, 5, 5] and train["samples"] == 15 and val["samples"] == 3
    for shard in train["shards"] + val["shards"]:
        path = packed.parent / shard["file"]
        assert (path.stat().st_size, sha256_file(path)) == (shard["bytes"], shard["sha256"])
    index = read_index(packed.parent / "index.parquet")
    assert index["key"].tolist()[:4] == ["b-000000", "b-000001", "b-000002", "a-000000"]  # manifest order, then frames
    four = index.set_index("key").loc["a-000004"]
    assert (list(four["classes"]), list(four["instances"]), four["ignored"]) == (["hook", "person"], [1, 1], 1)
    assert [len(names) for names in index["classes"]][:4] == [0, 0, 0, 1]
    for row in index.itertuples():  # reference for the offsets: tarfile
        with tarfile.open(packed.parent / row.shard) as tar:
            jpg, text = tar.getmember(f"{row.key}.jpg"), tar.getmember(f"{row.key}.json")
        assert (jpg.offset_data, jpg.size) == (row.jpg_offset, row.jpg_size)
        assert (text.offset_data, text.size) == (row.json_offset, row.json_size)
        assert (jpg.mtime, jpg.uid, jpg.gid, jpg.uname, jpg.gname, jpg.mode) == (0, 0, 0, "", "", 0o644)


def test_the_order_in_which_splits_are_named_does_not_matter(world, packed, tmp_path):
    world.write(tmp_path / "turned", splits=["val", "train"])
    turned = ShardReader(tmp_path / "turned/manifest.json")
    assert turned.index["key"].tolist() == ShardReader(packed).index["key"].tolist()
    verify(tmp_path / "turned/manifest.json")


def test_again_gives_the_same_bytes(world, packed, tmp_path):
    world.write(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(packed.parent)
    assert set(digests(packed.parent)) == {
        "manifest.json", "index.parquet", "val-000000.tar", *(f"train-00000{i}.tar" for i in range(3))
    }  # fmt: skip


def test_webdataset_reads_the_same(packed):
    reader = ShardReader(packed)
    urls = [str(packed.parent / shard["file"]) for shard in reader.manifest["splits"]["train"]["shards"]]
    seen = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    raw = {sample["__key__"]: sample["jpg"] for sample in webdataset.WebDataset(urls, shardshuffle=False)}
    keys = reader.index[reader.index["split"] == "train"]["key"].tolist()
    assert [sample["__key__"] for sample in seen] == keys
    for other, mine in zip(seen, reader.iterate(keys), strict=True):
        assert other["json"] == mine.data and raw[mine.key] == mine.jpg


def test_labels_and_image_of_a_sample(world, packed):
    sample = ShardReader(packed).read("a-000004")
    assert sample.data == {
        "video": "a", "frame": 4, "time_s": 0.4, "width": WIDTH, "height": HEIGHT, "split": "train",
        "boxes": [[8.0, 10.0, 24.0, 20.0], [40.5, -4.0, 70.0, 12.0], [0.0, 0.0, 5.0, 5.0]],
        "labels": ["person", "hook", "person"], "tracks": [1, 2, -1], "ignore": [False, False, True],
        "masks": [{"size": [HEIGHT, WIDTH], "counts": world.boxes["mask"][0]}, None, None],
    }  # fmt: skip
    seen = cv2.imdecode(np.frombuffer(sample.jpg, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(seen.astype(float) - picture(4)).mean() < 8  # two lossy codings of a smooth picture
    assert np.abs(seen.astype(float) - picture(5)).mean() > 20
    assert "masks" not in ShardReader(packed).labels("a-000001")


def test_jpeg_files_go_in_as_they_are(world, packed):
    reader = ShardReader(packed)
    assert reader.read("c-000000").jpg == world.jpg.read_bytes()
    assert reader.read("d-000000").jpg[:2] == b"\xff\xd8"  # a PNG is encoded


def test_turned_jpeg_is_encoded_upright(world, tmp_path):
    """A reader that ignores EXIF would see such a file turned against its boxes."""
    from PIL import Image

    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(90)).save(turned, exif=exif)
    manifest = world.manifest[world.manifest["video"] == "c"].assign(path=str(turned), width=HEIGHT, height=WIDTH)
    write_shards(manifest, world.frames, world.boxes, None, CLASSES, Shardset(splits=["val"]), tmp_path / "s")
    jpg = ShardReader(tmp_path / "s" / "manifest.json").read("c-000000").jpg
    plain = cv2.imdecode(np.frombuffer(jpg, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert plain.shape == (WIDTH, HEIGHT, 3)


def test_scaling_takes_boxes_and_masks_along(world, tmp_path):
    world.write(tmp_path / "s", max_side=32, tracks=True, **{"splits": ["train"]})
    reader = ShardReader(tmp_path / "s" / "manifest.json")
    sample = reader.read("a-000000")
    assert (sample.data["width"], sample.data["height"]) == (32, 24)
    assert sample.data["boxes"] == [[4.0, 5.0, 12.0, 10.0]]
    assert cv2.imdecode(np.frombuffer(sample.jpg, np.uint8), cv2.IMREAD_COLOR).shape == (24, 32, 3)
    assert rle.toBbox(sample.data["masks"][0]).tolist() == [4.0, 5.0, 8.0, 5.0]
    world.write(tmp_path / "large", max_side=1000)
    assert ShardReader(tmp_path / "large" / "manifest.json").read("a-000000").data["width"] == WIDTH  # never scaled up


def test_stride_counts_labelled_frames(world, tmp_path):
    frames = world.frames[world.frames["frame"] % 3 == 1]  # of `a`: 1 4 7 10
    write_shards(world.manifest, frames, world.boxes, None, CLASSES, Shardset(splits=["train"], stride=2), tmp_path)
    assert read_index(tmp_path / "index.parquet")["key"].tolist() == ["b-000001", "a-000001", "a-000007"]


def test_tracked_boxes_as_objects_and_as_labels(world, tmp_path):
    tracks = {"detector": "nano", "tracker": "bytetrack"}
    world.write(tmp_path / "objects", tracks=True, **{"splits": ["train"]})
    assert "objects" not in ShardReader(tmp_path / "objects" / "manifest.json").labels("a-000004")  # not asked for
    settings = Shardset(splits=["train"], tracks=tracks)
    given = (world.manifest, world.frames, world.boxes, world.tracks, CLASSES)
    write_shards(*given, settings, tmp_path / "objects")
    reader = ShardReader(tmp_path / "objects" / "manifest.json")
    assert reader.labels("a-000004")["objects"][1] == {
        "x1": 40.5, "y1": -4.0, "x2": 70.0, "y2": 12.0, "class": "hook", "score": 0.5, "track": 2
    }  # fmt: skip
    assert reader.labels("a-000001")["objects"] == []
    write_shards(*given, Shardset(splits=["train"], labels="tracks", tracks=tracks), tmp_path / "labels")
    reader = ShardReader(tmp_path / "labels" / "manifest.json")
    assert reader.index["frame"].tolist() == [0, 2, 4, 6, 8, 10]
    assert reader.labels("a-000004")["labels"] == ["person", "hook"]
    with pytest.raises(DataError, match="none were given"):
        write_shards(world.manifest, world.frames, world.boxes, None, CLASSES, settings, tmp_path / "none")


def test_rebuild_removes_what_the_older_build_left(world, packed):
    leftover = packed.parent / ".writing-killed.tar"
    leftover.write_bytes(b"half")
    world.write(packed.parent, samples_per_shard=100, splits=["train"])
    assert sorted(path.name for path in packed.parent.iterdir()) == ["index.parquet", "manifest.json", "train-000000.tar"]
    verify(packed)


def test_a_failed_build_leaves_the_old_one(world, packed):
    before = digests(packed.parent)
    broken = world.frames.copy()
    broken.loc[len(broken)] = ["d", 7, 0.7]  # behind the end of the last medium: fails when nearly all is packed
    with pytest.raises(DataError, match="frame 7 is labelled"):
        write_shards(world.manifest, broken, world.boxes, None, CLASSES, Shardset(samples_per_shard=2), packed.parent)
    assert digests(packed.parent) == before


def _build_for_ever(arguments, begun) -> None:
    probe(arguments[0]["path"].iloc[0])  # the decoder has started
    begun.set()
    while True:
        write_shards(*arguments)


def _build_on_a_full_disk(arguments) -> None:
    probe(arguments[0]["path"].iloc[0])  # the decoder's shared memory counts as a file: it is had before the disk is full
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # the third sample does not fit any more
    try:
        write_shards(*arguments)
    except OSError:
        os._exit(7)


@pytest.mark.slow
def test_a_kill_leaves_no_half_shard(world, tmp_path):
    """Kills at different moments: tars under a final name are always whole, and a rebuild heals the folder."""
    out = tmp_path / "out"
    arguments = (world.manifest, world.frames, world.boxes, None, CLASSES, Shardset(samples_per_shard=2), out)
    halves = 0
    for attempt in range(20):
        begun = multiprocessing.get_context("fork").Event()
        process = multiprocessing.get_context("fork").Process(target=_build_for_ever, args=(arguments, begun))
        process.start()
        assert begun.wait(60)
        time.sleep(0.03 + 0.013 * attempt)
        process.kill()
        process.join()
        halves += bool(list(out.glob(".writing-*.tar")))
        for tar in out.glob("[!.]*.tar"):
            with tarfile.open(tar) as opened:
                assert len(opened.getmembers()) in (2, 4)
    assert halves  # some kills did come in the middle
    write_shards(*arguments)
    verify(out / "manifest.json")
    assert not list(out.glob(".writing-*.tar"))


def test_a_full_disk_leaves_no_half_shard(world, packed):
    before = digests(packed.parent)
    arguments = (world.manifest, world.frames, world.boxes, None, CLASSES, Shardset(samples_per_shard=100), packed.parent)
    process = multiprocessing.get_context("fork").Process(target=_build_on_a_full_disk, args=(arguments,))
    process.start()
    process.join()
    assert process.exitcode == 7 and digests(packed.parent) == before


# ---------------------------------------------------------------- damage


def test_missing_cut_and_changed_shards(packed):
    shard = packed.parent / "train-000001.tar"
    whole = shard.read_bytes()
    shard.unlink()
    with pytest.raises(DataError, match=r"train-000001\.tar: the shard is missing"):
        ShardReader(packed)
    shard.write_bytes(whole[:-1024])
    with pytest.raises(DataError, match=r"train-000001\.tar: .* cut or swapped"):
        ShardReader(packed)
    middle = len(whole) // 2
    shard.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    ShardReader(packed)  # same size: only the checksum can tell
    with pytest.raises(DataError, match=r"train-000001\.tar: its sha256"):
        verify(packed)
    shard.write_bytes(whole)
    verify(packed)


def test_swapped_shards_are_noticed_by_the_member_names(packed):
    manifest = read_json(packed)
    first, second = (packed.parent / shard["file"] for shard in manifest["splits"]["train"]["shards"][:2])
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    for entry, path in zip(manifest["splits"]["train"]["shards"], (first, second), strict=False):
        entry["bytes"] = path.stat().st_size  # even when the sizes agree
    write_json(packed, manifest)
    key = read_index(packed.parent / "index.parquet")["key"][4]
    with pytest.raises(DataError, match=rf"train-000000\.tar: .*{key}.* (swapped|cut)"):
        ShardReader(packed).read(key)


def test_cut_while_open(packed):
    reader = ShardReader(packed)
    path = packed.parent / "train-000000.tar"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"train-000000\.tar: .*cut"):
        list(reader.iterate())


def test_index_of_another_build(world, packed, tmp_path):
    world.write(tmp_path / "other", stride=2)
    (packed.parent / "index.parquet").write_bytes((tmp_path / "other" / "index.parquet").read_bytes())
    with pytest.raises(DataError, match=r"index\.parquet: its sha256 is not the one in manifest\.json"):
        ShardReader(packed)
    (packed.parent / "index.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="not a readable Parquet"):
        read_index(packed.parent / "index.parquet")
    (packed.parent / "index.parquet").unlink()
    with pytest.raises(DataError, match=r"index\.parquet: file not found"):
        ShardReader(packed)


def test_unknown_key(packed):
    with pytest.raises(DataError, match="no sample 'a-000099'"):
        ShardReader(packed).read("a-000099")


def test_long_names(world, tmp_path):
    """A safe id may have 129 characters; a tar header's name field has 100."""
    long = "v" * 129
    manifest = world.manifest[world.manifest["video"] == "c"].assign(video=long)
    frames = pd.DataFrame({"video": [long], "frame": [0], "time_s": [0.0]})
    write_shards(manifest, frames, world.boxes, None, CLASSES, Shardset(splits=["val"]), tmp_path)
    assert ShardReader(tmp_path / "manifest.json").read(f"{long}-000000").jpg == world.jpg.read_bytes()
    (seen,) = webdataset.WebDataset([str(tmp_path / "val-000000.tar")], shardshuffle=False)
    assert seen["__key__"] == f"{long}-000000"


def _read_many(arguments) -> bool:
    reader, keys = arguments
    return all(reader.read(key).data["frame"] == int(key[-6:]) for key in keys * 30)


def test_reader_is_shared_with_workers(packed):
    reader = ShardReader(packed)
    keys = reader.index["key"].tolist()
    reader.read(keys[0])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_read_many, [(reader, keys), (reader, keys[::-1])]) == [True, True]
    assert len(reader) == len(keys) == 18 and pickle.loads(pickle.dumps(reader)).read(keys[3]).key == keys[3]


def test_index_goes_into_subsampling(packed, tmp_path):
    index = read_index(packed.parent / "index.parquet")
    arm = Arm(shardset="frames", fractions={"person": 0.5, "hook": 1.0}, background={"ratio": 1.0})
    frames = subsample(index, arm, 0, classes=CLASSES)
    counted = counts(index, frames, arm)
    assert (counted["classes"]["person"]["requested_frames"], counted["classes"]["hook"]["instances"]) == (3, 1)
    assert counted["background"] == {"pool": 9, "achieved": counted["frames"] // 2, "requested": counted["frames"] // 2,
                                     "with_ignored_boxes": 0}  # fmt: skip
    write_json(tmp_path / "counts.json", counted)
    tables.write_table(tmp_path / "subset.parquet", frames, tables.SUBSET)
    assert tables.read_table(tmp_path / "subset.parquet", tables.SUBSET).equals(frames)


# ---------------------------------------------------------------- YOLO


def test_export_yolo(packed, world, tmp_path):
    with ShardReader(packed) as reader:
        images = export_yolo(
            reader, {"train": ["a-000004", "a-000001", "a-000004"], "val": ["c-000000"]}, CLASSES, tmp_path
        )
        assert images["train"] == [tmp_path / "images/train" / f"{key}.jpg" for key in ("a-000004", "a-000001", "a-000004")]
        only_hook = export_yolo(reader, {"one": ["a-000004"]}, ["hook"], tmp_path)
    assert images["val"][0].read_bytes() == world.jpg.read_bytes()
    assert (tmp_path / "labels/val/c-000000.txt").read_text() == "1 0.500000 0.500000 0.500000 0.500000\n"
    # by hand: person 8 10 24 20 of 64x48; hook 40.5 -4 70 12 cut to 40.5 0 64 12; the ignored person is left out
    assert (tmp_path / "labels/train/a-000004.txt").read_text() == (
        "0 0.250000 0.312500 0.250000 0.208333\n1 0.816406 0.125000 0.367188 0.250000\n"
    )
    assert (tmp_path / "labels/train/a-000001.txt").read_text() == ""
    assert (tmp_path / "labels/one/a-000004.txt").read_text() == "0 0.816406 0.125000 0.367188 0.250000\n"
    assert only_hook["one"][0].exists()
    with pytest.raises(ConfigError, match="did you mean 'person'"):
        export_yolo(ShardReader(packed), {}, ["persn"], tmp_path)


# ---------------------------------------------------------------- refusals


def test_refusals(world, tmp_path):
    with pytest.raises(ConfigError, match=r"no split 'vall'.*did you mean 'val'"):
        world.write(tmp_path, splits=["vall"])
    with pytest.raises(ConfigError, match="split 'val' has no labelled frames"):
        frames = world.frames[~world.frames["video"].isin(["c", "d"])]
        write_shards(world.manifest, frames, world.boxes, None, CLASSES, Shardset(), tmp_path)
    with pytest.raises(DataError, match=r"class 'hook'.*Known: person"):
        write_shards(world.manifest, world.frames, world.boxes, None, ["person"], Shardset(), tmp_path)
    with pytest.raises(DataError, match="no media"):
        write_shards(world.manifest.assign(kind="none"), world.frames, world.boxes, None, CLASSES, Shardset(), tmp_path)
    with pytest.raises(DataError, match="decodes to 64x48 px"):
        write_shards(world.manifest.assign(width=50), world.frames, world.boxes, None, CLASSES, Shardset(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("per_shard", "text"), [(100, "would be packed twice"), (9, r"0\.tar and in train-000001")])
def test_a_video_listed_twice_is_refused(world, tmp_path, per_shard, text):
    manifest = pd.concat([world.manifest, world.manifest[world.manifest["video"] == "b"]])
    settings = Shardset(splits=["train"], samples_per_shard=per_shard)
    with pytest.raises(DataError, match=f"'b-00000[0-2]'.*{text}"):
        write_shards(manifest, world.frames, world.boxes, None, CLASSES, settings, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"labels": "tracks"}, "needs `tracks"),
        ({"splits": ["train", "train"]}, "'train' is listed twice"),
        ({"quality": 0}, "greater than or equal to 1"),
        ({"stride": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_refused(values, text):
    with pytest.raises(ValidationError, match=text):
        Shardset.model_validate(values)


def test_index_schema_is_what_is_written(packed):
    assert list(read_index(packed.parent / "index.parquet").columns) == INDEX_SCHEMA.names
