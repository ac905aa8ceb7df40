"""Damage of every kind, compared with the samples that were packed: refused by shard and key, or the right bytes."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lib.data.reader import ShardReader, verify
from lib.data.shards import write_tar
from lib.data.tar_index import read_shardset
from lib.data.tar_writer import tar_header
from lib.files import DataError, read_json, sha256_file, write_json
from tests.lib.data import packed

COUNT = 24


@pytest.fixture
def manifest(tmp_path) -> Path:
    return packed.write(tmp_path / "shards", COUNT)


def originals() -> dict[str, packed.Sample]:
    return {one.key: one for one in map(packed.sample, range(COUNT))}


def outcomes(manifest: Path) -> Counter:
    """What a trainer would meet: per sample `right`, `refused` (the text names its tar or key), `lost`, or `wrong`."""
    wanted = originals()
    try:
        reader = ShardReader(manifest)
    except DataError as refusal:
        named = any(file.name in str(refusal) for file in manifest.parent.iterdir()) or re.search(r"\S+\.tar", str(refusal))
        return Counter({"refused" if named else "unnamed": COUNT})
    with reader:
        found: Counter = Counter({"lost": len(set(wanted) - set(reader.index["key"]))})
        for key in wanted:
            try:
                found["right" if reader.read(key) == wanted[key] else "wrong"] += 1
            except DataError as refusal:
                found["refused" if key in str(refusal) and ".tar" in str(refusal) else "unnamed"] += 1
    return found


def flip(rng: np.random.Generator, path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
    path.write_bytes(raw)


def cut(rng: np.random.Generator, path: Path) -> None:
    path.write_bytes(path.read_bytes()[: int(rng.integers(path.stat().st_size))])


def overwrite(rng: np.random.Generator, path: Path) -> None:
    """A stretch of zeros or noise, as a lost sector leaves it."""
    raw = bytearray(path.read_bytes())
    length = int(rng.integers(1, 2048))
    start = int(rng.integers(len(raw)))
    noise = rng.bytes(length) if rng.random() < 0.5 else bytes(length)
    raw[start : start + length] = noise[: len(raw) - start]
    path.write_bytes(raw)


def move_block(rng: np.random.Generator, path: Path) -> None:
    """A block of the file (512 bytes of a tar, 16 of a smaller file) is found at another place of it."""
    raw = bytearray(path.read_bytes())
    size = 512 if path.suffix == ".tar" else 16
    one, other = (size * int(rng.integers(len(raw) // size)) for _ in range(2))
    raw[one : one + size] = raw[other : other + size]
    path.write_bytes(raw)


@pytest.mark.parametrize("files", ["*.tar", "index.parquet", "manifest.json"])
@pytest.mark.parametrize("fault", [flip, cut, overwrite, move_block])
def test_300_random_faults_are_never_wrong_nor_silent(manifest, tmp_path, fault: Callable, files):
    """25 trials for each of 4 faults and 3 kinds of file: tried = refused by name + all bytes right; none wrong or lost."""
    rng = np.random.default_rng([4, len(files), len(fault.__name__)])
    totals: Counter = Counter()
    for trial in range(25):
        folder = tmp_path / f"trial-{trial}"
        shutil.copytree(manifest.parent, folder)
        paths = sorted(folder.glob(files))
        path = paths[rng.integers(len(paths))]
        before = path.read_bytes()
        fault(rng, path)
        found = outcomes(folder / "manifest.json")
        if path.read_bytes() == before:
            assert found == Counter({"right": COUNT, "lost": 0})  # no false alarm
        else:
            with pytest.raises(DataError):
                verify(folder / "manifest.json")
        totals += found
        totals["trials refused"] += bool(found["refused"])
        shutil.rmtree(folder)
    assert totals["right"] + totals["refused"] == 25 * COUNT, totals
    assert not totals["wrong"] + totals["lost"] + totals["unnamed"] and totals["trials refused"]
    print(f"{fault.__name__} {files}: 25 tried, {dict(totals)}")


def test_a_flip_anywhere_in_a_sample_hits_that_sample_only(manifest):
    """Header, payload and padding of both members of one sample, one bit at a time; the others stay right."""
    _, index = read_shardset(manifest)
    row = index.iloc[9]
    path = manifest.parent / row["shard"]
    whole = path.read_bytes()
    places = {
        "jpg header": row["offset"] + 3,
        "jpg payload": row["jpg_offset"] + 5,
        "jpg padding": row["jpg_offset"] + row["jpg_size"],
        "json header": row["json_offset"] - 512 + 130,
        "json payload": row["json_offset"] + 4,
        "json padding": row["json_offset"] + row["json_size"],
    }
    for what, place in places.items():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        assert outcomes(manifest) == Counter({"right": COUNT - 1, "refused": 1, "lost": 0}), what
        half = what.split()[0]
        with ShardReader(manifest) as reader, pytest.raises(DataError, match=rf"{row['shard']}: .*{row['key']}\.{half}"):
            reader.read(row["key"])
        with pytest.raises(DataError, match=rf"{row['shard']}: its sha256 .* 1 damaged\. First: .*{row['key']}\.{half}"):
            verify(manifest)
    assert places["jpg padding"] < row["json_offset"] - 512  # there is padding to flip


def test_labels_alone_are_checked_too(manifest):
    _, index = read_shardset(manifest)
    row = index.iloc[3]
    path = manifest.parent / row["shard"]
    raw = bytearray(path.read_bytes())
    raw[row["json_offset"] + 20] ^= 1
    path.write_bytes(raw)
    with ShardReader(manifest) as reader:
        with pytest.raises(DataError, match=rf"{row['shard']}: .*{row['key']}\.json"):
            reader.labels(row["key"])
        assert reader.labels(index["key"][4]) == originals()[index["key"][4]].data


def test_padding_behind_the_last_sample(manifest):
    """Bytes that belong to no sample: samples are right, and only `verify` minds."""
    path = manifest.parent / "train-000000.tar"
    raw = bytearray(path.read_bytes())
    raw[-5] = 1
    path.write_bytes(raw)
    assert outcomes(manifest) == Counter({"right": COUNT, "lost": 0})
    with pytest.raises(DataError, match=r"train-000000\.tar: .*damaged outside of all samples"):
        verify(manifest)


def test_missing_and_swapped_shards(manifest):
    first, second = (manifest.parent / f"train-00000{number}.tar" for number in (0, 1))
    one, two = first.read_bytes(), second.read_bytes()
    size = max(len(one), len(two))
    shards, places = packed.unsealed(manifest)
    for shard, content in zip(shards, (one, two), strict=False):  # of one size, so that only the content can tell
        (manifest.parent / shard["file"]).write_bytes(content.ljust(size, b"\0"))
        shard |= {"bytes": size, "sha256": sha256_file(manifest.parent / shard["file"])}
    packed.seal(manifest.parent, shards, places)
    assert outcomes(manifest)["right"] == COUNT
    first.write_bytes(two.ljust(size, b"\0"))
    second.write_bytes(one.ljust(size, b"\0"))
    assert outcomes(manifest) == Counter({"right": COUNT - 14, "refused": 14, "lost": 0})
    with pytest.raises(DataError, match=r"train-000000\.tar: holds 'v0-000007\.jpg' where 'v0-000000\.jpg' should be"):
        ShardReader(manifest).read("v0-000000")
    with pytest.raises(DataError, match=r"train-000000\.tar: its sha256 .* 7 damaged"):
        verify(manifest)
    second.unlink()
    with pytest.raises(DataError, match=r"train-000001\.tar: the shard is missing"):
        ShardReader(manifest)


# ---------------------------------------------------------------- index and manifest that agree with each other, but lie


def _swap(places: list[dict], one: int, other: int) -> None:
    places[one], places[other] = places[other], places[one]


def _copy_key(places: list[dict], one: int, other: int) -> None:
    places[one] = places[one] | {"key": places[other]["key"]}


LIES = {
    "duplicate key in one tar": (
        lambda p: _copy_key(p, 2, 1),
        r"'v0-000001' stands twice: in train-000000\.tar and in",
    ),
    "duplicate key across tars": (
        lambda p: _copy_key(p, 9, 1),
        r"'v0-000001' .* in train-000000\.tar and in train-000001",
    ),
    "order within a tar": (lambda p: _swap(p, 2, 3), r"'v0-000003' cannot lie there in train-000000\.tar: wrong order"),
    "order across tars": (
        lambda p: _swap(p, 6, 7),
        r"'v0-000007' into train-000001\.tar, the manifest into train-000000",
    ),
    "a row is missing": (lambda p: p.pop(), "lists 23 samples, its manifest states 24"),
    "unknown tar": (lambda p: p[0].update(shard="x.tar"), r"puts 'v0-000000' into x\.tar, the manifest into train-000000"),
    "behind the end": (lambda p: p[23].update(json_size=10**9), r"'v2-000003' cannot lie there in train-000003\.tar"),
    "negative size": (lambda p: p[23].update(json_size=-1), r"'v2-000003' cannot lie there in train-000003\.tar"),
}


@pytest.mark.parametrize("name", LIES)
def test_an_index_that_contradicts_itself_is_refused_on_opening(manifest, name):
    change, text = LIES[name]
    shards, places = packed.unsealed(manifest)
    change(places)
    packed.seal(manifest.parent, shards, places)
    with pytest.raises(DataError, match=text):
        ShardReader(manifest)


def test_another_key_in_the_index_is_refused_at_its_sample(manifest):
    shards, places = packed.unsealed(manifest)
    places[5]["key"] = "v9-000005"
    packed.seal(manifest.parent, shards, places)
    with pytest.raises(DataError, match=r"train-000000\.tar: holds 'v0-000005\.jpg' where 'v9-000005\.jpg' should be"):
        ShardReader(manifest).read("v9-000005")
    with pytest.raises(DataError, match=r"train-000000\.tar: holds 'v0-000005\.jpg' where 'v9-000005\.jpg' should be"):
        verify(manifest)


def retarred(path: Path, change: Callable[[list[tuple[str, bytes]]], None]) -> None:
    """Write a tar again with other members, as a tool that knows nothing of the index would."""
    with tarfile.open(path) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    change(members)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


RETARS = {
    "duplicate at the end": (lambda m: m.append(m[0]), r"train-000000\.tar: holds 'v0-000000\.jpg' twice"),
    "member missing": (lambda m: m.pop(), r"train-000000\.tar: holds nothing where 'v0-000006\.json' should be"),
    "unknown member": (
        lambda m: m.append(("new.jpg", b"x")),
        r"train-000000\.tar: holds 'new\.jpg', which",
    ),
}


@pytest.mark.parametrize("name", RETARS)
def test_a_tar_with_other_members_is_found_by_verify(manifest, name):
    """The manifest is made to agree (size, sha256): the list of members alone can tell. No sample is ever read wrong."""
    change, text = RETARS[name]
    shards, places = packed.unsealed(manifest)
    path = manifest.parent / shards[0]["file"]
    retarred(path, change)
    shards[0] |= {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    packed.seal(manifest.parent, shards, places)
    with pytest.raises(DataError, match=text):
        verify(manifest)
    assert not outcomes(manifest)["wrong"]


def test_members_in_another_order_are_refused_at_their_sample(manifest):
    path = manifest.parent / "train-000000.tar"
    retarred(path, lambda members: members.reverse())
    found = outcomes(manifest)
    assert found["wrong"] == 0 and found["refused"] >= 7
    with pytest.raises(DataError, match=r"train-000000\.tar: .*v0-00000"):
        verify(manifest)


def test_changed_manifest_is_refused(manifest):
    for change in ({"classes": ["persn"]}, {"sha256": "0" * 64}, {"version": 1}, {"index_sha256": "0" * 64}):
        described = read_json(manifest)
        write_json(manifest, described | change)
        with pytest.raises(DataError, match=r"manifest\.json|index\.parquet"):
            ShardReader(manifest)
        write_json(manifest, described)
    for text in ("[]", "null", "{}", '{"version": 2}'):
        manifest.write_text(text)
        with pytest.raises(DataError, match=r"manifest\.json"):
            ShardReader(manifest)


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("name", ["a.jpg", "v" * 100, "v" * 101, "v" * 300, "ü.jpg", "名" * 40])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 8**11 - 1, 8**11])
def test_headers_are_those_of_tarfile(name, size):
    member = tarfile.TarInfo(name)
    member.size = size
    assert tar_header(name, size) == member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_tars_are_those_of_tarfile(tmp_path, count):
    samples = [packed.sample(number, size=512 * (number % 3)) for number in range(count)]
    places, written = write_tar(tmp_path / "ours.tar", samples)
    with tarfile.open(tmp_path / "theirs.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for one in samples:
            text = (
                '{"boxes":[[0.0,0.0,4.0,4.0]],"frame":FRAME,"height":8,"ignore":[false],"labels":["person"],'
                '"split":"train","time_s":TIME,"tracks":[-1],"video":"VIDEO","width":8}'
            )
            for word in ("frame", "time_s", "video"):
                text = text.replace(word.removesuffix("_s").upper(), str(one.data[word]))
            for name, content in ((f"{one.key}.jpg", one.jpg), (f"{one.key}.json", text.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    assert (tmp_path / "ours.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()
    assert written == {
        "bytes": (tmp_path / "ours.tar").stat().st_size, "sha256": sha256_file(tmp_path / "ours.tar")
    }  # fmt: skip
    assert len(places) == count


def test_a_key_is_packed_once(tmp_path):
    with pytest.raises(DataError, match="'v0-000001' would be packed twice"):
        write_tar(tmp_path / "x.tar", [packed.sample(1), packed.sample(2), packed.sample(1)])


def test_many_shards_are_read_with_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.data.reader.OPEN_FILES", 3)
    manifest = packed.write(tmp_path / "s", COUNT, per_shard=2)
    with ShardReader(manifest) as reader:
        order = np.random.default_rng(0).permutation(reader.index["key"]).tolist()
        assert [reader.read(key) for key in order] == [originals()[key] for key in order]
        assert len(reader._open) == 3
    assert not reader._open
