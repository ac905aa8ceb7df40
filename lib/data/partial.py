"""The part of a download that has arrived: kept beside its place with the validator that the server gave. Not here: asking.

A killed process leaves it as it is; the next one goes on from its end (transfer.py).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lib.files import PARTIAL, DataError, sha256_text


@dataclass
class Partial:
    """The part that has arrived: an open file, its length (bytes), and the validator it was served with ("" = none)."""

    path: Path
    url: str
    file: BinaryIO
    size: int
    validator: str = ""

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size, self.validator = 0, ""

    def remember(self, validator: str) -> None:
        """Write down at once what this part is of: a killed process writes nothing more."""
        self.validator = validator
        text = json.dumps({"url": sha256_text(self.url), "validator": validator})
        _validator_file(self.path).write_text(text, encoding="utf-8")


def partial_path(place: Path, path: str, sha256: str) -> Path:
    """Where the part of a file (named by its entry's path and sha256) is kept that will be `place`."""
    return place.with_name(f"{PARTIAL}{sha256_text(path + sha256)[:16]}")


def drop_partial(partial: Path) -> None:
    """Remove a part and its validator, if they are there."""
    for file in (partial, _validator_file(partial)):
        file.unlink(missing_ok=True)


@contextmanager
def opened(partial: Path, url: str) -> Iterator[Partial]:
    """The partial file, locked against a second process; removed when nothing has arrived."""
    told = _remembered(partial)
    with open(partial, "ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{partial}: another process is downloading into it. Hint: wait for the other run.") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # some network disks know no locks
                raise
        part = Partial(partial, url, file, os.fstat(file.fileno()).st_size)
        if told.get("url") == sha256_text(url):
            part.validator = str(told.get("validator", ""))
        elif part.size:
            part.restart()
        try:
            yield part
        finally:
            if partial.exists() and not part.size:
                partial.unlink()
                _validator_file(partial).unlink(missing_ok=True)


def _validator_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _remembered(partial: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        values = json.loads(_validator_file(partial).read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    return {}
