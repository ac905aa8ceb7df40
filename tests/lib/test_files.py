"""Atomic writes and digests, checked against plain file operations: after any failure the old file stands whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lib.files import DataError, atomic, folder_digest, read_json, sha256_file, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("stopped")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_new_files_get_the_usual_mode(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_round_trip_and_refusals(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1.5, "a": ["ü"]})
    assert read_json(path) == {"a": ["ü"], "b": 1.5}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": ["ü"], "b": 1.5}
    path.write_text('{"a": ')
    with pytest.raises(DataError, match=r"a\.json: not valid JSON"):
        read_json(path)
    with pytest.raises(DataError, match=r"none\.json: file not found"):
        read_json(tmp_path / "none.json")


def test_digest_sees_a_changed_label_of_the_same_size_and_no_date(tmp_path: Path) -> None:
    folder, cache = tmp_path / "set", tmp_path / "cache.json"
    (folder / "labels").mkdir(parents=True)
    (folder / "labels" / "a.txt").write_text("0 1")
    (folder / "a.jpg").write_bytes(b"12345")
    first = folder_digest(folder, labels=(".txt",), cache=cache)
    os.utime(folder / "labels" / "a.txt", (1, 1))
    os.utime(folder / "a.jpg", (1, 1))
    assert folder_digest(folder, labels=(".txt",), cache=cache) == first
    (folder / "labels" / "a.txt").write_text("0 2")
    changed = folder_digest(folder, labels=(".txt",), cache=cache)
    assert changed != first
    (folder / "a.jpg").write_bytes(b"123456")
    assert folder_digest(folder, labels=(".txt",), cache=cache) not in (first, changed)


def test_a_damaged_digest_cache_changes_nothing(tmp_path: Path) -> None:
    folder, cache = tmp_path / "set", tmp_path / "cache.json"
    folder.mkdir()
    (folder / "a.txt").write_text("x")
    expected = folder_digest(folder, labels=(".txt",))
    cache.write_text("{ not json")
    assert folder_digest(folder, labels=(".txt",), cache=cache) == expected
    assert json.loads(cache.read_text())["a.txt"][2] == sha256_file(folder / "a.txt")
