"""DeepSORT with our looks: objects that cross where boxes cannot tell them apart, and real sequences beside ByteTrack.

Reference: identities of made objects; TrackEval's metrics (lib/metrics/tracking.py).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.config.study import load_study
from lib.config.track import ByteTracker, Tracker
from lib.config.track_appearance import DeepSortTracker
from lib.data.ingest import ingest
from lib.data.sources import read_source
from lib.files import DataError
from lib.metrics.tracking import evaluate
from lib.perception.detectors import given_detections
from lib.perception.trackers import track_chunk, track_video
from lib.tables import COLUMNS, DETECTIONS, read_table
from tests.conftest import PROJECT
from tests.lib.perception.made_videos import FPS, GREY, SIZE, film

COLOURS = ((220, 30, 30), (30, 60, 200))


def bouncing(hidden: range = range(0)) -> tuple[list[np.ndarray], pd.DataFrame]:
    """Two posts of different colours meet, and turn back where they meet: by motion alone they seem to pass.

    hidden: frames without detections. Returns the pictures and DETECTIONS; the score names the object (0.9, 0.8).
    """
    pictures, rows = [], []
    for frame in range(32):
        away = abs(frame - 16)
        picture = np.full((SIZE[1], SIZE[0], 3), GREY, np.uint8)
        for number, (x, colour) in enumerate(zip((38 - away, 40 + away), COLOURS, strict=True)):
            picture[12:52, x : x + 6] = colour
            if frame not in hidden:
                rows.append(["v", frame, frame / FPS, "thing", 0.9 - number / 10, x, 12.0, x + 6.0, 52.0])
        pictures.append(picture)
    return pictures, pd.DataFrame(rows, columns=list(COLUMNS[DETECTIONS]))


def tracks_of(settings: Tracker, pictures: list[np.ndarray], found: pd.DataFrame) -> pd.DataFrame:
    bgr = (np.ascontiguousarray(picture[..., ::-1]) for picture in pictures)
    given = {"frame_size": SIZE, "frames": range(len(pictures)), "fps": FPS, "pictures": bgr}
    return track_video(found, settings, **given)


def purity(tracks: pd.DataFrame) -> float:
    """Share of rows (0..1) that follow their track's most frequent object."""
    owner = (tracks["score"] < 0.85).astype(int)
    return sum(group.value_counts().iloc[0] for _, group in owner.groupby(tracks["track"])) / len(tracks)


def test_looks_keep_apart_what_motion_swaps() -> None:
    pictures, found = bouncing(hidden=range(15, 18))
    tracks = tracks_of(DeepSortTracker(kind="deepsort"), pictures, found)
    assert purity(tracks) == 1.0 and tracks["track"].nunique() == 2
    assert tracks["frame"].min() == 2, "reported from the third frame on (n_init)"
    pd.testing.assert_frame_equal(tracks, tracks_of(DeepSortTracker(kind="deepsort"), pictures, found))
    assert purity(tracks_of(ByteTracker(kind="bytetrack", match_thresh=0.95), pictures, found)) < 0.8


def test_classes_apart_unsure_boxes_and_gaps() -> None:
    pictures, found = bouncing(hidden=range(22, 24))
    named = found.assign(**{"class": np.where(found["frame"] < 10, "a", "b")})
    joined = tracks_of(DeepSortTracker(kind="deepsort"), pictures, named)
    apart = tracks_of(DeepSortTracker(kind="deepsort", classes_separately=True), pictures, named)
    assert joined.groupby("track")["class"].nunique().tolist() == [2, 2]
    assert apart.groupby("track")["class"].nunique().tolist() == [1, 1, 1, 1]
    sure = tracks_of(DeepSortTracker(kind="deepsort", det_thresh=0.85), pictures, found)
    assert sure["track"].nunique() == 1 and (sure["score"] > 0.85).all()
    whole = tracks_of(DeepSortTracker(kind="deepsort", interpolate=3), pictures, found)
    assert set(whole.loc[whole["score"] == 0, "frame"]) == {22, 23}


def test_it_reads_the_videos_and_refuses_where_there_are_none(tmp_path: Path) -> None:
    pictures, found = bouncing()
    videos = film(tmp_path / "v.mp4", pictures)
    settings = DeepSortTracker(kind="deepsort")
    tracks, stats = track_chunk(videos, found, settings, stride=1)
    assert tracks["track"].nunique() == 2 and stats["frames"].tolist() == [32]
    with pytest.raises(DataError, match=r"kind deepsort with appearance: .kind: light. looks at them. Hint: use a tracker"):
        track_chunk(videos.assign(kind="none"), found, settings, stride=1)


@pytest.mark.mirror
def test_on_frames_of_mot17_it_is_not_far_below_bytetrack(mirror: Path, tmp_path: Path) -> None:
    dataset = load_study([PROJECT / "config/studies/mot.yaml"]).datasets["mot17-04"]
    (tmp_path / "raw").mkdir()
    os.symlink(mirror / "mot" / "MOT17-04-mini", tmp_path / "raw" / "MOT17-04")
    ingest(read_source(tmp_path / "raw", dataset.source), dataset, tmp_path)
    truth = {kind: read_table(tmp_path / "truth" / f"{kind}.parquet", kind) for kind in ("boxes", "frames", "detections")}
    videos = read_table(tmp_path / "manifest.parquet", "manifest")
    found, _ = given_detections(truth["detections"], videos, stride=1)
    scores = {}
    later = {kind: table[table["frame"] > 0] for kind, table in truth.items()}  # it reports no track in its first frame
    for settings in (ByteTracker(kind="bytetrack"), DeepSortTracker(kind="deepsort", n_init=1)):
        tracks, _ = track_chunk(videos, found, settings, stride=1, clip=dataset.clip)
        tracks = tracks[tracks["frame"] > 0]
        scores[settings.kind] = evaluate(later["boxes"], tracks, later["frames"], ["pedestrian"])["overall"]
    record = {kind: {key: round(one[key], 3) for key in ("HOTA", "IDF1", "MOTA")} for kind, one in scores.items()}
    assert scores["deepsort"]["HOTA"] > scores["bytetrack"]["HOTA"] - 0.05, record
    assert scores["deepsort"]["IDF1"] > scores["bytetrack"]["IDF1"] - 0.05, record
