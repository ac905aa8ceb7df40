"""Image files: size and soundness by their header (PIL), pixels (OpenCV). Not here: videos, folders of frames (video.py).

Images are as people see them: turned by their EXIF orientation.
"""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from lib.files import DataError

_EXIF_ORIENTATION = 0x0112  # 1 = upright; 5 to 8 swap width and height


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in px, after turning by EXIF; reads the header only. DataError when unreadable."""
    with _open(path) as image:
        width, height = image.size
        turned = _orientation(image) >= 5
    return (height, width) if turned else (width, height)


def check_image(path: Path) -> tuple[str, bool]:
    """(format as "jpeg", whether EXIF turns it). DataError when the file is damaged or cut, as far as can be told without
    decoding: by checksums where the format has them, by the end marker of a JPEG.
    """
    with _open(path) as image:
        codec = str(image.format).lower()
        rotated = _orientation(image) > 1
        try:
            image.verify()
        except (OSError, SyntaxError, ValueError, struct.error) as error:
            raise DataError(f"{path}: damaged image ({error}).") from error
    if codec == "jpeg" and not _ends(path):
        raise DataError(f"{path}: cut image (its end marker is missing).")
    return codec, rotated


def read_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB, scaled to size = (width, height) px when given. DataError when missing or undecodable."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"{path}: missing or damaged image.")
    if size is not None and (picture.shape[1], picture.shape[0]) != size:
        shrinks = size[0] * size[1] < picture.shape[0] * picture.shape[1]
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image ({type(error).__name__}: {error}).") from error


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
