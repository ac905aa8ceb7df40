"""Subsampling, compared with a reference written independently here (plain sets, exact fractions, one hash at a time).

The property loops draw whole random pools and arms and count violations of: equality with the reference, nesting, exact
sizes, the union and exclusive rules, no video lost, nothing from another split.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lib.config.base import ConfigError, explain
from lib.config.subsample import Arm
from lib.data.arm_counts import check_arms, counts, key_digest
from lib.data.subsample import frame_order, subsample
from lib.files import DataError

CLASSES = ["hook", "person", "vehicle"]
SHARES = [0.0, 0.05, 0.1, 0.25, 0.3, 0.5, 0.7, 0.75, 0.9, 1.0]


def arm(background="none", **values) -> Arm:
    return Arm(shardset="frames", background=background, **values)


def pool_of(rows: list[tuple[str, int, list[str]]], split: str = "train") -> pd.DataFrame:
    """index rows from (video, frame, classes); ten frames/s"""
    frame = pd.DataFrame(rows, columns=["video", "frame", "classes"])
    keys = [f"{video}-{number:06d}" for video, number, _ in rows]
    frame["time_s"] = frame["frame"] / 10
    return frame.assign(key=keys, split=split, instances=[[2] * len(names) for _, _, names in rows])


# ---------------------------------------------------------------- the reference


def u(seed: int, purpose: str, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{purpose}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def reference_order(frames: list[tuple[str, str]], seed: int, purpose: str) -> list[str]:
    """Keys of (key, video) pairs in the order of drawing: one frame of each video, then Sainte-Laguë seats."""
    places = {}
    for video in {video for _, video in frames}:
        ranked = sorted((u(seed, purpose, key), key) for key, of in frames if of == video)
        for rank, (number, key) in enumerate(ranked):
            places[key] = (Fraction(2 * rank + 1, 2 * len(ranked)) if rank else Fraction(0), number)
    return sorted(places, key=places.get)


def up(share: float, count: int) -> int:
    return math.ceil(Fraction(str(share)) * count)


def segment_of(key: str, video: str, wanted: Arm) -> tuple[str, str]:
    """(name of the frame's segment, its video); exact fractions, ten frames/s."""
    number = math.floor(Fraction(int(key[-6:]), 10) / Fraction(str(wanted.segment_s)))
    return f"{video}\0{number}", video


def whole_segments(frames, count: int, wanted: Arm, seed: int, purpose: str) -> set[str]:
    """Frames of the first segments that together hold at least `count` of `frames`."""
    found: set[str] = set()
    of = {key: segment_of(key, video, wanted) for key, video in frames}
    for segment in reference_order(sorted(set(of.values())), seed, f"{purpose}\0segment"):
        if len(found) < count:
            found |= {key for key in of if of[key][0] == segment}
    return found


def reference_share(frames, share, wanted: Arm, seed, purpose) -> set[str]:
    if wanted.unit == "frame":
        return set(reference_order(frames, seed, purpose)[: up(share, len(frames))])
    if wanted.unit == "segment":
        return whole_segments(frames, up(share, len(frames)), wanted, seed, purpose)
    videos = sorted({video for _, video in frames}, key=lambda video: u(seed, f"{purpose}\0video", video))
    chosen = set(videos[: up(share, len(videos))])
    return {key for key, video in frames if video in chosen}


def reference(rows, wanted: Arm, seed: int) -> dict[str, str]:
    """key -> reason, by the words of the specification; rows: (key, video, classes) of the split."""
    drawn = {}
    for name in {name for _, _, names in rows for name in names}:
        holding = [(key, video) for key, video, names in rows if name in names]
        drawn[name] = reference_share(holding, wanted.fractions.get(name, 1.0), wanted, seed, name)
    any_or_all = any if wanted.mode == "union" else all
    kept = {key: names for key, _, names in rows if names and any_or_all(key in drawn[name] for name in names)}
    reasons = {key: "+".join(name for name in sorted(names) if key in drawn[name]) for key, names in kept.items()}
    hollow = [(key, video) for key, video, names in rows if not names]
    return reasons | dict.fromkeys(reference_background(hollow, len(kept), wanted, seed), "background")


def reference_background(hollow, objects: int, wanted: Arm, seed: int) -> set[str]:
    if isinstance(wanted.background, str):
        return {key for key, _ in hollow} if wanted.background == "all" else set()
    if wanted.background.fraction is not None:
        return reference_share(hollow, wanted.background.fraction, wanted, seed, "\0background")
    count = min(len(hollow), up(wanted.background.ratio, objects))
    if wanted.unit == "frame":
        return set(reference_order(hollow, seed, "\0background")[:count])
    if wanted.unit == "segment":
        return whole_segments(hollow, count, wanted, seed, "\0background")
    found: set[str] = set()
    for video in sorted({video for _, video in hollow}, key=lambda video: u(seed, "\0background\0video", video)):
        if len(found) < count:
            found |= {key for key, of in hollow if of == video}
    return found


# ---------------------------------------------------------------- random cases


def random_pool(rng: np.random.Generator) -> pd.DataFrame:
    rows, splits = [], []
    names = CLASSES[: rng.integers(1, 4)]
    chance = rng.uniform(0.1, 0.8, len(names))
    for video in range(rng.integers(1, 6)):
        frames = rng.choice(200, size=rng.integers(1, 13), replace=False)
        for frame in sorted(frames.tolist()):
            rows.append(
                (f"video-{video}", frame, [name for name, p in zip(names, chance, strict=True) if rng.random() < p])
            )
            splits.append("train" if video != 4 else "test")
    index = pool_of(rows).assign(split=splits)
    return index.sample(frac=1.0, random_state=int(rng.integers(2**31))) if rng.random() < 0.5 else index


def random_pair(rng: np.random.Generator, names: list[str]) -> tuple[Arm, Arm]:
    """An arm and one that asks for as much or more of everything."""
    shares = {name: sorted(rng.choice(SHARES, 2).tolist()) for name in names if rng.random() < 0.9}
    amount = sorted(rng.choice(SHARES, 2).tolist())
    forms = ["none", "all", "fraction", "ratio"]
    form = forms[rng.integers(4)]
    common = {"mode": ["union", "exclusive"][rng.integers(2)]}
    common["unit"] = ["frame", "frame", "video", "segment", "segment"][rng.integers(5)]
    if common["unit"] == "segment":
        common["segment_s"] = [0.1, 0.3, 1.0, 2.0, 7.0][rng.integers(5)]
    return tuple(
        arm(
            background=form if form in ("none", "all") else {form: amount[side]},
            fractions={name: pair[side] for name, pair in shares.items()},
            **common,
        )
        for side in (0, 1)
    )


def drawn_or_none(index: pd.DataFrame, wanted: Arm, seed: int) -> dict[str, str]:
    try:
        frames = subsample(index, wanted, seed, classes=CLASSES)
    except ConfigError as refusal:
        assert "leave no frame" in str(refusal)
        return {}
    assert len(frames) and frames["key"].is_unique
    return dict(zip(frames["key"], frames["reason"], strict=True))


def violations(index: pd.DataFrame, rows, pair: tuple[Arm, Arm], seed: int) -> list[str]:
    small, large = (drawn_or_none(index, wanted, seed) for wanted in pair)
    found = [
        f"differs from the reference: {wanted}"
        for wanted, got in zip(pair, (small, large), strict=True)
        if got != reference(rows, wanted, seed)
    ]
    if not set(small) <= set(large):
        found.append("not nested")
    if not set(large) <= {key for key, _, _ in rows}:
        found.append("a frame of another split")
    for wanted, got in zip(pair, (small, large), strict=True):
        found += rule_violations(rows, wanted, got)
    return found


def rule_violations(rows, wanted: Arm, got: dict[str, str]) -> list[str]:
    found = []
    held = {key: set(names) for key, _, names in rows}
    for key, reason in got.items():
        accepted = set() if reason == "background" else set(reason.split("+"))
        if not accepted <= held[key] or bool(held[key]) == (reason == "background"):
            found.append(f"{key}: reason {reason}")
        if wanted.mode == "exclusive" and accepted != held[key]:
            found.append(f"{key}: kept against a class that rejects it")
    if wanted.mode == "union":
        for name in {name for names in held.values() for name in names}:
            found += quota_violations(rows, name, wanted, {key for key in got if name in got[key].split("+")})
    return found


def quota_violations(rows, name: str, wanted: Arm, drawn: set[str]) -> list[str]:
    if wanted.unit == "segment":
        return segment_violations(rows, name, wanted, drawn)
    videos = {video for _, video, names in rows if name in names}
    holding = sum(name in names for _, _, names in rows)
    seen = {video for key, video, _ in rows if key in drawn}
    share = wanted.fractions.get(name, 1.0)
    if wanted.unit == "video":
        return [] if len(seen) == up(share, len(videos)) else [f"{name}: {len(seen)} videos"]
    if len(drawn) != up(share, holding):
        return [f"{name}: {len(drawn)} frames of {holding} at {share}"]
    return [] if len(seen) == min(len(drawn), len(videos)) else [f"{name}: a video is lost"]


def segment_violations(rows, name: str, wanted: Arm, drawn: set[str]) -> list[str]:
    """Segments are drawn whole or not at all, and their frames exceed the quota by less than one segment."""
    held: dict[str, set[str]] = {}
    for key, video, names in rows:
        if name in names:
            held.setdefault(segment_of(key, video, wanted)[0], set()).add(key)
    quota = up(wanted.fractions.get(name, 1.0), sum(map(len, held.values())))
    chosen = [keys for keys in held.values() if keys & drawn]
    found = [f"{name}: a segment is cut"] if any(not keys <= drawn for keys in chosen) else []
    if len(drawn) < quota or (chosen and len(drawn) - max(map(len, chosen)) >= quota):
        found.append(f"{name}: {len(drawn)} frames for a quota of {quota}")
    return found


def run_cases(count: int, seed: int) -> list[tuple[int, list[str]]]:
    rng = np.random.default_rng(seed)
    faults = []
    for case in range(count):
        if case % 10 == 0:
            index = random_pool(rng)
            train = index[index["split"] == "train"]
            rows = list(zip(train["key"], train["video"], train["classes"], strict=True))
            names = sorted({name for some in train["classes"] for name in some})
        broken = violations(index, rows, random_pair(rng, names), int(rng.integers(0, 1000)))
        if broken:
            faults.append((case, broken))
    return faults


@pytest.fixture
def silent(caplog):
    """Random arms leave classes unstated thousands of times; each warning would be kept."""
    caplog.set_level(logging.ERROR, "lib.data.subsample")


def test_500_random_cases(silent):
    assert run_cases(500, seed=1) == []


@pytest.mark.slow
def test_10000_random_cases(silent):
    """Each case is a pool, a seed, and two arms of which one asks for more: 20,000 draws."""
    assert run_cases(10_000, seed=2) == []


def test_classes_without_a_fraction_are_reported(caplog):
    subsample(many(), arm(fractions={"person": 0.5}), 0)
    assert "taken whole (1.0): hook" in caplog.text


# ---------------------------------------------------------------- single properties


def many(videos: int = 8, frames: int = 25) -> pd.DataFrame:
    kinds = [["person"], ["hook"], ["hook", "person"], [], ["person"]]
    return pool_of([(f"v{video}", frame, kinds[(video + frame) % 5]) for video in range(videos) for frame in range(frames)])


@pytest.mark.parametrize("mode", ["union", "exclusive"])
@pytest.mark.parametrize("unit", ["frame", "video", "segment"])
def test_quarters_are_nested(mode, unit):
    index = many()
    sets = [
        set(subsample(index, arm("all", fractions={"person": p}, mode=mode, unit=unit), 0)["key"])
        for p in (0.25, 0.5, 0.75, 1.0)
    ]
    assert sets[0] < sets[1] < sets[2] < sets[3] == set(index["key"])


@settings(max_examples=100)
@given(st.decimals(0, 1, places=3), st.integers(1, 300), st.integers(0, 2**31 - 1))
def test_exact_size_without_float_noise(share, count, seed):
    """0.3 of 10 frames is 3, although 0.3 * 10 rounded up as binary numbers may not be; reference: decimal arithmetic."""
    index = pool_of([(f"v{frame % 7}", frame, ["person"]) for frame in range(count)] + [("v0", 10_000, [])])
    frames = subsample(index, arm("all", fractions={"person": float(share)}), seed)
    assert len(frames) - 1 == math.ceil(share * count)


def test_share_of_all_and_of_none():
    index = many()
    person = {key for key, names in zip(index["key"], index["classes"], strict=True) if "person" in names}
    hook = {key for key, names in zip(index["key"], index["classes"], strict=True) if "hook" in names}
    assert set(subsample(index, arm(fractions={"person": 1.0}), 0)["key"]) == person | hook
    assert set(subsample(index, arm(fractions={"person": 0.0}), 0)["key"]) == hook  # both-class frames come in by the hook
    assert set(subsample(index, arm(fractions={"person": 0.0}, mode="exclusive"), 0)["key"]) == hook - person


def test_segments_are_stretches_of_seconds_drawn_whole_and_spread_over_videos():
    """By hand: 6 videos of 40 frames at ten frames/s in segments of 0.5 s are 48 segments; a quarter is 12, two of each."""
    index = pool_of([(f"v{video}", frame, ["person"]) for video in range(6) for frame in range(40)])
    wanted = arm(fractions={"person": 0.25}, unit="segment", segment_s=0.5)
    drawn = subsample(index, wanted, 0)
    stretches = drawn.assign(segment=drawn["frame"] // 5).groupby(["video", "segment"])["frame"].agg(["min", "count"])
    assert len(drawn) == 60 and len(stretches) == 12
    assert (stretches["count"] == 5).all() and (stretches["min"] % 5 == 0).all()
    assert stretches.groupby("video").size().tolist() == [2] * 6
    counted = counts(index, drawn, wanted)["classes"]["person"]
    assert [counted[name] for name in ("requested_frames", "frames", "pool_segments", "segments")] == [60, 60, 48, 12]
    assert set(subsample(index, wanted, 1)["key"]) != set(drawn["key"])


def test_segments_are_told_by_time_not_by_frame_number():
    """Irregular times, as of a variable frame rate: frames 0 to 3 lie in second 0, frame 4 in second 9."""
    index = pool_of([("v", frame, ["person"]) for frame in range(5)]).assign(time_s=[0.0, 0.1, 0.3, 0.9, 9.0])
    wanted = arm(fractions={"person": 0.5}, unit="segment", segment_s=1.0)
    sets = {tuple(subsample(index, wanted, seed)["frame"]) for seed in range(20)}
    assert sets == {(0, 1, 2, 3), (0, 1, 2, 3, 4)}  # the lonely frame first, then more is needed; or the stretch alone
    tenth = arm(fractions={"person": 0.2}, unit="segment", segment_s=0.1)
    assert {len(subsample(index, tenth, seed)) for seed in range(20)} == {1}
    with pytest.raises(DataError, match="needs the index's column time_s"):
        subsample(index.drop(columns="time_s"), wanted, 0)


def test_adding_a_video_keeps_the_ranking_inside_the_others():
    index, more = many(videos=6), many(videos=9)

    def ranking(frames: pd.DataFrame) -> dict[str, list[str]]:
        rows = frames[[("person" in names) for names in frames["classes"]]].reset_index(drop=True)
        ordered = rows.iloc[frame_order(rows["key"], rows["video"], 5, "person")]
        return {video: part["key"].tolist() for video, part in ordered.groupby("video")}

    before, after = ranking(index), ranking(more)
    assert {video: after[video] for video in before} == before and len(after) > len(before)


def test_order_of_the_index_does_not_matter():
    index = many()
    wanted = arm({"fraction": 0.4}, fractions={"person": 0.3, "hook": 0.6})
    shuffled = index.sample(frac=1.0, random_state=3)
    drawn = subsample(index, wanted, 1)
    assert drawn["key"].tolist() == [key for key in index["key"] if key in set(drawn["key"])]  # given back in index order
    assert set(subsample(shuffled, wanted, 1)["key"]) == set(drawn["key"])
    assert set(subsample(index, wanted, 2)["key"]) != set(drawn["key"])


def test_draw_is_pinned():
    """A changed hash or order would silently change every arm ever drawn."""
    drawn = subsample(many(), arm({"ratio": 0.1}, fractions={"person": 0.1, "hook": 0.05}), 7)
    assert key_digest(drawn["key"]) == "bf11eb89c6e799330ce113950f153d89c4b7c4d27487ed741e56d302fc38e38a"


def test_shares_are_spread_over_videos():
    """At p every video of n frames holds between floor(pn) and ceil(pn) of them, where each has at least one."""
    rng = np.random.default_rng(0)
    for share in (0.25, 0.5, 0.8):
        lengths = rng.integers(8, 60, 12).tolist()
        index = pool_of([(f"v{video}", frame, ["person"]) for video, n in enumerate(lengths) for frame in range(n)])
        taken = subsample(index, arm(fractions={"person": share}), 0)["video"].value_counts()
        for video, n in enumerate(lengths):
            assert abs(taken[f"v{video}"] - share * n) <= 1.0


def test_control_has_the_size_and_ignores_classes():
    index = many(20, 40)
    small = subsample(index, arm("none", fractions={"person": 0.1, "hook": 0.1}), 0)
    control = subsample(index, arm("all", size_of="small"), 0, size=len(small))
    assert len(control) == len(small) and set(control["reason"]) == {"control"}
    assert control["video"].nunique() == 20
    assert (index.set_index("key").loc[control["key"], "classes"].str.len() == 0).any()  # background was asked for
    without = subsample(index, arm("none", size_of="small"), 0, size=len(small))
    assert (index.set_index("key").loc[without["key"], "classes"].str.len() > 0).all()
    larger = subsample(index, arm("all", size_of="small"), 0, size=len(small) + 9)
    assert set(control["key"]) < set(larger["key"])
    with pytest.raises(ConfigError, match="can draw from 640 only"):
        subsample(index, arm("none", size_of="small"), 0, size=700)
    with pytest.raises(ConfigError, match="give both or neither"):
        subsample(index, arm("none", size_of="small"), 0)


def test_counts():
    """Reference: the specification's formula for the realised person fraction (|S_p \\ F_h| + |F_p and F_h|) / |F_p|."""
    index = many()
    wanted = arm({"ratio": 0.25}, fractions={"person": 0.25})
    drawn = subsample(index, wanted, 0)
    counted = counts(index, drawn, wanted)
    person, hook = counted["classes"]["person"], counted["classes"]["hook"]
    both = sum(len(names) == 2 for names in index["classes"])
    by_person = drawn["reason"].str.split("+").map(lambda names: "person" in names)
    alone = by_person & ~drawn["reason"].str.contains("hook")
    assert person["achieved_fraction"] == pytest.approx((alone.sum() + both) / person["pool_frames"], abs=1e-6)
    assert by_person.sum() == person["requested_frames"] == math.ceil(person["pool_frames"] / 4)
    assert (person["stated"], hook["stated"], hook["fraction"], hook["achieved_fraction"]) == (True, False, 1.0, 1.0)
    assert person["instances"] == 2 * person["frames"] and person["pool_instances"] == 2 * person["pool_frames"]
    assert hook["ratio"] == pytest.approx(hook["frames"] / max(person["frames"], hook["frames"]), abs=1e-6)
    assert counted["background"] == {
        "pool": 40,
        "achieved": (drawn["reason"] == "background").sum(),
        "requested": math.ceil((drawn["reason"] != "background").sum() / 4),
    }
    assert counted["frames"] == len(drawn) and counted["pool_frames"] == len(index)
    assert counted["sha256"] == key_digest(reversed(drawn["key"].tolist()))


def test_counts_show_background_that_holds_ignored_boxes():
    index = many().assign(ignored=1)
    wanted = arm("all")
    assert counts(index, subsample(index, wanted, 0), wanted)["background"]["with_ignored_boxes"] == 40


def test_equal_arms_are_named():
    arms = {"p100": key_digest(["a", "b"]), "all": key_digest(["b", "a"]), "p50": key_digest(["a"])}
    with pytest.raises(ConfigError, match="all = p100"):
        check_arms(arms)
    assert check_arms(arms, allow_equal=True) == [["all", "p100"]]
    assert check_arms({"a": key_digest(["x"]), "b": key_digest(["y"])}) == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"fractions": {"persn": 0.5}}, "no class 'persn'.*did you mean 'person'"),
        ({"fractions": {"vehicle": 0.5}}, "no frame of split 'train' holds 'vehicle'"),
        ({"fractions": {"person": 0.0, "hook": 0.0}}, "leave no frame of split 'train'"),
        ({"split": "val"}, "split: 'val' has no frames"),
    ],
)
def test_refusals(values, text):
    with pytest.raises(ConfigError, match=text):
        subsample(many(), arm(**values), 0, classes=CLASSES)


