"""Unpacking an archive member by member: regular files under plain names, all or none. Not here: fetching it (fetch.py).

An archive is a stranger's word about names and sizes, so nothing of it is believed: names must stay inside, be printable
and differ also where capitals do not count; links, devices and encrypted members are refused; sizes are counted while
unpacking. Archives inside archives stay as they are. The new folder gets its name when all of it stands.
"""

from __future__ import annotations

import json
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lib.config.download import Downloads, archive_stem
from lib.files import EXTRACTING, DataError, disk_errors, sized, write_json

RECORD = ".archive.json"
_BLOCK = 1 << 20
_RATIO = 300
_RATIO_FROM = 256 << 20
"""An archive may unpack to 256 MiB whatever its size, to more only up to 300 times its own size (deflate's limit is 1,032;
text labels reach some 30)."""
_LONGEST_NAME, _LONGEST_PATH, _DEEPEST = 255, 1024, 32
_LONGEST_HEADER = 1 << 16
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Letters that make a name read otherwise than it is; right-to-left scripts themselves are fine."""
_HINT = "Hint: unpack it by hand where you trust it, and name the folder as `root`."


@dataclass
class _Limits:
    """What one archive may grow to, and what it has grown to: bytes, members."""

    archive_bytes: int
    most_bytes: float
    most_members: int
    bytes: int = 0
    members: int = 0

    def count_member(self) -> None:
        self.members += 1
        if self.members > self.most_members:
            raise _Refused(f"holds more than {self.most_members:,} members (`downloads.max_unpacked_files`)")

    def count_bytes(self, amount: int) -> None:
        self.bytes += amount
        if self.bytes > self.most_bytes:
            raise _Refused(f"unpacks to more than {sized(self.most_bytes)} (`downloads.max_unpacked_gb`)")
        if self.bytes > max(_RATIO_FROM, _RATIO * self.archive_bytes):
            raise _Refused(f"unpacks to more than {_RATIO} times its own size: a bomb")


class _Refused(Exception):
    """Why an archive is refused."""


@dataclass
class _Names:
    """The names that were taken so far, compared as disks do that ignore capitals and forms of accents."""

    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, *, folder: bool) -> str:
        """The name as a relative path, when nothing speaks against it."""
        parts = _parts(name)
        for depth in range(1, len(parts) + (1 if folder else 0)):
            upper = "/".join(parts[:depth])
            taken = self.folders.setdefault(_folded(upper), upper)
            if taken != upper or _folded(upper) in self.files:
                raise _Refused(f"member {name!r} and {taken!r} are one name where capitals or accents do not count")
        path = "/".join(parts)
        if not folder:
            key = _folded(path)
            if key in self.files or key in self.folders:
                raise _Refused(f"member {name!r} stands twice (also {self.files.get(key) or self.folders[key]!r})")
            self.files[key] = path
        return path


def _folded(path: str) -> str:
    """A path as the least careful disk or reader sees it: without case, forms of accents, invisible letters, last dots."""
    visible = "".join(letter for letter in path if unicodedata.category(letter) != "Cf")
    return "/".join(part.rstrip(" .") for part in unicodedata.normalize("NFKC", visible).casefold().split("/"))


def _parts(name: str) -> list[str]:
    """The parts of a member's name; _Refused for anything but a plain relative path."""
    if not name or name.startswith(("/", "\\")) or "\\" in name or (name[0].isalpha() and name[1:2] == ":"):
        raise _Refused(f"member {name!r}: names must be relative, with `/` between folders")
    parts = [part for part in name.rstrip("/").split("/") if part != "."]
    if not parts or "" in parts or ".." in parts:
        raise _Refused(f"member {name!r} leads out of the folder")
    if any(unicodedata.category(letter) in ("Cc", "Cs") or letter in _TURNING for letter in name):
        raise _Refused(f"member {name!r} holds letters that do not print or that turn the direction, or is not UTF-8")
    longest = max(len(part.encode()) for part in parts)
    if longest > _LONGEST_NAME or len(name.encode()) > _LONGEST_PATH or len(parts) > _DEEPEST:
        raise _Refused(f"member {name[:60]!r}…: the name is too long or too deep")
    if parts[0] == RECORD:
        raise _Refused(f"member {name!r}: this name is taken")
    return parts


def unpacked_folder(archive: Path) -> Path:
    """Where an archive is unpacked: beside it, under its name without the suffix."""
    stem = archive_stem(archive.name)
    if stem is None:
        raise DataError(f"{archive}: no known archive.")
    return archive.with_name(stem)


