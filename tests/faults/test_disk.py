"""Full and failing disks under every own writer: the old file or the new one, a refusal that names file, need and room.

Two ways: each k-th operation of a writer fails (a preloaded library, failing.c); a real small tmpfs at several fill levels.
Reference: the bytes that the same writers leave on a good disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.config.base import VipersightError
from lib.files import LEFTOVERS, DataError, atomic, sized, write_json, write_link, write_text
from tests.conftest import PROJECT
from tests.faults.counts import Tally
from tests.faults.writers import SAME_BYTES, WRITERS, files_of

QUICK = ["text", "JSON", "run", "names of a study", "attempt", "units"]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """failing.c, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: the library that makes writes fail cannot be built")
    library = tmp_path_factory.mktemp("shim") / "failing.so"
    words = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-o",
        str(library),
        str(PROJECT / "tests/faults/failing.c"),
        "-ldl",
        "-lpthread",
    ]
    subprocess.run(words, check=True, timeout=60)
    return library


def every_operation_fails(writers: list[str], shim: Path, folder: Path, tally: Tally) -> None:
    words = [sys.executable, "-m", "tests.faults.failing_writes", str(folder), *writers]
    environment = os.environ | {"LD_PRELOAD": str(shim), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=PROJECT, timeout=590, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["writer"] for answer in answers] == writers
    for answer in answers:
        assert answer["counts"].pop("operations") >= 5, "the library saw the writes"
        for outcome, amount in answer["counts"].items():
            tally.count("failing write, fsync, rename", outcome, amount)
        refused, right = answer["counts"].get("refused", 0), answer["counts"].get("right", 0)
        assert refused > right or answer["writer"] == "digests of a folder"  # a cache, which can be done without
    assert [trouble for answer in answers for trouble in answer["troubles"]] == []


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of fsyncs on a disk take minutes."""
    shared = Path("/dev/shm")
    if not (shared.is_dir() and os.access(shared, os.W_OK)):
        yield tmp_path
        return
    import tempfile

    with tempfile.TemporaryDirectory(dir=shared, prefix="vipersight-faults-") as folder:
        yield Path(folder)


def test_every_failing_operation_leaves_old_or_new(shim: Path, memory: Path, tally: Tally) -> None:
    every_operation_fails(QUICK, shim, memory, tally)


@pytest.mark.slow
@pytest.mark.parametrize("writer", [name for name in WRITERS if name not in QUICK])
def test_every_failing_operation_leaves_old_or_new_in_large_writers(
    writer: str, shim: Path, memory: Path, tally: Tally
) -> None:
    every_operation_fails([writer], shim, memory, tally)


# A real small disk


def room(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_with_need_and_room(name: str, small_disk: Path, tally: Tally) -> None:
    writer, base = WRITERS[name], small_disk / "work"
    shutil.rmtree(base, ignore_errors=True)
    writer.write(base, 1)
    old, before = files_of(base), room(small_disk)
    probe = small_disk / "probe"
    writer.write(probe, 2)
    new, need = files_of(probe), before - room(small_disk)
    shutil.rmtree(probe)
    for share in (0, 25, 50, 75, 95):
        ballast = small_disk / "ballast"
        with open(ballast, "wb") as file:
            file.write(bytes(max(0, room(small_disk) - need * share // 100)))
        try:
            writer.write(base, 2)
        except VipersightError as refusal:
            told = all(words in str(refusal) for words in (str(base), "the disk is full", "need ", "have ", "Hint:"))
            tally.count("full disk", "refused" if told else "lost")
            assert told, str(refusal)
        except Exception:
            tally.count("full disk", "lost")
            raise
        else:  # an old file made room for the new one, or the need was less than the probe's
            assert name not in SAME_BYTES or files_of(base) == new, "said to be written"
            tally.count("full disk", "right")
        finally:
            ballast.unlink()
        found = files_of(base)
        if name in SAME_BYTES:
            half = [path for path, content in found.items() if content not in (old.get(path), new.get(path))]
            assert half == [], f"{share} %"
        writer.sound(base)
        assert not [path for path in base.rglob("*") if path.name.startswith(LEFTOVERS)], f"{share} %"
        shutil.rmtree(base)
        writer.write(base, 1)


def test_a_full_disk_names_the_exact_need(small_disk: Path, tally: Tally) -> None:
    ballast = small_disk / "all"
    with open(ballast, "wb") as file:
        file.write(bytes(room(small_disk)))
    try:
        text = tally.refused(
            "full disk",
            lambda: write_text(small_disk / "a.txt", "x" * 1_234_567),
            "a.txt: the disk is full: need 1.2 MB, have ",
        )
        assert "du -sh results/*" in text
    finally:
        ballast.unlink()
    assert not list(small_disk.glob(".writing-*"))


def test_no_more_files_is_told_like_no_more_room(tmp_path: Path, tally: Tally) -> None:
    place = tmp_path / "few"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=4", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount")
    try:
        for number in range(3):
            (place / str(number)).touch()
        tally.refused(
            "full disk", lambda: write_json(place / "a.json", {}), "a.json: the disk is full", "have 0 bytes free"
        )
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_read_only_disk_is_told(tmp_path: Path, tally: Tally) -> None:
    place = tmp_path / "fixed"
    place.mkdir()
    (place / "a.txt").write_text("old")
    words = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root and the right to mount")
    try:
        tally.refused(
            "read-only", lambda: write_text(place / "new/a.txt", "x"), "a.txt: cannot be written (Read-only file system)"
        )
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


# Errors that are not the disk's pass as they are


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a"):
        (tmp_path / "none").read_text(encoding="utf-8")
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "a"):
        1 / 0  # noqa: B018
    with pytest.raises(PermissionError), atomic(tmp_path / "a"):
        raise PermissionError(13, "Permission denied", "/elsewhere/input")
    with pytest.raises(DataError, match="mine"), atomic(tmp_path / "a"):
        raise DataError("mine")
    with pytest.raises(DataError, match=r"the disk is full \(at /elsewhere/x\)"), atomic(tmp_path / "a"):
        raise OSError(28, "No space left on device", "/elsewhere/x")
    assert os.listdir(tmp_path) == []


def test_links_replace_atomically_and_sizes_read_well(tmp_path: Path) -> None:
    write_link(tmp_path / "l", "a")
    write_link(tmp_path / "l", "b")
    assert os.readlink(tmp_path / "l") == "b" and os.listdir(tmp_path) == ["l"]
    assert [sized(value) for value in (0, 999, 1000, 12_345_678, 2.5e12)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "12.3 MB",
        "2.5 TB",
    ]
