"""Reference: AP50 by hand (made.ap), the real evaluator on resampled videos, and boards whose order and ties are known."""

from __future__ import annotations

from pathlib import Path

import made
import numpy as np
import pandas as pd
import pytest

from lib.files import DataError, write_json
from lib.metrics.detection import evaluate, match_units
from lib.reporting.leaderboard import score_board
from lib.reporting.ranking import ranks
from lib.reporting.unit_scores import class_scores, mean_over_classes

VIDEOS = 40
ALL = list(range(VIDEOS))


def cell(results: Path, variant: str, person: int, hook: int, **options: object) -> None:
    found = {"person": ALL[:person], "hook": ALL[:hook]}
    made.write_cell(results, variant, found, videos=VIDEOS, **options)


def by_variant(rows: pd.DataFrame) -> dict[str, dict]:
    return {row["variant"]: row for row in rows.to_dict("records")}


def full_board(results: Path) -> dict:
    """three variants (two tie, one is clearly worse), a floor, one diverged seed, one that waits and one that failed."""
    for seed in (0, 1):
        cell(results, "all", 36, 36, seed=seed)
        cell(results, "half", 35, 36, seed=seed)
        cell(results, "quarter", 12, 36, seed=seed)
        cell(results, "hot", 30, 30, seed=seed)
        made.write_counts(results, "p100", {"person": 100, "hook": 40}, seed=seed)
        made.write_counts(results, "p25", {"person": 25, "hook": 40 + seed}, seed=seed)
    cell(results, "prior", 4, 4, kind="floor")
    cell(results, "chance", 1, 1, kind="floor")
    made.write_card(results, "hot", seed=1, status="diverged at step 120")
    write_json(results / "train/world/late/seed=1/attempts/1.json", {"cause": "error"})
    write_json(results / "train/world/late/seed=1/attempts/10.json", {"cause": "memory"})
    both = {"seeds": [0, 1]}
    return made.settings(
        {
            "chance": {"kind": "floor"},
            "late": both,
            "prior": {"kind": "floor"},
            "quarter": both | {"arm": "p25"},
            "hot": both,
            "half": both | {"arm": "p100"},
            "all": both | {"arm": "p100"},
        }
    )


def test_a_board_worked_out_by_hand(tmp_path: Path) -> None:
    found = score_board("main", full_board(tmp_path), tmp_path, partial=True)
    assert found.rows["variant"].tolist() == ["all", "half", "quarter", "prior", "chance", "late", "hot"]
    assert found.rows["rank"].tolist() == [1, 2, 3, 4, 5, None, None]
    rows = by_variant(found.rows)
    for name, person, hook in (("all", 36, 36), ("half", 35, 36), ("quarter", 12, 36), ("prior", 4, 4)):
        by_hand = (made.ap(person, VIDEOS) + made.ap(hook, VIDEOS)) / 2
        assert rows[name]["AP50"] == pytest.approx(by_hand)
        assert rows[name]["AP50: person"] == pytest.approx(made.ap(person, VIDEOS))
        assert rows[name]["AP50_low"] < by_hand < rows[name]["AP50_high"] + 1e-9
    assert [rows[name]["standing"] for name in ("all", "half", "quarter", "prior")] == ["best", "tie", "worse", "worse"]
    assert rows["half"]["to_best"] == pytest.approx((made.ap(35, VIDEOS) - made.ap(36, VIDEOS)) / 2)
    assert [rows[name]["above_floor"] for name in ("all", "quarter", "prior", "chance")] == ["yes", "yes", None, None]
    assert rows["quarter"]["to_floor"] == pytest.approx(rows["quarter"]["AP50"] - rows["prior"]["AP50"])
    assert found.floor == pytest.approx(rows["prior"]["AP50"])


def test_diverged_and_missing_rows_have_a_status_and_no_number(tmp_path: Path) -> None:
    rows = by_variant(score_board("main", full_board(tmp_path), tmp_path, partial=True).rows)
    hot, late = rows["hot"], rows["late"]
    assert hot["status"] == "diverged at step 120 (seed 1)" and hot["AP50"] is None and hot["AP"] is None
    assert hot["seed_scores"].startswith("0: ")  # what is left is told, not averaged
    assert hot["train_seconds"] == 180.0  # divergence does not make the cost vanish
    assert late["status"] == "waiting: training (seed 0); failed: memory (seed 1)" and late["AP50"] is None


def test_cost_and_frames_are_of_all_seeds(tmp_path: Path) -> None:
    rows = by_variant(score_board("main", full_board(tmp_path), tmp_path, partial=True).rows)
    quarter = rows["quarter"]
    assert (quarter["seeds"], quarter["seeds_planned"], quarter["attempts"], quarter["iterations"]) == (2, 2, 4, 300)
    assert quarter["train_seconds"] == 180.0
    assert quarter["frames: person"] == 25 and quarter["frames: hook"] == 40.5 and quarter["frames"] == 65.5
    assert rows["prior"]["frames"] is None


def test_a_whole_board_needs_every_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="late"):
        score_board("main", full_board(tmp_path), tmp_path)


def test_part_of_the_seeds_makes_a_number_only_with_partial(tmp_path: Path) -> None:
    cell(tmp_path, "a", 30, 30, seed=0)
    made.write_card(tmp_path, "a", seed=1)
    settings = made.settings({"a": {"seeds": [0, 1]}})
    row = score_board("main", settings, tmp_path, partial=True).rows.iloc[0]
    assert (row["seeds"], row["seeds_planned"]) == (1, 2) and row["AP50"] == pytest.approx(made.ap(30, VIDEOS))
    assert row["status"] == "waiting: prediction or scores (seed 1)"
    with pytest.raises(DataError, match="seed=1"):
        score_board("main", settings, tmp_path)


