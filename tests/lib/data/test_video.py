"""Probing and reading media: against clips written here frame by frame, OpenCV's own turning of pictures, and (mirror) the
published times of every frame of a two-stream file.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from lib.data.video import ReadStats, probe, read_frames, write_video
from lib.files import DataError

T, H, W = 24, 48, 64


def picture(index: int) -> np.ndarray:
    """(H, W, 3): left half red, right half grey that tells the index."""
    image = np.full((H, W, 3), index * 10, dtype=np.uint8)
    image[:, : W // 2] = (250, 0, 0)
    return image


def level(image: np.ndarray) -> int:
    """The index that `picture` painted, read back from the right half."""
    return round(float(image[H // 4 : H // 2, -W // 4 :].mean()) / 10)


def encode(path: Path, *, codec: str = "libx264", rotation: int = 0, ticks: list[int] | None = None) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        if ticks:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(T):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            if ticks:
                frame.pts, frame.time_base = ticks[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def clip(tmp_path) -> Path:
    write_video(tmp_path / "clip.mp4", (picture(index) for index in range(T)), 30000 / 1001, (W, H))
    return tmp_path / "clip.mp4"


def test_written_clip_is_read_back(clip):
    seen = probe(clip)
    assert (seen.frames, seen.width, seen.height, seen.codec, seen.stream) == (T, W, H, "h264", 0)
    assert seen.fps == pytest.approx(30000 / 1001, rel=1e-9)
    assert seen.duration_s == pytest.approx(T * 1001 / 30000)
    assert not (seen.rotated or seen.variable_rate or seen.has_audio or seen.cut)
    frames = list(read_frames(clip, kind="video"))
    assert [index for index, _, _ in frames] == list(range(T)) == [level(image) for _, _, image in frames]
    np.testing.assert_allclose([time for _, time, _ in frames], np.arange(T) * 1001 / 30000, atol=1e-9)
    assert frames[0][2].dtype == np.uint8 and frames[0][2].shape == (H, W, 3)


def test_only_wanted_frames_and_sizes_come(clip):
    assert [index for index, _, _ in read_frames(clip, kind="video", indices=[9, 2, 9])] == [2, 9]
    assert [index for index, _, _ in read_frames(clip, kind="video", stride=10)] == [0, 10, 20]
    assert list(read_frames(clip, kind="video", indices=[])) == []
    (_, _, small), *_ = read_frames(clip, kind="video", size=(20, 10))
    assert small.shape == (10, 20, 3) and abs(int(small[5, 2, 0]) - 250) < 12
    with pytest.raises(DataError, match=f"frame {T} asked for, but there are {T} frames"):
        list(read_frames(clip, kind="video", indices=[3, T]))
    with pytest.raises(ValueError, match="not both"):
        next(read_frames(clip, kind="video", indices=[0], stride=2))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.avi", "libx264"), ("b.avi", "mpeg4"), ("a.ts", "libx264"), ("a.gif", "gif")],
)
def test_containers_agree_between_probing_and_reading(tmp_path, name, codec):
    if codec == "gif":
        shots = [Image.fromarray(picture(index)) for index in range(T)]
        shots[0].save(tmp_path / name, save_all=True, append_images=shots[1:], duration=30)
    else:
        encode(tmp_path / name, codec=codec)
    seen, frames = probe(tmp_path / name), list(read_frames(tmp_path / name, kind="video"))
    assert seen.frames == len(frames) == T
    np.testing.assert_allclose([time for _, time, _ in frames], seen.times, atol=1e-6)
    assert [level(image) for _, _, image in frames] == list(range(T))


def test_variable_rate_keeps_true_times(tmp_path):
    ticks = [0, 40, 80, 200, 240, 500, *range(540, 540 + 40 * (T - 6), 40)]
    seen = probe(encode(tmp_path / "v.mkv", ticks=ticks))
    assert seen.variable_rate
    np.testing.assert_allclose(seen.times, np.array(ticks) / 1000, atol=1e-3)
    np.testing.assert_allclose(
        [time for _, time, _ in read_frames(tmp_path / "v.mkv", kind="video")], seen.times, atol=1e-9
    )


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_that_of_opencv(tmp_path, rotation):
    path = encode(tmp_path / "r.mp4", rotation=rotation)
    seen = probe(path)
    _, _, ours = next(read_frames(path, kind="video"))
    _, theirs = cv2.VideoCapture(str(path)).read()
    assert seen.rotated and (seen.height, seen.width) == ours.shape[:2] == theirs.shape[:2]
    assert np.abs(ours[..., ::-1].astype(int) - theirs.astype(int)).mean() < 3


def test_odd_sizes_are_padded(tmp_path):
    assert write_video(tmp_path / "odd.mp4", [np.zeros((33, 31, 3), np.uint8)] * 3, 10, (31, 33)) == 3
    assert (probe(tmp_path / "odd.mp4").width, probe(tmp_path / "odd.mp4").height) == (32, 34)
    with pytest.raises(DataError, match="no frames"):
        write_video(tmp_path / "none.mp4", [], 10, (4, 4))
    with pytest.raises(DataError, match="frame 0 is"):
        write_video(tmp_path / "none.mp4", [np.zeros((4, 6, 3), np.uint8)], 10, (4, 4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.mp4"]


def test_one_frame_and_audio(tmp_path):
    write_video(tmp_path / "one.mp4", [picture(0)], 25, (W, H))
    assert probe(tmp_path / "one.mp4").frames == 1 and len(list(read_frames(tmp_path / "one.mp4", kind="video"))) == 1
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="holds no video stream \\(streams: audio\\)"):
        probe(tmp_path / "sound.mp4")


def test_broken_files_are_named(tmp_path, clip):
    (tmp_path / "empty.mp4").touch()
    plain = encode(tmp_path / "plain.mp4")  # its index lies at the end, so a cut loses it
    plain.write_bytes(plain.read_bytes()[: plain.stat().st_size // 2])
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n#EXT-X-ENDLIST\n")
    for name, message in {
        "absent.mp4": "file not found",
        "empty.mp4": "empty file",
        "plain.mp4": "cannot be opened",
        "text.mp4": "cannot be opened",
        "list.mp4": "is an HLS playlist",
    }.items():
        with pytest.raises(DataError, match=f"{name}: {message}"):
            probe(tmp_path / name)
    with pytest.raises(DataError, match="stream 3 is no video stream; video streams are \\[0\\]"):
        probe(clip, 3)


@pytest.mark.parametrize("percent", [50, 75, 95])
def test_a_cut_video_gives_what_decodes(tmp_path, percent):
    clip, noise = tmp_path / "clip.mp4", np.random.default_rng(0)
    pictures = [picture(index) for index in range(T)]
    for one in pictures:  # so that pictures, not the index at the front, fill the file
        one[:, : W // 2] = noise.integers(0, 255, (H, W // 2, 3))
    write_video(clip, pictures, 30, (W, H))
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * percent // 100])
    seen, stats = probe(clip), ReadStats()
    frames = list(read_frames(clip, kind="video", stats=stats))
    assert seen.cut and 0 < seen.frames < T
    assert stats.frames == len(frames) and abs(len(frames) - seen.frames) <= 1
    assert [level(image) for _, _, image in frames[:-1]] == list(range(len(frames) - 1))


def test_damage_raises_after_the_frames(tmp_path):
    for index in range(5):
        Image.fromarray(picture(index)).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    came = []
    with pytest.raises(DataError, match=r"3\.png.*3 frames came"):
        came.extend(index for index, _, _ in read_frames(tmp_path, kind="frames"))  # pragma: no branch
    stats = ReadStats()
    assert len(list(read_frames(tmp_path, kind="frames", stats=stats))) == 3 == stats.frames
    assert "3.png" in stats.error


def test_folders_are_read_in_numeric_order(tmp_path):
    for index in (0, 1, 2, 10, 11):
        Image.fromarray(picture(index)).save(tmp_path / f"frame{index}.png")
    seen = probe(tmp_path)
    assert (seen.frames, seen.width, seen.height) == (5, W, H) and np.isnan(seen.fps)
    frames = list(read_frames(tmp_path, kind="frames", fps=10, indices=[1, 3, 4]))
    assert [(index, time, level(image)) for index, time, image in frames] == [(1, 0.1, 1), (3, 0.3, 10), (4, 0.4, 11)]
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(tmp_path / "z.png")
    with pytest.raises(DataError, match="but the first frame has"):
        probe(tmp_path)


def test_images_are_turned_by_exif_and_checked(tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0)).save(path, exif=exif, quality=95)
    seen = probe(path)
    (index, time, image), *more = read_frames(path, kind="image")
    assert (seen.width, seen.height, seen.rotated, seen.frames) == (H, W, True, 1)
    assert (index, time, more) == (0, 0.0, []) and image.shape == (W, H, 3)
    assert image[5, 5, 0] > 200 and image[-5, 5, 0] < 50  # the left half lies on top now
    noise = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
    for name, message in {"cut.jpg": "cut image", "cut.png": "damaged image"}.items():
        Image.fromarray(noise).save(tmp_path / name)
        assert (probe(tmp_path / name).width, probe(tmp_path / name).height) == (W, H)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
        with pytest.raises(DataError, match=message):
            probe(tmp_path / name)
    with pytest.raises(DataError, match="has no frames to read"):
        next(read_frames(path, kind="none"))


@pytest.mark.mirror
@pytest.mark.parametrize("stream", [0, 3])
def test_times_are_those_published(mirror, stream):
    path = mirror / "video" / "nasa-13013" / "nasa_13013.mp4"
    stated = json.loads(Path(f"{path}.stream{stream}.all_frames_info.json").read_text())
    times = np.array([float(frame["pts_time"]) for frame in stated])
    seen = probe(path, stream)
    assert seen.frames == len(times) and seen.has_audio
    np.testing.assert_allclose(seen.times, times, atol=1e-6)
    read = [time for _, time, _ in read_frames(path, kind="video", stream=stream, size=(32, 18))]
    np.testing.assert_allclose(read, times, atol=1e-6)


@pytest.mark.mirror
def test_real_gif_and_default_stream(mirror):
    seen = probe(mirror / "video" / "intel-worker-zone" / "worker-zone-detection.gif")
    assert (seen.frames, seen.width, seen.height) == (71, 480, 270)
    assert probe(mirror / "video" / "nasa-13013" / "nasa_13013.mp4").stream == 3
