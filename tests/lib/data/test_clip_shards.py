"""Shardsets of clips, compared with: webdataset reading the same tars, the features that were packed, the annotations."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from lib.config.base import ConfigError
from lib.data.clip_samples import ClipReader, part, phases
from lib.data.reader import ShardReader, verify
from lib.files import DataError, read_json, sha256_file
from tests.lib.data.clips import Clips, manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Clips:
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def packed(made) -> Path:
    return made.write()


@pytest.fixture
def clips(tmp_path) -> Clips:
    return Clips(tmp_path)


def test_webdataset_reads_the_same_samples(made, packed) -> None:
    tars = sorted(str(path) for path in packed.parent.glob("*.tar"))
    assert len(tars) == 4, "six of train in shards of four"
    found = {one["__key__"]: one for one in webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode()}
    assert found.keys() == set(made.videos["video"])
    with ClipReader(packed) as reader:
        for key, one in found.items():
            ours = reader.read(key)
            assert np.array_equal(one["video.npy"], ours.features) and np.array_equal(one["objects.npy"], ours.objects)
            assert np.array_equal(one["objects_mask.npy"], ours.objects_mask)
            assert np.array_equal(one["text.npy"], np.concatenate(ours.texts))
            assert one["json"]["video"] == key and one["json"]["text_offsets"][-1] == len(one["text.npy"])


def test_samples_hold_what_was_computed_and_annotated(made, packed) -> None:
    with ClipReader(packed) as reader:
        assert reader.widths == {"video": 16, "text": 8, "objects": (3, 8)}
        index = reader.index.set_index("key")
        for row in made.videos.itertuples(index=False):
            one, asked = reader.read(row.video), made.queries[made.queries["video"] == row.video]
            assert np.array_equal(one.features, made.all("clips")[row.video])
            assert np.array_equal(one.objects, made.all("objects")[row.video])
            assert np.array_equal(one.objects_mask, made.all("objects")[f"{row.video}.mask"].astype(bool))
            assert one.features.dtype == np.float32 and one.objects_mask.dtype == bool
            assert one.grid.count == len(one.features) and one.grid.duration == row.duration_s and one.split == row.split
            names = list(dict.fromkeys(asked["query"]))
            assert [query["query"] for query in one.queries] == names
            for query, text in zip(one.queries, one.texts, strict=True):
                rows = asked[asked["query"] == query["query"]].dropna()
                assert query["windows"] == list(rows[["start_s", "end_s"]].itertuples(index=False, name=None))
                assert np.array_equal(text, made.all("text")[query["query"]])
            assert (index["steps"][row.video], index["queries"][row.video]) == (len(one.features), len(names))
            assert index["annotated"][row.video] == (0 if row.split == "test" else len(names))
            assert sum(index["template_queries"][row.video]) == len(names)
    verify(packed)


def test_packing_twice_and_from_other_chunks_gives_the_same_bytes(made, packed, tmp_path) -> None:
    other = Clips(tmp_path, chunks=3).write()
    assert {path.name: sha256_file(path) for path in packed.parent.iterdir()} == {
        path.name: sha256_file(path) for path in other.parent.iterdir()
    }


def test_float16_without_objects(clips) -> None:
    with ClipReader(clips.write(objects=None, dtype="float16")) as reader:
        one = reader.read("clip-3")
        assert one.objects is None and one.objects_mask is None and reader.widths["objects"] is None
        wanted = clips.all("clips")["clip-3"].astype(np.float16).astype(np.float32)
        assert one.features.dtype == np.float32 and np.array_equal(one.features, wanted)


def test_damage_is_named_by_tar_and_member(clips) -> None:
    path = clips.write()
    with ClipReader(path) as reader:
        row = reader.index.set_index("key").loc["clip-4"]
    for member, suffix in (
        ("video", "video.npy"),
        ("text", "text.npy"),
        ("json", "json"),
        ("objects_mask", "objects_mask.npy"),
    ):
        tar = path.parent / row["shard"]
        whole = tar.read_bytes()
        place = int(row[f"{member}_offset"] + row[f"{member}_size"] // 2)
        tar.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with ClipReader(path) as reader, pytest.raises(DataError, match=rf"{row['shard']}: .*clip-4\.{suffix}"):
            reader.read("clip-4")
        with pytest.raises(DataError, match="sha256 is not the recorded one; 1 damaged"):
            verify(path)
        tar.write_bytes(whole)


def test_shardsets_of_one_kind_are_not_read_as_the_other(packed) -> None:
    with pytest.raises(DataError, match="kind clips, wanted is frames"):
        ShardReader(packed)


def drop_clip(clips: Clips) -> None:
    for one in clips.features["clips"]:
        one.tensors.pop("clip-4", None)
        one.rows = [row for row in one.rows if row["unit"] != "clip-4"]


def drop_query(clips: Clips) -> None:
    for one in clips.features["text"]:
        one.tensors.pop("clip-3_1", None)
        one.rows = [row for row in one.rows if row["unit"] != "clip-3_1"]


def drop_objects(clips: Clips) -> None:
    for one in clips.features["objects"]:
        for name in ("clip-4", "clip-4.mask"):
            one.tensors.pop(name, None)
        one.rows = [row for row in one.rows if row["unit"] != "clip-4"]


def not_a_number(clips: Clips) -> None:
    for one in clips.features["clips"]:
        if "clip-4" in one.tensors:
            one.tensors["clip-4"] = np.where(np.arange(16) == 3, np.float32(70000), one.tensors["clip-4"])


def other_width(clips: Clips) -> None:
    for one in clips.features["clips"][1:]:
        one.tensors = {name: values[:, :12] for name, values in one.tensors.items()}
        one.rows = [row | {"width": 12} for row in one.rows]


def other_grid(clips: Clips) -> None:
    for one in clips.features["objects"]:
        one.rows = [row | {"stride": 2.0} for row in one.rows]


@pytest.mark.parametrize(
    ("spoil", "settings", "error", "text"),
    [
        (drop_clip, {}, DataError, "1 clips have no features in featureset 'c': clip-4"),
        (drop_query, {}, DataError, "1 queries have no features in featureset 't': clip-3_1"),
        (not_a_number, {"dtype": "float16"}, DataError, "chunk=0.*'clip-4' holds numbers that float16 cannot hold"),
        (other_width, {}, DataError, "chunk=1.*has width 12, but .* has 16"),
        (other_grid, {}, DataError, "clip 'clip-0': stride is 1 in .*clips.*, but 2 in .*objects"),
        (lambda _: None, {"max_steps": 22}, DataError, "clip 'clip-4' has 26 steps, more than max_steps 22"),
        (lambda _: None, {"splits": ["trian"]}, ConfigError, "no split 'trian'. Hint: did you mean 'train'"),
    ],
)
def test_bad_features_are_refused_by_name(
    clips, spoil: Callable[[Clips], None], settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    spoil(clips)
    with pytest.raises(error, match=text):
        clips.write(**settings)
    assert not (clips.folder / "shards/manifest.json").exists() and not list(clips.folder.glob("shards/*.tar"))


def test_nan_in_a_feature_file_is_refused_when_it_is_packed(clips) -> None:
    from safetensors.numpy import load_file, save_file

    files = clips.files()
    stored = load_file(files["clips"][0])
    stored["clip-4"][5, 3] = np.nan
    clips.files = lambda dtype="float32": files
    save_file(stored, files["clips"][0])
    with pytest.raises(DataError, match=r"chunk=0.safetensors: 'clip-4' holds NaN or infinite numbers"):
        clips.write()


def test_what_may_be_missing_is_left_out_and_listed(clips) -> None:
    for spoil in (drop_clip, drop_query):
        spoil(clips)
    clips.queries = clips.queries[clips.queries["video"] != "clip-6"]
    path = clips.write(missing="drop")
    left_out = read_json(path)["left_out"]
    assert left_out["clips_without_features"] == ["clip-4"] and left_out["queries_without_features"] == ["clip-3_1"]
    assert left_out["clips_without_queries"] == ["clip-6"]
    with ClipReader(path) as reader:
        assert not {"clip-4", "clip-6"} & set(reader.index["key"])
        assert [one["query"] for one in reader.read("clip-3").queries] == ["clip-3_0", "clip-3_2", "clip-3_3"]


def test_a_clip_without_objects_has_none_and_is_listed(clips) -> None:
    drop_objects(clips)
    path = clips.write()
    assert read_json(path)["left_out"]["clips_without_objects"] == ["clip-4"]
    with ClipReader(path) as reader:
        one = reader.read("clip-4")
    assert one.objects.shape == (len(one.features), 3, 8) and not one.objects.any() and not one.objects_mask.any()


def test_memory_holds_one_clip(tmp_path) -> None:
    """Reference: 24 clips of the same size; packing them may not take the room of five."""
    videos = manifest(24).assign(duration_s=200.0, split="train")
    clips = Clips(tmp_path, videos, chunks=4)
    size = clips.all("clips")["clip-3"].nbytes + clips.all("objects")["clip-3"].nbytes
    files = clips.files()
    clips.files, clips.features = lambda dtype="float32": files, {}
    tracemalloc.start()
    clips.write(splits=["train"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 50_000 and peak < 5 * size + 1_500_000


def test_phases_and_windows_keep_the_seconds_of_their_steps(packed) -> None:
    with ClipReader(packed) as reader:
        one = reader.read("clip-7")
    seconds = one.grid.seconds(np.arange(len(one.features)))
    views = list(phases(one, 3))
    assert len(views) == 3 and sum(len(view.features) for view in views) == len(one.features)
    for first, view in enumerate(views):
        assert np.array_equal(view.features, one.features[first::3]) and np.array_equal(view.objects, one.objects[first::3])
        assert view.grid.seconds(np.arange(len(view.features))) == pytest.approx(seconds[first::3])
        assert view.grid.steps(view.grid.seconds(1.5)) == pytest.approx(1.5) and view.queries == one.queries
    window = part(part(one, slice(4, 20)), slice(3, 10, 2))
    assert window.grid.seconds(np.arange(4)) == pytest.approx(seconds[7:14:2])
    assert len(list(phases(part(one, slice(0, 2)), 5))) == 2, "no phase without a step"
    with pytest.raises(DataError, match="holds none of its"):
        part(one, slice(900, None))


def test_json_is_plain(packed) -> None:
    """Reference: the contract of a sample."""
    tars = sorted(str(path) for path in packed.parent.glob("val-*.tar"))
    (first, *_) = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False)
    said = json.loads(first["json"])
    assert said.keys() == {"video", "split", "grid", "queries", "text_offsets"}
    assert said["grid"].keys() == {"stride", "window", "fps", "duration_s"}
    assert said["queries"][0].keys() == {"query", "text", "template", "evidence", "windows"}