def test_fewer_than_ten_videos_rank_without_interval_and_say_why(tmp_path: Path) -> None:
    made.write_cell(tmp_path, "a", {"person": [0, 1, 2, 3, 4]}, videos=9)
    made.write_cell(tmp_path, "b", {"person": [0, 1]}, videos=9)
    made.write_cell(tmp_path, "prior", {"person": [0]}, videos=9, kind="floor")
    found = score_board("main", made.settings({"b": {}, "a": {}, "prior": {"kind": "floor"}}), tmp_path)
    assert found.rows["variant"].tolist() == ["a", "b", "prior"]
    for column in ("AP50_low", "to_best_low", "above_floor"):
        assert found.rows[column].isna().all()
    assert found.rows["standing"].tolist() == ["best", None, None]
    assert any("9 videos, at least 10" in note for note in found.notes)
    assert not any("tie" in note for note in found.notes)


def test_one_seed_has_no_spread_and_the_board_says_what_its_interval_covers(tmp_path: Path) -> None:
    cell(tmp_path, "a", 30, 30)
    found = score_board("main", made.settings({"a": {}}), tmp_path)
    assert found.rows["AP50_sd"].isna().all() and found.rows["AP50_low"].notna().all()
    assert any(note.startswith("One seed") for note in found.notes)
    assert any("no floor" in note for note in found.notes)


def test_equal_rows_share_a_rank_and_keep_the_order_of_the_board(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        cell(tmp_path, name, 30, 30)
    found = score_board("main", made.settings({"b": {}, "c": {}, "a": {}}), tmp_path)
    assert found.rows["variant"].tolist() == ["b", "c", "a"] and found.rows["rank"].tolist() == [1, 1, 1]
    assert found.rows["standing"].tolist() == ["best", "tie", "tie"]
    assert ranks([0.5, None, 0.7, 0.5]) == [2, None, 1, 2]


def test_a_difference_that_all_videos_share_is_clear_on_a_long_board_of_few_resamples(tmp_path: Path) -> None:
    """Twelve rows and 300 resamples: a correction by counting resamples could call nothing clear."""
    cell(tmp_path, "best", 40, 40)
    names = [f"low-{number}" for number in range(12)]
    for name in names:
        cell(tmp_path, name, 20, 20)
    found = score_board("main", made.settings({"best": {}} | {name: {} for name in names}), tmp_path)
    assert found.rows["standing"].tolist() == ["best"] + ["worse"] * 12


def test_rows_scored_on_other_videos_are_refused(tmp_path: Path) -> None:
    cell(tmp_path, "a", 30, 30)
    made.write_cell(tmp_path, "b", {"person": [0], "hook": [0]}, videos=30)
    with pytest.raises(DataError, match=r"b .* other videos than a"):
        score_board("main", made.settings({"a": {}, "b": {}}), tmp_path)


def test_tta_rows_of_one_variant_share_their_seeds(tmp_path: Path) -> None:
    """The gain is the same for every seed, so that it is clear although the seeds differ a lot."""
    for seed, hits in enumerate((12, 24, 36)):
        cell(tmp_path, "a", hits, hits, seed=seed, tta="none")
        cell(tmp_path, "a", hits + 4, hits + 4, seed=seed, tta="flip")
    settings = made.settings({"a": {"seeds": [0, 1, 2]}}, tta=["none", "flip"])
    rows = score_board("main", settings, tmp_path).rows
    assert rows["tta"].tolist() == ["flip", "none"] and rows["standing"].tolist() == ["best", "worse"]
    assert rows["AP50_sd"].iloc[1] == pytest.approx(np.std([made.ap(h, VIDEOS) for h in (12, 24, 36)], ddof=1))


def test_a_class_without_truth_has_no_column_and_no_truth_at_all_no_score(tmp_path: Path) -> None:
    made.write_cell(tmp_path, "a", {"person": []}, videos=12)
    found = score_board("main", made.settings({"a": {}}), tmp_path)
    assert found.rows["AP50"].tolist() == [0.0] and found.classes == ["person"]
    assert any("no prediction" in note for note in found.notes)


@pytest.mark.parametrize("metric", ["AP50", "AP", "AP75", "AR", "F1"])
def test_every_metric_equals_the_evaluator_also_on_resampled_videos(metric: str) -> None:
    rng = np.random.default_rng(3)
    truth, frames = made.truth_of(12, ["person", "hook"])
    truth.loc[truth["video"] == "v003", "ignore"] = True
    noisy = pd.concat([truth, truth], ignore_index=True).drop(columns=["track", "ignore", "mask"])
    noisy[["x1", "y1", "x2", "y2"]] += rng.normal(0, 4, (len(noisy), 4))
    noisy.insert(4, "score", rng.random(len(noisy)))
    units = match_units(truth, noisy, frames, ["person", "hook"])

    def direct(picked: list[str]) -> float:
        def copies(table: pd.DataFrame) -> pd.DataFrame:
            parts = [table[table["video"] == name].assign(video=f"c{number:02d}") for number, name in enumerate(picked)]
            return pd.concat(parts, ignore_index=True)

        return evaluate(copies(truth), copies(noisy), copies(frames), ["person", "hook"], f1_threshold=0.4)[metric]

    draws = np.stack([np.ones(12, dtype=int), rng.multinomial(12, np.full(12, 1 / 12))])
    values = class_scores(units, ["person", "hook"], weights=draws, metric=metric, f1_threshold=0.4)
    for weights, value in zip(draws, mean_over_classes(values), strict=True):
        assert value == pytest.approx(direct(np.repeat(units["video"].to_numpy(), weights).tolist()), abs=1e-9)
