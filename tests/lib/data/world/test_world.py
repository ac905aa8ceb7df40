"""The synthetic world against other readers: pycocotools for annotations, PyAV for videos. Its settings: see
test_world_settings.py.

The oracle for truth is the picture itself: drawn with and without an object, it must differ where the object's mask is.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from lib.config.world import CLASSES, WorldSource
from lib.data.world.burdens import BURDENS_M
from lib.data.world.draw import SEEN_PX, SEEN_SHARE, Painter
from lib.data.world.files import generate
from lib.data.world.motion import simulate
from lib.data.world.plan import plan_videos

TINY: dict[str, Any] = {
    "format": "world",
    "videos": {"train": 3, "test": 2},
    "size": (160, 96),
    "fps": 5.0,
    "seconds": (2.0, 3.0),
}


def tiny(**knobs: Any) -> WorldSource:
    return WorldSource.model_validate(TINY | knobs)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    generate(tiny(), folder, workers=1)
    return folder


def read(folder: Path, split: str) -> dict[str, Any]:
    return json.loads((folder / "annotations" / f"{split}.json").read_text())


def sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def decoded(path: Path) -> tuple[list[np.ndarray], float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], float(stream.average_rate)


def pictures(options: WorldSource, video: int = 0) -> list[np.ndarray]:
    plan = plan_videos(options)[video]
    painter = Painter(plan, options)
    return [painter.frame(index, states)[0] for index, states in enumerate(simulate(plan, options))]


def test_same_settings_same_bytes(world: Path, tmp_path: Path) -> None:
    generate(tiny(), tmp_path, workers=1)
    assert sums(tmp_path) == sums(world)
    generate(tiny(), tmp_path, workers=1)  # again over files that exist
    assert sums(tmp_path) == sums(world)


@pytest.mark.slow
def test_processes_change_nothing(world: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    generate(tiny(), tmp_path, lambda done, total: seen.append((done, total)), workers=2)
    assert sums(tmp_path) == sums(world)
    assert seen == [(done, 5) for done in range(1, 6)]


def test_another_seed_another_world(world: Path, tmp_path: Path) -> None:
    generate(tiny(seed=1), tmp_path, workers=1)
    assert not set(sums(tmp_path).values()) & set(sums(world).values())


def test_pycocotools_reads_it_and_boxes_are_the_bounds_of_masks(world: Path) -> None:
    for split in TINY["videos"]:
        coco = COCO(str(world / "annotations" / f"{split}.json"))
        assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == list(CLASSES)
        annotations = coco.loadAnns(coco.getAnnIds())
        assert annotations
        for one in annotations:
            image = coco.imgs[one["image_id"]]
            mask = coco.annToMask(one)
            assert mask.shape == (image["height"], image["width"])
            assert one["area"] == mask.sum() >= SEEN_PX
            assert one["bbox"] == rle.toBbox(one["segmentation"]).tolist()
            rows, columns = np.nonzero(mask)
            x, y, width, height = one["bbox"]
            assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert one["iscrowd"] == 0 and image["video_id"] == one["video_id"]


def test_ids_count_from_one_and_every_frame_is_listed(world: Path) -> None:
    for split in TINY["videos"]:
        data = read(world, split)
        for key in ("videos", "images", "annotations", "categories"):
            assert [one["id"] for one in data[key]] == list(range(1, len(data[key]) + 1))
        for video in data["videos"]:
            frames = [one["frame_index"] for one in data["images"] if one["video_id"] == video["id"]]
            assert frames == list(range(video["length"]))


def test_masks_of_one_frame_do_not_overlap(world: Path) -> None:
    data = read(world, "train")
    total: dict[int, np.ndarray] = defaultdict(lambda: np.zeros((96, 160), int))
    for one in data["annotations"]:
        total[one["image_id"]] += rle.decode(one["segmentation"])
    assert max(covered.max() for covered in total.values()) == 1


def test_tracks_are_one_object_each_and_last(world: Path) -> None:
    data = read(world, "train")
    frame = {one["id"]: one["frame_index"] for one in data["images"]}
    tracks: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for one in data["annotations"]:
        tracks[one["video_id"], one["track_id"]].append(one)
    for pieces in tracks.values():
        assert len({one["category_id"] for one in pieces}) == 1
        numbers = [frame[one["image_id"]] for one in pieces]
        assert numbers == sorted(set(numbers))  # at most once per frame
    assert np.median([len(pieces) for pieces in tracks.values()]) >= 4
    steps = [  # an object moves on from where it was: a track id that jumped between objects would not
        abs(later["bbox"][1] + later["bbox"][3] - sooner["bbox"][1] - sooner["bbox"][3])
        for pieces in tracks.values()
        for sooner, later in pairwise(pieces)
        if later["category_id"] == 3 and frame[later["image_id"]] == frame[sooner["image_id"]] + 1
    ]
    assert steps and np.median(steps) <= 1


def test_videos_hold_what_the_annotations_say(world: Path) -> None:
    for split in TINY["videos"]:
        for video in read(world, split)["videos"]:
            frames, fps = decoded(world / "videos" / video["file_name"])
            assert len(frames) == video["length"] and fps == video["fps"] == 5.0
            assert frames[0].shape == (video["height"], video["width"], 3) == (96, 160, 3)
            assert 10 <= video["length"] <= 15


def test_splits_share_no_video(world: Path) -> None:
    names = [one["file_name"] for split in TINY["videos"] for one in read(world, split)["videos"]]
    assert len(set(names)) == len(names) == 5
    assert sorted(path.relative_to(world / "videos").as_posix() for path in world.rglob("*.mp4")) == sorted(names)
    files = [sum_ for name, sum_ in sums(world).items() if name.endswith(".mp4")]
    assert len(set(files)) == 5
    assert all(
        Path(one["file_name"]).name.startswith(f"site-{split}-")
        for split in TINY["videos"]
        for one in read(world, split)["videos"]
    )


@pytest.mark.parametrize("difficulty", [0.0, 0.4, 1.0])
def test_every_mask_can_be_seen(difficulty: float) -> None:
    """Oracle: take one object away, draw again; what changed by more than a trace is its mask (grain and light are the
    same)."""
    options = tiny(difficulty=difficulty, videos={"train": 6}, size=(320, 192))
    checked = 0
    for plan in plan_videos(options):
        painter, frames = Painter(plan, options), simulate(plan, options)
        for index in range(0, plan.frames, 5):
            picture, seen = painter.frame(index, frames[index])
            for one in seen:
                without, _ = painter.frame(index, [state for state in frames[index] if state is not one.state])
                change = np.abs(picture.astype(int) - without.astype(int)).max(2)
                assert (change[one.mask] > 4).mean() > 0.85, (plan.name, index, one.state.kind)
                assert change[one.mask].mean() > 15
                far = np.ones_like(one.mask)
                x, _, width, _ = one.box
                reach = 100  # its shadow, cable or burden is near it
                far[:, max(0, x - reach) : x + width + reach] = False
                assert not change[far].any()
                assert one.share >= SEEN_SHARE and one.mask.sum() >= SEEN_PX
                checked += 1
    assert checked > 10


def test_hidden_things_are_no_truth() -> None:
    """An object far outside the picture, and one right behind another of the same shape, are not in the truth."""
    options = tiny(videos={"train": 1}, persons=1.0, hooks=0.0, both=0.0, vehicles=0.0, empty=0.0)
    plan = plan_videos(options)[0]
    person = next(state for state in simulate(plan, options)[0] if state.kind == "person")
    moved = {"x": 80.0, "y": 80.0, "depth": 80.0, "attributes": {"activity": "standing", "carrying": ""}}
    near = type(person)(**{**vars(person), **moved})
    behind = type(person)(**{**vars(near), "track": 90, "depth": 79.0})
    outside = type(person)(**{**vars(near), "track": 91, "x": -60.0})
    painter = Painter(plan, options)
    painter._props.clear()
    truth = painter.frame(0, [near, behind, outside])[1]
    assert [one.state.track for one in truth] == [near.track]
    assert truth[0].share == 1.0
    assert [one.state.track for one in painter.frame(0, [behind])[1]] == [90]


def test_fps_seconds_and_crf(tmp_path: Path) -> None:
    size = {}
    for crf in (18, 40):
        generate(tiny(videos={"train": 1}, fps=10.0, seconds=(1.5, 1.5), crf=crf), tmp_path / str(crf), workers=1)
        path = next((tmp_path / str(crf)).rglob("*.mp4"))
        frames, fps = decoded(path)
        assert (len(frames), fps) == (15, 10.0)
        size[crf] = path.stat().st_size
    assert size[40] < 0.5 * size[18]


def test_video_looks_like_what_was_drawn(world: Path) -> None:
    """The codec keeps the pictures: the mean difference stays within a few grey levels."""
    options = tiny()
    frames, _ = decoded(world / "videos" / "site-train-000.mp4")
    drawn = pictures(options)
    assert len(frames) == len(drawn)
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(frames, drawn, strict=True)) < 12


def test_states_tell_what_happens() -> None:
    """What later truths are derived from: a load hangs under its hook, is in its bearer's hands, or lies on the ground."""
    options = WorldSource(format="world", videos={"train": 20})
    lifted = carried = 0
    for plan in plan_videos(options):
        for frame in simulate(plan, options):
            hooks = {state.track: state for state in frame if state.kind == "crane hook"}
            persons = {state.track: state for state in frame if state.kind == "person"}
            loads = [state for state in frame if state.kind == "load"]
            bearers = [int(load.attributes["held_by"]) for load in loads if load.attributes["held_by"] in persons]
            assert sorted(bearers) == sorted(track for track, one in persons.items() if one.attributes["carrying"])
            for load in loads:
                held_by = int(load.attributes["held_by"])
                if held_by in persons:
                    assert load.attributes["load"] in BURDENS_M
                    assert persons[held_by].attributes["carrying"] == load.attributes["load"]
                    assert load.y < load.depth == persons[held_by].depth
                    carried += 1
                elif held_by:
                    hook = hooks[held_by]
                    assert hook.attributes["load"] == load.track
                    assert hook.x == load.x and hook.y < load.y
                    lifted += load.y < load.depth - 5
                else:
                    assert load.y == load.depth
            assert all(hook.attributes["load"] in {0, *(load.track for load in loads)} for hook in hooks.values())
            assert len({state.track for state in frame}) == len(frame)
    assert lifted > 50 and carried > 50
