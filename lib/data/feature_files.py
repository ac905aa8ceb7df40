"""Existing features as they lie in a folder: which file is whose, and its matrix, checked. Not here: computing features.

Letters: T steps of a clip (or L tokens of a query), D width. A matrix is float16 where its file is, else float32. Whatever
is odd (NaN, another width, no or too few rows, too many dimensions) is a DataError that names the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.config.feature_files import FeatureFiles
from lib.data.decoding.kinds import check_regular, media_kind
from lib.data.features import Features
from lib.data.time_grid import TimeGrid
from lib.files import DataError, sha256_file, sha256_text

if TYPE_CHECKING:
    import torch

VARIABLE = "VIPERSIGHT_FEATURES"
_LISTED = 10
_FREE_STEPS = 2
"""Steps that a file may hold more or fewer than its grid, however short the clip."""


@dataclass(frozen=True)
class Found:
    """files: unit (video or query id) -> its file. missing: units without one, to be left out and counted."""

    files: dict[str, Path]
    missing: list[str]

    def content(self) -> str:
        """One sha256 over what all files hold, whatever they are called and wherever they lie."""
        return sha256_text("".join(f"{unit}\0{sha256_file(path)}\n" for unit, path in sorted(self.files.items())))


def clip_names(manifest: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Video -> what the name of its file may be made from."""
    rows = zip(manifest["video"], manifest["original"], strict=True)
    return {video: {"video": video, "original": original, "stem": _stem(original)} for video, original in rows}


def query_names(queries: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Query -> what the name of its file may be made from; windows of one query are one."""
    return {query: {"query": query} for query in queries["query"].unique()}


def _stem(original: str) -> str:
    """Without the suffix of a video: `a_60.0_210.0` has none."""
    return original if media_kind(Path(original)) is None else str(PurePosixPath(original).with_suffix(""))


def find_files(settings: FeatureFiles, site: Path | None, names: Mapping[str, Mapping[str, str]]) -> Found:
    """The file of every unit. site: the folder of `paths.features`; names: by clip_names or query_names.

    Raises DataError where a file is missing and `missing: error`, or when none is there at all, with the first ones.
    """
    folder = settings.place(site)
    wanted = {unit: settings.files.format(**name) for unit, name in names.items()}
    files = {unit: folder / name for unit, name in wanted.items() if _is_there(folder, name)}
    missing = [unit for unit in wanted if unit not in files]
    if missing and (settings.missing == "error" or not files):
        listed = "\n  ".join(f"{unit}: {folder / wanted[unit]}" for unit in missing[:_LISTED])
        more = f"\n  ... and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise DataError(
            f"{len(missing)} of {len(wanted)} have no features:\n  {listed}{more}\nHint: check `folder`, `files` and "
            "paths.features (VIPERSIGHT_FEATURES), or set `missing: drop` to leave them out and count them."
        )
    return Found(files, missing)


def _is_there(folder: Path, name: str) -> bool:
    pure = PurePosixPath(name)
    return not pure.is_absolute() and ".." not in pure.parts and (folder / name).is_file()


def grid_of(settings: FeatureFiles, fps: float, duration_s: float) -> TimeGrid:
    """The time grid of one clip's features; fps: of the clip, which counts where the settings state none."""
    if settings.stride is None or settings.window is None:
        raise ValueError("features of words have no time grid")
    return TimeGrid(settings.stride, settings.window, fps if settings.fps is None else settings.fps, duration_s)


def gathered(
    settings: FeatureFiles, manifest: pd.DataFrame, queries: pd.DataFrame | None, videos: pd.DataFrame
) -> Features:
    """The features of a chunk's videos (MANIFEST rows), or of their queries, as the stage embed stores them.

    manifest: of all chunks, so that what is missing is told at once. DataError as of find_files and read_features.
    """
    site = os.environ.get(VARIABLE)
    if settings.of == "text":
        asked = queries[queries["video"].isin(manifest["video"])]
        names, video_of = query_names(asked), dict(zip(asked["query"], asked["video"], strict=True))
    else:
        names, video_of = clip_names(manifest), dict(zip(manifest["video"], manifest["video"], strict=True))
    found = find_files(settings, Path(site).expanduser() if site else None, names)
    mine = {unit: path for unit, path in found.files.items() if video_of[unit] in set(videos["video"])}
    missing = [unit for unit in found.missing if video_of[unit] in set(videos["video"])]
    clips, features = videos.set_index("video"), Features()
    for unit, path in mine.items():
        clip = clips.loc[video_of[unit]]
        grid = grid_of(settings, float(clip["fps"]), float(clip["duration_s"])) if settings.of == "video" else None
        place = {} if grid is None else {"stride": grid.stride, "window": grid.window, "fps": grid.fps}
        features.add(unit, video_of[unit], read_features(path, settings, grid), **place)
    features.notes = {"width": settings.width, "without_files": missing, "files_digest": Found(mine, []).content()}
    return features


def read_features(path: Path, settings: FeatureFiles, grid: TimeGrid | None = None) -> np.ndarray:
    """The matrix of one file, [T, D] (of words: [L, D]). grid: of the clip, which the number of rows must fit.

    Raises DataError naming the file and what is wrong with it.
    """
    check_regular(path)
    matrix = _checked(_READERS[path.suffix](path, settings.tensor), path, settings.width)
    if grid is not None and abs(len(matrix) - grid.count) > max(_FREE_STEPS, math.ceil(settings.slack * grid.count)):
        raise DataError(
            f"{path}: {len(matrix)} steps, but a clip of {grid.duration:g} s has {grid.count} at stride {grid.stride:g}, "
            f"window {grid.window:g}, {grid.fps:g} frames/s. Hint: state the stride, window and fps that the features were "
            "made with; raise `slack` where files are known to be cut."
        )
    return matrix


def _checked(matrix: np.ndarray, path: Path, width: int) -> np.ndarray:
    if matrix.dtype.kind not in "fiu":
        raise DataError(f"{path}: holds {matrix.dtype}, expected numbers.")
    if matrix.ndim != 2:
        raise DataError(
            f"{path}: shape {matrix.shape} has {matrix.ndim} dimensions, expected two: [steps, width]. Hint: pooled "
            "features have no steps; a leading 1 must be taken away."
        )
    if not matrix.size:
        raise DataError(f"{path}: shape {matrix.shape} is empty.")
    if matrix.shape[1] != width:
        turned = "the file looks turned, [width, steps]" if matrix.shape[0] == width else "other features than meant?"
        raise DataError(f"{path}: width {matrix.shape[1]}, the settings state {width}. Hint: {turned}")
    with np.errstate(over="ignore"):
        plain = np.array(matrix, dtype=np.float16 if matrix.dtype == np.float16 else np.float32)
    bad = ~np.isfinite(plain)
    if bad.any():
        step, column = np.argwhere(bad)[0]
        raise DataError(
            f"{path}: step {step}, column {column} is {matrix[step, column]!s}, no finite float32 ({bad.sum()} such). "
            "Hint: make this file's features again, or leave the clip out."
        )
    return plain


def _npy(path: Path, _: str | None) -> np.ndarray:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, OverflowError, TypeError) as error:  # what heads that lie make numpy raise
        raise DataError(f"{path}: not a plain .npy file ({error}). Hint: a cut copy, or an array of objects?") from error
    if not isinstance(matrix, np.ndarray):
        raise DataError(f"{path}: an archive of arrays, expected one array. Hint: save it with numpy.save.")
    return matrix


