"""QVHighlights' scores against a slow reading of the official rule, written here and sharing no code with lib, on made
queries and on the real sample; and on that against the figures of the official evaluator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.metrics.qvhighlights import RANGES, THRESHOLDS, metric_names, per_query, query_rows
from lib.metrics.ratio_units import ratio_units
from lib.reporting.unit_scores import ratios

Windows = list[list[float]]


def overlap_of(one: list[float], other: list[float]) -> float:
    shared = min(one[1], other[1]) - max(one[0], other[0])
    if shared <= 0:
        return 0.0
    return shared / ((one[1] - one[0]) + (other[1] - other[0]) - shared)


def slow_ap(windows: Windows, truths: Windows, threshold: float) -> float:
    """Of one query: its first ten windows by falling score, each takes the free true window that fits best."""
    ranked = sorted(windows[:10], key=lambda window: -window[2])
    free, hits = list(range(len(truths))), []
    for window in ranked:
        fits = [(overlap_of(window, truths[number]), number) for number in free]
        best = max(fits, default=(0.0, -1))
        hits.append(best[0] >= threshold)
        if hits[-1]:
            free.remove(best[1])
    precisions = [sum(hits[: place + 1]) / (place + 1) for place in range(len(hits))]
    return sum(max(precisions[place:]) for place, hit in enumerate(hits) if hit) / len(truths)


def slow_r1(windows: Windows, truths: Windows, threshold: float) -> float:
    return float(bool(windows) and max(overlap_of(windows[0], truth) for truth in truths) >= threshold)


def slow(windows: Windows, truths: Windows) -> dict[str, float]:
    found = {}
    for name, (low, high) in RANGES.items():
        own = truths if name == "full" else [one for one in truths if low < one[1] - one[0] <= high]
        for score, function in (("R1", slow_r1), ("mAP", slow_ap)):
            tail = "" if name == "full" else f"_{name}"
            values = [function(windows, own, threshold) if own else float("nan") for threshold in THRESHOLDS]
            found |= {f"{score}{tail}@{one:g}": value for one, value in zip(THRESHOLDS, values, strict=True)}
            if score == "mAP":
                found[f"mAP{tail}"] = sum(values) / len(values)
    return found


def compare(predictions: list[Windows], truths: list[Windows]) -> None:
    found = per_query([np.array(one, float).reshape(-1, 3) for one in predictions], [np.array(one) for one in truths])
    expected = [slow(*pair) for pair in zip(predictions, truths, strict=True)]
    for name in (column for key in RANGES for column in metric_names(key)):
        np.testing.assert_allclose(found[name], [one[name] for one in expected], atol=1e-12, err_msg=name)


def made(count: int, seed: int) -> tuple[list[Windows], list[Windows]]:
    """Windows on two-second clips of 150 s, so that many IoUs are thresholds exactly; scores with ties."""
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(count):
        cuts = np.sort(rng.choice(76, 2 * int(rng.integers(1, 5)), replace=False)) * 2.0
        truths.append(cuts.reshape(-1, 2).tolist())
        rows = []
        for _ in range(int(rng.integers(0, 13))):
            start, end = cuts.reshape(-1, 2)[rng.integers(len(cuts) // 2)] + 2.0 * rng.integers(-4, 5, 2)
            rows.append([min(start, end), max(start, end) + 2.0, round(float(rng.random()), 1)])
        predictions.append(rows)
    return predictions, truths


def test_made_queries_agree_with_the_slow_reading() -> None:
    compare(*made(2000, seed=0))


def test_thresholds_are_the_official_floats() -> None:
    assert [float(f"{value:.2f}") for value in np.linspace(0.5, 0.95, 10)] == list(THRESHOLDS)


def test_by_hand() -> None:
    """Two true windows; the first listed window has the lower score. At 0.5: hit, miss, hit → (1 + 2/3) / 2."""
    windows = np.array([[0.0, 10.0, 0.5], [10.0, 20.0, 0.9], [40.0, 60.0, 0.1], [100.0, 110.0, 0.3]])
    rows = per_query([windows], [np.array([[10.0, 20.0], [40.0, 80.0]])])
    assert rows["R1@0.5"].item() == 0.0
    assert rows["mAP@0.5"].item() == pytest.approx((1 + 2 / 4) / 2)
    assert rows["mAP@0.55"].item() == pytest.approx(1 / 2)
    assert rows["mAP_short@0.95"].item() == 1.0 and rows["mAP_long@0.5"].item() == pytest.approx(1 / 4)
    assert np.isnan(rows["mAP_middle"].item())


def test_tables_score_as_arrays_do_and_any_resample_of_videos_too() -> None:
    predictions, truths = made(60, seed=3)
    names = [(f"v{number // 4:02d}", f"q{number}") for number in range(60)]
    truth = [[*name, "who", *window] for name, windows in zip(names, truths, strict=True) for window in windows]
    found = [
        [*name, rank, *window]
        for name, windows in zip(names, predictions, strict=True)
        for rank, window in enumerate(windows)
    ]
    rows = query_rows(
        pd.DataFrame(truth, columns=["video", "query", "template", "start_s", "end_s"]),
        pd.DataFrame(found, columns=["video", "query", "rank", "start_s", "end_s", "score"]).sample(frac=1, random_state=0),
    )
    assert list(zip(rows["video"], rows["query"], strict=True)) == names
    expected = [slow(*pair) for pair in zip(predictions, truths, strict=True)]
    for metric in ("R1@0.5", "mAP", "mAP_short", "mAP_middle@0.5"):
        np.testing.assert_allclose(rows[metric], [one[metric] for one in expected], atol=1e-12)
    units = ratio_units(rows, ["mAP", "mAP_short"], group="template", groups=["who"])
    often = np.random.default_rng(0).multinomial(len(units), np.full(len(units), 1 / len(units)), 3)
    for metric in ("mAP", "mAP_short"):
        _, whole = ratios(units, metric, weights=often, of="all")
        for times, value in zip(often, whole, strict=True):
            drawn = np.repeat(rows[metric].to_numpy(), times[pd.factorize(rows["video"])[0]])
            assert value == pytest.approx(np.nanmean(drawn))


def test_a_query_without_windows_scores_nothing() -> None:
    rows = per_query([np.empty((0, 3))], [np.array([[10.0, 20.0]])])
    assert rows["mAP"].item() == rows["R1@0.5"].item() == rows["mAP_short"].item() == 0.0


def test_what_cannot_be_scored_is_refused() -> None:
    window = np.array([[0.0, 1.0, 0.5]])
    with pytest.raises(ValueError, match="1 predictions for 2 queries"):
        per_query([window], [window[:, :2]] * 2)
    with pytest.raises(ValueError, match="without a true window"):
        per_query([window], [np.empty((0, 2))])
    with pytest.raises(ValueError, match="NaN"):
        per_query([np.array([[0.0, 1.0, np.nan]])], [window[:, :2]])


@pytest.mark.mirror
def test_the_real_sample(mirror: Path) -> None:
    """Also the figures that moment_detr's standalone_eval prints for these files: R1 53.94 and 34.84, mAP 32.20."""
    folder = mirror / "nlq" / "qvhighlights"
    lines = {name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
             for name in ("highlight_val_release", "sample_val_preds")}  # fmt: skip
    answers = {one["qid"]: one["pred_relevant_windows"] for one in lines["sample_val_preds"]}
    predictions = [answers[one["qid"]] for one in lines["highlight_val_release"]]
    truths = [one["relevant_windows"] for one in lines["highlight_val_release"]]
    compare(predictions, truths)
    rows = per_query([np.array(one, float) for one in predictions], [np.array(one, float) for one in truths])
    percent = (100 * rows.mean()).round(2)
    assert len(rows) == 1550 and (percent["R1@0.5"], percent["R1@0.7"], percent["mAP"]) == (53.94, 34.84, 32.2)