def unpack(archive: Path, sha256: str, limits: Downloads) -> Path:
    """Unpack an archive whose sha256 was checked; returns the folder. What was unpacked before and is whole stays.

    DataError: a member that is refused (named, why), a damaged archive, a full disk; then the folder is as before.
    """
    target = unpacked_folder(archive)
    if _is_whole(target, sha256):
        return target
    if target.is_symlink() or (target.exists() and not (target / RECORD).is_file()):
        raise DataError(f"{target}: is in the way of unpacking {archive.name}. Hint: move it away.")
    counted = _Limits(archive.stat().st_size, limits.max_unpacked_gb * 1e9, limits.max_unpacked_files)
    with disk_errors(target):
        temporary = Path(tempfile.mkdtemp(prefix=EXTRACTING, dir=target.parent))
    try:
        with disk_errors(target, written=temporary), _told(archive):
            sizes = _unpack_into(archive, temporary, counted)
        write_json(temporary / RECORD, {"sha256": sha256, "files": sizes})
        with disk_errors(target):
            temporary.chmod(0o755)
            _replace_folder(target, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _replace_folder(target: Path, new: Path) -> None:
    """Give `new` the name `target`; an older folder of that name (another version, or a damaged one) goes after it."""
    if not target.exists():
        new.rename(target)
        return
    old = Path(f"{new}-old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _is_whole(target: Path, sha256: str) -> bool:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record: dict[str, Any] = json.loads((target / RECORD).read_text(encoding="utf-8"))
        if record["sha256"] != sha256:
            return False
        return all(_has_size(target / name, size) for name, size in record["files"].items())
    return False


def _has_size(path: Path, size: int) -> bool:
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_size == size


@contextmanager
def _told(archive: Path) -> Iterator[None]:
    """Refusals and damage inside the block, as a DataError about the archive."""
    try:
        yield
    except _Refused as error:
        raise DataError(f"{archive}: refused, the archive {error}. {_HINT}") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        raise DataError(f"{archive}: damaged or no archive of its kind ({type(error).__name__}: {error}).") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own
        raise DataError(f"{archive}: damaged ({type(error).__name__}: {error}).") from error  # zlib, lzma, zstd: own errors


def _unpack_into(archive: Path, folder: Path, limits: _Limits) -> dict[str, int]:
    """Unpack every member below `folder`; returns name -> size in bytes."""
    sizes: dict[str, int] = {}
    names = _Names()
    members = _zip_members(archive, limits) if archive.name.lower().endswith(".zip") else _tar_members(archive, limits)
    for name, content, stated in members:
        limits.count_member()
        path = names.take(name, folder=content is None)
        place = folder / path
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            sizes[path] = _write(content, place, limits)
            if sizes[path] != stated:
                raise _Refused(f"member {name!r} states {stated:,} bytes and holds {sizes[path]:,}")
    if not sizes:
        raise _Refused("holds no file")
    return sizes


def _write(content: IO[bytes], place: Path, limits: _Limits) -> int:
    size = 0
    with open(place, "xb") as file:
        while block := content.read(_BLOCK):
            limits.count_bytes(len(block))
            file.write(block)
            size += len(block)
    return size


# Zip


def _zip_members(archive: Path, limits: _Limits) -> Iterator[tuple[str, IO[bytes] | None, int]]:
    """(name, content or None for a folder, stated size in bytes) of each member of a zip archive."""
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        if len(members) > limits.most_members:
            raise _Refused(f"holds {len(members):,} members, allowed are {limits.most_members:,}")
        if sum(member.compress_size for member in members) > limits.archive_bytes:
            raise _Refused("holds members that lie over each other")
        for member in members:
            _check_zip_member(member)
            if member.is_dir():
                yield member.filename, None, 0
            else:
                with file.open(member) as content:
                    yield member.filename, content, member.file_size


def _check_zip_member(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.flag_bits & 0x1:
        raise _Refused(f"member {member.filename!r} is encrypted")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _Refused(f"member {member.filename!r} is a link or a device, not a file")
    if (kind == stat.S_IFDIR) != member.is_dir() and kind != 0:
        raise _Refused(f"member {member.filename!r} says that it is a folder and a file")
    if member.orig_filename != member.filename:
        raise _Refused(f"member {member.orig_filename!r} has a name that is cut by a zero byte or written with `\\`")


# Tar


class _Member(tarfile.TarInfo):
    """A member whose long headers are limited: tarfile reads them whole into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        long = (
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )
        if self.type in long and self.size > _LONGEST_HEADER:
            raise _Refused(f"holds a header of {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


def _tar_members(archive: Path, limits: _Limits) -> Iterator[tuple[str, IO[bytes] | None, int]]:
    """(name, content or None for a folder, stated size in bytes) of each member of a tar archive, read as a stream."""
    with _tar_stream(archive) as file:
        for member in file:
            if member.islnk() or member.issym():
                raise _Refused(f"member {member.name!r} is a link (to {member.linkname!r})")
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise _Refused(f"member {member.name!r} is a device, a pipe or a sparse file, not a plain one")
            if member.size < 0 or member.size > limits.most_bytes:
                raise _Refused(f"member {member.name!r} claims {member.size:,} bytes")
            if member.isdir():
                yield member.name, None, 0
                continue
            content = file.extractfile(member)
            if content is None:
                raise _Refused(f"member {member.name!r} has no content")
            yield member.name, content, member.size


@contextmanager
def _tar_stream(archive: Path) -> Iterator[tarfile.TarFile]:
    if archive.name.lower().endswith((".zst", ".tzst")):
        import pyarrow as pa  # the standard library of this Python knows no zstd

        with (
            pa.input_stream(str(archive), compression="zstd") as plain,
            tarfile.open(fileobj=plain, mode="r|", tarinfo=_Member) as file,
        ):
            yield file
        return
    with tarfile.open(archive, mode="r|*", tarinfo=_Member) as file:
        yield file
