"""The MOT study in a small version, TUD-Campus alone, run to its end by real Snakemake. Reference: `score`, whose
numbers equal trackeval's, on the sequence's own gt.txt and the tracks written as MOTChallenge text."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from lib.files import read_json
from lib.scoring import tracking
from tests.conftest import PROJECT
from tests.workflow.conftest import Tree

pytestmark = [pytest.mark.slow, pytest.mark.mirror]
TRACKERS = ["bytetrack-30", "occluboost", "unlinked"]


def small(fresh: Callable[[dict[str, Any]], Tree], trackers: list[str]) -> Tree:
    """The shipped study with one board, given detections and these trackers."""
    study = yaml.safe_load((PROJECT / "config/studies/mot.yaml").read_text())
    study["boards"] = {"tud-campus": study["boards"]["tud-campus"] | {"detectors": ["given"], "trackers": trackers}}
    tree = fresh({})
    tree.study = study
    return tree


def test_the_study_gives_the_official_numbers(mirror: Path, fresh: Callable[[dict[str, Any]], Tree]) -> None:
    tree = small(fresh, TRACKERS)
    tree.snakemake()
    results = tree.folder / "results"
    board = pd.read_csv(results / "leaderboards/tud-campus/tud-campus.csv")
    assert set(board["tracker"]) == set(TRACKERS)
    for tracker in TRACKERS:
        tracks = pd.read_parquet(results / f"tracks/tud-campus/given/{tracker}/chunk=0.parquet", partitioning=None)
        text = tree.folder / f"{tracker}.txt"
        boxes = ((row.x1, row.y1, row.x2 - row.x1, row.y2 - row.y1) for row in tracks.itertuples())
        rows = zip(tracks["frame"] + 1, tracks["track"], boxes, tracks["score"], strict=True)
        text.write_text(
            "".join(f"{frame},{track},{','.join(map(repr, box))},{score}\n" for frame, track, box, score in rows)
        )
        truth = mirror / "mot/TUD-Campus/gt/gt.txt"
        given = argparse.Namespace(truth=[truth], predictions=[text], benchmark="MOT15", length=None)
        official = tracking.score(given)["COMBINED"]
        ours = read_json(results / f"metrics/tud-campus/given/{tracker}/tracks.json")["overall"]
        for name, theirs in {"HOTA": "HOTA", "DetA": "DetA", "AssA": "AssA", "MOTA": "MOTA", "IDF1": "IDF1"}.items():
            assert ours[name] == pytest.approx(official[theirs], abs=1e-6), (tracker, name)
        assert (ours["IDSW"], ours["FP"], ours["MT"]) == (official["IDSW"], official["CLR_FP"], official["MT"])
        assert board.set_index("tracker").loc[tracker, "HOTA"] == pytest.approx(official["HOTA"], abs=1e-3)


def test_a_tracker_that_needs_pixels_is_refused_before_anything_runs(
    mirror: Path, fresh: Callable[[dict[str, Any]], Tree]
) -> None:
    done = small(fresh, ["bytetrack-30", "botsort-sof"]).snakemake("--dry-run", check=False)
    assert done.returncode != 0
    assert "trackers.botsort-sof: kind botsort with cmc: sof looks at pixels" in done.stdout + done.stderr
    assert "'TUD-Campus'" in done.stdout + done.stderr and "Hint: set cmc: off" in done.stdout + done.stderr
