"""Which frame is which: numbers, times and key frames of a video from its packets. Not here: opening files (containers.py),
pictures (reading.py).

A frame's number is its place among the presentation times of the packets, counted from 0 at the first that can be decoded.
Where packets have no usable times, and where a packet is not a frame (fields, hidden frames), frames are numbered as the
decoder gives them (`counted`). Numbers never shift behind damage: a frame that does not decode ends the video.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np

from lib.config.limits import Limits
from lib.data.decoding.containers import TooMuchMemory, check_size, ends_inside, open_video, video_stream
from lib.files import DataError

_TIMELESS = {"avi", "h264", "hevc", "m4v"}  # formats that store no presentation times: index / stated rate instead
Beat = Callable[[], None]
"""Called for every packet, so that whoever waits knows that decoding goes on."""


@dataclass(frozen=True)
class Key:
    """A key frame: its place in decoding order, its presentation time, and the time that its container finds it by."""

    position: int
    tick: int
    sought: int


@dataclass
class FrameIndex:
    """All frames of one video stream. ticks: presentation times (time base), sorted; times: (T,) float64, s from the first.

    counted: ticks say nothing, frames are numbered as they come. damage: why frames behind the last are lost ("" = none
    is known to be). stated: frames that the file itself claims to hold, 0 = it does not say. last_s: duration of the last
    frame; tick_s: one step of the time base, both in s. packets: those that came. first: what the first picture is like.
    """

    ticks: list[int]
    times: np.ndarray
    fps: float
    counted: bool
    keys: list[Key]
    stated: int = 0
    damage: str = ""
    last_s: float = 0.0
    tick_s: float = 0.0
    packets: int = 0
    first: dict[str, int] = field(default_factory=dict)

    @cached_property
    def places(self) -> dict[int, int]:
        """Presentation time -> frame number."""
        return {tick: place for place, tick in enumerate(self.ticks)}


@dataclass
class _Seen:
    """What one pass over a stream brings: packets, and frames where they were decoded."""

    ticks: list[int | None] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    packets: int = 0
    last_s: float = 0.0
    first: Any = None
    came: list[int | None] = field(default_factory=list)  # of the decoded frames, in the order in which they came
    clean: int = 0  # how many of them came before anything was lost
    errors: list[str] = field(default_factory=list)
    torn: str = ""  # why packets are lost, at the end or inside
    decoding: int | None = None  # decoding time of the last packet
    before: int | None = None  # and of the one before it
    safe: int | None = None  # the same of the last one before packets were lost

    def tear(self, cause: str) -> None:
        """Packets are lost from here on; the first loss counts."""
        if not self.torn:
            self.torn, self.safe = cause, self.decoding

    def fail(self, cause: str) -> None:
        """The packet just noted does not decode, so what is decoded behind it cannot be trusted either."""
        self.errors.append(cause)
        if not self.torn:
            self.torn, self.safe = cause, self.before


def survey(
    path: Path, stream: int | None, *, everything: bool, limits: Limits, beat: Beat
) -> tuple[FrameIndex, dict[str, Any]]:
    """(index, facts for Probe) of one pass over a file; everything: decode each frame, which finds damage inside.

    That is done one frame after the other: threads that decode several at once blur where damage begins. Many files are
    looked at in parallel anyway.

    DataError: what `open_video` refuses, more than `limits.max_frames`, or nothing that decodes.
    """
    with open_video(path, limits) as container:
        chosen = video_stream(container, path, stream, limits, careful=everything)
        try:
            seen = _pass(container, chosen, path, everything, limits, beat)
        except MemoryError as error:
            raise TooMuchMemory(path, limits) from error
        if ends_inside(path, container.format.name.split(",")[0]):
            seen.tear("it ends in the middle")
        if seen.first is None or not seen.ticks:
            cause = f" ({seen.errors[0]})" if seen.errors else ""
            raise DataError(
                f"{path}: no frame of stream {chosen.index} decodes{cause}. Hint: is the file whole? Fetch it again, or "
                "leave it out."
            )
        index = _index(seen, chosen, container.format.name, everything)
        facts = {"stream": chosen.index, "codec": chosen.codec_context.name, "has_audio": bool(container.streams.audio)}
    if not len(index.times):
        raise DataError(f"{path}: its first frame is damaged ({index.damage}). Hint: fetch it again, or leave it out.")
    return index, facts


def _pass(container: Any, stream: Any, path: Path, everything: bool, limits: Limits, beat: Beat) -> _Seen:
    seen, packets = _Seen(), container.demux(stream)
    while True:
        beat()
        lost = ""
        try:
            packet = next(packets)
            lost = "a packet is cut" if packet.size and packet.is_corrupt else ""
        except StopIteration:
            return seen
        except av.error.FFmpegError as error:  # the demuxer gives nothing after it
            lost = str(error.strerror)
        if lost:
            if not seen.torn:
                seen.tear(lost)
                _decode(stream, None, path, seen, limits)  # what the decoder holds from before
            continue
        if packet.size:
            _note(packet, stream, seen)
        if len(seen.ticks) > limits.max_frames:
            raise DataError(
                f"{path}: holds more than limits.max_frames = {limits.max_frames} frames. Hint: raise `limits: max_frames` "
                "if it really is so long."
            )
        if (everything and not seen.torn) or seen.first is None:
            _decode(stream, packet, path, seen, limits)
            if seen.errors and everything:
                _decode(stream, None, path, seen, limits)


def _note(packet: Any, stream: Any, seen: _Seen) -> None:
    if packet.is_keyframe and packet.pts is not None:
        seen.keys.append(Key(seen.packets, packet.pts, packet.pts if packet.dts is None else packet.dts))
    if not packet.is_discard and (packet.is_keyframe or seen.keys or packet.pts is None):
        seen.ticks.append(packet.pts)  # what an edit list hides, and what precedes the first key frame, is no frame
        seen.last_s = float((packet.duration or 0) * stream.time_base)
    seen.packets += 1
    seen.before = seen.decoding
    seen.decoding = seen.decoding if packet.dts is None else packet.dts


def _decode(stream: Any, packet: Any, path: Path, seen: _Seen, limits: Limits) -> None:
    try:
        for frame in stream.decode(packet):
            if seen.first is None:
                check_size(path, frame.width, frame.height, limits)
                seen.first = frame
            elif (frame.width, frame.height) != (seen.first.width, seen.first.height):
                seen.fail(f"pictures of {frame.width}x{frame.height} px follow ones of another size")
                continue
            if frame.is_corrupt:
                seen.fail("a frame is damaged")
                continue
            seen.came.append(frame.pts)
            seen.clean += not seen.torn
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        if isinstance(error, EOFError):  # emptied before
            return
        seen.fail(str(error.strerror))


def _index(seen: _Seen, stream: Any, container: str, everything: bool) -> FrameIndex:
    """The index of what was seen; with every frame decoded, cut before the first one that did not come."""
    rate, base = stated_rate(stream), Fraction(stream.time_base)
    stated = stream.frames or _stated_by_tag(stream, seen, rate)
    start = seen.keys[0].tick if seen.keys else None
    known = [tick for tick in seen.ticks if tick is not None and (start is None or tick >= start)]
    usable = len(set(known)) == len(known) and None not in seen.ticks and container not in _TIMELESS
    ticks, damage = _complete(sorted(known), seen) if usable else [], seen.torn
    count = len(seen.ticks)
    if everything and usable and ticks:
        ticks, usable, found = _judged(ticks, seen, bool(seen.first.interlaced_frame))
        damage = found or damage
    if everything and not usable:
        count = seen.clean
        damage = damage or (seen.errors[0] if seen.errors else "")
    times, fps = times_of(ticks, base, rate) if usable else (np.arange(count) / rate, rate)
    turned = round(seen.first.rotation / 90) % 4
    first = {"width": seen.first.width, "height": seen.first.height, "turns": turned}
    first["interlaced"] = int(seen.first.interlaced_frame)
    return FrameIndex(
        ticks=ticks if usable else [],
        times=times,
        fps=fps,
        counted=not usable,
        keys=seen.keys,
        stated=stated,
        damage=damage,
        last_s=seen.last_s,
        tick_s=float(base),
        packets=seen.packets,
        first=first,
    )


def _judged(ticks: list[int], seen: _Seen, interlaced: bool) -> tuple[list[int], bool, str]:
    """(ticks of the frames that decode, whether ticks number them, damage) from what came out of the decoder."""
    place = {tick: number for number, tick in enumerate(ticks)}
    came = [place[tick] for tick in seen.came if tick in place]
    whole = not seen.errors and not seen.torn
    if whole and (came != sorted(came) or (interlaced and len(came) < len(ticks))):
        return ticks, False, ""  # fields, or times that contradict the order of the pictures
    if not came:
        return [], True, seen.errors[0] if seen.errors else "no frame decodes"
    present, head = set(came), min(came)
    end = next((number for number in range(head, len(ticks)) if number not in present), len(ticks))
    if end == len(ticks):
        return ticks[head:], True, ""
    cause = seen.errors[0] if seen.errors else seen.torn or "it is missing"
    return ticks[head:end], True, f"frame {end - head} does not decode ({cause})"


def _complete(ticks: list[int], seen: _Seen) -> list[int]:
    """Presentation times that no lost packet can precede: none is shown before it is decoded. Else numbers would shift."""
    if not seen.torn:
        return ticks
    return [tick for tick in ticks if seen.safe is not None and tick <= seen.safe] or ticks[:1]


def _stated_by_tag(stream: Any, seen: _Seen, rate: float) -> int:
    """Frames by the duration that Matroska notes per stream, 0 = not noted; a last frame's own duration is uncertain."""
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return 0
    last = max((tick for tick in seen.ticks if tick is not None), default=0)
    lost = round((hours * 3600 + minutes * 60 + seconds - float(last * stream.time_base)) * rate) - 1
    return seen.packets + lost if lost > 1 and seen.last_s < lost / rate else seen.packets


def stated_rate(stream: Any) -> float:
    """The frame rate that the header states, in frames/s; 25 where it states none."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def times_of(ticks: Sequence[int], time_base: Fraction, rate: float) -> tuple[np.ndarray, float]:
    """((T,) times in s from the first frame, frames/s) of sorted presentation times.

    The stated rate is kept where the times agree with it (containers in ms would give 29.976 for 29.97).
    """
    times = np.asarray([tick - ticks[0] for tick in ticks]) * float(time_base)
    if len(ticks) < 2:
        return times, rate
    measured = float((len(ticks) - 1) / ((ticks[-1] - ticks[0]) * time_base))
    return times, rate if abs(rate - measured) <= 0.005 * measured else measured
