"""Files of tensors. Reference: the safetensors library, which must read ours and write what we read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from lib.files import DataError, sha256_file
from lib.tensor_files import CODES, read_head, read_tensors, write_tensors

TENSORS = {
    "b": torch.arange(5, dtype=torch.int8),
    "a": torch.randn(3, 4),
    "h": torch.randn(2, 2).to(torch.bfloat16),
    "s": torch.tensor(2.5, dtype=torch.float64),
    "e": torch.empty(0, 4),
}


def test_the_library_reads_ours_and_we_read_its(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    size, digest = write_tensors(ours, TENSORS, {"k": "v ü"})
    safetensors.torch.save_file(TENSORS, theirs, {"k": "v ü"})
    assert (size, digest) == (ours.stat().st_size, sha256_file(ours))
    for found in (safetensors.torch.load_file(ours), read_tensors(theirs), read_tensors(ours)):
        assert set(found) == set(TENSORS)
        assert all(torch.equal(found[name], one) and found[name].dtype is one.dtype for name, one in TENSORS.items())
    with safe_open(ours, "pt") as file:
        assert file.metadata() == {"k": "v ü"}
    assert read_head(ours) == read_head(theirs)
    assert read_head(ours).shapes["a"] == (3, 4)
    assert ours.stat().st_size == theirs.stat().st_size, "no gaps, no more in the head than the library writes"


def test_every_dtype_of_the_table_has_the_librarys_name(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for dtype, code in CODES.items():
        safetensors.torch.save_file({"x": torch.zeros(4, dtype=torch.uint8).repeat(4).view(dtype)}, path)
        with safe_open(path, "pt") as file:
            assert file.get_slice("x").get_dtype() == code


def test_a_file_without_tensors(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", {}, {})
    assert read_tensors(tmp_path / "x.safetensors") == {}


def test_what_is_read_outlives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"x": torch.ones(100_000)}, {})
    found = read_tensors(path)["x"]
    os.truncate(path, 0)
    assert found.sum() == 100_000


def test_large_tensors_are_written_in_pieces(tmp_path: Path) -> None:
    large = torch.arange(9_000_000, dtype=torch.int32)
    write_tensors(tmp_path / "x.safetensors", {"large": large, "b": torch.ones(1)}, {})
    assert torch.equal(read_tensors(tmp_path / "x.safetensors")["large"], large)


def test_every_cut_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    write_tensors(whole, TENSORS, {})
    content = whole.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cut\.safetensors: no whole safetensors file"):
            read_tensors(path)
        with pytest.raises(DataError, match="no whole safetensors file"):
            read_head(path)
    with pytest.raises(DataError, match="no such file"):
        read_tensors(tmp_path / "none.safetensors")
