"""Reference: trackeval's own MotChallenge2DBox pipeline on TUD-Campus (published MOT15 sequence), and hand-made tracks."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trackeval

from lib.files import DataError
from lib.metrics.statistics import bootstrap_weights
from lib.metrics.tracking import SCORES, evaluate, score_from_units

BOX = ["x1", "y1", "x2", "y2"]
FRACTIONS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")


def walk(video: str, track: int, n_frames: int, x: float, name: str = "person", start: int = 0) -> pd.DataFrame:
    """One object that moves 2 px a frame to the right."""
    left = x + 2.0 * np.arange(n_frames)
    table = pd.DataFrame({"video": video, "frame": np.arange(start, start + n_frames), "class": name})
    table[BOX] = np.stack([left, np.full(n_frames, 10.0), left + 20, np.full(n_frames, 50.0)], axis=1)
    return table.assign(score=1.0, track=track)


def every_frame(videos: list[str], n_frames: int) -> pd.DataFrame:
    return pd.DataFrame([(video, frame) for video in videos for frame in range(n_frames)], columns=["video", "frame"])


def random_world(seed: int, n_videos: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Walks of two classes; the tracker drops boxes, shakes them, changes ids half-way and invents some."""
    rng = np.random.default_rng(seed)
    true, found = [], []
    for video in (f"v{number:02d}" for number in range(n_videos)):
        for track in range(4):
            true.append(walk(video, track, 20, rng.uniform(0, 300), ["person", "truck"][track % 2]))
            part = true[-1][rng.random(20) > 0.2].copy()
            part[BOX] += rng.normal(0, 2, (len(part), 4))
            part.loc[part["frame"] >= rng.integers(8, 30), "track"] += 100
            found.append(part)
        found.append(walk(video, 900, 5, rng.uniform(0, 300)))
    frames = every_frame([f"v{number:02d}" for number in range(n_videos)], 20)
    return pd.concat(true, ignore_index=True), pd.concat(found, ignore_index=True), frames


def test_perfect_tracks_score_one() -> None:
    truth = pd.concat([walk("a", 1, 10, 0), walk("a", 2, 10, 200), walk("b", 1, 10, 0, "truck")])
    relabelled = truth.assign(track=truth["track"] + 50)
    scores = evaluate(truth, relabelled, every_frame(["a", "b"], 10), ["person", "truck"])
    for part in (scores["overall"], *scores["per_class"].values()):
        assert [part[key] for key in FRACTIONS] == pytest.approx([1.0] * 5)
        assert (part["IDSW"], part["FP"], part["FN"], part["ML"]) == (0, 0, 0, 0)
    assert scores["overall"]["MT"] == 3 and scores["overall"]["n_true_tracks"] == 3


def test_known_counts_of_a_track_that_changes_its_id() -> None:
    """10 true boxes; ids 7 (6 frames) then 8 (3 frames), one frame missed, one false alarm far away."""
    truth = walk("a", 1, 10, 0)
    found = truth.iloc[:9].assign(track=[7] * 6 + [8] * 3)
    found = pd.concat([found, walk("a", 9, 1, 400)])
    overall = evaluate(truth, found, every_frame(["a"], 10), ["person"])["overall"]
    assert (overall["IDSW"], overall["FP"], overall["FN"], overall["MT"], overall["ML"]) == (1, 1, 1, 1, 0)
    assert overall["MOTA"] == pytest.approx(1 - 3 / 10)
    assert overall["IDF1"] == pytest.approx(2 * 6 / (10 + 10))  # 6 boxes under the best single id
    assert overall["DetA"] == pytest.approx(9 / 11)
    association = (6 * 6 / 10 + 3 * 3 / 10) / 9  # per true positive: TPA / (TPA + FNA + FPA)
    assert overall["AssA"] == pytest.approx(association)
    assert overall["HOTA"] == pytest.approx(np.sqrt(9 / 11 * association))


