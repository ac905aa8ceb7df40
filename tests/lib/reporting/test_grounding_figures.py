"""Pictures of grounding: their intervals against statistics.py on hand-made units, and the drawn figures' own words."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib.config.report import ReportSettings
from lib.metrics.grounding import LENGTHS, length_units, per_query
from lib.reporting import grounding_figures
from lib.reporting.grounding_figures import (
    LengthCurve,
    length_estimates,
    length_figure,
    metric_words,
    queries_of_each_length,
    spread_queries,
    windows_figure,
)

SETTINGS = ReportSettings(dpi=80)
METRICS = ["R1@0.3", "R5@0.5"]


def made(hit: float, videos: int = 20) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four queries per video, one of each length; a share of them is answered exactly."""
    rng = np.random.default_rng(0)
    truth, found = [], []
    for video in range(videos):
        for query, length in enumerate((1.0, 5.0, 20.0, 60.0)):
            start = float(rng.uniform(0, 60))
            truth.append([f"v{video:02d}", f"q{query}", f"Where is thing {query}?", "where", "", start, start + length])
            for rank in range(2):
                near = rng.random() < hit
                begin = start if near else float(rng.uniform(0, 100))
                found.append(
                    [f"v{video:02d}", f"q{query}", rank, begin, begin + (length if near else 3.0), 0.9 - 0.4 * rank]
                )
    columns = ["video", "query", "text", "template", "evidence", "start_s", "end_s"]
    windows = ["video", "query", "rank", "start_s", "end_s", "score"]
    return pd.DataFrame(truth, columns=columns), pd.DataFrame(found, columns=windows)


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts of the figures that are drawn."""
    seen: list[str] = []
    plain = Figure.savefig

    def savefig(self: Figure, *given: object, **more: object) -> None:
        seen.extend(text.get_text() for text in self.findobj(match=lambda one: hasattr(one, "get_text")))
        plain(self, *given, **more)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return seen


def test_estimates_are_the_means_of_each_length() -> None:
    truth, found = made(0.6)
    rows = per_query(truth, found)
    units = length_units(rows, METRICS)
    estimates = length_estimates([units], "R1@0.3", row="a", draws=200, seed=0)
    assert [one.value for one in estimates] == [rows[rows["length"] == name]["R1@0.3"].mean() for name in LENGTHS]
    assert all(one.low < one.value < one.high and one.videos == 20 for one in estimates)
    assert queries_of_each_length(units, "R1@0.3") == [20] * 4
    few, _ = (table[table["video"] < "v05"] for table in made(0.6))
    short = length_estimates([length_units(per_query(few, found), METRICS)], "R1@0.3", row="a", draws=50, seed=0)
    assert short[0].low is None and "no interval: 5 videos" in short[0].reason


def test_recall_by_length(tmp_path: Path, words: list[str]) -> None:
    curves = []
    for name, hit in (("ogsf", 0.7), ("ordinal prior", 0.05)):
        units = length_units(per_query(*made(hit)), METRICS)
        estimates = {metric: length_estimates([units], metric, row=name, draws=50, seed=0) for metric in METRICS}
        curves.append(LengthCurve(name, estimates, floor=name == "ordinal prior"))
    output = tmp_path / "lengths.png"
    length_figure(curves, [20] * 4, output, SETTINGS, title="Recall by length of the answer", level=0.95)
    height, width, _ = matplotlib.image.imread(output).shape
    assert width > 2 * height
    for text in ("R@1, IoU > 0.3", "R@5, IoU > 0.5", "ogsf", "ordinal prior", "95 % interval", "≤ 2 s\nn = 20"):
        assert text in words
    again = tmp_path / "again.png"
    length_figure(curves, [20] * 4, again, SETTINGS, title="Recall by length of the answer", level=0.95)
    assert again.read_bytes() == output.read_bytes()


def test_many_rows_stay_in_their_place_and_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of more rows than there are colours; answers of a length that hardly a query has take no room."""
    kept: list[Figure] = []
    saved = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (kept.append(self), saved(self, *a, **k))[1])
    units = length_units(per_query(*made(0.5)), METRICS)
    estimates = {"R1@0.3": length_estimates([units], "R1@0.3", row="a", draws=50, seed=0)}
    curves = [LengthCurve(f"row {number}", estimates, floor=number > 8) for number in range(12)]
    length_figure(curves, [20, 20, 3, 0], tmp_path / "lengths.png", SETTINGS, title="many", level=0.95)
    (ax,) = kept[0].axes
    assert [text.get_text().split("\n")[0] for text in ax.get_xticklabels()] == list(LENGTHS[:2])
    assert "fewer than 10: left out" in ax.get_xlabel()
    lines = [line for line in ax.get_lines() if line.get_marker() != "None"]
    assert len(lines) == 12 and all(np.abs(line.get_xdata() - [0, 1]).max() < 0.5 for line in lines)
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}) == 12


def test_windows_on_a_time_axis(tmp_path: Path, words: list[str]) -> None:
    truth, found = made(0.5)
    durations = dict.fromkeys(truth["video"], 130.0)
    chosen = spread_queries(per_query(truth, found), 5, metric="R1@0.3", seed=0)
    queries = truth.merge(chosen[["video", "query"]], on=["video", "query"])
    lonely = queries.iloc[0]
    found = found[~((found["video"] == lonely["video"]) & (found["query"] == lonely["query"]))]
    windows_figure(queries, found, durations, tmp_path / "windows.png", SETTINGS, title="Predicted and true windows")
    assert words.count("IoU") == 5 and "true" in words and words.count("no window") == 1
    assert "predicted, IoU > 0.5" in words and "“Where is thing 0?”" in words
    assert "1.00" in words, "an exact answer"


def test_queries_are_spread_over_lengths_and_outcomes() -> None:
    rows = per_query(*made(0.5))
    chosen = spread_queries(rows, 8, metric="R1@0.3", seed=1)
    assert sorted(chosen["length"]) == sorted(2 * list(LENGTHS)) and chosen["R1@0.3"].sum() == 4
    assert chosen["length_s"].is_monotonic_increasing
    assert len(spread_queries(rows, 500, metric="R1@0.3", seed=1)) == len(rows)


@pytest.mark.parametrize(("metric", "said"), [("R1@0.3", "R@1, IoU > 0.3"), ("mIoU", "mIoU"), ("mAP@0.5", "mAP@0.5")])
def test_words_of_a_metric(metric: str, said: str) -> None:
    assert metric_words(metric) == said


def test_bars_stay_inside_of_the_clip() -> None:
    drawn = []

    class Axis:
        def barh(self, place: int, width: float, *, left: float, **look: object) -> None:
            drawn.append((left, left + width))

    for start, end in ((0.0, 0.1), (99.95, 100.0), (40.0, 60.0), (50.0, 50.0)):
        grounding_figures._bar(Axis(), 0, start, end, 100.0, "black")
    assert np.array(drawn) == pytest.approx(np.array([(0.0, 0.4), (99.6, 100.0), (40.0, 60.0), (49.8, 50.2)]))
