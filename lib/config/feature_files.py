"""Features that stand already, one file per clip or query, in place of an encoder. Not here: reading them
(lib/data/feature_files.py), encoders that compute features."""

from __future__ import annotations

import string
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, field_validator, model_validator

from lib.config.base import Name, Section, shown
from lib.files import folder_digest

SUFFIXES = (".npy", ".pt", ".pth", ".csv", ".safetensors")
PLACES = {"video": ("video", "original", "stem"), "text": ("query",)}
"""What features are of -> what file names may be made from."""


class FeatureFiles(Section):
    """Feature matrices of a folder of this site, [steps, width] per clip or [tokens, width] per query.

    Where the folder lies is no part of a result (`paths.features`, VIPERSIGHT_FEATURES); what its files hold is.
    """

    kind: Literal["files"] = Field(description="Features that stand already.")
    folder: str = Field(description="Folder below `paths.features` (without one: below the working directory); no `..`.")
    files: str = Field(
        "{stem}.npy",
        description="Name of one file below `folder`: .npy, .pt, .pth, .csv or .safetensors. Of clips: {video} = our id, "
        "{original} = the source's name, {stem} = that without a video's suffix; of queries: {query}.",
    )
    of: Literal["video", "text"] = Field("video", description="What a file is of: a clip, or the words of a query.")
    width: int = Field(ge=1, description="Numbers per step or token; files of another width are refused by name.")
    stride: float | None = Field(None, gt=0, description="Of clips: frames from one step to the next; need not be whole.")
    window: float | None = Field(None, gt=0, description="Of clips: frames that one step looks at.")
    fps: float | None = Field(
        None, gt=0, description="Frames/s that stride and window are counted in; null = those of each clip."
    )
    tensor: str | None = Field(
        None, description="Name of the tensor in .pt and .safetensors files; null = the only one that a file holds."
    )
    splits: list[Name] | None = Field(None, min_length=1, description="Only clips of these splits; null = all.")
    missing: Literal["error", "drop"] = Field(
        "error", description="A clip or query without a file: stop and list them, or leave it out and count it."
    )
    slack: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of a clip's steps by which its file may hold more or fewer (two always may); beyond it, stride, "
        "window or fps must be wrong, and the file is refused by name.",
    )
    description: str = shown("", "One sentence for people.")

    @field_validator("folder", "files")
    @classmethod
    def _inside(cls, place: str) -> str:
        pure = PurePosixPath(place)
        if not place or pure.is_absolute() or ".." in pure.parts or "\\" in place or "\0" in place:
            raise ValueError(
                f"must stay below `paths.features`, without leading `/`, `..` or `\\`; got {place!r}. Hint: name the "
                "folder above it by paths.features or VIPERSIGHT_FEATURES"
            )
        return place

    @model_validator(mode="after")
    def _fits(self) -> FeatureFiles:
        if not self.files.endswith(SUFFIXES):
            raise ValueError(f"files: {self.files!r} must end in one of {', '.join(SUFFIXES)}")
        try:
            names = [(name, form, turn) for _, name, form, turn in string.Formatter().parse(self.files) if name is not None]
        except ValueError as error:
            raise ValueError(f"files: {self.files!r}: {error}") from error
        known = PLACES[self.of]
        if not names or any(name not in known or form or turn for name, form, turn in names):
            listed = ", ".join(f"{{{name}}}" for name in known)
            raise ValueError(f"files: {self.files!r} must hold one of {listed} and no other, with `of: {self.of}`")
        if self.tensor is not None and self.files.endswith((".npy", ".csv")):
            suffix = PurePosixPath(self.files).suffix
            raise ValueError(f"tensor: {suffix} files hold one matrix without a name; leave it out")
        return self

    @model_validator(mode="after")
    def _has_its_grid(self) -> FeatureFiles:
        stated = [key for key in ("stride", "window", "fps") if getattr(self, key) is not None]
        if self.of == "text" and stated:
            raise ValueError(f"{stated[0]}: words have no time grid; leave it out with `of: text`")
        if self.of == "video" and (self.stride is None or self.window is None):
            raise ValueError("state `stride` and `window` in frames: without them nobody knows what second a step is of")
        return self

    @property
    def table(self) -> str | None:
        """The truth whose units files are of, beside the manifest."""
        return "queries" if self.of == "text" else None

    def place(self, site: Path | None) -> Path:
        """The folder on this site. site: that of `paths.features`."""
        return Path(self.folder) if site is None else site / self.folder


def features_digest(settings: FeatureFiles, site: Path | None) -> str:
    """What Snakemake watches: names and sizes below the folder. Their content is summed by the job that reads them.

    Raises DataError when the folder is not there.
    """
    what = "`folder` of the feature files, and paths.features (VIPERSIGHT_FEATURES)"
    return folder_digest(settings.place(site), what=what)
