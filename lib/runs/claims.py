"""The files of a training folder's claims: made, read, swept. What they mean is told in lib/runs/ownership.py.

A claim is `.owner/N.json`. It is made by a hard link, which fails when the name is taken, on NFS too, and never shows half
a file. Ages are by the clock of the disk: that of this machine may differ.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from lib.files import WRITING, DataError, read_json

PLACE = ".owner"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_LEFT_S = 120.0
"""A file of a claimant's own that is older was left by a kill."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """One claim. started: of its process, s since 1970; space: its process namespace; restart: how often Slurm requeued its
    job; nodes: of that job; since and beat: UTC; attempt: number of its record in attempts/, None = none yet.
    """

    id: str
    host: str
    pid: int
    started: float
    space: str = ""
    job: str | None = None
    restart: int = 0
    nodes: int = 1
    token: str = ""
    attempt: int | None = None
    fingerprint: str = ""
    since: str = ""
    beat: str = ""
    released: bool = False

    def text(self) -> str:
        """The owner for a person."""
        job = f", Slurm job {self.job}" if self.job else ""
        return f"host {self.host}, pid {self.pid}{job}, since {self.since}"


@dataclass(frozen=True)
class Claim:
    """A claim as it lies on the disk. owner: None when its file cannot be read; age_s: since its last beat, by the clock of
    that disk.
    """

    number: int
    owner: Owner | None
    age_s: float


def current(folder: Path) -> Claim | None:
    """The newest claim in a training's folder, released ones too; None when there never was one."""
    place = folder / PLACE
    if (number := highest(place)) is None:
        return None
    try:
        now = clock(place)  # before the look: what this client remembers of the folder is out of date then
        with open(claim_path(place, number), encoding="utf-8") as file:
            age, text = now - os.fstat(file.fileno()).st_mtime, file.read()
    except FileNotFoundError:  # a newer one came, and this was swept
        return current(folder)
    except OSError:
        return Claim(number, None, 0.0)
    return Claim(number, _parsed(text), max(0.0, age))


def link(place: Path, number: int, owner: Owner) -> bool:
    """Make claim `number` ours; False when it is somebody else's."""
    private, path = written(place, owner), claim_path(place, number)
    try:
        os.link(private, path)
    except FileExistsError:
        return _is(path, owner)  # over NFS an order may be repeated that was obeyed the first time
    except FileNotFoundError:
        return False  # swept as a leftover meanwhile
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create(path, private.read_bytes())
    finally:
        private.unlink(missing_ok=True)
    return True


def _create(path: Path, content: bytes) -> bool:
    """Where there are no hard links: a new file, which is empty for a moment (others then take it for being written)."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return True


def written(place: Path, owner: Owner) -> Path:
    """A file of our own with the whole claim in it."""
    path = place / f"{WRITING}{owner.id}-{secrets.token_hex(4)}"
    path.write_text(json.dumps(asdict(owner), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def _is(path: Path, owner: Owner) -> bool:
    with suppress(DataError, OSError):
        return bool(read_json(path).get("id") == owner.id)
    return False


def _parsed(text: str) -> Owner | None:
    names = {one.name for one in fields(Owner)}
    try:
        return Owner(**{name: value for name, value in json.loads(text).items() if name in names})
    except (ValueError, TypeError, AttributeError):
        return None


def highest(place: Path) -> int | None:
    """The highest number among the claims, None when there is none."""
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return None
    return max((int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()), default=None)


def claim_path(place: Path, number: int) -> Path:
    return place / f"{number}.json"


def clock(place: Path) -> float:
    """Now by the clock of the disk, s since 1970: what a file gets that is written now."""
    probe = place / f"{WRITING}clock-{secrets.token_hex(6)}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def sweep(place: Path, number: int) -> None:
    """Remove older claims, and what killed claimants left of theirs."""
    now = clock(place)
    for path in place.iterdir():
        with suppress(OSError):
            old = path.suffix == ".json" and path.stem.isdigit() and int(path.stem) < number
            if old or (path.name.startswith(WRITING) and now - path.stat().st_mtime > _LEFT_S):
                path.unlink()
