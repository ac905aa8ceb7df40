"""`check` finds every hole that a test tears into a small results folder, names what heals it, and is else quiet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from lib import provenance
from lib.checking import Hole, find_holes
from lib.files import read_json, sha256_file, write_json, write_text
from lib.runs import running
from tests.conftest import PROJECT
from tests.faults.counts import Tally

KIND = "holes"


def made(
    path: str, text: str, *, stage: str = "s", inputs: dict[str, Any] | None = None, beside: tuple[str, ...] = ()
) -> None:
    """A result with its record."""
    write_text(path, text)
    for other in beside:
        write_text(other, f"{text} {other}")
    provenance.record([path, *beside], stage=stage, settings={"of": path}, inputs=inputs or {})


@pytest.fixture
def results(tmp_path: Path, monkeypatch) -> Path:
    """Manifest → detections → predictions → scores, and a shardset with a tar; the working directory is beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIPERSIGHT_RUN", "snakemake --configfile s.yaml")
    made(
        "results/videos/d/manifest.parquet",
        "m",
        beside=("results/videos/d/classes.json", "results/videos/d/truth/boxes.parquet"),
    )
    detections = "results/detections/d/x/chunk=0.parquet"
    made(
        detections,
        "det",
        inputs={"manifest": Path("results/videos/d/manifest.parquet")},
        beside=("results/detections/d/x/chunk=0.stats.parquet",),
    )
    made("results/train/d/v/seed=0/model.json", "card", beside=("results/train/d/v/seed=0/model.weights",))
    inputs = {
        "manifest": "results/videos/d/manifest.parquet",
        "model": "results/train/d/v/seed=0/model.json",
        "boxes": [detections],
    }
    made("results/predictions/d/v/seed=0/tta=none.parquet", "p", inputs=inputs)
    made(
        "results/metrics/d/v/seed=0/tta=none.json",
        "9",
        inputs={"predictions": "results/predictions/d/v/seed=0/tta=none.parquet"},
    )
    write_text("results/shards/d/s/train-000000.tar", "tar")
    shard = {"file": "train-000000.tar", "bytes": 3, "sha256": sha256_file("results/shards/d/s/train-000000.tar")}
    write_json("results/shards/d/s/manifest.json", {"splits": {"train": {"shards": [shard]}}})
    provenance.record(["results/shards/d/s/manifest.json"], stage="shard", settings={}, inputs={})
    return tmp_path / "results"


def holes() -> list[Hole]:
    return find_holes()[0]


def test_a_whole_folder_has_none(results: Path, tally: Tally) -> None:
    tally.right(KIND, find_holes()[:2] == ([], 6))


def flip(path: str) -> None:
    """Change a byte and keep size and date (the trap that dates do not show)."""
    stat = os.stat(path)
    content = bytearray(Path(path).read_bytes())
    content[0] ^= 1
    Path(path).write_bytes(bytes(content))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


