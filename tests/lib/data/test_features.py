"""Feature files: what goes in comes out, the same bytes twice, and everything doubtful is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.data.features import Features, index_path, read_features, read_index, write_features
from lib.files import DataError


def some(rng: np.random.Generator) -> Features:
    features = Features()
    for video, steps in (("b", 3), ("a", 5)):
        tokens = rng.normal(size=(steps, 4, 6)).astype(np.float32)
        mask = rng.random((steps, 4)) < 0.5
        features.add(video, video, tokens * mask[..., None], mask=mask, stride=2, window=4, fps=10.0)
    return features


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_goes_in_comes_out(dtype: str, tmp_path: Path) -> None:
    features, path = some(np.random.default_rng(0)), tmp_path / "chunk=0.safetensors"
    outputs = write_features(path, features, dtype)
    first = [file.read_bytes() for file in outputs]
    assert [file.read_bytes() for file in write_features(path, features, dtype)] == first, "the same bytes twice"
    rows = read_index([path])
    assert rows[["unit", "steps", "width"]].values.tolist() == [["b", 3, 6], ["a", 5, 6]]
    assert (rows[["stride", "window", "fps"]].to_numpy() == [2, 4, 10]).all()
    for unit, values, mask in read_features(path, ["a", "b"]):
        assert values.dtype == dtype and mask is not None and mask.dtype == bool
        np.testing.assert_array_equal(values, features.tensors[unit].astype(dtype))
        np.testing.assert_array_equal(mask, features.tensors[f"{unit}.mask"].astype(bool))


def test_a_chunk_without_videos_is_a_file_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "chunk=0.safetensors"
    write_features(path, Features(), "float32")
    assert list(read_features(path)) == [] and read_index([path]).empty


def add(values: np.ndarray, unit: str = "u") -> None:
    Features().add(unit, "v", values)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused_with_their_step(bad: float) -> None:
    values = np.zeros((4, 2), np.float32)
    values[2, 1] = bad
    with pytest.raises(DataError, match=r"'u' \(video 'v'\): 1 of 8 numbers .* the first at step 2"):
        add(values)


def test_doubtful_units_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hold nothing"):
        add(np.zeros((0, 3)))
    with pytest.raises(DataError, match="cannot be the name"):
        add(np.zeros((1, 3)), "__metadata__")
    features = Features()
    features.add("q", "v", np.zeros((1, 3)))
    with pytest.raises(DataError, match=r"'q' .* is there twice"):
        features.add("q", "w", np.zeros((1, 3)))
    features.add("r", "v", np.zeros((1, 4)))
    with pytest.raises(DataError, match="differ in width: q has 3, r has 4"):
        write_features(tmp_path / "chunk=0.safetensors", features, "float32")
    large = Features()
    large.add("q", "v", np.full((1, 3), 1e6, np.float32))
    with pytest.raises(DataError, match="float16 cannot"):
        write_features(tmp_path / "chunk=0.safetensors", large, "float16")
    assert not list(tmp_path.iterdir()), "a file is written whole or not at all"


def test_reading_says_what_is_missing_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "chunk=0.safetensors"
    with pytest.raises(DataError, match="was the stage embed run"):
        list(read_features(path))
    write_features(path, some(np.random.default_rng(0)), "float32")
    with pytest.raises(DataError, match="'c'"):
        list(read_features(path, ["c"]))
    other = tmp_path / "chunk=1.safetensors"
    write_features(other, some(np.random.default_rng(1)), "float32")
    with pytest.raises(DataError, match="'b' is in another chunk too"):
        read_index([path, other])
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match="no whole safetensors file"):
        list(read_features(path))
    assert index_path(path).name == "chunk=0.index.parquet"
