"""Reference: trackeval's own scores of the same tracks, and boards whose order is known."""

from __future__ import annotations

from pathlib import Path

import made
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.config.report import ReportSettings
from lib.files import DataError, write_json
from lib.metrics.tracking import evaluate
from lib.reporting.page import html, markdown, write_board
from lib.reporting.ranking import Ranking
from lib.reporting.track_board import track_board


def tracks_of(videos: list[int], lost: float) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One object per video over 10 frames; a share `lost` of its boxes gets another id; of NaN each box has its own."""
    rng = np.random.default_rng(0)
    rows = [(f"v{v:02d}", t, t / 10, "person", 1.0, 5.0 + t, 5.0, 25.0 + t, 45.0, 0) for v in videos for t in range(10)]
    names = ["video", "frame", "time_s", "class", "score", "x1", "y1", "x2", "y2", "track"]
    truth = pd.DataFrame(rows, columns=names)
    found = truth.assign(track=np.arange(len(truth)) if np.isnan(lost) else np.where(rng.random(len(truth)) < lost, 1, 0))
    return truth, found, truth[["video", "frame", "time_s"]]


def write(results: Path, detector: str, tracker: str, videos: list[int], lost: float, *, truth: bool = True) -> dict | None:
    true, found, frames = tracks_of(videos, lost)
    tracks = len(found) if np.isnan(lost) else 2
    per_class = {"person": {"tracks": tracks, "mean_track_length_s": 0.9}}
    counts = {"videos": len(videos), "frames": len(frames), "detections": len(found)}
    counts |= {"tracks": tracks, "per_class": per_class}
    counts |= {"mean_track_length_frames": 8.0, "mean_track_length_s": 0.9}
    scores = {
        "counts": counts,
        "frames_per_second": {"detect": None, "track": 500.0},
        "overall": None,
        "warnings": ["slow"],
    }
    units = pd.DataFrame({"video": [f"v{v:02d}" for v in videos]})
    if truth:
        scored = evaluate(true, found, frames, ["person"])
        scores["overall"], units = scored["overall"], units.merge(scored["units"], on="video", how="left")
    folder = results / "metrics" / "world" / detector / tracker
    write_json(folder / "tracks.json", scores)
    pq.write_table(pa.Table.from_pandas(units, preserve_index=False), folder / "tracks.units.parquet")
    return scores["overall"]


def settings(detectors: list[str], trackers: list[str]) -> dict:
    board = {"kind": "tracks", "dataset": "world", "detectors": detectors, "trackers": trackers}
    kinds = {tracker: {"kind": "floor" if tracker.startswith("unlinked") else "tracker"} for tracker in trackers}
    return {"board": board, "trackers": kinds, "evaluate": made.EVALUATE}


def test_scores_are_trackevals_and_the_better_tracker_is_clear(tmp_path: Path) -> None:
    good, bad = write(tmp_path, "d", "good", list(range(14)), 0.05), write(tmp_path, "d", "bad", list(range(14)), 0.4)
    found = track_board("tracks", settings(["d"], ["bad", "good"]), tmp_path)
    assert found.rows["tracker"].tolist() == ["good", "bad"] and found.rows["standing"].tolist() == ["best", "worse"]
    for row, scores in zip(found.rows.to_dict("records"), (good, bad), strict=True):
        for key in ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW"):
            assert row[key] == pytest.approx(scores[key])
        assert row["HOTA_low"] <= row["HOTA"] <= row["HOTA_high"]
    assert any(note == "d + bad: slow." for note in found.notes)


def test_rows_are_compared_on_the_videos_that_all_have(tmp_path: Path) -> None:
    """A detector of fewer splits does not win by easier videos: its twin on more videos ties with it exactly."""
    write(tmp_path, "all", "t", list(range(20)), 0.0)
    write(tmp_path, "some", "t", list(range(5, 19)), 0.0)
    found = track_board("tracks", settings(["all", "some"], ["t"]), tmp_path)
    assert found.rows["to_best"].tolist() == [None, 0.0] and found.rows["standing"].tolist() == ["best", "tie"]
    assert found.rows["videos"].tolist() == [20, 14]
    assert any("14 videos that all rows have" in note for note in found.notes)
    write(tmp_path, "other", "t", [30, 31], 0.0)
    with pytest.raises(DataError, match="share no video"):
        track_board("tracks", settings(["all", "other"], ["t"]), tmp_path)


def test_without_true_tracks_there_is_no_rank_and_absent_rows_say_so(tmp_path: Path) -> None:
    write(tmp_path, "d", "a", list(range(14)), 0.1, truth=False)
    found = track_board("tracks", settings(["d"], ["b", "a"]), tmp_path, partial=True)
    assert found.rows["tracker"].tolist() == ["b", "a"] and found.rows["rank"].tolist() == [None, None]
    assert found.rows["status"].tolist() == ["waiting: tracks or their scores", "finished"]
    assert found.rows["tracks: person"].tolist() == [None, 2] and not found.ranked
    assert found.notes[0].startswith("No true tracks")
    with pytest.raises(DataError, match=r"tracks\.json"):
        track_board("tracks", settings(["d"], ["b", "a"]), tmp_path)


def with_floors(results: Path, trackers: list[str], *, videos: int = 14, truth: bool = True) -> Ranking:
    """The board of those of a good tracker, a bad one and the floor that `trackers` names, all behind detector d."""
    for tracker, lost in (("good", 0.05), ("bad", 0.4), ("unlinked", np.nan)):
        write(results, "d", tracker, list(range(videos)), lost, truth=truth)
    return track_board("tracks", settings(["d"], trackers), results)


def test_the_floor_is_marked_and_rows_are_compared_with_it(tmp_path: Path) -> None:
    """One object over T = 10 frames, perfect boxes: linking none of them scores HOTA √(1/T) (test_tracking.py)."""
    found = with_floors(tmp_path, ["unlinked", "bad", "good"])
    rows = {row["tracker"]: row for row in found.rows.to_dict("records")}
    assert list(rows) == ["good", "bad", "unlinked"]
    assert [row["kind"] for row in rows.values()] == ["tracker", "tracker", "floor"]
    assert found.floor == rows["unlinked"]["HOTA"] == pytest.approx(np.sqrt(0.1))
    assert rows["unlinked"]["IDF1"] == pytest.approx(0.1) and rows["unlinked"]["AssA"] == pytest.approx(0.1)
    assert rows["unlinked"]["DetA"] == rows["good"]["DetA"] == pytest.approx(1.0)
    assert [row["standing"] for row in rows.values()] == ["best", "worse", "worse"]
    assert [row["above_floor"] for row in rows.values()] == ["yes", "yes", None]
    assert rows["bad"]["to_floor"] == pytest.approx(rows["bad"]["HOTA"] - np.sqrt(0.1))
    assert [note for note in found.notes if note.startswith("Floor: unlinked, the same detector's boxes")]
    text = markdown(found)
    assert "| unlinked (floor) |" in text and "| above floor |" in text and "good (" not in text
    assert '<tr class="floor">' in html(found)


def test_every_row_is_compared_with_the_floor_of_its_own_detector(tmp_path: Path) -> None:
    """The made floor of e keeps every identity, d's none: a tracker that loses some lies between both."""
    lost = {("d", "good"): 0.0, ("d", "unlinked"): np.nan, ("e", "good"): 0.4, ("e", "unlinked"): 0.0}
    for (detector, tracker), share in lost.items():
        write(tmp_path, detector, tracker, list(range(14)), share)
    rows = track_board("tracks", settings(["d", "e"], ["good", "unlinked"]), tmp_path).rows
    score = {(row["detector"], row["tracker"]): row["HOTA"] for row in rows.to_dict("records")}
    for row in rows.to_dict("records"):
        if row["kind"] == "tracker":
            own = score[row["detector"], "unlinked"]
            assert row["to_floor"] == pytest.approx(row["HOTA"] - own)
            assert row["above_floor"] == ("yes" if row["HOTA"] > own else "no")
    assert score["d", "unlinked"] < score["e", "good"] < score["e", "unlinked"]


