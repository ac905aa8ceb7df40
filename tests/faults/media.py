"""A seeded corpus of hostile and odd media, made by code, and the count of what becomes of each. Not here: names, links.

python -m tests.faults.media [FOLDER]     make the corpus, look at and read every file, print a table of the outcomes

Pictures carry their number as bars, so that every frame can be told from every other. Outcomes: `right` = each frame has
the right number and looks as the undamaged file decodes, and missing ones are reported; `refused` = a DataError that names
the file and gives a hint; `altered` = flipped bits left valid code: every strict decoder gives these same frames without an
error, and only a checksum of the file can tell; `wrong` = a frame under another's number, or any other exception; `lost` =
frames or a sound file gone without a word.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import tempfile
import wave
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from lib.data.video import ReadStats, probe, read_frames
from lib.files import DataError

T, W, H, BITS = 48, 128, 96, 8
OUTCOMES = ("right", "refused", "altered", "wrong", "lost")


@dataclass(frozen=True)
class Case:
    """One file. numbers: bars that its frames carry, in order; None = it must be refused. kind as in a manifest.

    partial: fewer frames may come, but then it must be said. damaged: pixels may differ unseen (outcome `altered`).
    whole: the undamaged file; without one, this file itself as PyAV decodes it from start to end.
    """

    group: str
    path: Path
    numbers: list[int] | None
    kind: str = "video"
    partial: bool = False
    damaged: bool = False
    stream: int | None = None
    whole: Path | None = None


def picture(number: int, width: int = W, height: int = H) -> np.ndarray:
    """(H, W, 3) uint8: above, the bits of the number as bars; below, a texture that moves."""
    rows = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        rows[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = 235 if number >> bit & 1 else 20
    texture = np.random.default_rng(7).integers(40, 215, (height - height // 2, width, 3), dtype=np.uint8)
    rows[height // 2 :] = np.roll(texture, 3 * number, axis=1)
    return rows


def number_of(image: np.ndarray) -> int:
    """The number that the bars of a picture say."""
    height, width = image.shape[:2]
    bars = [image[height // 8 : height // 3, (2 * bit + 1) * width // (2 * BITS)].mean() > 128 for bit in range(BITS)]
    return sum(1 << bit for bit, on in enumerate(bars) if on)


def encode(path: Path, **how: Any) -> Path:
    """Write the numbered pictures as a video; how: numbers, codec, rate, size, pixels, options, ticks (ms), format …"""
    width, height = how.get("size", (W, H))
    with av.open(str(path), "w", format=how.get("format"), options=how.get("container", {})) as container:
        streams = [_stream(container, width, height, how) for _ in range(how.get("streams", 1))]
        for place, number in enumerate(how.get("numbers", range(T))):
            for offset, stream in enumerate(streams):
                image = picture((number + 100 * offset) % 2**BITS, width, height)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                if "ticks" in how:
                    frame.pts, frame.time_base = how["ticks"][place], Fraction(1, 1000)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def _stream(container: Any, width: int, height: int, how: dict[str, Any]) -> Any:
    stream = container.add_stream(how.get("codec", "libx264"), rate=how.get("rate", Fraction(25)))
    stream.width, stream.height, stream.pix_fmt = width, height, how.get("pixels", "yuv420p")
    stream.options = {"g": "12", "crf": "18"} | how.get("options", {}) if "264" in how.get("codec", "libx264") else {}
    if "rotation" in how:
        stream.set_display_rotation(how["rotation"])
    if "ticks" in how:
        stream.codec_context.time_base = Fraction(1, 1000)
    return stream


# ---------------------------------------------------------------- groups of cases


def cut(folder: Path) -> Iterator[Case]:
    """Every second percent, in four containers; the index of `.mp4` lies in front, that of `plain.mp4` behind."""
    front = {"movflags": "+faststart"}
    makes = {"front.mp4": {"container": front}, "plain.mp4": {}, "a.mkv": {}, "a.ts": {}, "a.avi": {"codec": "mpeg4"}}
    for name, how in makes.items():
        sound = encode(folder / f"whole-{name}", **how)
        whole = sound.read_bytes()
        for percent in range(1, 100, 2):
            path = folder / f"cut{percent:02d}-{name}"
            path.write_bytes(whole[: len(whole) * percent // 100])
            yield Case(f"cut at 1 to 99 %, {name}", path, list(range(T)), partial=True, whole=sound)


def flipped(folder: Path) -> Iterator[Case]:
    rng = random.Random(0)
    for name in ("a.mp4", "a.mkv", "a.ts"):
        sound = encode(folder / f"whole-flip-{name}")
        whole = sound.read_bytes()
        for trial in range(30):
            data = bytearray(whole)
            for _ in range(rng.choice((1, 4, 30))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path = folder / f"flip{trial:02d}-{name}"
            path.write_bytes(data)
            yield Case("flipped bits", path, list(range(T)), partial=True, damaged=True, whole=sound)
            holed = bytearray(whole)
            start = rng.randrange(len(whole) // 3, len(whole) - 600)
            holed[start : start + 512] = bytes(512)
            path = folder / f"hole{trial:02d}-{name}"
            path.write_bytes(holed)
            yield Case("a hole of 512 zero bytes", path, list(range(T)), partial=True, damaged=True, whole=sound)


def odd(folder: Path) -> Iterator[Case]:
    """Unusual but sound: every frame must come, under its number."""
    makes: dict[str, dict[str, Any]] = {
        "one-frame.mp4": {"numbers": [5]},
        "two-frames.mkv": {"numbers": [5, 6]},
        "slow.mp4": {"rate": Fraction(1, 7)},
        "ntsc.mp4": {"rate": Fraction(30000, 1001)},
        "fast.mp4": {"rate": Fraction(1000)},
        "fast-duplicate-times.mkv": {"rate": Fraction(2500)},
        "variable.mkv": {"ticks": [number * 90 + (number % 7) * 11 for number in range(T)]},
        "gaps.mp4": {"ticks": [number * 40 + 9000 * (number > 20) for number in range(T)]},
        "late-start.mkv": {"ticks": [70_000 + number * 40 for number in range(T)]},
        "negative-times.mkv": {"ticks": [-500 + number * 40 for number in range(T)]},
        "odd-size.mkv": {"size": (131, 97), "pixels": "yuv444p"},
        "ten-bit.mp4": {"pixels": "yuv420p10le"},
        "ten-bit-hevc.mkv": {"codec": "libx265", "pixels": "yuv420p10le"},
        "grey.mp4": {"pixels": "gray"},
        "open-gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3"}},
        "b-pyramid.mp4": {"options": {"bf": "5", "x264-params": "b-pyramid=normal"}},
        "intra-refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=12"}},
        "interlaced.mp4": {"options": {"x264-params": "interlaced=1"}},
        "huge-gop.mp4": {"numbers": range(250), "options": {"g": "9999", "sc_threshold": "0"}},
        "all-key.mp4": {"options": {"g": "1"}},
        "vp9.webm": {"codec": "libvpx-vp9"},
        "mpeg2.mpg": {"codec": "mpeg2video"},
        "mpeg2.ts": {"codec": "mpeg2video"},
        "packed.avi": {"codec": "mpeg4"},
        "motion.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
        "h264.flv": {},
        "no-times.avi": {},
        "fragmented.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}},
        "really-matroska.mp4": {"format": "matroska"},
        "really-mp4.avi": {"format": "mp4"},
        "really-ts.mov": {"format": "mpegts"},
        "raw-stream.mp4": {"format": "h264"},
    }
    for name, how in makes.items():
        encode(folder / name, **how)
        yield Case("odd but sound", folder / name, list(how.get("numbers", range(T))))
    two = encode(folder / "two-streams.mkv", streams=2, numbers=range(20))
    yield Case("two video streams", two, list(range(20)), stream=0)
    yield Case("two video streams", two, [number + 100 for number in range(20)], stream=1)
    yield from _animations(folder)


def _animations(folder: Path) -> Iterator[Case]:
    shots = [Image.fromarray(picture(number)) for number in range(12)]
    shots[0].save(folder / "moving.gif", save_all=True, append_images=shots[1:], duration=40)
    yield Case("animations", folder / "moving.gif", list(range(12)))
    shots[3].save(folder / "still.gif")
    yield Case("animations", folder / "still.gif", [3])
    for name in ("moving.webp", "moving.png", "pages.tiff"):
        shots[0].save(folder / name, save_all=True, append_images=shots[1:])
        yield Case("animations", folder / name, None, kind="image")


def not_videos(folder: Path) -> Iterator[Case]:
    """What must be refused: nothing, sound alone, other content, playlists, pipes and devices."""
    (folder / "zero.mp4").touch()
    with av.open(str(folder / "no-frames.mkv"), "w") as container:
        _stream(container, W, H, {})
        container.start_encoding()
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    (folder / "sound.wav").rename(folder / "sound-only.mp4")
    (folder / "text.mp4").write_text("not a video")
    (folder / "page.mp4").write_text("<!DOCTYPE html><html><body>log in</body></html>")
    Image.fromarray(picture(1)).save(folder / "photo.jpg")
    (folder / "photo.jpg").rename(folder / "photo.mp4")
    (folder / "archive.mp4").write_bytes(b"PK\x03\x04" + bytes(200))
    (folder / "noise.mp4").write_bytes(random.Random(3).randbytes(5000))
    encode(folder / "clip-as.mkv").rename(folder / "clip-as.jpg")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "nowhere.mp4").symlink_to("absent.mp4")
    (folder / "circle.mp4").symlink_to("circle.mp4")
    (folder / "folder.mp4").mkdir()
    names = ["zero", "no-frames.mkv", "sound-only", "text", "page", "photo", "archive", "noise", "clip-as.jpg"]
    names += ["pipe", "device", "nowhere", "circle", "folder"]
    for name in names:
        path = folder / (name if "." in name else f"{name}.mp4")
        yield Case("no video at all", path, None, kind="image" if path.suffix == ".jpg" else "video")


def playlists(folder: Path, canary: Path | None = None, address: str = "127.0.0.1:9") -> Iterator[Case]:
    """Lists that name another file or an address; `canary` is a video that would play if it were opened."""
    canary = canary or encode(folder / "canary.ts")
    web = f"http://{address}/x.ts"
    host, port = address.split(":")
    texts = {
        "hls-file": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{canary}\n#EXT-X-ENDLIST\n",
        "hls-relative": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{canary.name}\n#EXT-X-ENDLIST\n",
        "hls-web": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{web}\n#EXT-X-ENDLIST\n",
        "hls-key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{web}"\n#EXTINF:9,\n{canary}\n#EXT-X-ENDLIST\n',
        "hls-padded": f"\ufeff\n#EXTM3U\n#EXTINF:9,\nfile://{canary}\n",
        "concat": f"ffconcat version 1.0\nfile '{canary}'\n",
        "concat-web": f"ffconcat version 1.0\nfile '{web}'\n",
        "concat-bare": f"file '{canary}'\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 {host}\nm=video {port} RTP/AVP 96\n",
        "dash": f"<?xml version='1.0'?><MPD><Period><BaseURL>{web}</BaseURL></Period></MPD>",
        "dash-bare": f"<MPD><Period><BaseURL>{canary}</BaseURL></Period></MPD>",
        "pls": f"[playlist]\nFile1={web}\n",
        "rtsp": f"RTSPtext\nrtsp://{address}/x\n",
        "subfile": f"subfile,,start,0,end,0,,:{canary}\n",
        "concat-protocol": f"concat:{canary}|{canary}\n",
    }
    for name, text in texts.items():
        for suffix in (".mp4", ".ts"):
            path = folder / f"list-{name}{suffix}"
            path.write_text(text, encoding="utf-8")
            yield Case("playlists", path, None)
    reference = bytearray(encode(folder / "reference.mp4").read_bytes())
    at = reference.index(b"url \x00\x00\x00\x01")  # flag 1: the samples are in this file; 0: in the file of that address
    reference[at + 7] = 0
    path = folder / "list-dref.mp4"
    path.write_bytes(reference)
    yield Case("playlists", path, list(range(T)), partial=True)


def absurd(folder: Path) -> Iterator[Case]:
    """Sizes that nobody can hold, in headers that are cheap to write."""
    for side in (30_000, 65_535, 100_000, 2_147_483_647):
        head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        path = folder / f"bomb{side}.png"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(bytes(99))) + _chunk(b"IEND", b"")
        )
        yield Case("absurd sizes", path, None, kind="image")
        data = encode(folder / f"size{side}.avi", codec="mjpeg", pixels="yuvj420p").read_bytes()
        place = data.index(b"strf") + 12
        path = folder / f"size{side}.avi"
        path.write_bytes(data[:place] + struct.pack("<ii", side, side) + data[place + 8 :])
        yield Case("absurd sizes", path, list(range(T)))  # only the container lies; the pictures state their own size
        data = encode(folder / f"raw{side}.avi", codec="rawvideo", pixels="bgr24", numbers=range(3)).read_bytes()
        place = data.index(b"strf") + 12
        path = folder / f"raw{side}.avi"
        path.write_bytes(data[:place] + struct.pack("<ii", side, side) + data[place + 8 :])
        yield Case("absurd sizes", path, None)
    head = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    (folder / "bomb.gif").write_bytes(head + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02L\x01\x00;")
    yield Case("absurd sizes", folder / "bomb.gif", None)
    bmp = (
        b"BM" + struct.pack("<IHHI", 80, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    (folder / "bomb.bmp").write_bytes(bmp + bytes(30))
    yield Case("absurd sizes", folder / "bomb.bmp", None, kind="image")
    big, small = encode(folder / "b.ts", size=(256, 192)).read_bytes(), encode(folder / "s.ts").read_bytes()
    (folder / "size-change.ts").write_bytes(small + big)
    yield Case("absurd sizes", folder / "size-change.ts", list(range(T)), partial=True)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def timestamps(folder: Path) -> Iterator[Case]:
    """Presentation times overwritten in the file: repeated, out of order, absent, far apart."""
    whole = encode(folder / "times.mp4", options={"bf": "0"}).read_bytes()
    at = whole.index(b"stts") + 8
    assert struct.unpack(">I", whole[at : at + 4]) == (1,), "one run of equal durations"
    for name, delta in {"zero": 0, "huge": 2**31 - 1, "odd": 513, "all-ones": 2**32 - 1}.items():
        path = folder / f"times-{name}.mp4"
        path.write_bytes(whole[: at + 8] + struct.pack(">I", delta) + whole[at + 12 :])
        yield Case("timestamps", path, list(range(T)), partial=True)
    ordered = encode(folder / "composed.mp4").read_bytes()
    at = ordered.index(b"ctts") + 12
    count = struct.unpack(">I", ordered[at - 4 : at])[0]
    rng = random.Random(5)
    for trial in range(8):
        data = bytearray(ordered)
        for entry in rng.sample(range(count), min(count, 5)):
            data[at + 8 * entry + 4 : at + 8 * entry + 8] = struct.pack(">I", rng.randrange(0, 20) * 512)
        path = folder / f"times-composed{trial}.mp4"
        path.write_bytes(data)
        yield Case("timestamps", path, list(range(T)), partial=True)


def images(folder: Path) -> Iterator[Case]:
    """JPEGs cut and damaged inside, PNGs with wrong bytes, a folder of frames with one of them broken."""
    noisy = np.random.default_rng(0).normal(0, 30, (240, 320, 3)).cumsum(1) % 255
    Image.fromarray(noisy.astype(np.uint8)).save(folder / "noisy.jpg", quality=90)
    whole, rng = (folder / "noisy.jpg").read_bytes(), random.Random(2)
    start = whole.index(b"\xff\xda") + 14
    for trial in range(40):
        data = bytearray(whole)
        at = rng.randrange(start, len(data) - 200)
        data[at : at + 64] = (bytes(64), rng.randbytes(64))[trial % 2]
        (folder / f"holed{trial:02d}.jpg").write_bytes(data)
        yield Case("JPEG damaged inside", folder / f"holed{trial:02d}.jpg", None, kind="image")
    for trial in range(20):
        at = rng.randrange(start, len(whole))
        (folder / f"cut{trial:02d}.jpg").write_bytes(whole[:at])
        yield Case("images cut", folder / f"cut{trial:02d}.jpg", None, kind="image")
    Image.fromarray(picture(9)).save(folder / "sound.png")
    yield Case("images cut", folder / "sound.png", [9], kind="image")
    plain = (folder / "sound.png").read_bytes()
    for trial in range(20):
        data = bytearray(plain)
        data[rng.randrange(60, len(plain) - 30)] ^= 255
        (folder / f"flip{trial:02d}.png").write_bytes(data)
        yield Case("images cut", folder / f"flip{trial:02d}.png", None, kind="image")
    frames = folder / "frames"
    frames.mkdir()
    for number in range(6):
        Image.fromarray(picture(number)).save(frames / f"{number:06d}.jpg", quality=95)
    yield Case("folders of frames", frames, list(range(6)), kind="frames")
    for name, spoil in {"cut": lambda data: data[:700], "empty": lambda data: b"", "text": lambda data: b"no"}.items():
        spoilt = folder / f"frames-{name}"
        spoilt.mkdir()
        for file in frames.iterdir():
            data = file.read_bytes()
            (spoilt / file.name).write_bytes(spoil(data) if file.stem.endswith("3") else data)
        yield Case("folders of frames", spoilt, None, kind="frames")


GROUPS: tuple[Callable[[Path], Iterator[Case]], ...] = (
    cut, flipped, odd, not_videos, playlists, absurd, timestamps, images,
)  # fmt: skip


# ---------------------------------------------------------------- judging


def judge(case: Case) -> tuple[str, str]:
    """(outcome, what was said or seen) of looking at a file as ingest does and reading all that it is found to hold."""
    try:
        seen = probe(case.path, case.stream, check=True)
        stats = ReadStats()
        frames = [
            (index, image)
            for index, _, image in read_frames(
                case.path, kind=case.kind, stream=case.stream, frames=seen.frames, fps=10, stats=stats
            )
        ]
    except DataError as refusal:
        return _judge_refusal(case, str(refusal))
    except Exception as error:  # any other exception is what is looked for
        return "wrong", f"{type(error).__name__}: {error}"
    if case.numbers is None:
        return "wrong", f"{len(frames)} frames of what must be refused"
    indices = [index for index, _ in frames]
    if indices != list(range(seen.frames)) or stats.error:
        return "wrong", f"{seen.frames} frames promised, {len(indices)} came ({stats.error})"
    if case.kind != "video":
        numbers = [number_of(image) for _, image in frames]
        return ("right", f"{len(frames)} frames") if numbers == case.numbers else ("wrong", f"{numbers}")
    return _judge_pictures(case, [image for _, image in frames], seen.cut)


def _judge_refusal(case: Case, text: str) -> tuple[str, str]:
    if str(case.path) not in text or "Hint:" not in text:
        return "wrong", f"refused without name or hint: {text}"
    return ("refused" if case.numbers is None or case.partial else "lost"), text


def _judge_pictures(case: Case, frames: list[np.ndarray], said: bool) -> tuple[str, str]:
    """By comparison with what PyAV makes of the undamaged file, or of this one, when asked for nothing but all frames."""
    sound, _ = plainly(case.whole or case.path, case.stream)
    if case.whole is None and not case.partial and [number_of(image) for image in sound] != case.numbers:
        return "wrong", "the corpus itself is not what it should be"
    same = [np.array_equal(ours, theirs) for ours, theirs in zip(frames, sound, strict=False)]
    if len(frames) <= len(sound) and all(same):
        if len(frames) < len(sound) and not said:
            return _unseen(case, frames) or ("lost", f"{len(frames)} of {len(sound)} frames, and nothing is said")
        return "right", f"{len(frames)} of {len(sound)} frames{', cut said' if said else ''}"
    return _unseen(case, frames) or ("wrong", f"frame {same.index(False) if False in same else len(sound)} is another one")


def _unseen(case: Case, frames: list[np.ndarray]) -> tuple[str, str] | None:
    """`altered` when PyAV finds no error in the damaged file, or gives these very frames of it."""
    if not case.damaged:
        return None
    theirs, errors = plainly(case.path, case.stream)
    same = len(theirs) >= len(frames) and all(
        np.array_equal(one, other) for one, other in zip(frames, theirs, strict=False)
    )
    if same or (not errors and len(theirs) == len(frames)):
        return "altered", f"{len(frames)} frames of a file without a detectable error"
    return None


def plainly(path: Path, stream: int | None) -> tuple[list[np.ndarray], int]:
    """((H, W, 3) uint8 RGB of all frames in order, errors): PyAV's own loop, strict, one thread."""
    frames, errors = [], 0
    with av.open(str(path)) as container:
        chosen = container.streams[stream] if stream is not None else container.streams.video[0]
        chosen.thread_type = "NONE"
        chosen.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        packets = container.demux(chosen)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return frames, errors
            except av.error.FFmpegError:
                return frames, errors + 1
            try:
                frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
            except av.error.FFmpegError:
                errors += 1


