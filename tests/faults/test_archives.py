"""Hostile archives: each is refused by name with nothing left on the disk, honest ones unpack byte for byte.

Reference: what these tests packed themselves, and a folder beside the target that must stay empty.
"""

from __future__ import annotations

import hashlib
import io
import os
import resource
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lib.config.download import ARCHIVES, Downloads, FileEntry
from lib.data.archives import unpack
from lib.data.fetch import fetch
from lib.files import DataError, sha256_file
from tests.faults.counts import Tally

KIND = "archives"
LIMITS = Downloads(max_unpacked_gb=0.3, max_unpacked_files=1000)
GOOD = {"a.txt": b"a" * 10, "deep/er/b.bin": bytes(range(256)) * 500, "naïve ü 名.txt": b"", "with space/.hidden": b"h"}


def tarred(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return path


def member(name: str, content: bytes = b"x", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def good(path: Path) -> Path:
    """GOOD packed in the way that the suffix of `path` says."""
    name = path.name
    if name.endswith(".zip"):
        return zipped(path, *GOOD.items())
    if name.endswith(("zst",)):
        plain = good(path.with_name("plain.tar"))
        with pa.output_stream(str(path), compression="zstd") as out:
            out.write(plain.read_bytes())
        plain.unlink()
        return path
    modes = {"gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}
    mode = next((mode for end, mode in modes.items() if name.endswith(end)), "w")
    mode = {".tgz": "w:gz", ".tbz2": "w:bz2", ".txz": "w:xz"}.get(path.suffix, mode)
    folder = member("deep", b"", type=tarfile.DIRTYPE)
    return tarred(path, folder, *(member(*entry) for entry in GOOD.items()), mode=mode)


def unpacked(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".archive.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("suffix", ARCHIVES)
def test_honest_archives_unpack_byte_for_byte_and_once(tmp_path: Path, tally: Tally, suffix: str) -> None:
    archive = good(tmp_path / f"set{suffix}")
    folder = unpack(archive, sha256_file(archive), LIMITS)
    tally.right(KIND, folder == tmp_path / "set" and unpacked(folder) == GOOD)
    assert stat.S_IMODE((folder / "a.txt").stat().st_mode) & 0o111 == 0
    before = (folder / "a.txt").stat().st_ino
    unpack(archive, sha256_file(archive), LIMITS)
    assert (folder / "a.txt").stat().st_ino == before, "what stands whole is not unpacked again"
    (folder / "a.txt").write_bytes(b"short")
    unpack(archive, sha256_file(archive), LIMITS)
    tally.right(KIND, unpacked(folder) == GOOD, "a damaged file is unpacked again")


def test_an_archive_of_a_source_is_fetched_checked_and_unpacked(tmp_path: Path, tally: Tally) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    archive = good(mirror / "set.tar.gz")
    values = {"path": "x/set.tar.gz", "url": "https://example.org/set.tar.gz", "extract": True}
    entry = FileEntry.model_validate(values | {"sha256": sha256_file(archive)})
    common = {"mirror": mirror, "on_missing": "fail", "workers": 1, "status_file": tmp_path / "s.json", "limits": LIMITS}
    fetch([entry], tmp_path / "raw", **common)
    tally.right(KIND, unpacked(tmp_path / "raw/x/set") == GOOD)
    with pytest.raises(ValueError, match=r"extract: 'x/set\.bin' is no known archive"):
        FileEntry.model_validate(values | {"path": "x/set.bin", "sha256": "0" * 64})


# One hostile member beside a good one, in zip and in tar

NAMES = {
    "../out.txt": "leads out of the folder",
    "a/../../out.txt": "leads out of the folder",
    "a/..": "leads out of the folder",
    "/tmp/out.txt": "must be relative",
    "//host/share/out.txt": "must be relative",
    "C:/out.txt": "must be relative",
    "c:out.txt": "must be relative",
    "\\out.txt": "must be relative",
    "a\\..\\..\\out.txt": "must be relative",
    "a//b.txt": "leads out of the folder",
    "new\nline.txt": "do not print",
    "bell\x07.txt": "do not print",
    "gpj.\u202eexe": "turn the direction",
    "x" * 256: "too long or too deep",
    "d/" * 40 + "f": "too long or too deep",
    "/".join(["y" * 200] * 6): "too long or too deep",
    ".archive.json": "this name is taken",
}
PAIRS = [
    ("same.txt", "same.txt"),
    ("Case.txt", "case.txt"),
    ("CASE/a.txt", "case/b.txt"),
    ("caf\u00e9.txt", "cafe\u0301.txt"),
    ("stra\u00dfe.txt", "STRASSE.txt"),
    ("zero\u200bwidth.txt", "zerowidth.txt"),
    ("dot.txt.", "dot.txt"),
    ("a.txt", "a.txt/b.txt"),
    ("a/b", "a"),
    ("\uff41.txt", "a.txt"),
]


def refused(tally: Tally, archive: Path, *says: str, kind: str = KIND, limits: Downloads = LIMITS) -> None:
    """Unpacking must be refused, naming the archive, and leave nothing behind: neither folder nor temporary ones."""
    before = sorted(path for path in archive.parent.parent.rglob("*"))
    tally.refused(kind, lambda: unpack(archive, sha256_file(archive), limits), str(archive), *says)
    assert sorted(path for path in archive.parent.parent.rglob("*")) == before, "nothing is left"


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A folder with a neighbour, so that what leaks out is seen."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "neighbour").mkdir()
    return tmp_path / "inner"


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere_are_refused(box: Path, tally: Tally, name: str) -> None:
    refused(tally, tarred(box / "t.tar", member("good.txt"), member(name)), NAMES[name])
    raw = zipfile.ZipInfo("good")
    raw.filename = raw.orig_filename = name
    refused(tally, zipped(box / "z.zip", ("good.txt", b"x"), (raw, b"x")))


@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(box: Path, tally: Tally, pair: tuple[str, str]) -> None:
    refused(tally, tarred(box / "t.tar", *(member(name) for name in pair)), "member")
    refused(tally, zipped(box / "z.zip", *((name, b"x") for name in pair)), "member")


TYPES = {
    "symbolic link": (tarfile.SYMTYPE, "is a link (to '/etc')"),
    "hard link": (tarfile.LNKTYPE, "is a link (to '/etc')"),
    "pipe": (tarfile.FIFOTYPE, "is a device, a pipe"),
    "block device": (tarfile.BLKTYPE, "is a device, a pipe"),
    "character device": (tarfile.CHRTYPE, "is a device, a pipe"),
    "sparse file": (tarfile.GNUTYPE_SPARSE, ""),
}


@pytest.mark.parametrize("kind", TYPES)
def test_only_regular_files_leave_a_tar(box: Path, tally: Tally, kind: str) -> None:
    code, says = TYPES[kind]
    refused(tally, tarred(box / "t.tar", member("l", b"", type=code, linkname="/etc"), member("l/passwd")), says)


def test_a_link_chain_to_the_outside_is_refused(box: Path, tally: Tally) -> None:
    """CVE-2026-11940's shape: a hard link to a symbolic link, then a file through it."""
    chain = [
        member("a", b"", type=tarfile.SYMTYPE, linkname="../neighbour"),
        member("b", b"", type=tarfile.LNKTYPE, linkname="a"),
        member("b/out.txt"),
    ]
    refused(tally, tarred(box / "t.tar", *chain), "is a link")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
def test_only_regular_files_leave_a_zip(box: Path, tally: Tally, kind: int) -> None:
    info = zipfile.ZipInfo("l")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    refused(tally, zipped(box / "z.zip", ("a", b"x"), (info, b"/etc/passwd")), "member 'l'")


# Bombs and lies


def test_bombs_are_stopped_at_their_limits(box: Path, tally: Tally) -> None:
    zeros = bytes(280 << 20)
    small = Downloads(max_unpacked_gb=0.01)
    for archive in (zipped(box / "z.zip", ("zeros", zeros)), tarred(box / "t.tar.gz", member("zeros", zeros), mode="w:gz")):
        refused(tally, archive, "300 times its own size: a bomb", limits=Downloads())
        refused(tally, archive, limits=small)
        archive.unlink()
    many = zipped(box / "many.zip", *((f"{number}", b"") for number in range(1001)))
    refused(tally, many, "members")
    refused(tally, tarred(box / "many.tar", *(member(f"{number}", b"") for number in range(1001))), "1,000 members")


def test_archives_inside_archives_stay_packed(box: Path, tally: Tally) -> None:
    inner = zipped(box / "inner.zip", ("zeros", bytes(50 << 20)))
    content = inner.read_bytes()
    inner.unlink()
    archive = zipped(box / "outer.zip", ("inner.zip", content))
    tally.right(KIND, unpacked(unpack(archive, sha256_file(archive), LIMITS)) == {"inner.zip": content})


def test_members_that_lie_over_each_other_are_refused(box: Path, tally: Tally) -> None:
    """Fifield's bomb: many directory entries point at one compressed block."""
    archive = zipped(box / "z.zip", ("a", os.urandom(2000)))
    content = archive.read_bytes()
    at = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[at:end]
    entries = b"".join(entry[:46] + name + entry[47:] for name in (b"a", b"b", b"c"))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, len(entries), at, 0)
    archive.write_bytes(content[:at] + entries + tail)
    refused(tally, archive)


LIES: dict[str, Callable[[bytearray, int, int], None]] = {
    "a size that is too small": lambda c, head, entry: struct.pack_into("<L", c, entry + 24, 10),
    "a size that is too large": lambda c, head, entry: struct.pack_into("<L", c, entry + 24, 10_000_000),
    "a packed size beyond the file": lambda c, head, entry: struct.pack_into("<L", c, entry + 20, 1 << 30),
    "another checksum": lambda c, head, entry: struct.pack_into("<L", c, entry + 16, 1),
    "an offset beyond the file": lambda c, head, entry: struct.pack_into("<L", c, entry + 42, 1 << 30),
    "encrypted": lambda c, head, entry: struct.pack_into("<H", c, entry + 8, 1),
    "an unknown compression": lambda c, head, entry: struct.pack_into("<H", c, entry + 10, 77),
    "another name at its place": lambda c, head, entry: c.__setitem__(slice(head + 30, head + 33), b"yyy"),
    "flipped content": lambda c, head, entry: c.__setitem__(head + 60, c[head + 60] ^ 255),
    "no directory": lambda c, head, entry: c.__delitem__(slice(entry, None)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_zip_that_lies_is_refused(box: Path, tally: Tally, lie: str) -> None:
    archive = zipped(box / "z.zip", ("xxx", bytes(range(256)) * 200))
    content = bytearray(archive.read_bytes())
    LIES[lie](content, content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02"))
    archive.write_bytes(bytes(content))
    refused(tally, archive)


def test_a_name_cut_by_a_zero_byte_is_refused(box: Path, tally: Tally) -> None:
    archive = zipped(box / "z.zip", ("good.txt~../../x", b"x"))
    archive.write_bytes(archive.read_bytes().replace(b"good.txt~", b"good.txt\0"))
    refused(tally, archive)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7])
def test_cut_archives_are_refused(box: Path, tally: Tally, suffix: str, share: float) -> None:
    archive = good(box / f"set{suffix}")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    refused(tally, archive)


def test_a_page_or_another_file_is_no_archive(box: Path, tally: Tally) -> None:
    for name in ("a.zip", "a.tar", "a.tar.gz", "a.tar.zst", "a.tar.xz"):
        (box / name).write_bytes(b"<html><body>login</body></html>" * 100)
        refused(tally, box / name)


def test_a_giant_header_does_not_fill_the_memory(box: Path, tally: Tally) -> None:
    """A PAX header of 200 MB, a few kB when packed: tarfile alone would read it whole."""
    info = tarfile.TarInfo("./PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 200 << 20
    head = info.tobuf(tarfile.USTAR_FORMAT)
    import gzip

    with gzip.open(box / "t.tar.gz", "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(200):
            file.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tally, box / "t.tar.gz", "holds a header of 209,715,200 bytes")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB"


@pytest.mark.parametrize(
    "records", [{"size": "99999999999999"}, {"size": "-1"}, {"path": "../out.txt"}, {"linkpath": "x"}, {"path": ""}]
)
def test_pax_records_that_lie(box: Path, tally: Tally, records: dict[str, str]) -> None:
    archive = tarred(box / "t.tar", member("a.txt", b"x" * 10, pax_headers=records), member("b.txt"))
    if records == {"linkpath": "x"}:  # means nothing for a regular file
        tally.right(KIND, set(unpacked(unpack(archive, sha256_file(archive), LIMITS))) == {"a.txt", "b.txt"})
    else:
        refused(tally, archive)


def test_a_folder_in_the_way_is_not_replaced(box: Path, tally: Tally) -> None:
    archive = good(box / "set.zip")
    (box / "set").mkdir()
    (box / "set" / "mine.txt").write_text("precious")
    tally.refused(KIND, lambda: unpack(archive, sha256_file(archive), LIMITS), "is in the way")
    (box / "set" / "mine.txt").unlink()
    (box / "set").rmdir()
    (box / "set").symlink_to(box.parent / "neighbour")
    tally.refused(KIND, lambda: unpack(archive, sha256_file(archive), LIMITS), "is in the way")
    assert not list((box.parent / "neighbour").iterdir())


def test_another_version_replaces_the_folder_whole_or_not_at_all(box: Path, tally: Tally) -> None:
    archive = zipped(box / "set.zip", ("old.txt", b"old"))
    unpack(archive, sha256_file(archive), LIMITS)
    zipped(archive, ("new.txt", b"new"), ("../out", b"x"))
    with pytest.raises(DataError):
        unpack(archive, sha256_file(archive), LIMITS)
    tally.right(KIND, unpacked(box / "set") == {"old.txt": b"old"}, "the old one stands")
    zipped(archive, ("new.txt", b"new"))
    unpack(archive, hashlib.sha256(archive.read_bytes()).hexdigest(), LIMITS)
    tally.right(KIND, unpacked(box / "set") == {"new.txt": b"new"})
