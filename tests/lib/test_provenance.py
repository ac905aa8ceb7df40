"""Identity: the same making gives the same identity, any difference another; what was produced never enters."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib import provenance
from lib.files import read_json, sha256_file


@pytest.mark.parametrize(
    ("output", "meta"),
    [
        ("d/chunk=0.parquet", "d/chunk=0.meta.json"),
        ("d/chunk=0.stats.parquet", "d/chunk=0.meta.json"),
        ("s/seed=1.counts.json", "s/seed=1.meta.json"),
        ("v/manifest.parquet", "v/meta.json"),
        ("seed=0/model.weights", "seed=0/meta.json"),
    ],
)
def test_where_meta_lies(output: str, meta: str) -> None:
    assert provenance.meta_path(output) == Path(meta)


def test_identity_depends_on_making_and_inputs_only(tmp_path: Path) -> None:
    raw, made = tmp_path / "raw.bin", tmp_path / "out" / "tta=none.parquet"
    raw.write_bytes(b"raw")
    made.parent.mkdir()

    def make(content: bytes, **settings: object) -> str:
        made.write_bytes(content)
        return provenance.record([made], stage="predict", settings={"recipe": 1, **settings}, inputs={"raw": raw})

    first = make(b"one", conf=0.1)
    assert make(b"another result of the same making", conf=0.1) == first
    assert make(b"one", conf=0.2) != first
    assert make(b"one", conf=0.1, recipe=2) != first
    raw.write_bytes(b"other raw data")
    assert make(b"one", conf=0.1) != first


def test_meta_says_what_how_and_how_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIPERSIGHT_RUN", "snakemake --configfile study.yaml")
    made = tmp_path / "tta=none.json"
    made.write_text("{}")
    key = provenance.record([made], stage="evaluate", settings={"a": 1}, inputs={}, extra={"attempts": 2})
    meta = read_json(tmp_path / "tta=none.meta.json")
    assert meta["identity"] == key == provenance.identity_of(made)
    assert meta["content"] == {"tta=none.json": sha256_file(made)}
    assert meta["rebuild"] == f"snakemake --configfile study.yaml -- {made}"
    assert meta["attempts"] == 2
    assert meta["packages"]["numpy"]
    assert len(meta["code"]["commit"]) == 40