@pytest.mark.parametrize(("objects", "frames"), [(1, 2), (1, 10), (3, 7)])
def test_tracks_that_link_nothing_have_the_lowest_association(objects: int, frames: int) -> None:
    """Perfect boxes, every box an id of its own: of an object's T boxes any one id holds 1, and T − 1 times it changes.

    AssA: TPA / (TPA + FNA + FPA) = 1 / T for every box. IDF1: 2·1 / (T + T), one of T ids per object. MOTA: T − 1 switches.
    """
    truth = pd.concat([walk("a", number, frames, 200.0 * number) for number in range(objects)], ignore_index=True)
    unlinked = truth.assign(track=range(1, len(truth) + 1))
    overall = evaluate(truth, unlinked, every_frame(["a"], frames), ["person"])["overall"]
    assert overall["DetA"] == pytest.approx(1.0) and overall["AssA"] == pytest.approx(1 / frames)
    assert overall["HOTA"] == pytest.approx(np.sqrt(1 / frames))
    assert overall["IDF1"] == pytest.approx(1 / frames) and overall["MOTA"] == pytest.approx(1 / frames)
    assert (overall["IDSW"], overall["FP"], overall["FN"]) == (objects * (frames - 1), 0, 0)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_identity_scores_are_those_of_trackevals_own_assignment(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """On random walks of which a share of the boxes has ids of their own; ours takes a smaller matrix."""
    truth, found, frames = random_world(5, 6)
    alone = np.random.default_rng(1).random(len(found)) < share
    found["track"] = np.where(alone, 10_000 + np.arange(len(found)), found["track"])
    ours = evaluate(truth, found, frames, ["person", "truck"])
    monkeypatch.setattr("lib.metrics.tracking._Identity", trackeval.metrics.Identity)
    theirs = evaluate(truth, found, frames, ["person", "truck"])
    assert ours["overall"] == theirs["overall"] and ours["per_class"] == theirs["per_class"]
    pd.testing.assert_frame_equal(ours["units"], theirs["units"])


def test_equal_ids_of_two_videos_are_two_objects() -> None:
    truth = pd.concat([walk("a", 1, 10, 0), walk("b", 1, 10, 0)])
    swapped = truth.assign(track=np.where(truth["video"] == "a", 1, 2))
    frames = every_frame(["a", "b"], 10)
    assert evaluate(truth, truth, frames, ["person"])["overall"]["IDF1"] == 1.0
    assert evaluate(truth, swapped, frames, ["person"])["overall"]["IDF1"] == 1.0


def test_no_predictions_and_no_truth() -> None:
    truth = walk("a", 1, 10, 0)
    frames = every_frame(["a"], 10)
    nothing = evaluate(truth, truth.iloc[:0], frames, ["person"])["overall"]
    assert [nothing[key] for key in FRACTIONS] == [0.0] * 5
    assert (nothing["FN"], nothing["ML"], nothing["FP"]) == (10, 1, 0)
    blank = evaluate(truth.iloc[:0], truth, frames, ["person"])
    assert {blank["overall"][key] for key in SCORES} == {None} and "no true track" in blank["overall"]["reason"]
    assert np.isnan(blank["units"]["HOTA"][0])
    json.dumps([nothing, blank["overall"], blank["per_class"]], allow_nan=False)
    unlabelled = evaluate(truth, truth, frames.iloc[:0], ["person"])
    assert unlabelled["overall"]["HOTA"] is None and len(unlabelled["units"]) == 0


def test_unlabelled_frames_do_not_count() -> None:
    truth = walk("a", 1, 5, 0)
    longer = walk("a", 1, 10, 0)
    overall = evaluate(truth, longer, every_frame(["a"], 5), ["person"])["overall"]
    assert (overall["FP"], overall["HOTA"]) == (0, 1.0)


def test_what_lies_inside_an_ignored_region_is_forgiven_only_when_asked_for() -> None:
    """MOTChallenge forgives a box that matches an ignored one (IoU 0.5), not one that merely lies inside a larger one."""
    counted, region = walk("a", 1, 10, 0), walk("a", 2, 10, 200)
    region[["x1", "x2"]] += [-100, 100]
    truth = pd.concat([counted.assign(ignore=False), region.assign(ignore=True)])
    found = pd.concat([counted, walk("a", 7, 10, 200), region.assign(track=8)])
    scores = {inside: evaluate(truth, found, every_frame(["a"], 10), ["person"], inside=inside) for inside in (0.5, None)}
    assert {inside: one["overall"]["FP"] for inside, one in scores.items()} == {0.5: 0, None: 10}


def test_ignored_truth_is_neither_missed_nor_a_false_alarm() -> None:
    seen, crowd = walk("a", 1, 10, 0), walk("a", 2, 10, 200).assign(x2=400.0)
    truth = pd.concat([seen.assign(ignore=False), crowd.assign(ignore=True)])
    frames = every_frame(["a"], 10)
    inside = walk("a", 9, 10, 250)
    for found in (seen, pd.concat([seen, crowd.assign(track=5)]), pd.concat([seen, inside])):
        overall = evaluate(truth, found, frames, ["person"])["overall"]
        assert (overall["HOTA"], overall["FP"], overall["FN"]) == (pytest.approx(1.0), 0, 0)
    outside = pd.concat([seen, walk("a", 9, 10, 500)])
    assert evaluate(truth, outside, frames, ["person"])["overall"]["FP"] == 10
    counted = pd.concat([truth, walk("a", 3, 10, 250).assign(ignore=False)])  # a counted object inside the region
    assert evaluate(counted, pd.concat([seen, inside]), frames, ["person"])["overall"]["HOTA"] == pytest.approx(1.0)


def test_impossible_tracks_are_refused_with_their_place() -> None:
    truth = walk("a", 1, 3, 0)
    frames = every_frame(["a"], 3)
    with pytest.raises(DataError, match=r"tracks holds one track id twice.*frame 0"):
        evaluate(truth, pd.concat([truth, truth]), frames, ["person"])
    with pytest.raises(DataError, match="no track id"):
        evaluate(truth.assign(track=-1), truth, frames, ["person"])
    with pytest.raises(DataError, match="no column track"):
        evaluate(truth.drop(columns="track"), truth, frames, ["person"])


def test_units_give_the_combined_scores_and_any_resample() -> None:
    truth, found, frames = random_world(0, 5)
    scores = evaluate(truth, found, frames, ["person", "truck"])
    units = scores["units"]
    assert 0.2 < scores["overall"]["HOTA"] < 0.95 and scores["overall"]["IDSW"] > 0
    assert len(units) == 5 and units["frames"].tolist() == [20] * 5
    weights = bootstrap_weights(5, 6, seed=0)
    for metric in FRACTIONS:
        assert float(score_from_units(units, weights=np.ones(5), metric=metric)) == pytest.approx(scores["overall"][metric])
    for draw, row in enumerate(weights):
        copies = [(video, copy) for video, times in zip(units["video"], row, strict=True) for copy in range(times)]
        again = [
            pd.concat([t[t["video"] == video].assign(video=f"{video}-{copy}") for video, copy in copies])
            for t in (truth, found, frames)
        ]
        expected = evaluate(*again, ["person", "truck"])["overall"]
        for metric in FRACTIONS:
            value = score_from_units(units, weights=weights, metric=metric)[draw]
            assert value == pytest.approx(expected[metric], abs=1e-12), metric


def read_mot(path: Path) -> pd.DataFrame:
    raw = pd.read_csv(path, header=None).iloc[:, :7]
    raw.columns = ["frame", "track", "x", "y", "w", "h", "conf"]
    table = pd.DataFrame({"video": "tud-campus", "frame": raw["frame"].astype(np.int64) - 1, "class": "person"})
    table[BOX] = np.stack([raw["x"], raw["y"], raw["x"] + raw["w"], raw["y"] + raw["h"]], axis=1).astype(np.float64)
    return table.assign(score=1.0, track=raw["track"].astype(np.int64))


@pytest.mark.mirror
def test_equals_trackevals_own_pipeline_on_tud_campus(tmp_path: Path) -> None:
    mirror = os.environ.get("VIPERSIGHT_MIRROR")
    source = Path(mirror or "") / "mot" / "TUD-Campus"
    if not mirror or not source.is_dir():
        pytest.skip("needs VIPERSIGHT_MIRROR, a folder that holds mot/TUD-Campus")
    (tmp_path / "gt" / "TUD-Campus" / "gt").mkdir(parents=True)
    (tmp_path / "trackers" / "given" / "data").mkdir(parents=True)
    shutil.copy(source / "gt" / "gt.txt", tmp_path / "gt" / "TUD-Campus" / "gt" / "gt.txt")
    shutil.copy(source / "results" / "TUD-Campus.txt", tmp_path / "trackers" / "given" / "data" / "TUD-Campus.txt")
    quiet = {"PRINT_CONFIG": False, "PRINT_RESULTS": False, "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False}
    evaluator = trackeval.Evaluator({**quiet, "PLOT_CURVES": False, "TIME_PROGRESS": False, "LOG_ON_ERROR": None})
    settings = {"GT_FOLDER": str(tmp_path / "gt"), "TRACKERS_FOLDER": str(tmp_path / "trackers"), "PRINT_CONFIG": False}
    settings |= {"BENCHMARK": "MOT15", "SKIP_SPLIT_FOL": True, "SEQ_INFO": {"TUD-Campus": 71}}
    threshold = {"THRESHOLD": 0.5, "PRINT_CONFIG": False}
    metrics = [
        trackeval.metrics.HOTA(),
        trackeval.metrics.CLEAR(dict(threshold)),
        trackeval.metrics.Identity(dict(threshold)),
    ]
    results, _ = evaluator.evaluate([trackeval.datasets.MotChallenge2DBox(settings)], metrics)
    expected = results["MotChallenge2DBox"]["given"]["COMBINED_SEQ"]["pedestrian"]
    frames = every_frame(["tud-campus"], 71)
    truth, tracks = read_mot(source / "gt" / "gt.txt"), read_mot(source / "results" / "TUD-Campus.txt")
    ours = evaluate(truth, tracks, frames, ["person"])["overall"]
    for key in ("HOTA", "DetA", "AssA"):
        assert ours[key] == pytest.approx(expected["HOTA"][key].mean(), abs=1e-12)
    assert ours["MOTA"] == pytest.approx(expected["CLEAR"]["MOTA"], abs=1e-12)
    assert ours["IDF1"] == pytest.approx(expected["Identity"]["IDF1"], abs=1e-12)
    counts = {"IDSW": "IDSW", "FP": "CLR_FP", "FN": "CLR_FN", "MT": "MT", "ML": "ML"}
    assert {key: ours[key] for key in counts} == {key: expected["CLEAR"][name] for key, name in counts.items()}
    assert 0.3 < ours["HOTA"] < 0.6
