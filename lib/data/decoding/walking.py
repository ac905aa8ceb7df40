"""The way through one video to the wanted frames: from the start, or by leaps to key frames, with exact numbers.

Shortcuts (leaps; leaving out frames that no other refers to) are taken only where container and codec allow them, and every
frame that comes is compared with the index. What contradicts it raises NotAsIndexed: the caller then decodes everything and
walks again without shortcuts. Not here: the index (frameindex.py).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np

from lib.data.decoding.frameindex import Beat, FrameIndex, Key
from lib.data.images import resized

_SEEKS = {"mov", "matroska"}  # containers with an index of their key frames
_EXACT = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"}  # key frames stand alone
_SKIPS = {"h264", "hevc", "mpeg4", "mpeg2video"}  # frames to which no other refers are marked
_WORTH = 12  # packets that a leap must save, for the decoder starts anew behind it


class NotAsIndexed(Exception):
    """What the decoder gives contradicts the index that was made from packets alone."""


@dataclass
class Walk:
    """Where a reading stands. pending: numbers still to come, sorted. last: the number that came last, wanted or not."""

    index: FrameIndex
    pending: deque[int]
    shortcuts: bool
    errors: list[str] = field(default_factory=list)
    seeks: bool = False
    skips: bool = False
    fed: int = 0  # packets given to the decoder, as places in decoding order
    last: int = -1
    leapt: bool = False
    landing: Key | None = None  # the key frame that the next packet should be

    def frames(self, container: Any, stream: Any, beat: Beat) -> Iterator[tuple[int, Any]]:
        """(number, frame) of the pending frames."""
        if self.index.counted:
            yield from self._counted(container, stream, beat)
            return
        if self.shortcuts and not self.index.first["interlaced"]:
            codec, ticks = stream.codec_context.name, [key.tick for key in self.index.keys]
            known = container.format.name.split(",")[0] in _SEEKS and codec in _EXACT and ticks == sorted(ticks)
            self.seeks = known
            self.skips = known and codec in _SKIPS and len(self.pending) * 2 <= len(self.index.ticks)
        while self.pending:
            for frame in self._decoded(container, stream, beat):
                number = self._place(frame)
                if number is not None:
                    yield number, frame
                begun = (
                    number is not None or self.last == 0
                )  # the first frame of all is always decoded: it proves the index
                if not self.pending or (begun and self._leap(container, stream)):
                    break
            else:
                break
        if self.pending and self.shortcuts:
            raise NotAsIndexed(f"frame {self.pending[0]} is missing")

    def _counted(self, container: Any, stream: Any, beat: Beat) -> Iterator[tuple[int, Any]]:
        """Frames numbered as they come; the first damage ends them, because all later numbers would shift."""
        for number, frame in enumerate(self._decoded(container, stream, beat)):
            if self.errors or frame.is_corrupt or not self.pending:
                return
            if number == self.pending[0]:
                self.pending.popleft()
                yield number, frame

    def _decoded(self, container: Any, stream: Any, beat: Beat) -> Iterator[Any]:
        """Frames from where the container stands, to the end or to the first damage, which is noted."""
        packets = container.demux(stream)
        needed = {self.index.ticks[number] for number in self.pending} if self.skips else set()
        whole = True
        while whole:
            beat()
            packet, whole = self._packet(packets)
            if not whole and self.index.counted:
                return  # what the decoder holds may belong behind what is lost
            if whole and packet.size:
                self._check_landing(packet)
                if self.skips:
                    leave_out = self.fed > 0 and packet.pts not in needed
                    stream.codec_context.skip_frame = "NONREF" if leave_out else "DEFAULT"
                self.fed += 1
            try:
                yield from stream.decode(packet)
            except EOFError:  # the decoder has been emptied: the end
                return
            except av.error.FFmpegError as error:
                self._note(error)
                if not self.index.counted:
                    yield from self._held(stream)
                return
            if whole and not packet.size:
                return

    def _packet(self, packets: Iterator[Any]) -> tuple[Any, bool]:
        """(the next packet, True); (None, which empties the decoder, False) where packets are lost. The last is empty."""
        try:
            packet = next(packets)
        except av.error.FFmpegError as error:
            self._note(error)
            return None, False
        return (None, False) if packet.size and packet.is_corrupt else (packet, True)

    def _held(self, stream: Any) -> Iterator[Any]:
        """What the decoder still holds from before the damage."""
        try:
            yield from stream.decode(None)
        except av.error.FFmpegError as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        if isinstance(error, MemoryError):
            raise error
        self.errors.append(str(getattr(error, "strerror", error)))
        if self.shortcuts:
            raise NotAsIndexed(self.errors[-1])

    def _check_landing(self, packet: Any) -> None:
        """Behind a leap: the first packet must be the key frame aimed at, or one before it."""
        aimed, self.landing = self.landing, None
        if aimed is None:
            return
        found = next((key for key in self.index.keys if key.tick == packet.pts), None)
        if found is None or not packet.is_keyframe or found.position > aimed.position:
            raise NotAsIndexed("the container's index leads elsewhere")
        self.fed = found.position

    def _place(self, frame: Any) -> int | None:
        """The number of a frame when it is the next wanted one, else None."""
        number = self.index.places.get(frame.pts)
        if frame.is_corrupt or number is None:
            return None
        first = self.index.first
        if (frame.width, frame.height) != (first["width"], first["height"]):
            self.errors.append(f"pictures of {frame.width}x{frame.height} px follow ones of another size")
            raise NotAsIndexed(self.errors[-1])
        if number <= self.last and self.leapt:
            return None  # it precedes the key frame of the leap, and may lack what it refers to
        if number <= self.last or (number > self.last + 1 and (self.last < 0 or not self.skips)):
            raise NotAsIndexed(f"frame {number} follows frame {self.last}")
        self.last = number
        if number > self.pending[0]:
            raise NotAsIndexed(f"frame {self.pending[0]} is missing")
        return self.pending.popleft() if number == self.pending[0] else None

    def _leap(self, container: Any, stream: Any) -> bool:
        """Go to the key frame of the next pending frame when that saves decoding."""
        if not self.seeks or not self.pending:
            return False
        keys, ticks = self.index.keys, self.index.ticks
        at = bisect_right(keys, ticks[self.pending[0]], key=lambda key: key.tick)
        if not at or keys[at - 1].position - self.fed < _WORTH:
            return False
        aim = keys[at - 1]
        container.seek(aim.sought, stream=stream, backward=True)
        self.landing, self.leapt = aim, True
        self.last = bisect_left(ticks, aim.tick) - 1
        return True


def turned_rgb(frame: Any, size: tuple[int, int] | None, *, fit: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """A frame as people see it, and how large it is.

    Returns (h, w, 3) uint8 RGB, resized to `size` (width, height) px and turned as the file says, perhaps a view of
    FFmpeg's memory; and (height, width) px of the whole frame, turned.

    Converted whole and then resized as images are (lib/data/images.py): FFmpeg's way to do both in one pass takes twice as
    long and keeps less of the colours.
    """
    turns = round(frame.rotation / 90) % 4
    plane = frame.reformat(format="rgb24", threads=1).planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width * 3]
    picture = rows.reshape(frame.height, frame.width, 3)
    if fit and turns:  # as a detector would scale it: the frame that people see
        picture = np.ascontiguousarray(np.rot90(picture, turns))
        return resized(picture, size, fit=True), picture.shape[:2]
    picture = resized(picture, size[::-1] if size and turns % 2 else size, fit=fit)
    shape = (frame.height, frame.width)
    return np.rot90(picture, turns) if turns else picture, shape[::-1] if turns % 2 else shape
