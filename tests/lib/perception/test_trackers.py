"""Tracking against simulated objects whose identity is known: purity of tracks, ids per video, frames without boxes, and
that each setting reaches the tracker object."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lib.config.base import identity
from lib.config.track import ByteTracker, OcSortTracker, SfSortTracker, Tracker
from lib.perception.trackers import build_tracker, track_chunk, track_video
from lib.tables import COLUMNS, DETECTIONS, TRACK_STATS, TRACKS, empty, read_table, write_table

SIZE, FPS, FRAMES = (320, 192), 25.0, 80
DEFAULTS = [ByteTracker(kind="bytetrack"), OcSortTracker(kind="ocsort"), SfSortTracker(kind="sfsort")]
CHANGED = [
    ByteTracker(
        kind="bytetrack", track_thresh=0.5, min_conf=0.2, match_thresh=0.7, track_buffer=40, frame_rate=15,
        asso_func="giou", classes_separately=True, variable_dt=True, kf_reference_dt_s=0.05, kf_process_position_scale=2,
        kf_process_velocity_scale=3, kf_measurement_noise_scale=4, kf_initial_position_scale=5, kf_initial_velocity_scale=6,
    ),
    OcSortTracker(
        kind="ocsort", det_thresh=0.4, min_conf=0.2, use_byte=True, max_age=12, min_hits=2, iou_threshold=0.2, delta_t=2,
        inertia=0.1, asso_func="diou", classes_separately=True, variable_dt=True, kf_reference_dt_s=0.05,
        kf_process_position_scale=2, kf_process_velocity_scale=3, kf_measurement_noise_scale=4, kf_initial_position_scale=5,
        kf_initial_velocity_scale=6,
    ),
    SfSortTracker(
        kind="sfsort", high_th=0.5, low_th=0.2, new_track_th=0.6, match_th_first=0.6, match_th_second=0.2,
        marginal_timeout=3, central_timeout=7, horizontal_margin=20, vertical_margin=10, dynamic_tuning=True, cth=0.4,
        high_th_m=0.03, new_track_th_m=0.04, match_th_first_m=0.05, asso_func="ciou", classes_separately=True,
    ),
]  # fmt: skip


def crossing(video: str, *, missing: tuple[int, ...] = (), seed: int = 0) -> pd.DataFrame:
    """DETECTIONS with the true object as `object`: three objects cross at different heights, one leaves the frame."""
    rng = np.random.default_rng(seed)
    starts = [(10, 20, 3, 0), (280, 45, -3, 0), (150, 120, 0.5, 0.2), (250, 100, 2, 1)]
    rows = []
    for frame in range(FRAMES):
        if frame in missing:
            continue
        for number, (x, y, dx, dy) in enumerate(starts):
            x1, y1 = x + dx * frame + rng.normal(0, 0.3), y + dy * frame + rng.normal(0, 0.3)
            box = np.clip([x1, y1, x1 + 28, y1 + 40], 0, [SIZE[0], SIZE[1]] * 2)
            if box[2] - box[0] > 2 and box[3] - box[1] > 2:
                rows.append([video, frame, frame / FPS, "ab"[number % 2], 0.9 - number / 100, *box, number])
    return pd.DataFrame(rows, columns=[*COLUMNS[DETECTIONS], "object"])


def with_objects(tracks: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Track rows with the object that the row's detection belongs to (its score names it)."""
    joined = tracks.merge(truth[["frame", "score", "object"]], on=["frame", "score"], validate="one_to_one")
    assert len(joined) == len(tracks)
    return joined


def purity(tracks: pd.DataFrame, truth: pd.DataFrame) -> float:
    """Share of track rows (0..1, higher is better) that follow their track's most frequent object."""
    joined = with_objects(tracks, truth)
    return sum(group["object"].value_counts().iloc[0] for _, group in joined.groupby("track")) / len(joined)


def run(table: pd.DataFrame, settings: Tracker, frames: range = range(FRAMES)) -> pd.DataFrame:
    return track_video(table[list(COLUMNS[DETECTIONS])], settings, frame_size=SIZE, frames=frames, fps=FPS)


@pytest.mark.parametrize("settings", DEFAULTS, ids=lambda settings: settings.kind)
def test_crossing_objects_keep_their_tracks(settings: Tracker) -> None:
    truth = crossing("v")
    tracks = run(truth, settings)
    assert purity(tracks, truth) == 1.0
    inside = with_objects(tracks, truth).query("object != 3")  # 3 leaves: its box shrinks at the edge
    assert inside.groupby("object")["track"].nunique().to_dict() == {0: 1, 1: 1, 2: 1}
    assert len(tracks) >= 0.95 * len(truth)
    assert sorted(tracks["track"].unique()) == list(range(1, tracks["track"].nunique() + 1))


def test_a_gap_is_bridged_only_when_its_empty_frames_are_fed() -> None:
    """A tracker that skipped empty frames would predict one step for a gap of many, and never let a track die."""
    settings = ByteTracker(kind="bytetrack", track_buffer=25)
    short, long = tuple(range(30, 36)), tuple(range(30, 65))
    assert run(crossing("v", missing=short), settings)["track"].max() == 4
    assert run(crossing("v", missing=long), settings)["track"].max() > 4


@pytest.mark.parametrize("settings", DEFAULTS, ids=lambda settings: settings.kind)
def test_ids_depend_on_no_other_video_of_the_process(settings: Tracker) -> None:
    one, two = crossing("one"), crossing("two", seed=1)
    forward = [run(one, settings), run(two, settings)]
    backward = [run(two, settings), run(one, settings)][::-1]
    for first, second in zip(forward, backward, strict=True):
        pd.testing.assert_frame_equal(first, second)
        assert first["track"].min() == 1


