"""Who trains in a folder: one at a time, whoever started it and wherever it runs.

Every claim is a file `.owner/N.json`, made by a hard link, which fails when the name is taken (on NFS, too). The highest
number is the owner. Number N+1 is made only by somebody who saw that N is released or gone, and of those who saw it the
link lets one through. The highest number is never removed, so a slow claimant cannot slip in below it unseen; a kill at any
place leaves no claim, or a whole one of somebody who is gone. `owner.json` is a link to the owner's claim, for people.

Not here: what becomes of a result that another trainer finished (finished.py), a whole run's driver (running.py).
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lib.config.base import VipersightError
from lib.files import DataError, disk_errors, write_link
from lib.runs import running, slurm
from lib.runs.claims import PLACE, Claim, Owner, claim_path, current, highest, link, sweep, written

PUBLIC = "owner.json"
BEAT_S = 10.0
GONE_S = 120.0
"""An owner that can be judged only by its beats is gone after so long without one: twelve beats, and twice the longest time
for which an NFS client may show old attributes."""
BUSY = 69
"""Exit code of a program that found, or lost its place to, a living owner (EX_UNAVAILABLE)."""


class Busy(VipersightError):
    """Somebody else trains in this folder; nothing was touched."""


def me(fingerprint: str = "") -> Owner:
    """This process as an owner, with an id that no other claim has."""
    process, job = psutil.Process(), os.environ.get("SLURM_JOB_ID")
    return Owner(
        id=secrets.token_hex(8),
        host=socket.gethostname(),
        pid=process.pid,
        started=process.create_time(),
        space=_space(),
        job=job,
        restart=_restarts(job),
        nodes=_count("SLURM_JOB_NUM_NODES") or _count("SLURM_NNODES") or 1,
        token=os.environ.get(running.TOKEN, ""),
        fingerprint=fingerprint,
        since=_now(),
        beat=_now(),
    )


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
    if owner.job == by.job:  # requeued: Slurm ended the former one; or another node of the same job
        return "" if owner.restart < by.restart or by.nodes == 1 else fresh
    known = slurm.jobs([owner.job]) if slurm.installed() else None
    if known is not None and owner.job in known:
        found = known[owner.job]
        return f"its job is {found.state}" if found.active else ""
    return fresh  # Slurm does not answer, or does not know it: it may be another user's, or another cluster's


def refusal(folder: Path, claim: Claim, why: str) -> Busy:
    """What to tell who found a living owner."""
    owner = claim.owner
    if owner is None:
        path = claim_path(folder / PLACE, claim.number)
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
        self.unseen_s = 0.0  # how long the former owner may live on unseen: on a node that the network has lost
        self._over, self._writing = threading.Event(), threading.Lock()

    def keep(self, *, attempt: int) -> None:
        """Name the record of the attempt that the claim is for."""
        self._put(attempt=attempt)

    def beat(self) -> None:
        """Say that this process lives. DataError and OSError when the disk does not take it."""
        self._put(beat=_now())

    def is_ours(self) -> bool:
        """Whether nobody has claimed the folder since; a folder that was emptied is still ours."""
        return highest(self.folder / PLACE) in (None, self.number)

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
                        os.utime(claim_path(self.folder / PLACE, self.number))

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
                os.replace(written(place, self.owner), claim_path(place, self.number))


@contextmanager
def own(folder: Path, fingerprint: str) -> Iterator[Held]:
    """Be the one that trains in `folder`. Busy: somebody else is. DataError: the disk does not take the claim."""
    held = claim(folder, me(fingerprint))
    held.watch()
    try:
        time.sleep(held.unseen_s)
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
            if not link(place, number, owner):
                continue  # somebody was quicker: look who
            if highest(place) == number:
                break
            with suppress(FileNotFoundError):  # ours is an old number that had been swept: it never counted
                claim_path(place, number).unlink()
        if newest is not None and newest.owner is not None and not newest.owner.released:
            print(f"note: {folder}: its former trainer is gone ({newest.owner.text()})", file=sys.stderr)
        held = Held(folder, number, owner)
        held.unseen_s = _may_live_on(newest.owner if newest else None, owner)
        with suppress(OSError):
            sweep(place, number)
        try:
            write_link(folder / PUBLIC, f"{PLACE}/{claim_path(place, number).name}")
        except BaseException:
            held.release()
            raise
    return held


def _may_live_on(former: Owner | None, by: Owner) -> float:
    """Seconds that a former owner needs to see, at its next beat, that it was followed; 0 where it is known to be dead."""
    known = former is None or former.released or (former.host, former.space) == (by.host, by.space)
    return 0.0 if known else 1.5 * BEAT_S


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


def _unlink_public(folder: Path, number: int) -> None:
    with suppress(FileNotFoundError):
        if os.readlink(folder / PUBLIC) == f"{PLACE}/{number}.json":
            (folder / PUBLIC).unlink()


def _restarts(job: str | None) -> int:
    """How often Slurm has requeued this job. Inside a Snakemake job the variable is gone; several nodes need to know it."""
    count = _count("SLURM_RESTART_COUNT")
    if count is None and job and (_count("SLURM_JOB_NUM_NODES") or 1) > 1:
        count = slurm.restarts(job)
    return count or 0


def _count(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else None


def _space() -> str:
    """This process' namespace of process numbers: in another one, the same number is another process."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
