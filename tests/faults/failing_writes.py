"""Every k-th operation of every writer fails once, and from then on; run under LD_PRELOAD by test_disk.py.

python -m tests.faults.failing_writes FOLDER WRITER…       prints one JSON line per writer: outcome → count, and troubles
"""

from __future__ import annotations

import ctypes
import errno
import json
import sys
from collections import Counter
from pathlib import Path

from lib.config.base import VipersightError
from lib.files import LEFTOVERS
from tests.faults.writers import SAME_BYTES, WRITERS, copied, files_of

MOST = 50
"""Operations of one writer that are made to fail each; of more, as many are tried, evenly spread."""
NAMES = {errno.EIO: "EIO", errno.ENOSPC: "ENOSPC"}


class Shim:
    """The preloaded library."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(None)
        self.library.fault_seen.restype = ctypes.c_long

    def arm(self, folder: Path | None, at: int = 0, code: int = errno.EIO, stick: bool = False, budget: int = -1) -> None:
        below = str(folder).encode() if folder else b""
        self.library.fault_arm(below, ctypes.c_long(at), code, int(stick), ctypes.c_long(budget))

    def seen(self) -> int:
        return int(self.library.fault_seen())


def try_writer(name: str, base: Path, shim: Shim) -> tuple[Counter[str], list[str]]:
    """All faults of one writer; (counts of outcomes, what went wrong)."""
    writer = WRITERS[name]
    old, new, work = base / "old", base / "new", base / "work"
    for folder, version in ((old, 1), (new, 2)):
        folder.mkdir(parents=True)
        writer.write(folder, version)
    versions = files_of(old), files_of(new)
    copied(old, work)
    shim.arm(work)
    writer.write(work, 2)
    operations = shim.seen()
    shim.arm(None)
    size = sum(len(content) for content in versions[1].values())

    faults = [{"at": at, "code": errno.EIO, "stick": stick} for at in _spread(operations) for stick in (False, True)]
    faults += [{"budget": size * share // 100, "code": errno.ENOSPC} for share in (0, 10, 50, 90, 99)]
    counts: Counter[str] = Counter({"operations": operations})
    troubles: list[str] = []
    for fault in faults:
        copied(old, work)
        outcome, trouble = _one(name, work, versions, shim, fault)
        counts[outcome] += 1
        troubles += [f"{name} {fault}: {trouble}"] if trouble else []
    return counts, troubles


def _spread(operations: int) -> list[int]:
    if operations <= MOST:
        return list(range(1, operations + 1))
    return sorted({1 + round(step * (operations - 1) / (MOST - 1)) for step in range(MOST)})


def _one(name: str, work: Path, versions: tuple, shim: Shim, fault: dict) -> tuple[str, str]:
    writer = WRITERS[name]
    shim.arm(work, **fault)
    try:
        writer.write(work, 2)
        outcome, trouble = "right", ""
    except VipersightError as refusal:
        outcome, trouble = "refused", "" if str(work) in str(refusal) else f"does not name the file: {refusal}"
    except Exception as error:
        outcome, trouble = "lost", f"{type(error).__name__}: {error}"
    finally:
        shim.arm(None)
    found = files_of(work)
    left = [path.name for path in work.rglob("*") if path.name.startswith(LEFTOVERS)]
    old, new = versions
    if left and not fault.get("stick"):  # with a disk that stays broken, nothing can be removed
        return "wrong", f"left {left}"
    foreign = [path for path, content in found.items() if content not in (old.get(path), new.get(path))]
    if name in SAME_BYTES and [
        path for path in foreign if not any(part.startswith(LEFTOVERS) for part in Path(path).parts)
    ]:
        return "wrong", f"neither old nor new: {foreign}"
    gone = [path for path in old if path in new and path not in found and path not in writer.may_go]
    if fault.get("stick"):  # an old folder that was moved aside cannot be moved back then
        gone = [path for path in gone if not any(path.startswith(folder) for folder in writer.moved)]
    if gone:
        return "wrong", f"gone: {gone}"
    if outcome == "right" and set(found) != set(new) and name in SAME_BYTES:
        return "wrong", f"said to be written, but holds {sorted(found)}"
    try:
        writer.sound(work)
    except Exception as error:
        return "wrong", f"unsound: {error}"
    return ("lost" if trouble else outcome), trouble


if __name__ == "__main__":
    loaded = Shim()
    for number, one in enumerate(sys.argv[2:]):
        counted, told = try_writer(one, Path(sys.argv[1]) / str(number), loaded)
        print(json.dumps({"writer": one, "counts": counted, "troubles": told}), flush=True)
