"""`datasets:` — where videos and their truth come from, which classes and splits are used. Not here: reading them.

One settings class per format (their readers: lib/data/sources/<format>.py). Formats of temporal grounding are in
download_queries.py, the synthetic world's own settings in world.py, how files are named and fetched in download_files.py.
"""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lib.config.base import Name, Section, nearest, shown
from lib.config.download_files import ARCHIVES as ARCHIVES  # others take these from here
from lib.config.download_files import Downloads as Downloads
from lib.config.download_files import FileEntry as FileEntry
from lib.config.download_files import Files
from lib.config.download_files import archive_stem as archive_stem
from lib.config.download_files import checked_url as checked_url
from lib.config.download_queries import GroundingSource
from lib.config.world import CLASSES as WORLD_CLASSES
from lib.config.world import WorldSource


class CocoSource(Files):
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


class YoloSource(Files):
    """YOLO: a data.yaml with `names` and image folders per split; labels in the sibling `labels` folders."""

    format: Literal["yolo"] = Field(description="YOLO folders.")
    data: str = Field("data.yaml", description="The data.yaml, relative to the root.")


class VocSource(Files):
    """Pascal VOC: one XML per image, lists of names per split."""

    format: Literal["voc"] = Field(description="Pascal VOC.")
    annotations: str = Field("Annotations", description="Folder of the XML files, relative to the root.")
    images: str = Field("JPEGImages", description="Folder of the images, relative to the root.")
    imagesets: str = Field("ImageSets", description="Folder that holds Main/<split>.txt, relative to the root.")
    sets: list[Name] = Field(
        ["train", "val", "test"], min_length=1, description="Lists read as splits; absent ones are none."
    )


class MotSource(Files):
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


class FolderSource(Files):
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
    CocoSource | YoloSource | VocSource | MotSource | GroundingSource | FolderSource | WorldSource,
    Field(discriminator="format"),
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
