"""Boards collected by hand: whole, missing, failed, half-written and damaged runs side by side, in three forms."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from lib.files import write_json
from tests.conftest import PROJECT
from tests.lib.reporting import made

STUDY = """
study: collected
seeds: [0, 1]
datasets: {world: {source: {format: world}, classes: [person, crane hook]}}
shardsets: {frames: {splits: [train, val]}}
arms:
  p100: {shardset: frames, background: all}
  p25: {shardset: frames, background: all, fractions: {person: 0.25}}
variants:
  whole: {arm: p100, size: tiny}
  less: {arm: p25, size: tiny}
  damaged: {arm: p100, size: tiny, training: {batch: 2}}
  failed: {arm: p100, size: tiny, training: {batch: 4}}
  waits: {arm: p100, size: tiny, training: {batch: 8}}
  earlier: {arm: p100, size: tiny, training: {batch: 12}}
  prior: {kind: floor, floor: prior, arm: p100}
boards:
  main: {title: Persons kept, dataset: world, variants: [whole, less, damaged, failed, waits, earlier, prior]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results in which half of the runs went wrong in some way."""
    results = tmp_path / "results"
    hits = {"whole": 30, "less": 20, "damaged": 25, "earlier": 15, "prior": 2}
    for seed in (0, 1):
        made.write_counts(results, "p100", {"person": 100, "crane hook": 40}, seed=seed)
        made.write_counts(results, "p25", {"person": 25, "crane hook": 40}, seed=seed)
        for name, number in hits.items():
            found = {one: list(range(number)) for one in ("person", "crane hook")}
            made.write_cell(results, name, found, videos=40, seed=seed, kind="floor" if name == "prior" else "model")
    card = results / "train/world/damaged/seed=1/model.json"
    card.write_text(card.read_text()[:20])
    write_json(results / "train/world/failed/seed=0/attempts/1.json", {"cause": "memory"})
    (results / "train/world/failed/seed=1/attempts").mkdir(parents=True)
    (results / "train/world/failed/seed=1/attempts/1.json").write_text('{"cau')
    write_json(results / "metrics/world/earlier/seed=0/tta=none.json", {"metrics": {"AP50": 0.5}})
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def collected(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "workflow_scripts.leaderboard", "--configfile", str(folder / "study.yaml"), *words]
    done = subprocess.run([*command, "--results", str(folder / "results")], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_run_has_a_row_which_says_why_it_has_no_number(folder: Path) -> None:
    rows = {row["variant"]: row for row in csv.DictReader(io.StringIO(collected(folder, "--format", "csv")))}
    assert rows["whole"]["status"] == rows["less"]["status"] == "finished" and float(rows["whole"]["AP50"]) > 0.5
    said = {name: row["status"] for name, row in rows.items() if row["status"] != "finished"}
    assert said["waits"] == "waiting: training (all seeds)"
    assert (
        "failed: memory (seed 0)" in said["failed"]
        and "unreadable:" in said["failed"]
        and "attempts/1.json" in said["failed"]
    )
    assert "unreadable:" in said["damaged"] and "model.json" in said["damaged"] and "(seed 1)" in said["damaged"]
    assert "holds no `classes` (seed 0)" in said["earlier"]


def test_text_and_markdown_say_the_same(folder: Path) -> None:
    plain, marked = collected(folder), collected(folder, "--format", "markdown", "--board", "main")
    assert plain.startswith("Persons kept (on world, by AP50)\n") and marked.startswith("## Persons kept")
    for name in ("whole", "less", "prior (floor)", "Per class, with 95 % intervals", "Training frames and instances"):
        assert name in plain and name in marked
    table = [line for line in plain.split("\n\n")[1].splitlines()]
    assert len(table) == 8 and table[0].split()[:3] == ["#", "variant", "AP50"]
    assert not list(folder.glob("results/leaderboards/*")), "nothing is written"


def test_an_unknown_board_is_refused_with_the_known_ones(folder: Path) -> None:
    command = [sys.executable, "-m", "workflow_scripts.leaderboard", "--configfile", str(folder / "study.yaml")]
    done = subprocess.run([*command, "--board", "mian"], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 2 and "did you mean 'main'?" in done.stderr