@pytest.mark.parametrize("settings", DEFAULTS, ids=lambda settings: settings.kind)
def test_no_detections_give_no_tracks(settings: Tracker) -> None:
    tracks = run(empty(DETECTIONS), settings)
    assert len(tracks) == 0 and list(tracks.columns) == list(COLUMNS[TRACKS])


def test_rows_hold_to_the_table_and_the_frame(tmp_path) -> None:
    truth = crossing("v")
    tracks = run(truth, DEFAULTS[0])
    write_table(tmp_path / "tracks.parquet", tracks, TRACKS)
    read = read_table(tmp_path / "tracks.parquet", TRACKS)
    assert read[["x1", "y1"]].min().min() >= 0 and read["x2"].max() <= SIZE[0] and read["y2"].max() <= SIZE[1]
    assert read["x2"].max() > SIZE[0] - 5  # the one that leaves was followed to the edge
    scored = read.merge(truth, on=["frame", "score"])
    assert (scored["class_x"] == scored["class_y"]).all() and np.allclose(scored["time_s_x"], scored["frame"] / FPS)


def test_classes_separately() -> None:
    """The detector changes its mind about one object half way: one track, or one for each class."""
    rows = [["v", f, f / FPS, "ab"[f // 40], 0.9, 50.0 + f, 50.0, 90.0 + f, 100.0] for f in range(FRAMES)]
    table = pd.DataFrame(rows, columns=list(COLUMNS[DETECTIONS]))
    assert run(table, ByteTracker(kind="bytetrack"))["track"].nunique() == 1
    apart = run(table, ByteTracker(kind="bytetrack", classes_separately=True))
    assert apart.groupby("class")["track"].nunique().to_dict() == {"a": 1, "b": 1} and apart["track"].nunique() == 2


@pytest.mark.parametrize("settings", CHANGED, ids=lambda settings: settings.kind)
def test_every_setting_reaches_the_tracker(settings: Tracker) -> None:
    """Each value, different from the default, is found in the object or in its filter's noise."""
    tracker = build_tracker(settings, SIZE)
    default = type(settings)(kind=settings.kind)
    noise = tracker.kalman_noise_config
    where = {
        "classes_separately": lambda: tracker.per_class,
        "asso_func": lambda: tracker.asso_func_name,
        "frame_rate": lambda: round(tracker.buffer_size / tracker.track_buffer * 30),
        "kf_reference_dt_s": lambda: noise.reference_dt_s,
        **{
            f"kf_{name}_scale": lambda name=name: getattr(noise, f"{name}_scale")
            for name in (
                "process_position",
                "process_velocity",
                "measurement_noise",
                "initial_position",
                "initial_velocity",
            )
        },
    }
    for name, value in identity(settings).items():
        if name == "kind":
            continue
        assert value != getattr(default, name), f"{name}: the test must change it"
        found = where[name]() if name in where else getattr(tracker, name)
        assert found == pytest.approx(value) if isinstance(value, float) else found == value, name


@pytest.mark.parametrize("settings", CHANGED, ids=lambda settings: settings.kind)
def test_changed_settings_still_track(settings: Tracker) -> None:
    truth = crossing("v")
    assert purity(run(truth, settings), truth) > 0.95


def test_centre_distances_need_no_pixels() -> None:
    settings = ByteTracker(kind="bytetrack", asso_func="centroid", variable_dt=True)
    truth = crossing("v", missing=(0, 1, 40))
    assert purity(run(truth, settings), truth) > 0.9


def test_wrong_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="not looked at"):
        run(crossing("v"), DEFAULTS[0], frames=range(0, FRAMES, 2))
    with pytest.raises(ValueError, match="one video"):
        run(pd.concat([crossing("v"), crossing("w")]), DEFAULTS[0])


@pytest.mark.parametrize("order", [["one", "two", "none"], ["none", "two", "one"]])
def test_a_chunk_is_its_videos_one_by_one(order: list[str], tmp_path) -> None:
    tables = {"one": crossing("one"), "two": crossing("two", seed=1), "none": crossing("none").iloc[:0]}
    facts = {"frames": FRAMES, "width": SIZE[0], "height": SIZE[1], "fps": FPS}
    videos = pd.DataFrame([{"video": name} | facts for name in order])
    detections = pd.concat(tables.values())[list(COLUMNS[DETECTIONS])]
    tracks, stats = track_chunk(videos, detections, DEFAULTS[0], stride=1)
    alone = pd.concat([run(tables[name], DEFAULTS[0]) for name in order if name != "none"], ignore_index=True)
    pd.testing.assert_frame_equal(tracks, alone, check_dtype=False)
    assert tracks.groupby("video")["track"].min().to_dict() == {"one": 1, "two": 1}
    assert stats["video"].tolist() == order and (stats["frames"] == FRAMES).all()
    write_table(tmp_path / "stats.parquet", stats, TRACK_STATS)


def test_a_chunk_without_boxes(tmp_path) -> None:
    videos = pd.DataFrame([{"video": "a", "frames": 3, "width": 32, "height": 32, "fps": float("nan")}])
    for chunk in (videos, videos.iloc[:0]):
        tracks, stats = track_chunk(chunk, empty(DETECTIONS), DEFAULTS[0], stride=2)
        write_table(tmp_path / "tracks.parquet", tracks, TRACKS)
        write_table(tmp_path / "stats.parquet", stats, TRACK_STATS)
        assert len(tracks) == 0 and stats["frames"].tolist() == [2] * len(chunk)
