"""Reference: boards of sums over counts, by hand and by pooling the resampled videos one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.config import tasks
from lib.config.tasks import Metric, Task
from lib.config.train import TrainingSettings
from lib.files import DataError, read_json, write_json
from lib.reporting.leaderboard import score_board
from lib.reporting.page import markdown
from lib.reporting.unit_scores import ratios, unit_scores

TOLD = Task(
    training=TrainingSettings,
    predictions="told",
    truths=("queries",),
    metrics={"recall": Metric("found; 0–1"), "mean_recall": Metric("found, mean over templates; 0–1", "classes")},
    floors=("prior",),
)
CLASSES = ["when", "who", "where"]


def made_units(seed: int, videos: int = 30) -> pd.DataFrame:
    """Whole counts per video and class; the class `where` is rare, and absent from most videos."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (videos, 3)) * np.array([1, 1, 0]) + (rng.random((videos, 3)) < 0.1) * np.array([0, 0, 1])
    sums = rng.binomial(counts.astype(int), [0.9, 0.5, 0.2])
    columns = {f"{name}:{part}": list(values.astype(float)) for name in TOLD.metrics for part, values in
               (("sum", sums), ("count", counts))}  # fmt: skip
    return pd.DataFrame({"video": [f"v{number:03d}" for number in range(videos)]} | columns)


def pooled(units: pd.DataFrame, times: np.ndarray, name: str) -> tuple[list[float], float]:
    """Per class and in all, video by video as often as it was drawn."""
    found, total = [0.0] * 3, [0.0] * 3
    for (_, row), often in zip(units.iterrows(), times, strict=True):
        for _ in range(int(often)):
            for number in range(3):
                found[number] += row[f"{name}:sum"][number]
                total[number] += row[f"{name}:count"][number]
    each = [a / b if b else float("nan") for a, b in zip(found, total, strict=True)]
    known = [value for value in each if not np.isnan(value)]
    if TOLD.metrics[name].of == "classes":
        return each, sum(known) / len(known) if known else float("nan")
    return each, sum(found) / sum(total) if sum(total) else float("nan")


@pytest.mark.parametrize("name", ["recall", "mean_recall"])
def test_any_resample_is_the_pooled_videos(name: str) -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        units = made_units(seed, videos=6)
        weights = np.vstack([np.ones(6, dtype=int), np.zeros(6, dtype=int), rng.multinomial(6, np.full(6, 1 / 6), 8)])
        per_class, whole = ratios(units, name, weights=weights, of=TOLD.metrics[name].of)
        for times, each, value in zip(weights, per_class, whole, strict=True):
            classes, all_of_them = pooled(units, times, name)
            np.testing.assert_allclose(each, classes, atol=1e-12)
            np.testing.assert_allclose(value, all_of_them, atol=1e-12)


def test_the_two_means_differ() -> None:
    units, once = made_units(0), np.ones((1, 30), dtype=int)
    whole = {name: unit_scores(TOLD, name, CLASSES, f1_threshold=0.5).whole()(units, once)[0] for name in TOLD.metrics}
    assert whole["recall"] != pytest.approx(whole["mean_recall"], abs=0.02)


@pytest.mark.parametrize(
    ("sums", "says"),
    [([[1.0], [1.0, 0.0]], "one per class"), ([[3.0, 0.0], [1.0, 0.0]], "0 to its count"),
     ([[float("nan"), 0.0], [1.0, 0.0]], "0 to its count")],
)  # fmt: skip
def test_units_that_cannot_be_are_refused(sums: list[list[float]], says: str) -> None:
    units = pd.DataFrame({"video": ["a", "b"], "recall:sum": sums, "recall:count": [[2.0, 2.0], [2.0, 2.0]]})
    with pytest.raises(DataError, match=says):
        ratios(units, "recall", weights=np.ones((1, 2), dtype=int), of="all")


