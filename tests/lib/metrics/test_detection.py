"""Reference: pycocotools' COCOeval on random boxes, hand-made cases, and literal re-evaluation of resampled videos."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lib.files import DataError
from lib.metrics.detection import ap_from_units, evaluate, match_units
from lib.metrics.statistics import bootstrap_weights

CLASSES = ["person", "hook", "truck"]
BOX = ["x1", "y1", "x2", "y2"]


def boxes(rows: list[tuple], extra: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["video", "frame", "class", *BOX, extra])


def world(seed: int, n_videos: int, n_frames: int, n_true: int, n_false: int, ignored: float = 0.1) -> tuple:
    """Random truth, noisy predictions with misses and false alarms, and the labelled frames."""
    rng = np.random.default_rng(seed)
    videos = [f"v{number:03d}" for number in range(n_videos)]
    frames = pd.DataFrame([(video, frame) for video in videos for frame in range(n_frames)], columns=["video", "frame"])
    count = len(frames) * n_true
    where = frames.iloc[np.repeat(np.arange(len(frames)), n_true)].reset_index(drop=True)
    corner, size = rng.uniform(0, 300, (count, 2)), np.exp(rng.uniform(np.log(8), np.log(200), (count, 2)))
    truth = where.assign(**{"class": rng.choice(CLASSES, count, p=[0.6, 0.3, 0.1])})
    truth[BOX] = np.hstack([corner, corner + size])
    truth["ignore"] = rng.random(count) < ignored
    quality = dict(zip(videos, rng.uniform(0.02, 0.25, n_videos), strict=True))
    kept = truth[rng.random(count) > 0.15].drop(columns="ignore").reset_index(drop=True)
    noise = kept["video"].map(quality).to_numpy()[:, None] * np.tile(kept[["x2", "y2"]].to_numpy() - kept[["x1", "y1"]], 2)
    kept[BOX] += rng.normal(0, 1, (len(kept), 4)) * noise * 0.5
    kept[["x2", "y2"]] = np.maximum(kept[["x2", "y2"]], kept[["x1", "y1"]].to_numpy() + 1)
    kept["score"] = np.clip(rng.normal(0.6, 0.2, len(kept)), 0.01, 0.99)
    n_wrong = len(frames) * n_false
    wrong = frames.iloc[np.repeat(np.arange(len(frames)), n_false)].reset_index(drop=True)
    wrong = wrong.assign(**{"class": rng.choice(CLASSES, n_wrong)})
    corner = rng.uniform(0, 300, (n_wrong, 2))
    wrong[BOX] = np.hstack([corner, corner + rng.uniform(8, 150, (n_wrong, 2))])
    wrong["score"] = np.clip(rng.normal(0.35, 0.2, n_wrong), 0.01, 0.99)
    return truth, pd.concat([kept, wrong], ignore_index=True), frames


def pycocotools_stats(
    truth: pd.DataFrame, predictions: pd.DataFrame, frames: pd.DataFrame, max_det: int = 100
) -> np.ndarray:
    """The twelve COCO numbers: AP, AP50, AP75, AP small/medium/large, AR1, AR10, AR100, AR small/medium/large."""
    ids = {(video, frame): number for number, (video, frame) in enumerate(frames.itertuples(index=False), start=1)}

    def rows(table: pd.DataFrame) -> list[dict]:
        found = []
        for number, row in enumerate(table.to_dict("records"), start=1):
            size = [row["x2"] - row["x1"], row["y2"] - row["y1"]]
            entry = {
                "id": number,
                "image_id": ids[row["video"], row["frame"]],
                "category_id": CLASSES.index(row["class"]) + 1,
            }
            entry |= {"bbox": [row["x1"], row["y1"], *size], "area": size[0] * size[1]}
            found.append(entry | ({"score": row["score"]} if "score" in row else {"iscrowd": int(row["ignore"])}))
        return found

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
        images = [{"id": number, "width": 500, "height": 500} for number in ids.values()]
        ground.dataset = {"images": images, "categories": categories, "annotations": rows(truth)}
        ground.createIndex()
        run = COCOeval(ground, ground.loadRes(rows(predictions)), "bbox")
        run.params.maxDets = [1, min(10, max_det), max_det]
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_pycocotools_with_crowds_and_areas(seed: int) -> None:
    truth, predictions, frames = world(seed, 4, 10, 5, 4)
    scores = evaluate(truth, predictions, frames, CLASSES, f1_threshold=0.5)
    keys = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
    expected = pycocotools_stats(truth, predictions, frames)
    assert 0.05 < scores["AP"] < 0.95
    np.testing.assert_allclose([scores[key] for key in keys], expected[:6], atol=1e-9)
    np.testing.assert_allclose(scores["AR"], expected[8], atol=1e-9)
    per_class = [scores["per_class"][name]["AP"] for name in CLASSES]
    assert scores["AP"] == pytest.approx(np.mean(per_class))
    json.dumps(scores, allow_nan=False)


def test_max_det_keeps_the_best_of_each_frame_and_class() -> None:
    truth, predictions, frames = world(3, 2, 6, 6, 6)
    scores = evaluate(truth, predictions, frames, CLASSES, f1_threshold=0.5, max_det=2)
    expected = pycocotools_stats(truth, predictions, frames, max_det=2)
    assert scores["AR"] == pytest.approx(expected[8], abs=1e-9)
    assert scores["AR"] < evaluate(truth, predictions, frames, CLASSES, f1_threshold=0.5)["AR"]
    units = match_units(truth, predictions, frames, CLASSES, max_det=2)
    assert float(ap_from_units(units, CLASSES, weights=np.ones(2), metric="AP")) == pytest.approx(scores["AP"], abs=1e-9)


def test_perfect_predictions_score_one() -> None:
    truth, _, frames = world(4, 3, 5, 3, 0, ignored=0.2)
    perfect = truth[~truth["ignore"]].assign(score=0.9)
    scores = evaluate(truth, perfect, frames, CLASSES, f1_threshold=0.5)
    for key in ("AP", "AP50", "AP75", "AR", "F1", "precision", "recall", "best_F1"):
        assert scores[key] == pytest.approx(1.0), key
    assert scores["warnings"] == []


def test_the_very_first_box_is_not_lost_to_id_zero() -> None:
    """COCO writes 0 for “unmatched”: with ids from 0 the only box of a one-box truth would count as missed."""
    truth = boxes([("v", 0, "person", 0.0, 0.0, 10.0, 10.0, False)], "ignore")
    found = boxes([("v", 0, "person", 0.0, 0.0, 10.0, 10.0, 0.9)], "score")
    frames = pd.DataFrame({"video": ["v"], "frame": [0]})
    scores = evaluate(truth, found, frames, ["person"], f1_threshold=0.5)
    assert (scores["AP"], scores["F1"], scores["AR"]) == pytest.approx((1.0, 1.0, 1.0))
    assert match_units(truth, found, frames, ["person"])["matched"][0].tolist() == [0b1111111111]


def test_ignored_boxes_are_neither_missed_nor_false_alarms() -> None:
    truth = boxes([("v", 0, "person", 0, 0, 10, 10, False), ("v", 0, "person", 50, 50, 150, 150, True)], "ignore")
    found = boxes(
        [
            ("v", 0, "person", 0, 0, 10, 10, 0.6),
            ("v", 0, "person", 60, 60, 80, 80, 0.9),  # inside the crowd
            ("v", 0, "person", 90, 90, 110, 110, 0.8),  # inside the crowd too: one crowd takes any number
            ("v", 0, "person", 300, 300, 320, 320, 0.7),  # a false alarm
        ],
        "score",
    )
    frames = pd.DataFrame({"video": ["v"], "frame": [0]})
    person = evaluate(truth, found, frames, ["person"], f1_threshold=0.5)["per_class"]["person"]
    assert (person["n_truth"], person["n_ignored"]) == (1, 1)
    assert (person["precision"], person["recall"]) == (0.5, 1.0)
    assert person["AP50"] == pytest.approx(0.5)
    units = match_units(truth, found, frames, ["person"])
    assert [bits & 1 for bits in units["ignored"][0]] == [1, 1, 0, 0]  # by falling score
    assert [bits & 1 for bits in units["matched"][0]] == [0, 0, 0, 1]


def test_f1_at_fixed_and_best_threshold() -> None:
    truth = boxes([("v", frame, "person", 0, 0, 10, 10, False) for frame in range(4)], "ignore")
    hits = [
        ("v", 0, "person", 0, 0, 10, 10, 0.9),
        ("v", 1, "person", 0, 0, 10, 10, 0.4),
        ("v", 2, "person", 0, 0, 10, 10, 0.4),
    ]
    misses = [("v", 3, "person", 50, 50, 60, 60, 0.95), ("v", 3, "person", 70, 50, 80, 60, 0.1)]
    frames = pd.DataFrame({"video": "v", "frame": range(4)})
    scores = evaluate(truth, boxes(hits + misses, "score"), frames, ["person"], f1_threshold=0.5)["per_class"]["person"]
    assert (scores["precision"], scores["recall"]) == (0.5, 0.25)
    assert scores["F1"] == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    assert scores["best_F1"] == pytest.approx(2 * 3 / (4 + 4))  # both boxes at 0.4 enter together
    assert scores["best_F1_threshold"] == 0.4


def test_a_class_without_truth_has_no_score_and_does_not_move_the_mean() -> None:
    truth, predictions, frames = world(5, 3, 5, 3, 2)
    scores = evaluate(truth, predictions, frames, CLASSES, f1_threshold=0.5)
    extra = evaluate(truth, predictions, frames, [*CLASSES, "crane"], f1_threshold=0.5)
    assert extra["AP"] == scores["AP"] and extra["F1"] == scores["F1"]
    assert {extra["per_class"]["crane"][key] for key in ("AP", "AP50", "AR", "F1", "best_F1")} == {None}
    assert any("crane" in text for text in extra["warnings"])


def test_no_predictions_score_zero_and_no_truth_scores_nothing() -> None:
    truth, predictions, frames = world(6, 3, 4, 3, 2)
    nothing = evaluate(truth, predictions.iloc[:0], frames, CLASSES, f1_threshold=0.5)
    assert [nothing[key] for key in ("AP", "AP50", "AR", "F1", "precision", "recall", "best_F1")] == [0.0] * 7
    assert any("no prediction" in text for text in nothing["warnings"])
    units = match_units(truth, predictions.iloc[:0], frames, CLASSES)
    assert float(ap_from_units(units, CLASSES, weights=np.ones(3))) == 0.0
    blank = evaluate(truth.iloc[:0], predictions, frames, CLASSES, f1_threshold=0.5)
    assert [blank[key] for key in ("AP", "AP50", "AR", "AP_small", "F1", "best_F1")] == [None] * 6
    assert any("no true box" in text for text in blank["warnings"])
    assert np.isnan(ap_from_units(match_units(truth.iloc[:0], predictions, frames, CLASSES), CLASSES, weights=np.ones(3)))
    json.dumps([nothing, blank], allow_nan=False)


def test_boxes_off_the_labelled_frames_are_counted_and_not_scored() -> None:
    truth, predictions, frames = world(7, 3, 6, 3, 2)
    half = frames[frames["frame"] < 3]
    inside = predictions[predictions["frame"] < 3]
    scores = evaluate(truth, predictions, half, CLASSES, f1_threshold=0.5)
    assert scores["AP"] == evaluate(truth[truth["frame"] < 3], inside, half, CLASSES, f1_threshold=0.5)["AP"]
    assert scores["n_predictions_elsewhere"] == len(predictions) - len(inside)
    fewer = evaluate(truth, predictions, frames, CLASSES[:1], f1_threshold=0.5)
    assert fewer["n_predictions_other_classes"] == (predictions["class"] != CLASSES[0]).sum()


def test_a_labelled_frame_without_truth_makes_false_alarms() -> None:
    truth = boxes([("v", 0, "person", 0, 0, 10, 10, False)], "ignore")
    found = boxes([("v", 0, "person", 0, 0, 10, 10, 0.5), ("w", 7, "person", 0, 0, 10, 10, 0.9)], "score")
    frames = pd.DataFrame({"video": ["v", "w"], "frame": [0, 7]})
    assert evaluate(truth, found, frames, ["person"], f1_threshold=0.1)["AP50"] == pytest.approx(0.5)
    units = match_units(truth, found, frames, ["person"])
    assert units["video"].tolist() == ["v", "w"] and np.isnan(units["AP50"][1])


@pytest.mark.parametrize("metric", ["AP", "AP50", "AP75"])
def test_units_give_the_evaluators_ap(metric: str) -> None:
    truth, predictions, frames = world(8, 6, 8, 5, 4)
    predictions["score"] = predictions["score"].round(1)  # many equal scores: the order of ties must be the evaluator's
    scores = evaluate(truth, predictions, frames, CLASSES, f1_threshold=0.5)
    units = match_units(truth, predictions, frames, CLASSES)
    per_class = ap_from_units(units, CLASSES, weights=np.ones(6), metric=metric, per_class=True)
    np.testing.assert_allclose(per_class, [scores["per_class"][name][metric] for name in CLASSES], atol=1e-12)
    assert float(ap_from_units(units, CLASSES, weights=np.ones(6), metric=metric)) == pytest.approx(
        scores[metric], abs=1e-12
    )


def test_weighted_units_equal_evaluating_the_resampled_videos() -> None:
    truth, predictions, frames = world(9, 5, 4, 2, 3)
    truth = truth[(truth["class"] != "truck") | (truth["video"] == "v002")]  # a class that some resamples lack
    units = match_units(truth, predictions, frames, CLASSES)
    weights = bootstrap_weights(5, 12, seed=1)
    got = {metric: ap_from_units(units, CLASSES, weights=weights, metric=metric) for metric in ("AP", "AP50")}
    assert (weights[:, 2] == 0).any() and (weights.max(axis=1) >= 2).all()
    for draw, row in enumerate(weights):
        copies = [(video, copy) for video, times in zip(units["video"], row, strict=True) for copy in range(times)]
        again = [
            pd.concat([t[t["video"] == video].assign(video=f"{video}-{copy}") for video, copy in copies])
            for t in (truth, predictions, frames)
        ]
        expected = evaluate(*again, CLASSES, f1_threshold=0.5)
        assert got["AP"][draw] == pytest.approx(expected["AP"], abs=1e-12)
        assert got["AP50"][draw] == pytest.approx(expected["AP50"], abs=1e-12)


def test_units_survive_parquet_and_chunks_of_draws(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predictions, frames = world(10, 12, 3, 3, 2)
    units = match_units(truth, predictions, frames, CLASSES)
    units.to_parquet(tmp_path / "units.parquet")
    weights = bootstrap_weights(12, 50, seed=0)
    whole = ap_from_units(units, CLASSES, weights=weights, metric="AP")
    monkeypatch.setattr("lib.metrics.resampled_ap._CELLS_AT_ONCE", 100)
    pieces = ap_from_units(pd.read_parquet(tmp_path / "units.parquet"), CLASSES, weights=weights, metric="AP")
    np.testing.assert_array_equal(whole, pieces)
    assert np.std(whole) > 0


def test_wrong_input_is_refused_with_its_name() -> None:
    truth, predictions, frames = world(11, 2, 2, 2, 1)
    with pytest.raises(DataError, match="score"):
        evaluate(truth, predictions.drop(columns="score"), frames, CLASSES, f1_threshold=0.5)
    with pytest.raises(DataError, match="different names"):
        evaluate(truth, predictions, frames, ["person", "person"], f1_threshold=0.5)
    units = match_units(truth, predictions, frames, CLASSES)
    with pytest.raises(DataError, match="3 videos"):
        ap_from_units(units, CLASSES, weights=np.ones(3))
    with pytest.raises(DataError, match="whole numbers"):
        ap_from_units(units, CLASSES, weights=np.array([0.5, 1.5]))
    with pytest.raises(DataError, match="hold 3 classes"):
        ap_from_units(units, ["person"], weights=np.ones(2))
