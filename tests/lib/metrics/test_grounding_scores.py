"""Grounding tables to scores: by hand, and per group and per resample against a slow pooling of the queries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lib.files import DataError
from lib.metrics.grounding import LENGTHS, evaluate, length_class, length_units, metric_names, per_query
from lib.metrics.ratio_units import ratio_units
from lib.reporting.unit_scores import ratios

QUERY = ["video", "query", "template", "start_s", "end_s"]
WINDOW = ["video", "query", "rank", "start_s", "end_s"]


def tables(queries: list[list], windows: list[list]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.DataFrame(queries, columns=QUERY), pd.DataFrame(windows, columns=WINDOW)


def made(seed: int, videos: int = 12) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    queries, windows = [], []
    for video in range(videos):
        for query in range(int(rng.integers(1, 6))):
            name = [f"v{video:02d}", f"q{query}"]
            start = rng.uniform(0, 60)
            truth = [start, start + rng.choice([0.5, 2.0, 5.0, 20.0, 60.0])]
            queries.append([*name, str(rng.choice(["who", "where", "when"])), *truth])
            for rank in range(int(rng.integers(0, 7))):
                windows.append([*name, rank, *np.sort(np.array(truth) + rng.normal(0, 3, 2))])
    truth, found = tables(queries, windows)
    return truth, found.sample(frac=1.0, random_state=seed)  # the rank says the order, not the row


def test_by_hand() -> None:
    """Four queries, one unannotated and one without a window; the second window of `a` hits."""
    truth, found = tables(
        [["v", "a", "who", 0, 4], ["v", "b", "", 10, 12], ["w", "a", "who", 5, 45], ["w", "z", "who", np.nan, np.nan]],
        [["v", "a", 1, 0, 4], ["v", "a", 0, 0, 8], ["w", "a", 0, 5, 37], ["w", "z", 0, 1, 2], ["w", "other", 0, 1, 2]],
    )
    scores, units = evaluate(truth, found)
    metrics = scores["metrics"]
    assert metrics["R1@0.3"] == pytest.approx(2 / 3) and metrics["R1@0.5"] == pytest.approx(1 / 3)
    assert metrics["R3@0.5"] == metrics["R5@0.7"] == pytest.approx(2 / 3)
    assert metrics["mIoU"] == pytest.approx((0.5 + 0.8) / 3)
    assert scores["classes"] == ["who", "no template"] and scores["coverage"] == pytest.approx(2 / 3)
    assert scores["per_class"]["no template"] == {"n_truth": 1, **dict.fromkeys(metric_names(), 0.0)}
    assert [scores["per_length"][name]["n_truth"] for name in LENGTHS] == [1, 1, 0, 1]
    assert scores["per_length"]["8.6–34 s"]["mIoU"] is None, "no query, no score"
    counts = scores["counts"]
    assert (counts["n_truth"], counts["n_unannotated"], counts["n_without_windows"]) == (3, 1, 1)
    assert (counts["n_predictions"], counts["n_predictions_elsewhere"]) == (3, 2) and len(scores["warnings"]) == 3
    assert units["video"].tolist() == ["v", "w"] and units["R1@0.3:sum"].tolist()[0].tolist() == [1.0, 0.0]
    assert units["mIoU:count"].tolist()[0].tolist() == [1.0, 1.0]


def test_several_true_windows_and_their_length() -> None:
    for hit in ([0, 4], [50, 90]):
        truth, found = tables([["v", "a", "who", 0, 4], ["v", "a", "who", 50, 90]], [["v", "a", 0, *hit]])
        rows = per_query(truth, found)
        assert len(rows) == 1 and rows["R1@0.7"].item() == 1.0 and rows["length"].item() == "> 34 s"


def test_exactly_the_threshold_is_a_miss_unless_another_rule_is_asked_for() -> None:
    truth, found = tables([["v", "a", "who", 0, 4]], [["v", "a", 0, 0, 8]])
    assert per_query(truth, found)["R1@0.5"].item() == evaluate(truth, found)[0]["metrics"]["R1@0.5"] == 0.0
    assert per_query(truth, found, rule=">=")["R1@0.5"].item() == 1.0
    assert evaluate(truth, found, rule=">=")[0]["metrics"]["R1@0.5"] == 1.0


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        (2.0, "≤ 2 s"),
        (8.2 - 6.2, "≤ 2 s"),
        (12.3 - 10.3, "≤ 2 s"),
        (2.01, "2–8.6 s"),
        (8.6, "2–8.6 s"),
        (34.0, "8.6–34 s"),
        (477.6, "> 34 s"),
    ],
)
def test_ends_belong_to_the_shorter_answers(seconds: float, name: str) -> None:
    assert LENGTHS[int(length_class(np.array([seconds]))[0])] == name


@pytest.mark.parametrize("group", ["template", "length"])
def test_units_score_any_resample_as_pooling_the_queries_does(group: str) -> None:
    for seed in range(5):
        truth, found = made(seed)
        rows = per_query(truth, found)
        names = sorted(rows[group].unique()) if group == "template" else list(LENGTHS)
        units = ratio_units(rows, metric_names(), group=group, groups=names)
        videos = units["video"].tolist()
        times = np.random.default_rng(seed).multinomial(len(videos), np.full(len(videos), 1 / len(videos)), 4)
        for metric in ("R1@0.3", "R5@0.5", "mIoU"):
            per_class, whole = ratios(units, metric, weights=times, of="all")
            for often, classes, value in zip(times, per_class, whole, strict=True):
                chosen = [video for video, n in zip(videos, often, strict=True) for _ in range(n)]
                drawn = pd.concat([rows[rows["video"] == video] for video in chosen])
                assert value == pytest.approx(drawn[metric].mean())
                expected = [drawn[drawn[group] == name][metric].mean() for name in names]
                np.testing.assert_allclose(classes, expected, atol=1e-12)


def test_means_are_those_of_the_units() -> None:
    truth, found = made(9)
    scores, units = evaluate(truth, found)
    once = np.ones((1, len(units)), int)
    per_class, whole = ratios(units, "R3@0.3", weights=once, of="all")
    assert whole[0] == pytest.approx(scores["metrics"]["R3@0.3"])
    assert per_class[0].tolist() == pytest.approx([scores["per_class"][name]["R3@0.3"] for name in scores["classes"]])
    rows = per_query(truth, found)
    lengths, _ = ratios(length_units(rows, ["R3@0.3"]), "R3@0.3", weights=once, of="all")
    np.testing.assert_allclose(lengths[0], [scores["per_length"][name]["R3@0.3"] or np.nan for name in LENGTHS])


def test_lengths_are_classes_with_an_order_of_their_own() -> None:
    by_length, _ = evaluate(*made(9), by="length")
    assert by_length["ordered"] and by_length["classes"] == list(LENGTHS)
    assert not evaluate(*made(9))[0]["ordered"]


def test_what_does_not_count_is_left_out_of_the_units() -> None:
    items = pd.DataFrame({"video": ["b", "a", "b"], "kind": ["x", "y", "x"], "m": [1.0, np.nan, 0.5]})
    units = ratio_units(items, ["m"], group="kind", groups=["x", "y"])
    assert units["video"].tolist() == ["a", "b"]
    assert [one.tolist() for one in units["m:sum"]] == [[0.0, 0.0], [1.5, 0.0]]
    assert [one.tolist() for one in units["m:count"]] == [[0.0, 0.0], [2.0, 0.0]]
    with pytest.raises(ValueError, match="kind 'y' is none of"):
        ratio_units(items, ["m"], group="kind", groups=["x"])


@pytest.mark.parametrize(
    ("window", "says"),
    [
        (["v", "a", 1, 0, np.nan], "holds NaN or infinity"),
        (["v", "a", 1, 3, 1], "ends before it starts"),
        (["v", "a", 0, 0, 1], "has a rank that an earlier window"),
    ],
)
def test_windows_that_cannot_be_scored_are_named(window: list, says: str) -> None:
    truth, found = tables([["v", "a", "who", 0, 4]], [["v", "a", 0, 0, 4], window])
    with pytest.raises(DataError, match=f"of query 'a' in v.*{says}"):
        evaluate(truth, found)


def test_an_unannotated_split_is_not_scored() -> None:
    truth, found = tables([["v", "a", "who", np.nan, np.nan]], [["v", "a", 0, 0, 4]])
    with pytest.raises(DataError, match=r"has a true window: nothing.*unannotated split"):
        evaluate(truth, found)


def test_no_prediction_at_all_scores_nothing() -> None:
    truth, found = tables([["v", "a", "who", 0, 4]], [])
    scores, _ = evaluate(truth, found)
    assert scores["metrics"]["R5@0.3"] == 0.0 and scores["coverage"] == 0.0