def write_told(results: Path, variant: str, seed: int) -> pd.DataFrame:
    units = made_units(seed)
    folder = results / "metrics/world" / variant / "seed=0"
    per_class = {
        name: {"n_truth": int(sum(row[number] for row in units["recall:count"])), "recall": None}
        for number, name in enumerate(CLASSES)
    }
    write_json(
        folder / "tta=none.json",
        {"metrics": {"recall": 0.5, "mean_recall": 0.25}, "classes": CLASSES, "per_class": per_class, "warnings": []},
    )
    pq.write_table(pa.Table.from_pandas(units, preserve_index=False), folder / "tta=none.units.parquet")
    made.write_card(results, variant, seed=0)
    return units


def test_a_board_of_a_task_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, "told", TOLD)
    units = {name: write_told(tmp_path, name, seed) for name, seed in (("ours", 0), ("prior", 1))}
    settings = made.settings({"ours": {}, "prior": {"kind": "floor"}}, metric="recall") | {"task": "told"}
    board = score_board("main", settings, tmp_path)
    rows = {row["variant"]: row for row in board.rows.to_dict("records")}
    for name in units:
        classes, whole = pooled(units[name], np.ones(30), "recall")
        assert rows[name]["recall"] == pytest.approx(whole)
        told = {one: value for one, value in zip(CLASSES, classes, strict=True) if not np.isnan(value)}
        assert {one: rows[name][f"recall: {one}"] for one in told} == pytest.approx(told)
        assert rows[name]["recall_low"] < rows[name]["recall"] < rows[name]["recall_high"]
        assert rows[name]["mean_recall"] == 0.25 and "AP50" not in rows[name]
    assert not board.mean and board.metrics == ("recall", "mean_recall") and board.notes[0] == "recall: found; 0–1."


@pytest.mark.parametrize("ordered", [False, True])
def test_classes_come_by_their_truth_or_in_an_order_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    monkeypatch.setitem(tasks.TASKS, "told", TOLD)
    write_told(tmp_path, "ours", 0)
    path = tmp_path / "metrics/world/ours/seed=0/tta=none.json"
    scores = read_json(path)
    for count, name in enumerate(CLASSES):
        scores["per_class"][name]["n_truth"] = count
    write_json(path, scores | {"ordered": ordered})
    settings = made.settings({"ours": {}}, metric="recall") | {"task": "told"}
    classes = score_board("main", settings, tmp_path).classes
    assert classes == (CLASSES[1:] if ordered else CLASSES[:0:-1])


def test_a_board_over_clips_counts_clips_and_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, "told", replace(TOLD, samples="clips"))
    for seed, name in enumerate(("ours", "both")):
        write_told(tmp_path, name, seed)
    counts = {"arm": "all", "seed": 0, "frames": 7, "classes": {}, "clips": 7, "queries": 1234}
    write_json(tmp_path / "subsets/world/all/seed=0.counts.json", counts)
    settings = made.settings({"ours": {"arm": "all"}, "both": {"kind": "ensemble"}}, metric="recall") | {"task": "told"}
    board = score_board("main", settings, tmp_path)
    ours, both = (board.rows.set_index("variant").loc[name] for name in ("ours", "both"))
    assert (ours["clips"], ours["queries"]) == (7, 1234) and both["clips"] is None
    assert not [column for column in board.rows if column.startswith("frames")]
    table = markdown(board).splitlines()[2]
    assert "| clips | queries | iterations |" in table and "frames" not in table
    assert "Clips, queries: what the row's arm holds for training (mean over seeds)." in board.notes


def test_rows_told_by_other_classes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, "told", TOLD)
    for name, seed in (("ours", 0), ("prior", 1)):
        write_told(tmp_path, name, seed)
    path = tmp_path / "metrics/world/prior/seed=0/tta=none.json"
    path.write_text(path.read_text().replace('"who"', '"whom"'))
    settings = made.settings({"ours": {}, "prior": {}}, metric="recall") | {"task": "told"}
    with pytest.raises(DataError, match="Hint: evaluate all rows again"):
        score_board("main", settings, tmp_path)
