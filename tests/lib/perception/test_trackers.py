"""Tracking against simulated objects whose identity is known: purity of tracks, ids per video, frames without boxes, and
that each setting reaches the tracker object."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.config.base import identity
from lib.config.track import ByteTracker, OcSortTracker, SfSortTracker, Tracker, UnlinkedTracker, needs_pixels
from lib.config.track_camera import BoostTracker, BotSortTracker, DeepOcSortTracker, HybridSortTracker, OccluBoostTracker
from lib.data.video import write_video
from lib.files import DataError
from lib.perception.trackers import RENAMED, build_tracker, track_chunk, track_video
from lib.tables import COLUMNS, DETECTIONS, TRACK_STATS, TRACKS, empty, read_table, write_table
from tests.conftest import PROJECT

SIZE, FPS, FRAMES = (320, 192), 25.0, 80
KALMAN = {
    "variable_dt": True, "kf_reference_dt_s": 0.05, "kf_process_position_scale": 2, "kf_process_velocity_scale": 3,
    "kf_measurement_noise_scale": 4, "kf_initial_position_scale": 5, "kf_initial_velocity_scale": 6,
}  # fmt: skip
COUNTED = {"det_thresh": 0.4, "max_age": 12, "min_hits": 2, "iou_threshold": 0.2, "classes_separately": True}
BOOSTED = {
    "min_box_area": 20, "aspect_ratio_thresh": 3.0, "lambda_iou": 0.6, "lambda_mhd": 0.3, "lambda_shape": 0.4,
    "s_sim_corr": True, "use_rich_s": True, "use_duo_boost": False, "adaptive_kf": True, "asso_func": "giou", "cmc": "ecc",
}  # fmt: skip
DEFAULTS = [
    ByteTracker(kind="bytetrack"), OcSortTracker(kind="ocsort"), SfSortTracker(kind="sfsort"),
    BotSortTracker(kind="botsort"), BoostTracker(kind="boosttrack"), DeepOcSortTracker(kind="deepocsort"),
    HybridSortTracker(kind="hybridsort"), OccluBoostTracker(kind="occluboost"),
]  # fmt: skip
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
    BotSortTracker(
        kind="botsort", track_high_thresh=0.4, track_low_thresh=0.2, new_track_thresh=0.5, track_buffer=40,
        match_thresh=0.7, second_match_thresh=0.6, unconfirmed_match_thresh=0.8, fuse_first_associate=True,
        frame_rate=15, cmc="sof",
        asso_func="giou", classes_separately=True, **KALMAN,
    ),
    BoostTracker(kind="boosttrack", dlo_boost_coef=0.7, **BOOSTED, **COUNTED, **KALMAN),
    BoostTracker(kind="boosttrack", use_sb=True, use_vt=True, **BOOSTED, **COUNTED, **KALMAN),
    BoostTracker(kind="boosttrack", use_dlo_boost=False, **{**BOOSTED, "use_rich_s": False}, **COUNTED, **KALMAN),
    DeepOcSortTracker(
        kind="deepocsort", delta_t=2, inertia=0.1, cmc="sof", asso_func="diou", **COUNTED, **KALMAN,
    ),
    HybridSortTracker(
        kind="hybridsort", track_thresh=0.6, low_thresh=0.2, tcm_byte_step_weight=2, delta_t=2, inertia=0.1, cmc="orb",
        asso_func="ciou", **COUNTED, **KALMAN,
    ),
    HybridSortTracker(kind="hybridsort", use_byte=False, track_thresh=0.6),
    HybridSortTracker(kind="hybridsort", tcm_byte_step=False),
    OccluBoostTracker(
        kind="occluboost", dlo_boost_coef=0.7, new_track_thresh=0.5, confirm_hits=3, instant_confirm_thresh=0.8,
        tentative_max_age=2, duplicate_iou_thresh=0.9, use_second_pass=True, track_low_thresh=0.2, second_iou_thresh=0.5,
        second_pass_max_age=2, second_pass_min_hits=0, ams_alpha0=0.3, ams_threshold=0.6, ams_buffer_size=20,
        ams_shrink_ratio=0.7, **BOOSTED, **COUNTED, **KALMAN,
    ),
    OccluBoostTracker(kind="occluboost", ams_enabled=False, use_sb=True, use_vt=True),
    OccluBoostTracker(kind="occluboost", use_dlo_boost=False),
]  # fmt: skip
"""Every setting of every tracker, changed at least once."""


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


def changes_of(settings: Tracker) -> dict[str, object]:
    """The settings that differ from the section's defaults."""
    default = type(settings)(kind=settings.kind)
    return {name: value for name, value in identity(settings).items() if value != getattr(default, name)}


