"""Planted features, compared with their formula: noise and signal apart and together, and what shuffling does."""

from __future__ import annotations

import numpy as np
import pytest

from lib.config.feature_planted import PlantedFeatures
from lib.data.time_grid import TimeGrid
from lib.files import DataError
from lib.perception.planted import Signals, plant, planted_windows, shares
from tests.lib.data.clips import manifest, queries

VIDEOS = manifest(9).assign(duration_s=40.0)
QUERIES = queries(VIDEOS)


def made(**settings) -> dict[str, np.ndarray]:
    return plant(VIDEOS, QUERIES, VIDEOS, PlantedFeatures(kind="planted", **{"width": 64, "fps": 2} | settings)).tensors


def test_shares_of_a_step_s_window_by_hand() -> None:
    """Windows of 2 s, one a second: step 0 is 0 to 2 s, step 1 is 1 to 3 s …"""
    grid = TimeGrid(1, 2, 1, 6.0)
    assert shares(grid, 2.0, 4.0).tolist() == [0, 0.5, 1, 0.5, 0]
    assert shares(grid, 2.25, 2.5).tolist() == [0, 0.125, 0.125, 0, 0]


def test_signal_and_noise_add_up_and_have_their_strengths() -> None:
    noise, signal, both = made(strength=0), made(noise=0, strength=3), made(strength=3)
    for video, values in both.items():
        assert np.allclose(values, noise[video] + signal[video], atol=1e-5)
    assert np.concatenate(list(noise.values())).std() == pytest.approx(1.0, abs=0.02)
    asked = QUERIES[QUERIES["start_s"].notna()]
    inside = np.array([], bool)
    for video, values in signal.items():
        rows = asked[asked["video"] == video]
        grid = TimeGrid(1, 1, 2, 40.0)
        covered = np.zeros(len(values))
        for start, end in rows[["start_s", "end_s"]].to_numpy():
            covered += shares(grid, start, end)
        assert np.array_equal(covered > 0, np.abs(values).sum(1) > 0), "the signal lies where answers are"
        strength = np.sqrt((values[covered == 1] ** 2).mean(1))
        assert not len(strength) or strength == pytest.approx(3.0, rel=0.5)
        inside = np.append(inside, covered > 0)
    assert 0.05 < inside.mean() < 0.9 and not signal["clip-8"].any(), "queries without windows plant nothing"


def test_the_same_from_any_chunks_and_other_seeds_differ() -> None:
    settings = PlantedFeatures(kind="planted", width=16, fps=2)
    whole = plant(VIDEOS, QUERIES, VIDEOS, settings).tensors
    half = plant(VIDEOS, QUERIES, VIDEOS.iloc[::2], settings).tensors
    assert all(np.array_equal(values, whole[video]) for video, values in half.items())
    other = plant(VIDEOS, QUERIES, VIDEOS, settings.model_copy(update={"seed": 1})).tensors
    assert not np.array_equal(whole["clip-0"], other["clip-0"])


def test_shuffled_signals_lie_where_other_queries_are_answered() -> None:
    """Reference: the multiset of windows of a split stays, hardly a query keeps its own."""
    plain = PlantedFeatures(kind="planted")
    true, false = (planted_windows(VIDEOS, QUERIES, one) for one in (plain, plain.model_copy(update={"shuffle": True})))
    for split in ("train", "val"):
        mine = VIDEOS.loc[VIDEOS["split"] == split, "video"]
        pairs = [
            [(text, start, end) for video in mine for text, start, end in found.get(video, [])] for found in (true, false)
        ]
        assert sorted(one[1:] for one in pairs[0]) == sorted(one[1:] for one in pairs[1])
        assert [one[0] for one in pairs[0]] == [one[0] for one in pairs[1]]
        kept = np.mean([one == other for one, other in zip(*pairs, strict=True)])
        assert kept < 0.5
    assert false.keys() == true.keys()


def test_one_object_bears_the_signal_and_masks_do_not_tell() -> None:
    tokens, mask = made(where="objects", noise=0, strength=2), made(where="objects", strength=0)
    for video in VIDEOS["video"]:
        bearing = (np.abs(tokens[video]).sum(2) > 0).sum(1)
        assert bearing.max() <= 1 and tokens[video].shape[1:] == (4, 64)
        assert np.array_equal(tokens[f"{video}.mask"], mask[f"{video}.mask"]), "what is there does not depend on answers"
        assert not tokens[video][tokens[f"{video}.mask"] == 0].any() and tokens[f"{video}.mask"][:, 0].all()
    assert sum((np.abs(tokens[video]).sum(2) > 0).any() for video in VIDEOS["video"]) == 8


def test_a_clip_that_is_too_long_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"video 'clip-0': 80 steps are more than max_steps = 50"):
        made(max_steps=50)


def test_the_words_of_a_query_find_its_window() -> None:
    """A reader who knows the projection finds the strongest step inside the answer; of noise alone he does not."""
    asked = QUERIES.dropna().drop_duplicates("query")
    asked = asked.assign(text=[f"does{n} what{n} and then" for n in range(len(asked))])
    found: dict[float, float] = {}
    for strength in (0.0, 2.0):
        settings = PlantedFeatures(kind="planted", width=128, fps=2, strength=strength)
        known = Signals(asked["text"], settings.model_copy(update={"strength": 1.0}))
        values = plant(VIDEOS, asked, VIDEOS, settings).tensors
        hits = []
        for row in asked.itertuples(index=False):
            middle = float(TimeGrid(1, 1, 2, 40.0).seconds(int((values[row.video] @ known.of(row.text)).argmax())))
            hits.append(row.start_s - 0.5 < middle < row.end_s + 0.5)
        found[strength] = float(np.mean(hits))
    assert found[2.0] > 0.9 and found[0.0] < 0.5
