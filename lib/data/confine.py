"""Which files of a source may be opened: those that really lie below its root, under names that tables can hold.

Not here: what is in them (probing.py). Links are followed only as far as they stay inside, unless `follow_links` says more.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from lib.data.decoding.kinds import images_in


def refusal(path: Path, root: Path, kind: str, *, follow_links: bool) -> str:
    """Why a media file (or folder of frames) of a source below `root` may not be opened ("" = it may)."""
    if not is_text(str(path)):
        return f"{text_of(str(path))}: its name is not UTF-8, so no table can hold it. Hint: rename it."
    if follow_links:
        return ""
    inside = _real(root)
    for file in (path, *(images_in(path) if kind == "frames" else ())):
        if file.is_symlink() and not file.exists():
            return f"{file}: link that leads nowhere or in a circle ({file.readlink()}). Hint: put the file itself there."
        real = file.resolve() if file.is_symlink() else _real(file.parent) / file.name
        if not real.is_relative_to(inside):
            return (
                f"{file}: leads out of the source's root, to {real}. Hint: put the file itself there, or set the source's "
                "`follow_links: true` if such links are meant."
            )
    return ""


@lru_cache(maxsize=4096)
def _real(folder: Path) -> Path:
    return folder.resolve()


def is_text(name: str) -> bool:
    """Whether a name is valid UTF-8; file systems allow any bytes, which Python keeps as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def text_of(name: str) -> str:
    """A name with what is not UTF-8 written as \\x.. escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
