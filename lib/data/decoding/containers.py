"""Opening a video so that nothing else can be opened by it: known containers by content, local files only, sane sizes.

Not here: which frame is which (frameindex.py), pictures (reading.py).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import av

from lib.config.limits import Limits
from lib.data.decoding.kinds import check_regular
from lib.files import DataError

_OPEN_ONLY = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,flv,asf,ogg,m4v,h264,hevc,wav,mp3",
}
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}  # damage is an error, never a concealed picture
_PLAYLISTS = {
    b"#EXTM3U": "an HLS playlist",
    b"ffconcat": "a concat script",
    b"v=0": "an SDP description",
    b"<?xml": "an XML text such as a DASH manifest",
    b"<MPD": "a DASH manifest",
    b"[playlist]": "a PLS playlist",
    b"RTSPtext": "a QuickTime stream link",
}
_LARGEST_TEXT = 65536


def open_video(path: Path, limits: Limits) -> Any:
    """An open `av` container. DataError: no regular file, a playlist, no known container, or cut before its index."""
    check_regular(path)
    what = _playlist(path)
    if what:
        raise DataError(
            f"{path}: is {what}, not a video; it could name other files and addresses, so it is not opened. "
            "Hint: fetch the video itself."
        )
    try:
        return av.open(str(path.absolute()), options=dict(_OPEN_ONLY))
    except MemoryError as error:
        raise TooMuchMemory(path, limits) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be opened as a video ({_short(error)}){_really(path)}. Hint: is it whole? A file that was cut "
            "before its index cannot be read."
        ) from error


def video_stream(container: Any, path: Path, wanted: int | None, limits: Limits, *, careful: bool = False) -> Any:
    """The video stream to read: `wanted` (None or below 0 = the one that players choose), set to report damage.

    careful: one frame after the other. Threads that decode several at once swallow sound frames beside a damaged one.
    """
    still = av.stream.Disposition.attached_pic
    videos = {found.index: found for found in container.streams.video if not found.disposition & still}
    if not videos:
        kinds = ", ".join(found.type for found in container.streams) or "none"
        raise DataError(f"{path}: holds no video stream (streams: {kinds}). Hint: leave it out; sound alone has no frames.")
    best = container.streams.best("video")
    default = best.index if best is not None and best.index in videos else min(videos)
    index = default if wanted is None or wanted < 0 else wanted
    if index not in videos:
        raise DataError(
            f"{path}: stream {index} is no video stream; video streams are {sorted(videos)}. Hint: set `stream`."
        )
    chosen = videos[index]
    if chosen.codec_context is None:
        raise DataError(
            f"{path}: stream {index} has a codec that this build of FFmpeg does not decode. Hint: encode it as H.264."
        )
    check_size(path, chosen.codec_context.width, chosen.codec_context.height, limits)
    chosen.thread_type = "NONE" if careful else "AUTO"
    chosen.codec_context.options = _STRICT | {"max_pixels": str(limits.max_pixels)}
    return chosen


def check_size(path: Path, width: int, height: int, limits: Limits) -> None:
    """Raise DataError for a picture of more px than `limits.max_pixels`."""
    if width * height > limits.max_pixels:
        raise DataError(
            f"{path}: declares pictures of {width}x{height} px; limits.max_pixels allows {limits.max_pixels}. "
            "Hint: is the file damaged? Raise `limits: max_pixels` only for pictures that really are so large."
        )


class TooMuchMemory(DataError):
    """Decoding a file hits the limit of memory. Its process is not to be used again: what is left may be too little."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(
            f"{path}: decoding needs more memory than limits.memory_mb = {limits.memory_mb} allows. "
            "Hint: is the file damaged? Else raise `limits: memory_mb`."
        )


def ends_inside(path: Path, container: str) -> bool:
    """Whether a file ends before its own structure does: a box, a Matroska segment, a RIFF chunk, a transport packet."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(1024)
    if container == "mov":
        return size < _boxes_end(path, size)
    if container == "matroska":
        return size < _matroska_end(head)
    if container == "avi":
        return size < 8 + int.from_bytes(head[4:8], "little")
    if container == "mpegts":
        for packet, first in ((188, 0), (192, 4), (204, 0)):
            if head[first::packet].startswith(b"\x47\x47\x47"):
                return size % packet != 0
    return False


def _boxes_end(path: Path, size: int) -> int:
    """Where the last top-level box of an MP4 or QuickTime file ends by its own account."""
    at = 0
    with open(path, "rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length < 8 or len(head) < 8:  # 0: to the end of the file, whatever that is
                return size + (0 if length == 0 and len(head) >= 8 else 1)
            at += length
    return at


def _matroska_end(head: bytes) -> int:
    """Where the segment of a Matroska file ends by its own account, 0 = it does not say (a live recording)."""

    def number(at: int) -> tuple[int, int, int]:
        """(value, place behind it, its largest value, which means unknown) of a number of 1 to 8 bytes."""
        length = 9 - head[at].bit_length() if head[at] else 9
        largest = (1 << 7 * length) - 1
        return int.from_bytes(head[at : at + length], "big") & largest, at + length, largest

    try:
        header, at, _ = number(4)
        at += header
        if head[at : at + 4] != b"\x18\x53\x80\x67":
            return 0
        value, begin, unknown = number(at + 4)
        return 0 if value == unknown else begin + value
    except IndexError:
        return 0


def _playlist(path: Path) -> str:
    """What kind of playlist this is ("" = none): FFmpeg tells them by content too, whatever the suffix says."""
    with open(path, "rb") as file:
        head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for mark, what in _PLAYLISTS.items() if head.startswith(mark)), "")


def _really(path: Path) -> str:
    """A remark where the content is plainly something else than the name says."""
    with open(path, "rb") as file:
        head = file.read(512)
    for mark, what in {b"\xff\xd8\xff": "a JPEG", b"\x89PNG": "a PNG", b"PK\x03\x04": "a zip archive"}.items():
        if head.startswith(mark):
            return f"; its content is {what}"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "; its content is a web page"
    with suppress(UnicodeDecodeError):
        if path.stat().st_size <= _LARGEST_TEXT and head.decode("ascii").isprintable():
            return "; its content is text"
    return ""


def _short(error: Exception) -> str:
    """FFmpeg's words without the path that PyAV adds to them."""
    return str(getattr(error, "strerror", None) or error)
