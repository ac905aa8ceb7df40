"""One way of getting every k-th frame of a clip at the size of a model's input, several times over. Not a benchmark.

python -m tests.benchmarks.decode_side SIDE CLIP STRIDE WIDTH HEIGHT TIMES MEANS.npy      sides: see SIDES
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count

import av
import cv2
import numpy as np

from lib.data.video import read_frames

Size = tuple[int, int]


def ours(clip: str, stride: int, size: Size) -> Iterator[np.ndarray]:
    """Only wanted frames are converted, scaled in the same pass."""
    for _, _, picture in read_frames(clip, kind="video", stride=stride, size=size):
        yield picture


def opencv(clip: str, stride: int, size: Size) -> Iterator[np.ndarray]:
    """The common loop: read all frames, keep every k-th, turn it to RGB, resize it."""
    capture = cv2.VideoCapture(clip)
    for index in count():
        there, picture = capture.read()
        if not there:
            break
        if index % stride == 0:
            yield cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), size, interpolation=cv2.INTER_AREA)


def opencv_grab(clip: str, stride: int, size: Size) -> Iterator[np.ndarray]:
    """The careful loop: only wanted frames leave the decoder."""
    capture = cv2.VideoCapture(clip)
    for index in count():
        if not capture.grab():
            break
        if index % stride == 0:
            picture = capture.retrieve()[1]
            yield cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), size, interpolation=cv2.INTER_AREA)


def pyav(clip: str, stride: int, size: Size) -> Iterator[np.ndarray]:
    """The plain PyAV loop over everything: decode, make RGB arrays of all frames, resize what is wanted."""
    with av.open(clip) as container:
        container.streams.video[0].thread_type = "AUTO"
        for index, frame in enumerate(container.decode(video=0)):
            picture = frame.to_ndarray(format="rgb24")
            if index % stride == 0:
                yield cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


SIDES: dict[str, Callable[[str, int, Size], Iterator[np.ndarray]]] = {
    "ours": ours,
    "opencv": opencv,
    "opencv-grab": opencv_grab,
    "pyav": pyav,
}


def main() -> None:
    side, clip, stride, width, height, times, means = sys.argv[1:]
    for _ in range(int(times)):
        found = [picture[::8, ::8].copy() for picture in SIDES[side](clip, int(stride), (int(width), int(height)))]
    np.save(means, np.stack(found))


if __name__ == "__main__":
    main()
