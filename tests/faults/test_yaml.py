"""Hostile settings files: refused by name, within a second and little memory. Reference: files without the trick."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from lib.config.base import ConfigError
from lib.config.merge import read_with_includes, read_yaml
from lib.config.safe_yaml import LARGEST
from lib.data.sources.yolo import _load
from lib.files import DataError
from tests.faults.counts import Tally

KIND = "yaml"
LAUGHS = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" if n else "l0: &l0 [lol]\n" for n in range(12))
MAPS = "".join(f"m{n}: &m{n} {{a: *m{n - 1}, b: *m{n - 1}}}\n" if n else "m0: &m0 {x: 1}\n" for n in range(40))
MERGES = "".join(f"k{n}: &k{n} {{<<: [{', '.join([f'*k{n - 1}'] * 9)}]}}\n" if n else "k0: &k0 {x: 1}\n" for n in range(9))
FILES = {
    "lists of lists of aliases": (LAUGHS, "its aliases written out"),
    "maps of maps of aliases": (MAPS, "its aliases written out"),
    "merges of merges": (MERGES, "its aliases written out"),
    "a list that holds itself": ("a: &a [*a]\n", "stands for a block that holds it"),
    "a map that holds itself": ("a: &a {b: *a}\n", "stands for a block that holds it"),
    "an alias of nothing": ("a: *b\n", "not valid YAML"),
    "deep lists": ("a: " + "[" * 100_000, "nested deeper than 40 blocks"),
    "deep maps": ("a: " + "{a: " * 50_000, "nested deeper than 40 blocks"),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(400)), "nested deeper than 40 blocks"),
    "too many values": ("a: [" + "1," * 200_000 + "]", "more than 100,000 values"),
    "too large": ("a: " + "x" * LARGEST, "is larger than 1,000,000 bytes"),
    "the same key twice": ("a: 1\nb: 2\na: 3\n", "key 'a' stands twice in one block (line 3)"),
    "the same key twice, written otherwise": ('a: 1\n"a": 3\n', "key 'a' stands twice in one block (line 2)"),
    "the same number twice": ("1: a\n0x1: b\n", "key 1 stands twice"),
    "a list as a key": ("? [a, b]\n: 1\n", "a key must be a word or a number"),
    "python object": ("!!python/object/apply:os.system ['touch CANARY']\n", "not valid YAML"),
    "python new": ("a: !!python/object/new:os.system ['touch CANARY']\n", "not valid YAML"),
    "python name": ("a: !!python/name:os.system\n", "not valid YAML"),
    "python module": ("a: !!python/module:os\n", "not valid YAML"),
    "python tuple": ("a: !!python/tuple [1]\n", "not valid YAML"),
    "own tag": ("a: !mine 1\n", "not valid YAML"),
    "two documents": ("a: 1\n---\na: 2\n", "not valid YAML"),
    "no date": ("a: 2024-13-99\n", "not valid YAML"),
    "a giant number": ("a: " + "9" * 10_000 + "\n", "not valid YAML"),
    "control letters": ("a: \x07\n", "not valid YAML"),
    "a zero byte": ("a: b\0c\n", "not valid YAML"),
    "tabs": ("a:\n\tb: 1\n", "not valid YAML"),
    "an open quote": ('a: "b\n', "not valid YAML"),
    "a bare list": ("- a\n", "settings must be `key: value` pairs, found list"),
    "nothing": ("", "found NoneType"),
}
BYTES = {
    "latin-1": "description: Größe\n".encode("latin-1"),
    "utf-16": "a: 1\n".encode("utf-16"),
    "utf-32": "a: 1\n".encode("utf-32"),
    "surrogates": b"a: \xed\xa0\x80\n",
    "overlong": b"a: \xc0\xaf\n",
    "noise": os.urandom(5000),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_text_is_refused_at_once(tmp_path: Path, monkeypatch, tally: Tally, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    text, says = FILES[name]
    path = tmp_path / "s.yaml"
    path.write_text(text)
    begun, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tally.refused(KIND, lambda: read_with_includes(path), "s.yaml", says)
    assert time.monotonic() - begun < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000, "kB"
    assert os.listdir(tmp_path) == ["s.yaml"], "nothing ran"


@pytest.mark.parametrize("name", BYTES)
def test_other_encodings_are_refused(tmp_path: Path, tally: Tally, name: str) -> None:
    (tmp_path / "s.yaml").write_bytes(BYTES[name])
    tally.refused(KIND, lambda: read_yaml(tmp_path / "s.yaml"), "s.yaml: ")


def test_what_is_no_file_is_refused_and_does_not_hang(tmp_path: Path, tally: Tally) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for name in ("pipe.yaml", "zero.yaml", "loop.yaml"):
        tally.refused(KIND, lambda name=name: read_yaml(tmp_path / name), name)


def test_honest_aliases_and_sizes_are_read(tmp_path: Path, tally: Tally) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: &a {x: 1, y: [1, 2]}\n" + "".join(f"k{n}: *a\n" for n in range(500)))
    tally.right(KIND, read_yaml(path)["k499"] == {"x": 1, "y": [1, 2]})
    path.write_text("a: " + "[" * 39 + "]" * 39)
    tally.right(KIND, "a" in read_yaml(path))


def test_a_data_sets_own_yaml_is_read_as_carefully(tmp_path: Path, tally: Tally) -> None:
    for text in (LAUGHS, "names: !!python/name:os.system\n", "a: " + "[" * 100_000):
        (tmp_path / "data.yaml").write_text(text)
        tally.refused(KIND, lambda: _load(tmp_path / "data.yaml"), "data.yaml")
    with pytest.raises(DataError, match="file not found"):
        _load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError):
        read_yaml(tmp_path / "none.yaml")
