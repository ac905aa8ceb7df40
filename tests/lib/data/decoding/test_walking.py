"""Leaps to key frames and frames left out: numbers and pixels against PyAV's own loop over the whole file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from lib.config.limits import Limits
from lib.data.decoding.reading import ReadStats, Wanted, pictures
from lib.data.video import probe, read_frames
from tests.faults.media import encode, number_of, plainly

LONG = {"numbers": range(240)}
FILES: dict[str, dict[str, Any]] = {
    "b-frames.mp4": LONG | {"options": {"bf": "3", "g": "24"}},
    "pyramid.mkv": LONG | {"options": {"bf": "7", "g": "48", "x264-params": "b-pyramid=normal"}},
    "open-gop.mp4": LONG | {"options": {"x264-params": "open-gop=1:keyint=24:bframes=3"}},
    "open-gop.mkv": LONG | {"options": {"x264-params": "open-gop=1:keyint=24:bframes=3"}},
    "refresh.mp4": LONG | {"options": {"x264-params": "intra-refresh=1:keyint=24"}},
    "interlaced.mp4": LONG | {"options": {"x264-params": "interlaced=1", "g": "24"}},
    "variable.mkv": LONG | {"ticks": [number * 90 + (number % 7) * 11 for number in range(240)]},
    "edited.mp4": LONG | {"ticks": [-1000 + number * 40 for number in range(240)]},
    "hevc.mkv": LONG | {"codec": "libx265"},
    "vp9.webm": {"numbers": range(160), "codec": "libvpx-vp9"},
    "mpeg4.mp4": LONG | {"codec": "mpeg4"},
    "fragmented.mp4": LONG | {"container": {"movflags": "frag_keyframe+empty_moov"}},
    "stream.ts": LONG,
}


@pytest.mark.parametrize("name", FILES)
def test_far_frames_are_those_of_a_full_decode(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, **FILES[name])
    whole, errors = plainly(path, None)
    assert not errors and len(whole) == probe(path, check=True).frames == probe(path).frames
    last = len(whole) - 1
    for wanted in ([last], [0, last // 2, last], [5, 6, 7, 100, 101, 150], list(range(3, last, 31))):
        read = list(read_frames(path, kind="video", indices=wanted))
        assert [index for index, _, _ in read] == wanted
        assert all(np.array_equal(image, whole[index]) for index, _, image in read)
    for stride in (1, 2, 7, 30):
        read = list(read_frames(path, kind="video", stride=stride))
        assert [index for index, _, _ in read] == list(range(0, len(whole), stride))
        assert all(np.array_equal(image, whole[index]) for index, _, image in read)


def test_far_frames_are_reached_without_decoding_what_lies_between(tmp_path: Path) -> None:
    path, packets = encode(tmp_path / "a.mp4", numbers=range(240)), []

    def beat() -> None:
        packets.append(1)

    def read(indices: list[int]) -> int:
        packets.clear()
        frames = list(pictures(path, "video", None, Wanted(indices), Limits(), ReadStats(), beat))
        assert [number_of(image) for _, _, image, _ in frames] == [index % 256 for index in indices]
        return len(packets)

    counted = read([0])  # with the walk over all packets that makes the index
    assert read([3, 230]) < 60 < counted
    assert read([120]) < 60


def test_a_lying_index_is_not_believed(tmp_path: Path) -> None:
    """Key frames that are none (the table of them is removed: then all count as such) are found out by what comes."""
    data = bytearray(encode(tmp_path / "a.mp4", numbers=range(120)).read_bytes())
    at = data.index(b"stss")
    data[at : at + 4] = b"free"
    path = tmp_path / "lie.mp4"
    path.write_bytes(data)
    whole, _ = plainly(path, None)
    read = list(read_frames(path, kind="video", indices=[2, 50, 100]))
    assert [number_of(image) for *_, image in read] == [2, 50, 100]
    assert all(np.array_equal(image, whole[index]) for index, _, image in read)


def test_frames_are_scaled_as_images_are(tmp_path: Path) -> None:
    """Reference: PyAV's whole frames through OpenCV, means of areas where they shrink and linear where they grow."""
    path = encode(tmp_path / "a.mp4", numbers=range(30))
    with av.open(str(path)) as container:
        whole = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][::4]
    for size, way in (((64, 48), cv2.INTER_AREA), ((640, 480), cv2.INTER_LINEAR)):
        assert size[0] < whole[0].shape[1] if way == cv2.INTER_AREA else size[0] > whole[0].shape[1]
        theirs = [cv2.resize(picture, size, interpolation=way) for picture in whole]
        ours = [image for *_, image in read_frames(path, kind="video", stride=4, size=size)]
        assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_times_are_the_same_when_looked_at_and_when_read(tmp_path: Path) -> None:
    for name, how in {"a.avi": {"codec": "mpeg4"}, "b.mkv": {"rate": Fraction(2500)}, "c.ts": {}}.items():
        path = encode(tmp_path / name, **how)
        times = [time for _, time, _ in read_frames(path, kind="video")]
        np.testing.assert_allclose(times, probe(path, check=True).times, atol=1e-12)