def test_repeated_key_is_refused():
    with pytest.raises(DataError, match="twice"):
        subsample(pd.concat([many(), many()]), arm(), 0)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"fractions": {"person": float("nan")}}, r"fractions\.person: must be a finite number \(given: nan\)"),
        ({"fractions": {"person": -0.1}}, "fractions.person must be .* got -0.1"),
        ({"fractions": {"person": 25}}, "Hint: 25 % is 0.25"),
        ({"background": "some"}, "'all' or 'none'"),
        ({"background": {"fraction": 1.5}}, "background.fraction must be"),
        ({"background": {"ratio": -1}}, "background.ratio must be a finite number of at least 0"),
        ({"background": {"ratio": 1, "fraction": 1}}, "exactly one"),
        ({"background": {}}, "exactly one"),
        ({"size_of": "p25", "fractions": {"person": 0.5}}, "`fractions` has no effect"),
        ({"size_of": "p25", "mode": "exclusive"}, "`mode` has no effect"),
        ({"unit": "second"}, "'frame', 'video' or 'segment'"),
        ({"unit": "segment", "segment_s": 0}, "greater than or equal to 0.001"),
        ({"unit": "video", "segment_s": 1.0}, "segment_s has no effect with unit: video"),
        ({"size_of": "p25", "unit": "segment"}, "`unit` has no effect"),
    ],
)
def test_settings_refused(values, text):
    with pytest.raises(ValidationError) as refusal:
        Arm.model_validate({"shardset": "frames", "background": "all"} | values)
    assert re.search(text, explain(refusal.value, "arms.p25"))


def test_background_must_be_stated():
    with pytest.raises(ValidationError, match="background"):
        Arm.model_validate({"shardset": "frames"})
