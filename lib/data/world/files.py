"""The synthetic world as ordinary files: H.264 videos with AAC sound, CocoVID annotations, and truths in words. Not here:
what happens and how it looks.

    {folder}/videos/site-{split}-000.mp4
    {folder}/annotations/{split}.json           CocoVID: videos, images (one per frame), annotations, categories
    {folder}/annotations/{split}.language.json  queries, relations, captions, answers (lib/data/sources/language.py)

`file_name` of a video is relative to videos/; that of an image, {video}/{frame}.jpg, only names the frame (no such file is
written). The same settings give the same annotations byte for byte, and on one machine with the same codec the same videos.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from pycocotools import mask as rle

from lib.config.world import CLASSES, WorldSource
from lib.data.world import sounds
from lib.data.world.draw import Painter
from lib.data.world.events import episode_of
from lib.data.world.motion import simulate
from lib.data.world.plan import Plan, plan_videos
from lib.data.world.truths import MAKERS
from lib.files import atomic, write_json, write_text

_FEW = 4  # videos up to which starting another process costs more than it saves

Annotations = list[list[dict[str, Any]]]
"""Per frame the annotations of one video, still without `id`, `image_id` and `video_id`."""


def generate(
    options: WorldSource, folder: Path, progress: Callable[[int, int], None] | None = None, workers: int = 2
) -> None:
    """Draw the whole world into `folder`; files that exist are replaced, each whole or not at all, annotations last.

    progress: called with (videos done, videos in all). workers: processes that draw; one process draws small worlds.
    """
    folder = Path(folder)
    plans = plan_videos(options)
    drawn: dict[str, list[tuple[Plan, Annotations]]] = {split: [] for split in options.videos}
    for done, (plan, found) in enumerate(zip(plans, _draw_all(plans, options, folder, workers), strict=True), 1):
        drawn[plan.split].append((plan, found))
        if progress is not None:
            progress(done, len(plans))
    for split, videos in drawn.items():
        write_json(folder / "annotations" / f"{split}.json", _coco(videos, options))
        lines = ",\n".join(json.dumps(video, ensure_ascii=False) for video in _language(videos, options))
        write_text(folder / "annotations" / f"{split}.language.json", f'{{"videos": [\n{lines}\n]}}\n')


def annotations_of(options: WorldSource) -> dict[str, dict[str, str]]:
    """Settings `annotations` and `language` of a CocoSource that reads what `generate` writes."""
    return {
        "annotations": {split: f"annotations/{split}.json" for split in options.videos},
        "language": {split: f"annotations/{split}.language.json" for split in options.videos},
    }


def _draw_all(plans: list[Plan], options: WorldSource, folder: Path, workers: int) -> Iterator[Annotations]:
    """Annotations of the videos in the order of the plans; the videos are written on the way."""
    if workers <= 1 or len(plans) <= _FEW:
        yield from (draw_video(plan, options, folder) for plan in plans)
        return
    # spawn: a fork copies the threads' locks of whatever library the caller has loaded, and can hang
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(draw_video, plans, [options] * len(plans), [folder] * len(plans))


def draw_video(plan: Plan, options: WorldSource, folder: Path) -> Annotations:
    """Write one video and return its annotations per frame."""
    cv2.setNumThreads(1)  # the workers share the cores
    painter, found = Painter(plan, options), Annotations()

    frames = simulate(plan, options)

    def pictures() -> Iterator[np.ndarray]:
        for index, states in enumerate(frames):
            picture, seen = painter.frame(index, states)
            found.append([_annotation(one.state.kind, one.state.track, one.mask, one.box) for one in seen])
            yield picture

    def sound() -> np.ndarray:
        return sounds.waveform(episode_of(plan, options, frames, _seen(found)))

    write_video(folder / "videos" / f"{plan.name}.mp4", pictures(), sound, options)
    return found


def _seen(found: Annotations) -> list[list[int]]:
    """The tracks in the truth of each frame."""
    return [[one["track_id"] for one in frame] for frame in found]


def _annotation(kind: str, track: int, mask: np.ndarray, box: tuple[int, int, int, int]) -> dict[str, Any]:
    code = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "category_id": CLASSES.index(kind) + 1,
        "track_id": track,
        "bbox": [float(side) for side in box],
        "area": float(rle.area(code)),
        "iscrowd": 0,
        "segmentation": {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")},
    }


def write_video(path: Path, pictures: Iterable[np.ndarray], sound: Callable[[], np.ndarray], options: WorldSource) -> None:
    """Encode pictures (uint8 RGB, (H, W, 3)) as H.264 and sound as AAC in an mp4, one thread, so that the bytes depend on
    pictures and sound only.

    sound: called after the last picture, because what is heard may depend on what is to be seen.
    """
    rate = Fraction(options.fps).limit_denominator(1001)
    with atomic(path) as temporary, av.open(str(temporary), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = options.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        # cpu-independent: else the look-ahead rounds by how its memory happens to lie, and bytes differ between runs
        stream.options = {"crf": str(options.crf), "preset": "veryfast", "x264-params": "cpu-independent=1"}
        track = sounds.add_track(container)
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in (*stream.encode(), *sounds.encode(track, sound())):
            container.mux(packet)


def _language(videos: list[tuple[Plan, Annotations]], options: WorldSource) -> list[dict[str, Any]]:
    """The truths in words of one split, an object per video."""
    episodes = [episode_of(plan, options, simulate(plan, options), _seen(found)) for plan, found in videos]
    by_name: dict[str, dict[str, Any]] = {plan.name: {"file_name": f"{plan.name}.mp4"} for plan, _ in videos}
    for kind, make in MAKERS.items():
        for video in by_name.values():
            video[kind] = []
        for row in make(episodes):
            by_name[row.pop("video")][kind].append(row)
    return list(by_name.values())


def _coco(videos: list[tuple[Plan, Annotations]], options: WorldSource) -> dict[str, Any]:
    """One split in CocoVID form; all ids count from 1."""
    width, height = options.size
    size = {"width": width, "height": height}
    coco: dict[str, Any] = {"videos": [], "images": [], "annotations": []}
    coco["categories"] = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    coco["info"] = {"description": f"Vipersight synthetic building site, seed {options.seed}"}
    for video_id, (plan, frames) in enumerate(videos, 1):
        coco["videos"].append(
            {
                "id": video_id,
                "file_name": f"{plan.name}.mp4",
                **size,
                "fps": options.fps,
                "length": plan.frames,
            }
        )
        for index, found in enumerate(frames):
            image_id = len(coco["images"]) + 1
            file_name = f"{plan.name}/{index:06d}.jpg"
            coco["images"].append(
                {"id": image_id, "video_id": video_id, "frame_index": index, "file_name": file_name, **size}
            )
            for one in found:
                number = len(coco["annotations"]) + 1
                coco["annotations"].append({"id": number, "image_id": image_id, "video_id": video_id, **one})
    return coco
