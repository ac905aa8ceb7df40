"""Who trains in a folder: one at a time, whoever started it and wherever it runs.

Every claim is a file `.owner/N.json`, made by a hard link, which fails when the name is taken (on NFS, too). The highest
number is the owner. Number N+1 is made only by somebody who saw that N is released or gone, and of those who saw it the
link lets one through. The highest number is never removed, so a slow claimant cannot slip in below it unseen; a kill at any
place leaves no claim, or a whole one of somebody who is gone. `owner.json` is a link to the owner's claim, for people.

Not here: what becomes of a result that another trainer finished (lib/finished.py), a whole run's driver (lib/running.py).
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lib import running, slurm
from lib.config.base import VipersightError
from lib.files import WRITING, DataError, disk_errors, read_json, write_link

PLACE, PUBLIC = ".owner", "owner.json"
BEAT_S = 10.0
GONE_S = 120.0
"""An owner that can be judged only by its beats is gone after so long without one: twelve beats, and twice the longest time
for which an NFS client may show old attributes."""
BUSY = 69
"""Exit code of a program that found, or lost its place to, a living owner (EX_UNAVAILABLE)."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class Busy(VipersightError):
    """Somebody else trains in this folder; nothing was touched."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """One claim. started: of its process, s since 1970; space: its process namespace; restart: how often Slurm requeued its
    job; since and beat: UTC; attempt: number of its record in attempts/, None = none yet.
    """

    id: str
    host: str
    pid: int
    started: float
    space: str = ""
    job: str | None = None
    restart: int = 0
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


def me(fingerprint: str = "") -> Owner:
    """This process as an owner, with an id that no other claim has."""
    process, job = psutil.Process(), os.environ.get("SLURM_JOB_ID")
    restart = os.environ.get("SLURM_RESTART_COUNT", "")
    return Owner(
        id=secrets.token_hex(8),
        host=socket.gethostname(),
        pid=process.pid,
        started=process.create_time(),
        space=_space(),
        job=job,
        restart=int(restart) if restart.isdigit() else 0,
        token=os.environ.get(running.TOKEN, ""),
        fingerprint=fingerprint,
        since=_now(),
        beat=_now(),
    )


def current(folder: Path) -> Claim | None:
    """The newest claim in a training's folder, released ones too; None when there never was one."""
    place = folder / PLACE
    if (number := _newest(place)) is None:
        return None
    try:
        now = _clock(place)  # before the look: what this client remembers of the folder is out of date then
        with open(_path(place, number), encoding="utf-8") as file:
            age, text = now - os.fstat(file.fileno()).st_mtime, file.read()
    except FileNotFoundError:  # a newer one came, and this was swept
        return current(folder)
    except OSError:
        return Claim(number, None, 0.0)
    return Claim(number, _parsed(text), max(0.0, age))


def living(claim: Claim, by: Owner) -> str:
    """Why the owner of a claim counts as alive in the eyes of `by`; "" when it is gone or has released the claim.

    On this host its process tells; elsewhere its Slurm job; where that cannot be known, its beats.
    """
    owner = claim.owner
    fresh = f"its last beat is {claim.age_s:.0f} s old" if claim.age_s <= GONE_S else ""
    if owner is None:
        return fresh  # perhaps still being written
    if owner.released:
        return ""
    if (owner.host, owner.space) == (by.host, by.space):
        return "its process lives" if running.lives(owner.pid, owner.started) else ""
    if not owner.job:
        return fresh
    if owner.job == by.job:  # requeued: Slurm ended the former one. Else another node of the same job
        return "" if owner.restart < by.restart else fresh
    known = slurm.jobs([owner.job]) if slurm.installed() else None
    if known is not None and owner.job in known:
        found = known[owner.job]
        return f"its job is {found.state}" if found.active else ""
    return fresh  # Slurm does not answer, or does not know it: it may be another user's, or another cluster's


def refusal(folder: Path, claim: Claim, why: str) -> Busy:
    """What to tell who found a living owner."""
    owner = claim.owner
    if owner is None:
        path = _path(folder / PLACE, claim.number)
        return Busy(f"{path}: a claim that is being written, or damaged. Hint: try again in {GONE_S:.0f} s.")
    end = f"`scancel {owner.job}`" if owner.job else f"`kill {owner.pid}` on {owner.host}"
    return Busy(
        f"{folder}: is being trained already ({owner.text()}, last beat {owner.beat}; {why}); nothing was touched. "
        f"Hint: wait for it, or end it: {end}"
    )