@pytest.mark.parametrize("settings", CHANGED, ids=lambda settings: settings.kind)
def test_every_setting_reaches_the_tracker(settings: Tracker) -> None:
    """Each value that differs from the default is found in the object or in its filter's noise."""
    tracker = build_tracker(settings, SIZE)
    noise = tracker.kalman_noise_config
    where = {
        "asso_func": lambda: tracker.asso_func_name,
        "frame_rate": lambda: round(tracker.buffer_size / 40 * 30),
        "track_buffer": lambda: round(tracker.buffer_size / settings.frame_rate * 30),
        "kf_reference_dt_s": lambda: noise.reference_dt_s,
        "cmc": lambda: type(tracker.cmc).__name__.lower(),
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
    for name, value in changes_of(settings).items():
        found = where[name]() if name in where else getattr(tracker, RENAMED.get(name, name))
        assert found == pytest.approx(value) if isinstance(value, float) else found == value, name
    assert not tracker.use_embeddings and (getattr(tracker, "cmc", None) is None) == (not needs_pixels(settings))


def test_every_setting_is_changed_somewhere() -> None:
    for default in DEFAULTS:
        changed = set().union(*(changes_of(one) for one in CHANGED if one.kind == default.kind))
        assert changed == set(identity(default)) - {"kind"}, default.kind


def hard(seed: int, frames: int = 60) -> pd.DataFrame:
    """DETECTIONS of a crowd: any score, gaps, doubles, jumps that shrink a box, classes that flip, wide boxes, false
    boxes.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(9):
        x, y, dx, dy = rng.uniform(0, 260), rng.uniform(0, 120), rng.uniform(-3, 3), rng.uniform(-1, 1)
        width, height = rng.uniform(15, 60), rng.uniform(20, 60)
        highest = 0.29 if number == 8 else 1.0  # one object is always unsure
        hidden = set(range(*sorted(rng.integers(0, frames, 2).tolist()))) if rng.random() < 0.5 else set()
        for frame in range(frames):
            if frame in hidden or rng.random() < 0.15:
                continue
            shrink = 0.5 if rng.random() < 0.1 else 1.0
            for _ in range(1 + (rng.random() < 0.1)):
                left, top = x + dx * frame + rng.normal(0, 2), y + dy * frame + rng.normal(0, 2)
                box = [left, top, left + width * shrink, top + height * shrink + rng.normal(0, 2)]
                label = "ab"[number % 2] if rng.random() < 0.9 else "ab"[1 - number % 2]
                rows.append(["v", frame, frame / FPS, label, rng.uniform(0.05, highest), *box])
    for frame in range(0, frames, 3):
        left, top, size = rng.uniform(0, 280), rng.uniform(0, 150), rng.uniform(3, 30)
        rows.append(["v", frame, frame / FPS, "a", rng.uniform(0.05, 1), left, top, left + size, top + size])
    return pd.DataFrame(rows, columns=list(COLUMNS[DETECTIONS]))


def calm() -> pd.DataFrame:
    """DETECTIONS of two sure objects that stand still, and an unsure one that appears far from both."""
    rng = np.random.default_rng(0)
    places = [(10, 20, 0.9, 0), (60, 90, 0.9, 0), (250, 130, 0.2, 20)]
    rows = []
    for number, (x, y, score, first) in enumerate(places):
        for frame in range(first, 60):
            left, top = x + rng.normal(0, 0.3), y + rng.normal(0, 0.3)
            rows.append(["v", frame, frame / FPS, "ab"[number % 2], score, left, top, left + 30, top + 40])
    return pd.DataFrame(rows, columns=list(COLUMNS[DETECTIONS]))


DYNAMIC = ("high_th_m", "new_track_th_m", "match_th_first_m")
SECOND_PASS = ("track_low_thresh", "second_iou_thresh", "second_pass_max_age", "second_pass_min_hits")


def around(kind: str, name: str) -> dict[str, object]:
    """What else must hold for a setting to have an effect."""
    if name in ("dynamic_tuning", "cth", *DYNAMIC):
        return {"dynamic_tuning": True} | dict.fromkeys(DYNAMIC, 0.02)
    if name in ("horizontal_margin", "vertical_margin"):
        return {"central_timeout": 40}
    if name in ("use_sb", "use_vt"):
        return {"use_rich_s": True}
    if kind == "occluboost" and name in ("use_second_pass", *SECOND_PASS):
        needed = {"use_dlo_boost": False} | ({"use_second_pass": True} if name in SECOND_PASS else {})
        return needed | ({"second_pass_min_hits": 0} if name == "second_pass_max_age" else {})
    if kind == "occluboost" and name == "use_duo_boost":
        return {"new_track_thresh": 0.2}
    if kind == "ocsort" and name == "min_conf":
        return {"use_byte": True}
    return {"variable_dt": True} if name == "kf_reference_dt_s" else {}


LARGE_STEPS = {
    "min_box_area": 900,
    "aspect_ratio_thresh": 0.8,
    "ams_threshold": 50.0,
    "ams_buffer_size": 2,
    "ams_shrink_ratio": 0.1,
    "kf_initial_velocity_scale": 1e-6,  # OC-SORT's kin doubt a new track's speed so much that more of it changes nothing
}
FIRST = {(one.kind, name): (type(one), value) for one in reversed(CHANGED) for name, value in changes_of(one).items()}
CASES = [
    pytest.param(section, name, value, id=f"{kind}-{name}")
    for (kind, name), (section, value) in sorted(FIRST.items(), key=lambda item: item[0])
    if name != "cmc"
]


@pytest.mark.slow
@pytest.mark.parametrize(("section", "name", "value"), CASES)
def test_every_setting_changes_tracks(section: type, name: str, value: object) -> None:
    """A setting that nothing depends on would promise what is not so: on some hard scene the tracks must differ."""
    kind = section.model_fields["kind"].annotation.__args__[0]
    needed = around(kind, name)
    before = section.model_validate({"kind": kind, **(needed if name != "dynamic_tuning" else {})})
    after = section.model_validate({"kind": kind, **needed, name: LARGE_STEPS.get(name, value)})
    for scene in (hard(0), hard(1), calm(), *map(hard, range(2, 9))):
        if not run(scene, before, range(60)).equals(run(scene, after, range(60))):
            return
    pytest.fail(f"{kind}.{name}: {getattr(before, name)} and {getattr(after, name)} give the same tracks")


@pytest.mark.parametrize("settings", [one for one in CHANGED if not needs_pixels(one)], ids=lambda settings: settings.kind)
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
    with pytest.raises(ValueError, match="needs the frames' pictures"):
        run(crossing("v"), BotSortTracker(kind="botsort", cmc="sof"))
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


@pytest.mark.parametrize("settings", DEFAULTS, ids=lambda settings: settings.kind)
def test_a_frame_of_unknown_size_cuts_nothing(settings: Tracker) -> None:
    """Annotation-only sequences may state no size; and boxes may be kept as stated where it is known."""
    truth = crossing("v").query("object != 3")
    truth[["x1", "x2"]] -= 100
    table = truth[list(COLUMNS[DETECTIONS])]
    unknown = track_video(table, settings, frame_size=(0, 0), frames=range(FRAMES), fps=FPS)
    kept = track_video(table, settings, frame_size=SIZE, frames=range(FRAMES), fps=FPS, clip=False)
    assert unknown["x1"].min() < -80 and kept["x1"].min() < -80
    assert purity(unknown, truth) == 1.0


def test_frames_that_nobody_labelled_are_not_empty_frames() -> None:
    """Labels every 8th frame, strides of 1: fed as empty, the frames between end each track; left out, they do not."""
    sparse = crossing("v").query("frame % 8 == 0 and object == 2")
    videos = pd.DataFrame([{"video": "v", "kind": "none", "frames": FRAMES, "width": 0, "height": 0, "fps": FPS}])
    settings = ByteTracker(kind="bytetrack", track_buffer=2)
    labelled = {"v": sorted(sparse["frame"].unique())}
    tracks, stats = track_chunk(videos, sparse, settings, stride=1, looked_at=labelled)
    assert tracks["track"].nunique() == 1 and len(tracks) == 10 and stats["frames"].tolist() == [10]
    fed, _ = track_chunk(videos, sparse, settings, stride=1)
    assert len(fed) < len(tracks) / 2


FLOOR = UnlinkedTracker(kind="unlinked")


def test_the_floor_follows_nothing_and_changes_nothing() -> None:
    """Every detection, bit for bit, is a track of its own; ids count from 1 in the order of frames."""
    truth = crossing("v", missing=(0, 7)).sample(frac=1.0, random_state=0)
    tracks = run(truth, FLOOR)
    ordered = truth.sort_values("frame", kind="stable").reset_index(drop=True)[list(COLUMNS[DETECTIONS])]
    pd.testing.assert_frame_equal(tracks[list(COLUMNS[DETECTIONS])], ordered, check_exact=True)
    assert tracks["track"].tolist() == list(range(1, len(truth) + 1))
    assert len(run(empty(DETECTIONS), FLOOR)) == 0
    with pytest.raises(ValueError, match="not looked at"):
        run(truth, FLOOR, frames=range(0, FRAMES, 2))


def test_the_floor_cuts_boxes_where_others_do() -> None:
    table = pd.DataFrame([["v", 0, 0.0, "a", 0.9, -20.0, 10.0, 30.0, 60.0]] * 2, columns=list(COLUMNS[DETECTIONS]))
    table.loc[1, ["x1", "x2"]] = [-40.0, -10.0]  # nothing of it is inside
    options = {"frames": range(1), "fps": FPS}
    cut = track_video(table, FLOOR, frame_size=SIZE, **options)
    assert cut[["x1", "x2", "track"]].to_numpy().tolist() == [[0.0, 30.0, 1]]
    for size, clip in ((SIZE, False), ((0, 0), True)):
        kept = track_video(table, FLOOR, frame_size=size, clip=clip, **options)
        assert kept["x1"].tolist() == [-20.0, -40.0] and kept["track"].tolist() == [1, 2]


def test_the_floor_of_a_chunk_needs_neither_boxmot_nor_pictures(tmp_path) -> None:
    facts = {"original": "v", "kind": "none", "frames": FRAMES, "width": SIZE[0], "height": SIZE[1], "fps": FPS}
    videos = pd.DataFrame([{"video": name} | facts for name in ("one", "two")])
    tables = [crossing("one"), crossing("two", seed=1)]
    detections = pd.concat(tables)[list(COLUMNS[DETECTIONS])]
    tracks, stats = track_chunk(videos, detections, FLOOR, stride=1)
    write_table(tmp_path / "tracks.parquet", tracks, TRACKS)
    expected = {name: list(range(1, len(table) + 1)) for name, table in zip(("one", "two"), tables, strict=True)}
    assert tracks.groupby("video")["track"].apply(list).to_dict() == expected
    assert stats["frames"].tolist() == [FRAMES, FRAMES]
    videos.to_pickle(tmp_path / "videos")
    detections.to_pickle(tmp_path / "detections")
    code = (
        "import sys, pandas; from lib.config.track import UnlinkedTracker; from lib.perception.trackers import track_chunk;"
        "tables = [pandas.read_pickle(f'{sys.argv[1]}/{name}') for name in ('videos', 'detections')];"
        "tracks, _ = track_chunk(*tables, UnlinkedTracker(kind='unlinked'), stride=1);"
        "print(len(tracks), 'boxmot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.split() == [str(len(detections)), "False"]


FOLLOWING = [
    BotSortTracker(kind="botsort", cmc="sof"),
    BoostTracker(kind="boosttrack", cmc="orb", min_hits=1),
    DeepOcSortTracker(kind="deepocsort", cmc="sof", min_hits=1),
    HybridSortTracker(kind="hybridsort", cmc="ecc", min_hits=1),
    OccluBoostTracker(kind="occluboost", cmc="sof", min_hits=1),
]


def panned(folder, steps: int = 12) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A camera that jumps 24 px to and fro over a mottled wall with two objects that stand still: manifest, DETECTIONS."""
    rng = np.random.default_rng(3)
    layers = [cv2.GaussianBlur(rng.normal(0, 1, (700, 1200, 1)), (0, 0), blur) for blur in (3, 10, 30)]
    mottled = sum(layer / layer.std() for layer in layers)
    wall = np.repeat(np.clip(128 + 40 * mottled, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    width, height = size = (960, 544)
    shifts = [24 * (step % 2) + 3 * step for step in range(steps)]
    write_video(folder / "pan.mp4", [wall[90 : 90 + height, 60 + at : 60 + at + width] for at in shifts], FPS, size)
    rows = []
    for frame, shift in enumerate(shifts):
        for x, y in ((450, 160), (700, 300)):
            rows.append(["v", frame, frame / FPS, "a", 0.9, x - shift, y, x - shift + 24, y + 60])
    facts = {"video": "v", "original": "pan.mp4", "path": str(folder / "pan.mp4"), "kind": "video", "stream": 0, "fps": FPS}
    videos = pd.DataFrame([facts | {"frames": steps, "width": width, "height": height}])
    return videos, pd.DataFrame(rows, columns=list(COLUMNS[DETECTIONS]))


@pytest.mark.parametrize("settings", FOLLOWING, ids=lambda settings: f"{settings.kind}-{settings.cmc}")
def test_the_camera_is_followed_by_pixels(settings: Tracker, tmp_path) -> None:
    """Boxes of neighbouring frames do not overlap enough; with the camera's motion taken out they do."""
    videos, detections = panned(tmp_path)
    followed, _ = track_chunk(videos, detections, settings, stride=1)
    again, _ = track_chunk(videos, detections, settings, stride=1)
    pd.testing.assert_frame_equal(followed, again)
    still, _ = track_chunk(videos, detections, type(settings)(**{**settings.model_dump(), "cmc": "off"}), stride=1)
    assert followed["track"].nunique() == 2 and len(followed) >= 20
    assert still["track"].nunique() > 2 or len(still) < len(followed)


@pytest.mark.parametrize("settings", FOLLOWING, ids=lambda settings: settings.kind)
def test_who_needs_pixels_is_refused_where_there_are_none(settings: Tracker) -> None:
    videos = pd.DataFrame(
        [{"video": "v", "original": "Seq", "kind": "none", "frames": 3, "width": 0, "height": 0, "fps": 5.0}]
    )
    with pytest.raises(DataError, match=f"'Seq': its source has no pictures, .* {settings.kind} .* Hint: set cmc: off"):
        track_chunk(videos, empty(DETECTIONS), settings, stride=1)
