"""Reference: trackeval's own Evaluator and MotChallenge2DBox, reading the same files from its folder layout: every
number, each sequence and the combination, on hard generated sequences under the rules of each benchmark and on published
sequences."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trackeval

from lib.metrics.mot_challenge import BENCHMARKS
from lib.scoring import tracking


def reference(truth: Path, found: Path, lengths: dict[str, int], benchmark: str) -> dict[str, dict[str, Any]]:
    """Sequence (and COMBINED_SEQ) -> all of trackeval's fields, lists averaged over the thresholds."""
    data = truth.parent / "trackers" / "given" / "data"
    shutil.copytree(found, data, dirs_exist_ok=True)
    quiet = {"PRINT_CONFIG": False, "PRINT_RESULTS": False, "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False}
    evaluator = trackeval.Evaluator({**quiet, "PLOT_CURVES": False, "TIME_PROGRESS": False, "LOG_ON_ERROR": None})
    settings = {"GT_FOLDER": str(truth), "TRACKERS_FOLDER": str(data.parents[1]), "PRINT_CONFIG": False}
    settings |= {"BENCHMARK": benchmark, "SKIP_SPLIT_FOL": True, "SEQ_INFO": dict(lengths)}
    plain = {"THRESHOLD": 0.5, "PRINT_CONFIG": False}
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(dict(plain)), trackeval.metrics.Identity(dict(plain))]
    results, _ = evaluator.evaluate([trackeval.datasets.MotChallenge2DBox(settings)], metrics)
    flat = {}
    for name, one in results["MotChallenge2DBox"]["given"].items():
        families = one["pedestrian"].values()
        flat[name] = {key: float(np.mean(value)) for family in families for key, value in family.items()}
        flat[name] |= {"Frames": 0.0}
    return flat


def ours(truth: Path, found: Path, benchmark: str | None) -> dict[str, Any]:
    given = argparse.Namespace(truth=[truth], predictions=[found], benchmark=benchmark, length=None)
    return tracking.score(given)


def assert_equal(scores: dict[str, Any], expected: dict[str, dict[str, Any]]) -> None:
    rows = {**scores["sequences"], "COMBINED_SEQ": scores["COMBINED"]}
    assert set(rows) == set(expected)
    for name, row in rows.items():
        for key, value in row.items():
            assert value == pytest.approx(expected[name][key], abs=1e-9), (name, key)
        assert {"HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDSW", "Frag", "MT", "PT", "ML", "IDF1", "IDs"} <= set(row)


def hard_sequence(seed: int, folder: Path, name: str, found: Path, *, classes: bool, empty: bool = False) -> int:
    """Objects of all classes, some not considered; the tracker drops boxes, swaps ids, follows distractors and invents
    tracks, also in frames without truth; ids are large and scattered, rows unordered."""
    rng = np.random.default_rng(seed)
    length, true, tracked = 40, [], []
    for number in range(16):
        kind = (1 if number % 2 else int(rng.integers(1, 14))) if classes else -1
        flag = int(rng.random() > 0.2)
        first, last = sorted(rng.integers(3, length, 2).tolist())
        x, y, dx = rng.uniform(0, 300), rng.uniform(0, 60), rng.uniform(-6, 6)
        identity = int(rng.integers(1, 10**6))
        for frame in range(first, last + 1):
            box = np.array([x + dx * frame, y, 40, 90])
            tail = f"{flag},{kind},{rng.random():.3f}" if classes else f"{flag},-1,-1,-1"
            true.append(f"{frame},{number + 1},{','.join(f'{value:.2f}' for value in box)},{tail}")
            if rng.random() < 0.8:
                near = box + rng.normal(0, 4, 4)
                mine = identity + (1 if frame > (first + last) / 2 and number % 3 == 0 else 0)
                tracked.append(f"{frame},{mine},{','.join(f'{value:.2f}' for value in near)},{rng.random():.3f},-1,-1,-1")
    for frame in range(1, length + 1, 2):
        tracked.append(f"{frame},77777777,{rng.uniform(0, 400):.2f},10,40,90,0.5,-1,-1,-1")
    rng.shuffle(true)
    rng.shuffle(tracked)
    (folder / name / "gt").mkdir(parents=True)
    (folder / name / "gt" / "gt.txt").write_text("\n".join(true) + "\n")
    (folder / name / "seqinfo.ini").write_text(f"[Sequence]\nname={name}\nseqLength={length + 2}\n")
    found.mkdir(exist_ok=True)
    (found / f"{name}.txt").write_text("" if empty else "\n".join(tracked) + "\n")
    return length + 2


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_hard_sequences_equal_trackeval(benchmark: str, tmp_path: Path) -> None:
    truth, found = tmp_path / "truth", tmp_path / "found"
    classes = benchmark != "MOT15"
    names = ("a", "b", "c")
    lengths = {name: hard_sequence(seed, truth, name, found, classes=classes) for seed, name in enumerate(names)}
    lengths["quiet"] = hard_sequence(9, truth, "quiet", found, classes=classes, empty=True)
    scores = ours(truth, found, benchmark)
    assert_equal(scores, reference(truth, found, lengths, benchmark))
    assert scores["frames"] == lengths and 0.2 < scores["COMBINED"]["HOTA"] < 0.9
    assert any("quiet.txt: no row" in text for text in scores["warnings"])