def _csv(path: Path, _: str | None) -> np.ndarray:
    """Rows of numbers with commas between; a first line that holds a word is a heading."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}).") from error
    rows = lines[1:] if lines and not all(map(_is_number, lines[0].split(","))) else lines
    if not rows:
        raise DataError(f"{path}: holds no row of numbers.")
    try:
        return np.loadtxt(rows, delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        raise DataError(f"{path}: {error} (rows are counted without the heading).") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _torch(path: Path, name: str | None) -> np.ndarray:
    from lib.models.loading import load_contents

    contents = load_contents(path)
    return _array(_chosen(contents, name, path) if isinstance(contents, dict) else contents, path)


def _safetensors(path: Path, name: str | None) -> np.ndarray:
    from lib.tensor_files import read_tensors

    return _array(_chosen(read_tensors(path), name, path), path)


def _chosen(tensors: Mapping[str, Any], name: str | None, path: Path) -> Any:
    if name is None and len(tensors) == 1:
        return next(iter(tensors.values()))
    if name is None or name not in tensors:
        asked = "several tensors" if name is None else f"no tensor {name!r}"
        raise DataError(f"{path}: holds {asked}. Hint: set `tensor` to one of {sorted(map(str, tensors))[:_LISTED]}.")
    return tensors[name]


def _array(tensor: Any, path: Path) -> np.ndarray:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise DataError(f"{path}: holds a {type(tensor).__name__}, expected a tensor. Hint: save features as one tensor.")
    if not _is_plain(tensor):
        raise DataError(f"{path}: a tensor of {tensor.layout}, {tensor.dtype}, shape {tuple(tensor.shape)} is no matrix.")
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.detach().resolve_neg().numpy()


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is stored in full: sparse ones, and few values that claim a large shape, would fill the memory."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta" or tensor.is_complex():
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


_READERS = {".npy": _npy, ".csv": _csv, ".pt": _torch, ".pth": _torch, ".safetensors": _safetensors}