class Held:
    """A claim that this process holds: it beats until it is released, and ends the process when somebody took over."""

    def __init__(self, folder: Path, number: int, owner: Owner) -> None:
        self.folder, self.number, self.owner = folder, number, owner
        self._over, self._writing = threading.Event(), threading.Lock()

    def keep(self, *, attempt: int) -> None:
        """Name the record of the attempt that the claim is for."""
        self._put(attempt=attempt)

    def beat(self) -> None:
        """Say that this process lives. DataError and OSError when the disk does not take it."""
        self._put(beat=_now())

    def is_ours(self) -> bool:
        """Whether nobody has claimed the folder since; a folder that was emptied is still ours."""
        newest = _newest(self.folder / PLACE)
        return newest is None or newest == self.number

    def watch(self, every_s: float = BEAT_S, lost: Callable[[Held], None] | None = None) -> None:
        """Beat in a thread; lost: what to do when somebody has taken over, default `leave`."""

        def beats() -> None:
            while not self._over.wait(every_s):
                try:
                    if not self.is_ours():
                        return (lost or leave)(self)
                    self.beat()
                except (OSError, DataError) as trouble:
                    print(f"warning: no beat of {self.folder / PUBLIC}: {trouble}", file=sys.stderr, flush=True)
                    with suppress(OSError):  # a full disk still takes the time of the beat
                        os.utime(_path(self.folder / PLACE, self.number))

        threading.Thread(target=beats, name="owner", daemon=True).start()

    def release(self) -> None:
        """Let go; what the disk refuses is only told: the claim then ends with this process."""
        self._over.set()
        if os.getpid() != self.owner.pid:  # a fork of the owner
            return
        try:
            if self.is_ours():
                _unlink_public(self.folder, self.number)
                self._put(released=True)
        except (OSError, DataError) as trouble:
            print(f"warning: {self.folder / PUBLIC} stays: {trouble}", file=sys.stderr)

    def _put(self, **changes: object) -> None:
        with self._writing:
            if not self.owner.released:
                self.owner = replace(self.owner, **changes)  # type: ignore[arg-type]
                place = self.folder / PLACE
                place.mkdir(parents=True, exist_ok=True)
                os.replace(_written(place, self.owner), _path(place, self.number))


@contextmanager
def own(folder: Path, fingerprint: str) -> Iterator[Held]:
    """Be the one that trains in `folder`. Busy: somebody else is. DataError: the disk does not take the claim."""
    held = claim(folder, me(fingerprint))
    held.watch()
    try:
        yield held
    finally:
        held.release()


def claim(folder: Path, owner: Owner) -> Held:
    """Make the claim, or raise Busy; it does not beat yet."""
    place = folder / PLACE
    with disk_errors(folder / PUBLIC):
        place.mkdir(parents=True, exist_ok=True)
        while True:
            newest = current(folder)
            if newest is not None and (why := living(newest, owner)):
                raise refusal(folder, newest, why)
            number = newest.number + 1 if newest else 1
            if not _link(place, number, owner):
                continue  # somebody was quicker: look who
            if _newest(place) == number:
                break
            with suppress(FileNotFoundError):  # ours is an old number that had been swept: it never counted
                _path(place, number).unlink()
        if newest is not None and newest.owner is not None and not newest.owner.released:
            print(f"note: {folder}: its former trainer is gone ({newest.owner.text()})", file=sys.stderr)
        _sweep(place, number)
        write_link(folder / PUBLIC, f"{PLACE}/{_path(place, number).name}")
    return Held(folder, number, owner)


def leave(held: Held) -> None:
    """End this process and all that it started, at once: its claim was taken over, and two must not write."""
    newest = current(held.folder)
    by = newest.owner.text() if newest and newest.owner else "not known"
    print(
        f"error: {held.folder}: this training was taken over ({by}), for it seemed gone; it ends here, to leave the folder "
        "to that one.",
        file=sys.stderr,
        flush=True,
    )
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    os._exit(BUSY)


def _link(place: Path, number: int, owner: Owner) -> bool:
    """Make claim `number` ours; False when it is somebody else's."""
    private, path = _written(place, owner), _path(place, number)
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


def _written(place: Path, owner: Owner) -> Path:
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


def _newest(place: Path) -> int | None:
    """The highest number among the claims, None when there is none."""
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return None
    return max((int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()), default=None)


def _path(place: Path, number: int) -> Path:
    return place / f"{number}.json"


def _clock(place: Path) -> float:
    """Now by the clock of the disk, s since 1970: what a file gets that is written now."""
    probe = place / f"{WRITING}clock-{secrets.token_hex(6)}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _sweep(place: Path, number: int) -> None:
    """Remove older claims, and what killed claimants left of theirs."""
    now = _clock(place)
    for path in place.iterdir():
        with suppress(OSError):
            old = path.suffix == ".json" and path.stem.isdigit() and int(path.stem) < number
            if old or (path.name.startswith(WRITING) and now - path.stat().st_mtime > GONE_S):
                path.unlink()


def _unlink_public(folder: Path, number: int) -> None:
    with suppress(FileNotFoundError):
        if os.readlink(folder / PUBLIC) == f"{PLACE}/{number}.json":
            (folder / PUBLIC).unlink()


def _space() -> str:
    """This process' namespace of process numbers: in another one, the same number is another process."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
