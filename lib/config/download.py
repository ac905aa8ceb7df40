"""`datasets:` — where videos and their truth come from, which classes and splits are used. Not here: reading them.

One settings class per format (their readers: lib/data/sources/<format>.py); the synthetic world's own settings are in
lib/config/world.py.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lib.config.base import Name, Section, SiteSection, nearest, shown
from lib.config.world import CLASSES as WORLD_CLASSES
from lib.config.world import WorldSource

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


class _Files(Section):
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
    def _one_origin(self) -> _Files:
        if (self.root is None) == (self.files is None):
            stated = "both" if self.root is not None else "neither"
            raise ValueError(f"state exactly one of `root` (a local folder) and `files` (downloads); stated: {stated}")
        return self


class CocoSource(_Files):
    """COCO JSON (images with boxes, polygons or RLE masks) and CocoVID (`videos`, frame index, track ids)."""

    format: Literal["coco"] = Field(description="COCO JSON.")
    annotations: dict[Name, str] = Field(min_length=1, description="Split -> annotation JSON, relative to the root.")
    images: dict[Name, str] | str = Field(
        "", description="Folder that `file_name` of images is relative to: one for all, or split -> folder."
    )
    videos: dict[Name, str] | str = Field(
        "", description="Folder that `file_name` of `videos` is relative to: one for all, or split -> folder."
    )
    fps: float = Field(25.0, gt=0, description="Frames/s of frame folders whose `videos` entry states no `fps`.")
    language: dict[Name, str] = Field(
        {}, description="Split -> language JSON with queries, relations, captions and questions, relative to the root."
    )

    @model_validator(mode="after")
    def _known_splits(self) -> CocoSource:
        unknown = sorted(set(self.language) - set(self.annotations))
        if unknown:
            raise ValueError(
                f"language: {unknown[0]!r} is not among the splits of `annotations` {sorted(self.annotations)}"
            )
        return self

    @model_validator(mode="after")
    def _folders_of_all(self) -> CocoSource:
        for key in ("images", "videos"):
            folders = getattr(self, key)
            if isinstance(folders, dict) and set(folders) != set(self.annotations):
                raise ValueError(
                    f"{key}: must name the splits of `annotations` {sorted(self.annotations)}, got {sorted(folders)}"
                )
        return self


class YoloSource(_Files):
    """YOLO: a data.yaml with `names` and image folders per split; labels in the sibling `labels` folders."""

    format: Literal["yolo"] = Field(description="YOLO folders.")
    data: str = Field("data.yaml", description="The data.yaml, relative to the root.")


class VocSource(_Files):
    """Pascal VOC: one XML per image, lists of names per split."""

    format: Literal["voc"] = Field(description="Pascal VOC.")
    annotations: str = Field("Annotations", description="Folder of the XML files, relative to the root.")
    images: str = Field("JPEGImages", description="Folder of the images, relative to the root.")
    imagesets: str = Field("ImageSets", description="Folder that holds Main/<split>.txt, relative to the root.")
    sets: list[Name] = Field(
        ["train", "val", "test"], min_length=1, description="Lists read as splits; absent ones are none."
    )


class MotSource(_Files):
    """MOTChallenge: per sequence a folder with seqinfo.ini, gt/gt.txt, det/det.txt and, if present, the frames in img1/."""

    format: Literal["mot"] = Field(description="MOTChallenge.")
    sequences: dict[str, str] = Field(min_length=1, description="Sequence name -> its folder, relative to the root.")
    detections: dict[str, str] = Field(
        {}, description="Sequence name -> file of given detections, where it is not det/det.txt of the sequence."
    )
    split: Name = Field("test", description="Split of all sequences, unless the dataset draws its own `splits`.")
    fps: float = Field(25.0, gt=0, description="Frames/s of sequences whose seqinfo.ini states no frameRate.")

    @model_validator(mode="after")
    def _known_sequences(self) -> MotSource:
        unknown = sorted(set(self.detections) - set(self.sequences))
        if unknown:
            raise ValueError(f"detections: {unknown[0]!r} is not among the sequences {sorted(self.sequences)}")
        return self


class FolderSource(_Files):
    """Videos and images found by glob patterns, without any truth."""

    format: Literal["folder"] = Field(description="Plain files without truth.")
    patterns: list[str] = Field(
        ["**/*"], min_length=1, description="Glob patterns below the root; other suffixes are skipped."
    )
    split: Name = Field("test", description="Split of all files, unless the dataset draws its own `splits`.")

    @field_validator("patterns")
    @classmethod
    def _inside(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            if not pattern or PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
                raise ValueError(f"patterns must stay below the root, without leading `/` or `..`; got {pattern!r}")
        return patterns


AnySource = Annotated[
    CocoSource | YoloSource | VocSource | MotSource | FolderSource | WorldSource, Field(discriminator="format")
]


class Dataset(Section):
    """One dataset: a source, the classes taken from it, and its splits by video."""

    source: AnySource = Field(description="Format and place of the data.")
    classes: list[str] | dict[str, list[str]] | None = Field(
        None,
        description="Classes in the order that models use: null = all of the source; a list = these; "
        "new name -> list of source names = choose, rename and merge.",
    )
    splits: Literal["source"] | dict[Name, list[str] | float] = Field(
        "source",
        description="`source` = as the source states; split -> glob patterns on original names; or split -> fraction of "
        "the videos, drawn by a hash of the original name. Videos in no split are left out and counted.",
    )
    split_seed: int = Field(0, ge=0, description="With fractions: another seed draws another division.")
    chunks: int = Field(
        1, ge=1, description="Jobs that detection, tracking and features are cut into; more = more in parallel."
    )
    on_missing: Literal["fail", "skip"] = Field(
        "fail", description="A file that is missing or broken: stop, or leave it out and count it in quality.csv."
    )
    on_damaged: Literal["keep", "skip", "fail"] = Field(
        "keep",
        description="A video that is cut or damaged inside: keep what comes before the damage (with a warning, and "
        "frames_lost in quality.csv), leave the video out and count it there, or stop.",
    )
    check: Literal["frames", "headers"] = Field(
        "frames",
        description="How media are looked at once: decode every frame, which finds damage inside; or read headers and "
        "count packets only, where decoding everything takes too long: damage then stops the stage that meets it.",
    )
    stream: int | None = Field(
        None, ge=0, description="Index of the video stream in files with several; null = the default one."
    )
    labelled: Literal["listed", "all"] = Field(
        "listed",
        description="Frames counted as looked at by an annotator: those that the source lists, or `all` of a video that "
        "has any (so that the others are background).",
    )
    clip: bool = Field(
        True,
        description="true = true boxes and tracks are cut at the picture's edges, as models need. false = they stay as "
        "stated: MOTChallenge's reach beyond the edge, and its scores count on that.",
    )
    licence: str | None = shown(None, "Licence of the data, for people.")
    description: str | None = shown(None, "What the data is, for people.")

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str] | dict[str, list[str]] | None) -> list[str] | dict[str, list[str]] | None:
        if classes is None:
            return None
        if not classes:
            raise ValueError("classes must name at least one class; null means all of the source")
        names = list(classes) if isinstance(classes, list) else [name for group in classes.values() for name in group]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"classes: {twice[0]!r} is stated twice; a source class can become one class only")
        hollow = [name for name in classes if not name or (isinstance(classes, dict) and not classes[name])]
        if hollow:
            raise ValueError(f"classes: {hollow[0]!r} needs a name and at least one source class")
        return classes

    @property
    def known_classes(self) -> tuple[str, ...] | None:
        """The classes that later stages know, where settings say so: stated ones, or the world's. None = the files say."""
        if self.classes is not None:
            return tuple(self.classes)
        return WORLD_CLASSES if isinstance(self.source, WorldSource) else None

    @model_validator(mode="after")
    def _classes_of_the_world(self) -> Dataset:
        """Other sources name their classes in files; a stated class that they lack is refused when these are read."""
        if self.classes is None or not isinstance(self.source, WorldSource):
            return self
        groups = self.classes.values() if isinstance(self.classes, dict) else [self.classes]
        for name in (name for group in groups for name in group):
            if name not in WORLD_CLASSES:
                raise ValueError(f"classes: {name!r} is not a class of the world. {nearest(name, WORLD_CLASSES)}")
        return self

    @field_validator("splits")
    @classmethod
    def _one_kind(cls, splits: str | dict[str, list[str] | float]) -> str | dict[str, list[str] | float]:
        if isinstance(splits, str):
            return splits
        shares = [value for value in splits.values() if not isinstance(value, list)]
        if not splits or (shares and len(shares) != len(splits)):
            raise ValueError("splits must give every split glob patterns, or every split a fraction; not a mixture")
        if any(not math.isfinite(share) or not 0 < share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:
            raise ValueError(f"splits: fractions must each exceed 0 and sum to at most 1, got {shares}")
        return splits