def test_a_board_without_a_floor_says_so_as_boards_of_variants_do(tmp_path: Path) -> None:
    found = with_floors(tmp_path, ["bad", "good"])
    assert sum("no floor with a score" in note for note in found.notes) == 1 and found.floor is None
    assert found.rows["above_floor"].tolist() == found.rows["to_floor"].tolist() == [None, None]
    assert "floor" not in markdown(found).split("\n\n")[1], "no column about it"
    write(tmp_path, "e", "good", list(range(14)), 0.1)
    partly = track_board("tracks", settings(["d", "e"], ["good", "unlinked"]), tmp_path, partial=True)
    assert any(note.startswith("This board has no floor with a score for e:") for note in partly.notes)
    assert any(note.startswith("Floor: unlinked") for note in partly.notes)


def test_two_videos_give_a_floor_without_a_verdict(tmp_path: Path) -> None:
    found = with_floors(tmp_path, ["good", "unlinked"], videos=2)
    assert found.floor is not None and found.rows["above_floor"].tolist() == [None, None]
    assert found.rows["to_floor"][0] == pytest.approx(found.rows["HOTA"][0] - found.floor)
    assert not any("above floor" in note for note in found.notes)


def test_counts_without_truth_show_the_floor_and_keep_the_trackers_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = with_floors(tmp_path, ["good", "unlinked"], truth=False)
    assert found.rows["tracks"].tolist() == [2, 140] and found.floor is None and not found.ranked
    assert [note for note in found.notes if "floor" in note] == [
        "unlinked (floor): every box is a track of its own, the most that there can be."
    ]
    figures = made.captured(monkeypatch)
    write_board(found, tmp_path / "out" / "tracks.csv", ReportSettings(dpi=60))
    assert "| unlinked (floor) |" in (tmp_path / "out" / "tracks.md").read_text()
    tracks = figures[0].axes[0]
    assert [label.get_text() for label in tracks.get_yticklabels()] == ["d + good", "d + unlinked (floor)"]
    bars, edge = [bar.get_width() for bar in tracks.patches], tracks.get_xlim()[1]
    assert bars == [2, edge] and edge < 4, "the scale is the trackers', not the floor's 140"
    assert [text.get_text() for text in tracks.texts] == [" 2", "140 → "]


def test_the_picture_names_the_kinds_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = made.captured(monkeypatch)
    for trackers in (["good", "unlinked"], ["good", "bad"]):
        write_board(with_floors(tmp_path, trackers), tmp_path / "out" / "tracks.csv", ReportSettings(dpi=60))
    entries = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in figures]
    assert entries[0][:2] == ["tracker", "floor"] and entries[0][-1] == "best floor"
    assert not {"tracker", "floor", "best floor"} & set(entries[1])
    for figure in figures:
        assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1, "no entry is cut at the picture's edge"
