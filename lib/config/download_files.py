"""How a dataset names its files: a local folder, or a table of downloads with archives; and how this site fetches them.

Not here: formats (download.py, download_queries.py) and the fetching itself (lib/data/fetch.py).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lib.config.base import Section, SiteSection, shown

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_SECRET = re.compile(
    r"[?&;](?:[\w-]*(?:token|signature|credential|secret|password|passwd|api[_-]?key)|sig|pwd|auth)=(?!\$)[^&;]",
    re.IGNORECASE,
)


def archive_stem(path: str) -> str | None:
    """The path of an archive without its suffix, None when it has none of ARCHIVES."""
    suffix = next((one for one in sorted(ARCHIVES, key=len, reverse=True) if path.lower().endswith(one)), "")
    stem = path[: -len(suffix)] if suffix else ""
    return stem if PurePosixPath(stem).name.strip(".") and not stem.endswith("/") else None


def checked_url(url: str) -> str:
    """The address, when it is one of the web and holds no secret (settings are shown, recorded and shared)."""
    if not re.match(r"https?://[^/]", url) or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(f"url must start with https:// or http:// and hold no space, got {url!r}")
    if "@" in url.split("/")[2] or _SECRET.search(url):
        bare = re.sub(r"//[^/@]*@", "//", url.partition("?")[0])
        text = f"the address of {bare} holds a secret. Hint: name an environment variable in its place: ?token=$MY_TOKEN"
        raise PydanticCustomError("secret", "{text}", {"text": text})
    return url


class FileEntry(Section):
    """One file to fetch: where it goes below the dataset's raw folder, from where, and what it must be."""

    path: str = Field(description="Place below the dataset's raw folder, with `/`; no `..`.")
    url: str = Field(description="http(s) address. The folder named by VIPERSIGHT_MIRROR is looked into first.")
    sha256: str = Field(description="Expected sha256, 64 lower-case hexadecimal digits.")
    bytes: int | None = Field(None, ge=0, description="Expected size in bytes; a longer download is stopped at once.")

    extract: bool = Field(
        False,
        description="The file is an archive (zip, tar, tar.gz, tar.bz2, tar.xz, tar.zst): its regular files are unpacked "
        "into a folder beside it, called like it without the suffix.",
    )

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
            raise ValueError(f"path must stay below the raw folder, without leading `/`, `..` or `\\`; got {path!r}")
        return path

    @field_validator("url")
    @classmethod
    def _web(cls, url: str) -> str:
        return checked_url(url)

    @field_validator("sha256")
    @classmethod
    def _digits(cls, text: str) -> str:
        if not re.fullmatch(r"[0-9a-f]{64}", text):
            raise ValueError(f"sha256 must be 64 lower-case hexadecimal digits, got {text!r}")
        return text

    @model_validator(mode="after")
    def _is_archive(self) -> FileEntry:
        if self.extract and archive_stem(self.path) is None:
            raise ValueError(f"extract: {self.path!r} is no known archive; known suffixes: {', '.join(ARCHIVES)}")
        return self


class Downloads(SiteSection):
    """How files are fetched on this site; never part of a result's identity."""

    VARIABLE, PLACE = "VIPERSIGHT_DOWNLOADS", "downloads"

    max_gb: float = shown(100.0, "GB: a file that is or claims to be larger is refused.", gt=0)
    stall_s: float = shown(
        60.0, "Seconds without a byte (or at under 100 bytes/s) after which a connection is dropped.", gt=0
    )
    tries: int = shown(
        5, "Tries in a row that bring nothing before a file is given up; ones that bring bytes do not count.", ge=1
    )
    pause_s: float = shown(1.0, "Seconds before the second try; doubles with each, up to a minute.", gt=0)
    max_unpacked_gb: float = shown(500.0, "GB: an archive that unpacks to more is refused.", gt=0)
    max_unpacked_files: int = shown(2_000_000, "An archive with more members is refused.", ge=1)


class Files(Section):
    """Where the files of a source are: a local folder (`root`) or a table of downloads (`files`), exactly one of both."""

    follow_links: bool = Field(
        False, description="Accept links below `root` that lead out of it; else such files count as missing, by name."
    )
    root: str | None = Field(
        None,
        description="Local folder, referenced and not copied; relative to the working directory; $VARIABLES are filled in.",
    )
    files: str | list[FileEntry] | None = Field(
        None,
        description="Downloads: a csv table with columns path,url,sha256,bytes (relative to config/), or a list of them.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Files:
        if (self.root is None) == (self.files is None):
            stated = "both" if self.root is not None else "neither"
            raise ValueError(f"state exactly one of `root` (a local folder) and `files` (downloads); stated: {stated}")
        return self
