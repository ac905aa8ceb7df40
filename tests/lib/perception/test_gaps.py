"""Filled gaps of tracks: on the line, at most as long as asked for, marked by score 0, never outside of a track."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.config.track import ByteTracker
from lib.metrics.tracking import evaluate
from lib.perception.gaps import filled
from lib.perception.trackers import track_video
from lib.tables import COLUMNS, TRACKS, write_table
from tests.lib.perception.test_trackers import FPS, FRAMES, SIZE, crossing


def tracks(frames: list[int], number: int = 1) -> pd.DataFrame:
    rows = [["v", frame, frame / FPS, "a", 0.8, frame, 10.0, frame + 5.0, 20.0, number] for frame in frames]
    return pd.DataFrame(rows, columns=list(COLUMNS[TRACKS]))


def fill(rows: pd.DataFrame, most: int, step: int = 1) -> pd.DataFrame:
    frames = range(0, 30, step)
    return filled(rows, frames, np.asarray(frames) / FPS, most)


def test_a_gap_is_filled_on_the_line_with_score_0(tmp_path) -> None:
    found = fill(tracks([2, 3, 7, 8]), 3)
    assert found["frame"].tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert found["score"].tolist() == [0.8, 0.8, 0.0, 0.0, 0.0, 0.8, 0.8]
    np.testing.assert_allclose(found["x1"], found["frame"])
    np.testing.assert_allclose(found["time_s"], found["frame"] / FPS)
    write_table(tmp_path / "tracks.parquet", found, TRACKS)


def test_longer_gaps_stay_and_nothing_is_added_outside() -> None:
    whole = tracks([2, 3, 8, 9])
    assert fill(whole, 3) is whole, "four frames are missing"
    assert fill(whole, 4)["frame"].tolist() == list(range(2, 10))


def test_a_gap_counts_processed_frames_and_tracks_stay_apart() -> None:
    rows = pd.concat([tracks([0, 4, 8]), tracks([2, 14], number=2)], ignore_index=True)
    found = fill(rows, 1, step=2)
    assert found[found["track"] == 1]["frame"].tolist() == [0, 2, 4, 6, 8]
    assert found[found["track"] == 2]["frame"].tolist() == [2, 14]


def test_every_tracker_fills_what_its_detector_missed() -> None:
    truth = crossing("v", missing=(30, 31, 40))
    whole = crossing("v").assign(track=lambda one: one["object"] + 1, ignore=False, mask="")
    frames = pd.DataFrame({"video": "v", "frame": range(FRAMES), "time_s": np.arange(FRAMES) / FPS})
    given = {"frame_size": SIZE, "frames": range(FRAMES), "fps": FPS}
    scores = {}
    for most in (0, 5):
        found = track_video(truth[list(truth.columns[:-1])], ByteTracker(kind="bytetrack", interpolate=most), **given)
        assert (found["score"] == 0).sum() == (0 if most == 0 else 11), "three objects in three frames, a fourth that left"
        scores[most] = evaluate(whole, found, frames, ["a", "b"])["overall"]
    assert scores[5]["HOTA"] > scores[0]["HOTA"] + 0.01 and scores[5]["FN"] < scores[0]["FN"]