RUN = "snakemake -c2 --configfile s.yaml --"
DETECTIONS, SCORES = "results/detections/d/x/chunk=0.parquet", "results/metrics/d/v/seed=0/tta=none.json"
MODEL, PREDICTIONS = "results/train/d/v/seed=0/model.json", "results/predictions/d/v/seed=0/tta=none.parquet"
CHANGED, SHARDS = "was changed after it was made", "results/shards/d/s"
REPACK = f"rm {SHARDS}/manifest.json && {RUN} {SHARDS}/manifest.json"
TORN: dict[str, tuple[Any, set[tuple[str, str, str]]]] = {
    "flipped, date kept": (lambda: flip(SCORES), {(SCORES, CHANGED, f"rm {SCORES} && {RUN} {SCORES}")}),
    "cut": (lambda: os.truncate(SCORES, 0), {(SCORES, CHANGED, f"rm {SCORES} && {RUN} {SCORES}")}),
    "a by-product": (
        lambda: flip("results/videos/d/truth/boxes.parquet"),
        {
            (
                "results/videos/d/truth/boxes.parquet",
                CHANGED,
                f"rm results/videos/d/truth/boxes.parquet && {RUN} results/videos/d/truth/boxes.parquet",
            )
        },
    ),
    "an output is gone": (lambda: os.remove(SCORES), {(SCORES, "is missing", f"{RUN} {SCORES}")}),
    "an input is gone": (
        lambda: os.remove(DETECTIONS),
        {
            (DETECTIONS, "is missing", f"{RUN} {DETECTIONS}"),
            (PREDICTIONS, f"its input is gone (boxes: {DETECTIONS})", f"{RUN} {DETECTIONS}"),
        },
    ),
    "a folder is gone": (
        lambda: shutil.rmtree("results/train"),
        {(PREDICTIONS, f"its input is gone (model: {MODEL})", f"{RUN} {MODEL}")},
    ),
    "an input was made anew": (
        lambda: provenance.record([DETECTIONS], stage="s", settings={"other": 1}, inputs={}),
        {(PREDICTIONS, f"was made from another version of its input (boxes: {DETECTIONS})", f"{RUN} {PREDICTIONS}")},
    ),
    "a shard is flipped": (lambda: flip(f"{SHARDS}/train-000000.tar"), {(f"{SHARDS}/train-000000.tar", CHANGED, REPACK)}),
    "a shard is gone": (
        lambda: os.remove(f"{SHARDS}/train-000000.tar"),
        {(f"{SHARDS}/train-000000.tar", "is missing", REPACK)},
    ),
    "a record is cut": (
        lambda: os.truncate("results/metrics/d/v/seed=0/tta=none.meta.json", 10),
        {
            (
                "results/metrics/d/v/seed=0/tta=none.meta.json",
                "the record is damaged",
                "rm results/metrics/d/v/seed=0/tta=none.meta.json; make resume or the same command again",
            )
        },
    ),
    "half-written": (
        lambda: write_text("results/metrics/d/.writing-x.json", "{"),
        {
            (
                "results/metrics/d/.writing-x.json",
                "was left half-written by a killed job",
                "make resume, or rm -r results/metrics/d/.writing-x.json",
            )
        },
    ),
    "half-unpacked": (
        lambda: write_text("results/videos/d/raw/.extracting-x/a", "x"),
        {
            (
                "results/videos/d/raw/.extracting-x",
                "was left half-written by a killed job",
                "make resume, or rm -r results/videos/d/raw/.extracting-x",
            )
        },
    ),
    "a cut download": (
        lambda: write_text("results/videos/d/raw/.partial-x", "x"),
        {
            (
                "results/videos/d/raw/.partial-x",
                "is a download that was cut",
                "make resume, or the same command again, goes on inside the file",
            )
        },
    ),
    "an orphan state": (
        lambda: write_text("results/train/d/v/seed=0/state/last.pt", "x"),
        {
            (
                "results/train/d/v/seed=0/state",
                "is the state of a training that is done",
                "rm -r results/train/d/v/seed=0/state",
            )
        },
    ),
    "an unfinished training": (
        lambda: write_text("results/train/d/w/seed=0/state/last.pt", "x"),
        {
            (
                "results/train/d/w/seed=0/state",
                "belongs to a training that did not end",
                "make resume, or snakemake -c2 -- results/train/d/w/seed=0/model.json",
            )
        },
    ),
    "Snakemake's mark": (
        lambda: write_text(f".snakemake/incomplete/{urlsafe_b64encode(SCORES.encode()).decode()}", "{}"),
        {(SCORES, "belongs to a job that did not end", "make resume, or the same command again")},
    ),
}


@pytest.mark.parametrize("name", TORN)
def test_every_hole_is_found_with_what_heals_it(results: Path, tally: Tally, name: str) -> None:
    tear, expected = TORN[name]
    tear()
    tally.right(KIND, {(hole.path, hole.what, hole.heal) for hole in holes()} == expected, str(holes()))


def test_a_killed_run_is_a_hole(results: Path, tally: Tally) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    run = running.Run("t", psutil.os.uname().nodename, child.pid, 1.0, "2026-01-01", [], ".", "local")
    write_json(running.RUNS / "t.json", asdict(run))
    tally.right(KIND, [hole.heal for hole in holes()] == ["make resume"])


def test_the_program_tells_by_its_exit_code(results: Path) -> None:
    words = [sys.executable, "-m", "workflow_scripts.check", "--directory", str(results.parent)]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, capture_output=True, text=True, cwd=PROJECT, timeout=60, check=False)

    assert (run().returncode, run().stdout) == (0, "")
    flip(SCORES)
    done = run()
    assert done.returncode == 4 and f"{SCORES}: {CHANGED}\n    rm {SCORES} && {RUN} {SCORES}\n" == done.stdout
    shutil.rmtree(results)
    assert run().returncode == 2


@pytest.mark.slow
def test_ten_thousand_outputs_are_checked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made("results/videos/d/manifest.parquet", "m")
    made("results/detections/d/x/chunk=0.parquet", "x" * 20_000, inputs={"manifest": "results/videos/d/manifest.parquet"})
    folder = tmp_path / "results/detections/d/x"
    record, content = (folder / "chunk=0.meta.json").read_text(), (folder / "chunk=0.parquet").read_text()
    for number in range(1, 10_000):
        (folder / f"chunk={number}.parquet").write_text(content)
        (folder / f"chunk={number}.meta.json").write_text(record.replace("chunk=0", f"chunk={number}"))
    found, results, _ = find_holes()
    assert (found, results) == ([], 10_001)
    assert len(read_json(folder / "chunk=77.meta.json")["content"]) == 1
