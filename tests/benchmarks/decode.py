"""Every k-th frame at the size of a model's input, against decoding everything and resizing then.

The clip is made here (720p, H.264, moving texture). Ours is `read_frames` with its decoding child; every side is a process
of its own that reads the clip several times, so that starting it weighs little. CPU seconds count all processes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from lib.data.video import write_video
from tests.benchmarks.decode_side import SIDES
from tests.benchmarks.measure import Result, compared, interleaved, main, python

FRAMES = {"tiny": 24, "small": 240, "full": 600}
TIMES = {"tiny": 1, "small": 6, "full": 6}
REPEATS = {"tiny": 1, "small": 3, "full": 3}
STRIDES = {"tiny": (3,), "small": (2, 10), "full": (1, 5, 30)}
SHAPE, INPUT = (720, 1280), (640, 360)
PEERS = {"opencv": "OpenCV read all", "opencv-grab": "OpenCV grab", "pyav": "PyAV all"}


def pictures(frames: int) -> Iterator[np.ndarray]:
    """A texture that drifts, with a disc that moves over it."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 255, (90, 200, 3), dtype=np.uint8), (2000, 900), interpolation=cv2.INTER_CUBIC)
    for number in range(frames):
        shift = number % 600
        picture = np.ascontiguousarray(ground[shift // 5 : shift // 5 + SHAPE[0], shift : shift + SHAPE[1]])
        yield cv2.circle(picture, (200 + shift, 300), 60, (250, 80, 40), -1)


def measure(size: str) -> Result:
    result = Result("Sampled frames at a model's input size")
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        clip = Path(name) / "clip.mp4"
        write_video(clip, pictures(FRAMES[size]), 30.0, SHAPE[::-1])
        for stride in STRIDES[size]:
            one_stride(result, clip, stride, size)
    return result


def one_stride(result: Result, clip: Path, stride: int, size: str) -> None:
    def words(side: str) -> list[str | Path]:
        box = [str(stride), str(INPUT[0]), str(INPUT[1]), str(TIMES[size])]
        return [side, clip, *box, clip.with_name(f"{side}.npy")]

    sides = {side: lambda side=side: python("tests.benchmarks.decode_side", *words(side)) for side in SIDES}
    runs = interleaved(sides, REPEATS[size])
    frames = FRAMES[size] * TIMES[size]
    name = f"every {stride}. frame"
    for side, title in PEERS.items():
        target = ("<=", 1.0) if side != "opencv-grab" else None
        peer = {"ours": "ours", "peer": side}
        options = {"target": target, "reason": "Starting the decoding child, which confines damage, is in it."}
        result.rows.append(compared(f"{name}, beside {title}: CPU", runs, "cpu", **options, **peer))
        result.rows.append(compared(f"{name}, beside {title}: wall", runs, "wall", **peer))
    rate = compared(f"{name}: clip frames passed", runs, "wall", ours="ours", unit="frames/s", rate=frames)
    result.rows.append(rate)
    seen = {side: np.load(clip.with_name(f"{side}.npy")).astype(float) for side in SIDES}
    result.facts[f"{name}: frames"] = {side: len(found) for side, found in seen.items()}
    differ = max(float(np.abs(found - seen["opencv"]).mean()) for found in seen.values())
    result.facts[f"{name}: largest mean difference of pixels, of 255"] = round(differ, 2)


if __name__ == "__main__":
    main(measure, "decode")
