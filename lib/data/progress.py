"""The progress bar of long loops over files, on stderr. Not here: logging."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")


def track(things: Iterable[T], *, total: int, label: str) -> Iterator[T]:
    """Yield `things`, showing how many of `total` are done; in a log file only the last state is written."""
    yield from rich_track(things, description=label, total=total, console=Console(stderr=True), transient=False)
