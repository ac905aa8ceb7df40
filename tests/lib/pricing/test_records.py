"""Records of past jobs. Reference: files written here as Snakemake 9.27 and our programs write them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from lib.pricing.dag import Rule
from lib.pricing.records import past

NAME = "[a-z0-9][a-z0-9_-]*"
TRAIN = Rule(
    "train",
    re.compile(rf"results/benchmarks/train/(?P<dataset>{NAME})/(?P<variant>{NAME})/seed=(?P<seed>[0-9]+)\.tsv$"),
    tuple(
        f"results/train/{{dataset}}/{{variant}}/seed={{seed}}/{name}"
        for name in ("model.weights", "model.json", "meta.json")
    ),
)
TRACK = Rule(
    "track",
    re.compile(rf"results/benchmarks/tracks/(?P<dataset>{NAME})/chunk=(?P<chunk>[0-9]+)\.tsv$"),
    ("results/tracks/{dataset}/chunk={chunk}.parquet", "results/tracks/{dataset}/chunk={chunk}.meta.json"),
)
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
LINE = "12.50\t0:00:12\t1091.22\t5795.92\t644.99\t854.44\t0.07\t107.08\t49.55\t58.33"


def benchmark(folder: Path, name: str, text: str = f"{HEADER}\n{LINE}\n", date: float | None = None) -> Path:
    path = folder / "results/benchmarks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if date is not None:
        os.utime(path, (date, date))
    return path


def result(folder: Path, name: str, text: str) -> None:
    path = folder / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_training_sums_its_attempts_and_counts_its_folder(tmp_path: Path) -> None:
    benchmark(tmp_path, "train/world/full/seed=0.tsv")
    where = "train/world/full/seed=0"
    result(tmp_path, f"{where}/model.weights", "w" * 100)
    result(tmp_path, f"{where}/model.json", json.dumps({"seconds": 40.0, "attempts": 3}))
    result(tmp_path, f"{where}/meta.json", json.dumps({"settings": {"task": "detection"}}))
    result(tmp_path, f"{where}/attempts/1.json", "{}")
    (one,), left = past([TRACK, TRAIN], [tmp_path])
    assert left == []
    assert (one.rule, one.wildcards) == ("train", {"dataset": "world", "variant": "full", "seed": "0"})
    assert one.seconds == 40.0 and one.memory_mb == 1091.22
    assert one.meta["settings"] == {"task": "detection"} and one.card["attempts"] == 3
    assert one.bytes == sum(path.stat().st_size for path in (tmp_path / "results/train").rglob("*") if path.is_file())


def test_outputs_that_share_a_folder_are_counted_each_by_itself(tmp_path: Path) -> None:
    for chunk in (0, 1):
        benchmark(tmp_path, f"tracks/world/chunk={chunk}.tsv")
        result(tmp_path, f"tracks/world/chunk={chunk}.parquet", "x" * 10 * (chunk + 1))
        result(tmp_path, f"tracks/world/chunk={chunk}.meta.json", "{}")
    records, _ = past([TRAIN, TRACK], [tmp_path])
    assert [one.bytes for one in records] == [12.0, 22.0]
    (tmp_path / "results/tracks/world/chunk=1.parquet").unlink()
    records, _ = past([TRAIN, TRACK], [tmp_path])
    assert [one.bytes for one in records] == [12.0, None]
    assert [one.seconds for one in records] == [12.5, 12.5]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds 0 whole lines"),
        (f"{HEADER}\n", "holds 0 whole lines"),
        (f"{HEADER}\n{LINE}\n{LINE}\n", "holds 2 whole lines"),
        (f"{HEADER}\n12.50\t0:00:12\n", "holds 1 whole lines"),
        (f"{HEADER}\n{LINE}\t7\n", "holds 1 whole lines"),
        (f"{HEADER}\n{LINE.replace('12.50', 'twelve')}\n", "column 's' is 'twelve'"),
        (f"{HEADER}\n{LINE.replace('12.50', '-1')}\n", "column 's' is '-1'"),
        (f"{HEADER}\n{LINE.replace('12.50', 'nan')}\n", "column 's' is 'nan'"),
        ("no table at all\n\0\n", "column 's' is ''"),
    ],
)
def test_a_broken_file_is_left_out_and_named(tmp_path: Path, text: str, why: str) -> None:
    benchmark(tmp_path, "tracks/world/chunk=0.tsv")
    broken = benchmark(tmp_path, "tracks/world/chunk=1.tsv", text)
    records, (left,) = past([TRACK], [tmp_path])
    assert [one.wildcards["chunk"] for one in records] == ["0"]
    assert left.path == broken and why in left.why


def test_a_file_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    benchmark(tmp_path, "tracks/world/chunk=0.tsv").write_bytes(b"\xff\xfe\x00s\n\x81")
    records, (left,) = past([TRACK], [tmp_path])
    assert records == [] and "cannot be read" in left.why


def test_files_of_no_rule_and_damaged_meta_do_no_harm(tmp_path: Path) -> None:
    benchmark(tmp_path, "elsewhere/x.tsv")
    benchmark(tmp_path, "tracks/world/chunk=0.tsv", f"{HEADER}\n{LINE.replace('12.50', '0.00')}\n")
    result(tmp_path, "tracks/world/chunk=0.parquet", "x")
    result(tmp_path, "tracks/world/chunk=0.meta.json", "{ half")
    (one,), left = past([TRACK], [tmp_path])
    assert one.meta == {} and left == [] and one.seconds == 0.01  # a log of it is finite


def test_runs_are_told_apart_by_pauses_and_folders(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for chunk, date in enumerate([1000.0, 1100.0, 9000.0, 9100.0]):
        benchmark(first, f"tracks/world/chunk={chunk}.tsv", date=date)
    benchmark(second, "tracks/world/chunk=0.tsv", date=1000.0)
    records, _ = past([TRACK], [first, second, first])
    runs = [one.run for one in records]
    assert len(runs) == 5 and runs[0] == runs[1] != runs[2] == runs[3] and runs[4] not in runs[:4]