def tally(folder: Path) -> tuple[dict[str, Counter[str]], list[tuple[Case, str, str]]]:
    """Make every group in a folder of its own and judge each case: (counts by group, all verdicts)."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    verdicts = []
    for group in GROUPS:
        place = folder / group.__name__
        place.mkdir(parents=True)
        for case in list(group(place)):
            outcome, text = judge(case)
            counts[case.group][outcome] += 1
            verdicts.append((case, outcome, text))
    return dict(counts), verdicts


def table(counts: dict[str, Counter[str]]) -> str:
    """The outcomes as a markdown table with a line of sums."""
    lines = [f"| media | tried | {' | '.join(OUTCOMES)} |", "|---|" + "---|" * (len(OUTCOMES) + 1)]
    total: Counter[str] = Counter()
    for group, found in [*counts.items(), ("**all**", total)]:
        lines.append(f"| {group} | {found.total()} | {' | '.join(str(found[key]) for key in OUTCOMES)} |")
        total += found
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        counts, verdicts = tally(Path(sys.argv[1] if len(sys.argv) > 1 else temporary) / "corpus")
    print(table(counts))
    for case, outcome, text in verdicts:
        if outcome in ("wrong", "lost"):
            print(f"{outcome}: {case.path.name}: {text}", file=sys.stderr)
    sys.exit(any(found["wrong"] or found["lost"] for found in counts.values()))


if __name__ == "__main__":
    main()
