"""Which files count as videos and as images, by their suffix. Not here: what they hold (containers.py, images.py)."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from lib.files import DataError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".gif"}
)
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def media_kind(path: Path) -> str | None:
    """ "video" or "image" by the suffix, None for anything else."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "image" if suffix in IMAGE_SUFFIXES else None


def images_in(folder: Path) -> list[Path]:
    """The images of a folder of frames in presentation order: by name, runs of digits by their value (2 before 10)."""

    def order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
        parts = re.split(r"(\d+)", path.name)
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], path.name

    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))
    return sorted(found, key=order)


def check_regular(path: Path) -> None:
    """Raise DataError unless `path` is a regular file that holds something (pipes and devices would block or never end)."""
    try:
        facts = path.stat()
    except OSError as error:
        raise DataError(f"{path}: {_why_absent(path, error)}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise DataError(f"{path}: not a regular file. Hint: pipes, devices and folders named like media are not read.")
    if facts.st_size == 0:
        raise DataError(f"{path}: empty file. Hint: fetch it again, or leave it out.")


def _why_absent(path: Path, error: OSError) -> str:
    if path.is_symlink():
        return f"link that leads nowhere or in a circle ({path.readlink()}). Hint: put the file itself there."
    if isinstance(error, FileNotFoundError):
        return "file not found."
    return f"cannot be read ({error.strerror})."
