"""Feature files of one chunk: a safetensors file with a tensor per unit, and an index beside it. Not here: computing them.

T steps, L tokens, D width, K objects. Units are videos (clip and object features) or queries (text features); [T, D],
[L, D], or for objects [T, K, D] and `{video}.mask` uint8 [T, K], 1 = an object. Numbers are finite, float32 or float16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.files import DataError, atomic
from lib.tables import COLUMNS, FEATURES, empty, read_table, write_table

MASK = ".mask"
_RESERVED = "__metadata__"


@dataclass
class Features:
    """Features of one chunk while they are gathered. notes: what readers of meta.json and the log shall know."""

    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(
        self,
        unit: str,
        video: str,
        values: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        stride: float = np.nan,
        window: float = np.nan,
        fps: float = np.nan,
    ) -> None:
        """One unit: values [T, D] (or [T, K, D] with its mask [T, K], bool). DataError names what cannot be stored."""
        _check(unit, video, values, mask)
        if unit in self.tensors:
            raise DataError(
                f"unit {unit!r} (video {video!r}) is there twice. Hint: ids of queries are unique in a dataset."
            )
        self.tensors[unit] = values
        if mask is not None:
            self.tensors[unit + MASK] = mask.astype(np.uint8)
        place = {"stride": stride, "window": window, "fps": fps}
        self.rows.append({"unit": unit, "video": video, "steps": len(values), "width": values.shape[-1], **place})


def _check(unit: str, video: str, values: np.ndarray, mask: np.ndarray | None) -> None:
    if unit == _RESERVED or not unit:
        raise DataError(f"video {video!r}: {unit!r} cannot be the name of features. Hint: give the query another id.")
    if values.shape[0] == 0 or values.shape[-1] == 0:
        raise DataError(f"{unit!r} (video {video!r}): features of shape {list(values.shape)} hold nothing.")
    if mask is not None and mask.shape != values.shape[:2]:
        raise ValueError(f"{unit}: mask {mask.shape} does not fit values {values.shape}")
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"{unit!r} (video {video!r}): {int(bad.sum())} of {values.size} numbers are NaN or infinite, the first at step "
            f"{int(np.argwhere(bad)[0][0])}. Hint: damaged weights, or dtype: float16 for values beyond 65504?"
        )


def write_features(path: Path, features: Features, dtype: str | None) -> tuple[Path, Path]:
    """Write both files of one chunk, each atomically; returns their paths. path: the safetensors file. dtype: None = as
    they are.

    The same features give the same bytes. DataError where float16 cannot hold a value, or units differ in width.
    """
    from safetensors.numpy import save_file

    widths = {row["width"]: row["unit"] for row in features.rows}
    if len(widths) > 1:
        told = ", ".join(f"{unit} has {width}" for width, unit in sorted(widths.items()))
        raise DataError(f"{path}: units differ in width: {told}. Hint: one encoder gives one width.")
    stored = {name: _stored(path, name, values, dtype) for name, values in features.tensors.items()}
    index = index_path(path)
    with atomic(path, need=sum(values.nbytes for values in stored.values())) as temporary:
        save_file(stored, temporary)
    rows = pd.DataFrame(features.rows, columns=list(COLUMNS[FEATURES])) if features.rows else empty(FEATURES)
    write_table(index, rows, FEATURES)
    return path, index


def _stored(path: Path, name: str, values: np.ndarray, dtype: str | None) -> np.ndarray:
    """As it lies in the file: masks as they are, numbers in `dtype`."""
    if values.dtype == np.uint8 or dtype is None:
        return np.ascontiguousarray(values)
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(values, dtype)
    if not np.isfinite(found).all():
        raise DataError(f"{path}: {name!r} holds values that {dtype} cannot. Hint: dtype: float32")
    return found


def index_path(path: Path) -> Path:
    """The index beside a feature file."""
    return path.with_name(path.name.removesuffix(".safetensors") + ".index.parquet")


def read_index(paths: Iterable[Path]) -> pd.DataFrame:
    """The FEATURES rows of several chunks, with the column `file`. DataError for a unit in two of them."""
    found = [read_table(index_path(path), FEATURES).assign(file=str(path)) for path in paths]
    rows = pd.concat(found, ignore_index=True) if found else empty(FEATURES).assign(file="")
    twice = rows[rows.duplicated("unit")]
    if len(twice):
        raise DataError(f"{twice['file'].iloc[0]}: unit {twice['unit'].iloc[0]!r} is in another chunk too.")
    return rows


def read_features(path: Path, units: Iterable[str] | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """(unit, values, mask or None) of a feature file: of `units` in their order, or of all.

    values: [T, D], [L, D] or [T, K, D] as stored; mask: bool [T, K]. DataError for a file that is missing or damaged, or
    a unit that it lacks.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise DataError(f"{path}: file not found. Hint: was the stage embed run?")
    try:
        with safe_open(path, "np") as file:
            names = set(file.keys())
            known = sorted(name for name in names if not (name.endswith(MASK) and name.removesuffix(MASK) in names))
            for unit in known if units is None else units:
                if unit not in names:
                    raise DataError(
                        f"{path}: has no features of {unit!r}. Hint: is it in another chunk, or out of `splits`?"
                    )
                mask = file.get_tensor(unit + MASK).astype(bool) if unit + MASK in names else None
                yield unit, file.get_tensor(unit), mask
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"{path}: no whole safetensors file ({error}). Hint: delete it; its rule writes it again."
        ) from error


def read_rows(rows: Sequence[Any], shape: tuple[Any, ...], dtype: str) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """(values, mask) of units by their rows of read_index, in their order; shape: as it must be, None = any.

    DataError names file and unit of what has another shape, is not finite, or does not fit into dtype.
    """
    by_file: dict[str, list[str]] = {}
    for row in rows:
        by_file.setdefault(row.file, []).append(row.unit)
    found = {}
    for file, units in by_file.items():
        for unit, values, mask in read_features(Path(file), units):
            found[unit] = (_fit(f"{file}: {unit!r}", values, shape, dtype), mask)
            if (len(shape) == 3) != (mask is not None):
                raise DataError(
                    f"{file}: {unit!r} has {'no' if mask is None else 'a'} mask. Hint: another kind of features?"
                )
    return [found[row.unit] for row in rows]


def _fit(place: str, values: np.ndarray, shape: tuple[Any, ...], dtype: str) -> np.ndarray:
    if len(values.shape) != len(shape) or any(b not in (None, a) for a, b in zip(values.shape, shape, strict=True)):
        wanted = ["any" if side is None else side for side in shape]
        raise DataError(f"{place} has shape {list(values.shape)}, expected {wanted}. Hint: run the stage embed again.")
    with np.errstate(over="ignore"):
        stored = values.astype(dtype, copy=False)
    if not np.isfinite(stored).all():
        odd = "NaN or infinite numbers" if not np.isfinite(values).all() else f"numbers that {dtype} cannot hold"
        raise DataError(f"{place} holds {odd}. Hint: make these features again, or dtype: float32.")
    return stored


def facts_of(features: Features) -> Mapping[str, Any]:
    """What meta.json says of a chunk's features: how many units and steps, and the notes."""
    steps = [row["steps"] for row in features.rows]
    return {"units": len(steps), "steps": int(sum(steps)), "most_steps": max(steps, default=0), **features.notes}