def test_what_the_rules_leave_out_differs_between_benchmarks(tmp_path: Path) -> None:
    """The same rows under MOT17 lose classes and matched distractors; under MOT15 only flag 0."""
    truth, found = tmp_path / "truth", tmp_path / "found"
    hard_sequence(1, truth, "a", found, classes=True)
    seventeen, fifteen = ours(truth, found, None), ours(truth, found, "MOT15")
    assert seventeen["benchmark"] == "MOT17" and not seventeen["benchmark_stated"]
    assert seventeen["COMBINED"]["GT_Dets"] < fifteen["COMBINED"]["GT_Dets"]
    assert seventeen["COMBINED"]["Dets"] < fifteen["COMBINED"]["Dets"]


def mirrored(*names: str) -> list[Path]:
    mirror = os.environ.get("VIPERSIGHT_MIRROR")
    paths = [Path(mirror or "") / "mot" / name for name in names]
    if not mirror or not all(path.is_dir() for path in paths):
        pytest.skip(f"needs VIPERSIGHT_MIRROR, a folder that holds mot/{names[0]}")
    return paths


@pytest.mark.mirror
def test_a_published_tracker_on_tud_campus_equals_trackeval(tmp_path: Path) -> None:
    (source,) = mirrored("TUD-Campus")
    shutil.copytree(source, tmp_path / "truth" / "TUD-Campus")
    shutil.copytree(source / "results", tmp_path / "found")
    scores = ours(tmp_path / "truth", tmp_path / "found", None)
    assert scores["benchmark"] == "MOT15"
    assert_equal(scores, reference(tmp_path / "truth", tmp_path / "found", {"TUD-Campus": 71}, "MOT15"))
    assert scores["COMBINED"]["MOTA"] == pytest.approx(0.5264623955)


@pytest.mark.mirror
@pytest.mark.parametrize("keeps", [0.7, 1.0])
def test_mot17_truth_followed_by_a_tracker_equals_trackeval(keeps: float, tmp_path: Path) -> None:
    """All kinds of true boxes, distractors and unconsidered ones too, shaken and in part dropped; or the considered
    pedestrians exactly, which score 1."""
    (source,) = mirrored("MOT17-04-mini")
    rows = np.loadtxt(source / "gt" / "gt.txt", delimiter=",")
    rng = np.random.default_rng(0)
    kept = rows[rng.random(len(rows)) < keeps] if keeps < 1 else rows[(rows[:, 6] == 1) & (rows[:, 7] == 1)]
    kept[:, 2:6] += rng.normal(0, 3, (len(kept), 4)) * (keeps < 1)
    (tmp_path / "truth" / "s" / "gt").mkdir(parents=True)
    (tmp_path / "found").mkdir()
    shutil.copy(source / "gt" / "gt.txt", tmp_path / "truth" / "s" / "gt" / "gt.txt")
    lines = [f"{int(row[0])},{int(row[1])},{row[2]},{row[3]},{row[4]},{row[5]},1,-1,-1,-1" for row in kept]
    (tmp_path / "found" / "s.txt").write_text("\n".join(lines))
    scores = ours(tmp_path / "truth", tmp_path / "found", "MOT17")
    assert_equal(scores, reference(tmp_path / "truth", tmp_path / "found", {"s": 8}, "MOT17"))
    if keeps < 1:
        assert scores["COMBINED"]["Dets"] < len(kept)  # matched distractors are gone
    else:
        assert scores["COMBINED"]["HOTA"] == pytest.approx(1.0) and scores["COMBINED"]["MOTA"] == 1.0
