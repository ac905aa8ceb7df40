"""Reference: trackeval's own scores of the same tracks, and boards whose order is known."""

from __future__ import annotations

from pathlib import Path

import made
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.files import DataError, write_json
from lib.metrics.tracking import evaluate
from lib.reporting.track_board import track_board


def tracks_of(videos: list[int], lost: float) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One object per video over 10 frames; a share `lost` of its boxes gets another id, video by video."""
    rng = np.random.default_rng(0)
    rows = [(f"v{v:02d}", t, t / 10, "person", 1.0, 5.0 + t, 5.0, 25.0 + t, 45.0, 0) for v in videos for t in range(10)]
    names = ["video", "frame", "time_s", "class", "score", "x1", "y1", "x2", "y2", "track"]
    truth = pd.DataFrame(rows, columns=names)
    found = truth.assign(track=np.where(rng.random(len(truth)) < lost, 1, 0))
    return truth, found, truth[["video", "frame", "time_s"]]


def write(results: Path, detector: str, tracker: str, videos: list[int], lost: float, *, truth: bool = True) -> dict | None:
    true, found, frames = tracks_of(videos, lost)
    per_class = {"person": {"tracks": 2, "mean_track_length_s": 0.9}}
    counts = {"videos": len(videos), "frames": len(frames), "detections": len(found), "tracks": 2, "per_class": per_class}
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
    return {"board": board, "evaluate": made.EVALUATE}


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
