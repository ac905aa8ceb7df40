"""Image files: size and soundness by their header (PIL), pixels (OpenCV). Not here: videos, folders of frames
(decoding/reading.py).

Images are as people see them: turned by their EXIF orientation.
"""

from __future__ import annotations

import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from lib.config.limits import Limits
from lib.data.decoding.containers import TooMuchMemory, check_size
from lib.data.decoding.kinds import check_regular
from lib.files import DataError

_EXIF_ORIENTATION = 0x0112  # 1 = upright; 5 to 8 swap width and height
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")  # by content
_DAMAGE = re.compile(r"corrupt jpeg data|premature end of jpeg|libpng error|tiff.*error", re.IGNORECASE)
_HARMLESS = re.compile(r"Corrupt JPEG data: \d{1,2} extraneous bytes before marker 0xd9")  # some cameras pad the end


@dataclass(frozen=True)
class ImageFacts:
    """What a header says: format as "jpeg", size in px after turning by EXIF, whether EXIF turns it."""

    codec: str
    width: int
    height: int
    rotated: bool


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in px, after turning by EXIF; reads the header only. DataError when unreadable."""
    check_regular(path)
    with _open(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


def check_image(path: Path, limits: Limits, *, decode: bool) -> ImageFacts:
    """Facts of an image. DataError when it is too large, animated, cut or damaged.

    Without `decode` damage shows as far as checksums (PNG) and the end marker (JPEG) tell; with it the pixels are read too.
    """
    check_regular(path)
    with _open(path) as image:
        width, height = image.size
        check_size(path, width, height, limits)
        codec, orientation = str(image.format).lower(), _orientation(image)
        if codec != "mpo" and getattr(image, "n_frames", 1) > 1:
            raise DataError(
                f"{path}: holds {image.n_frames} pictures; only the first would be used. Hint: turn an animation into a "
                "video (.gif, .mp4), and a document into single files."
            )
        try:
            image.verify()
        except (OSError, SyntaxError, ValueError, struct.error) as error:
            raise DataError(f"{path}: damaged image ({error}). Hint: fetch it again, or leave it out.") from error
    if codec in ("jpeg", "mpo") and not _ends(path):
        raise DataError(f"{path}: cut image (its end marker is missing). Hint: fetch it again, or leave it out.")
    if decode:
        read_image(path, limits)
    turned = orientation >= 5
    return ImageFacts(codec, height if turned else width, width if turned else height, orientation > 1)


def read_image(path: Path, limits: Limits) -> np.ndarray:
    """(H, W, 3) uint8 RGB. DataError when missing, too large or damaged.

    Damage inside a JPEG is known only from what libjpeg complains about while decoding: it paints over it and goes on.
    """
    check_regular(path)
    with _open(path) as image:
        check_size(path, *image.size, limits)
    try:
        with _complaints() as said:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise TooMuchMemory(path, limits) from error
    damage = next((line for line in said if _DAMAGE.search(line) and not _HARMLESS.search(line)), "")
    if picture is None or damage:
        raise DataError(f"{path}: damaged image ({damage or 'it does not decode'}). Hint: fetch it again, or leave it out.")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def resized(picture: np.ndarray, size: tuple[int, int] | None, *, fit: bool = False) -> np.ndarray:
    """(H, W, 3) uint8 at `size` (width, height) px; fit: only made to fit into it where it does not. Null: as it is."""
    if size is None or (fit and picture.shape[0] <= size[1] and picture.shape[1] <= size[0]):
        return picture
    return fitted(picture, size[::-1]) if fit else scaled(picture, size)


def fit_within(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) px of a picture of `shape` (H, W, …) made to fit `size` (height, width) px, as ultralytics rounds."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)


def fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 scaled to fit `size` (height, width) px, between pixels linearly, as detectors are trained to see it.

    Doing so twice is the same as once.
    """
    height, width = fit_within(picture.shape, size)
    if picture.shape[:2] == (height, width):
        return picture
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)


def scaled(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 scaled to `size` (width, height) px: means of areas where it shrinks, linear where it grows."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    shrinks = size[0] * size[1] < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Lines that libraries write to the process's standard error meanwhile (for single-threaded use, as in the child)."""
    lines: list[str] = []
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)
    kept = os.dup(2)
    os.dup2(theirs, 2)
    try:
        yield lines
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(theirs)
        with open(ours, "rb") as said:
            lines += (said.read() or b"").decode("utf-8", "replace").splitlines()


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # limits.max_pixels decides
            return Image.open(path, formats=_FORMATS)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: not a readable image ({type(error).__name__}: {error}). Hint: does the suffix tell the truth?"
        ) from error


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 = upright. In a PNG only what stands before the pixels: PIL would decode them to look behind."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return image.getexif().get(_EXIF_ORIENTATION, 1)


def _ends(path: Path) -> bool:
    """Whether a JPEG's end marker lies in the last 64 KiB (cameras append thumbnails and padding behind it)."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        return b"\xff\xd9" in file.read()
