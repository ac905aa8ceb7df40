"""Queries of the synthetic world: unambiguous (their words read again without the code that chose them), many templates,
answers of very different length, shares of evidence as set, and nothing that gives the answer away."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import product
from typing import Any

import numpy as np
import pytest

from lib.data.world.events import AUDIO, CHANNELS, FRAME, KINDS, MOTION, OBJECTS, Episode, Event
from lib.data.world.names import LEVELS, name
from lib.data.world.queries import TEMPLATES, candidates, queries_of
from tests.lib.data.world.made import episodes

Row = dict[str, Any]


def asked(**knobs: Any) -> tuple[list[Row], dict[str, Episode]]:
    worlds = episodes(**knobs)
    return queries_of(worlds), {one.plan.name: one for one in worlds}


def texts(event: Event, episode: Episode) -> set[str]:
    """Everything that an event could be called in a query, at every level of precision."""
    actor = episode.things[event.actors[0]].kind if event.actors else ""
    if (event.kind, actor) not in TEMPLATES:
        return set()
    things = [episode.things[track] for track in event.actors]
    levels = product(LEVELS, repeat=len(things))
    text = TEMPLATES[event.kind, actor][1]
    return {text.format(*(name(thing, level) for thing, level in zip(things, one, strict=True))) for one in levels}


def test_one_query_one_window() -> None:
    """Of all events of the video, seen or heard, exactly one can be called what the query says, and it is the answer."""
    rows, worlds = asked()
    assert len(rows) > 150
    for row in rows:
        fits = [event for event in worlds[row["video"]].events if row["text"] in texts(event, worlds[row["video"]])]
        assert len(fits) == 1, row
        assert (row["start_s"], row["end_s"]) == pytest.approx((fits[0].start_s, fits[0].end_s), abs=1e-3)
        assert not (fits[0].seen and fits[0].heard)


def test_evidence_is_what_it_says() -> None:
    rows, worlds = asked()
    for row in rows:
        episode = worlds[row["video"]]
        event = next(event for event in episode.events if row["text"] in texts(event, episode))
        classes = [episode.things[track].kind for track in event.actors]
        alike = [
            other
            for other in episode.events
            if other.kind == event.kind and [episode.things[track].kind for track in other.actors] == classes
        ]
        if row["evidence"] == AUDIO:
            assert not event.seen and event.heard
        elif row["evidence"] == OBJECTS:
            assert len(alike) > 1
        else:
            assert alike == [event] and KINDS[event.kind] == row["evidence"]
    assert {row["evidence"] for row in rows} == {FRAME, MOTION, OBJECTS, AUDIO}


def test_many_templates_and_very_different_lengths() -> None:
    rows, worlds = asked()
    templates = Counter(row["template"] for row in rows)
    assert len(templates) >= 20 and max(templates.values()) < 0.1 * len(rows)
    assert sum(count >= 4 for count in templates.values()) >= 12
    lengths = np.array([row["end_s"] - row["start_s"] for row in rows])
    shares = lengths / [worlds[row["video"]].duration_s for row in rows]
    assert lengths.min() <= 0.25 and np.quantile(lengths, 0.25) < 0.6 < 1.8 < np.quantile(lengths, 0.75)
    assert shares.min() < 0.05 and 0.7 < shares.max() <= 0.9


def test_words_are_sentences() -> None:
    for row in asked()[0]:
        assert row["text"].startswith("When ") and row["text"].endswith("?") and "{" not in row["text"]
        assert "  " not in row["text"] and "None" not in row["text"]


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {"frame": 1, "motion": 0, "objects": 0, "audio": 0},
        {"frame": 0, "motion": 1, "objects": 0, "audio": 0},
        {"frame": 0, "motion": 0, "objects": 0, "audio": 1},
        {"frame": 0.2, "motion": 0.2, "objects": 0.6, "audio": 0},
    ],
)
def test_shares_of_evidence(evidence: dict[str, float]) -> None:
    rows, worlds = asked(evidence=evidence)
    shares = next(iter(worlds.values())).options.evidence.shares()
    counts = Counter(row["evidence"] for row in rows)
    assert len(rows) > 45
    for channel in CHANNELS:
        assert counts[channel] / len(rows) == pytest.approx(shares[channel], abs=0.03)
    if not evidence:
        assert len({row["video"] for row in rows}) == 40  # each video is asked something


def test_as_many_as_set() -> None:
    for most in (0, 1, 3):
        rows, _ = asked(queries=most)
        counts = Counter(row["video"] for row in rows)
        assert max(counts.values(), default=0) == most
    assert len({row["query"] for row in asked()[0]}) == len(asked()[0])


def test_the_first_videos_do_not_depend_on_the_others() -> None:
    worlds = episodes()
    rows = queries_of(worlds)
    assert queries_of(worlds[:7]) == [row for row in rows if row["video"] in {one.plan.name for one in worlds[:7]}]
    assert queries_of(worlds) == rows


def test_windows_do_not_tell_the_duration() -> None:
    """Few windows end with their video; the last end is its length in a third of the videos at most; long videos hardly
    have longer answers."""
    rows, worlds = asked()
    durations = np.array([worlds[row["video"]].duration_s for row in rows])
    ends = np.array([row["end_s"] for row in rows])
    assert (ends <= durations + 1e-3).all() and (ends > durations - 0.05).mean() < 0.12
    last: dict[str, float] = defaultdict(float)
    for row in rows:
        last[row["video"]] = max(last[row["video"]], row["end_s"])
    assert np.mean([worlds[video].duration_s - end < 0.05 for video, end in last.items()]) < 0.34
    lengths = ends - [row["start_s"] for row in rows]
    assert abs(np.corrcoef(lengths, durations)[0, 1]) < 0.3


def test_windows_lie_anywhere() -> None:
    """Middles of the windows over the video's length: no fifth of the video is left out, none holds half of them."""
    rows, worlds = asked()
    middles = [(row["start_s"] + row["end_s"]) / 2 / worlds[row["video"]].duration_s for row in rows]
    shares = np.histogram(middles, 5, (0, 1))[0] / len(rows)
    assert shares.min() > 0.07 and shares.max() < 0.4
    assert np.mean(middles) == pytest.approx(0.5, abs=0.06)


def test_order_of_queries_does_not_tell_the_time() -> None:
    """Rank of a query within its video against rank of its window, over all videos: no correlation."""
    by_video: dict[str, list[float]] = defaultdict(list)
    for row in asked()[0]:
        by_video[row["video"]].append(row["start_s"])
    pairs = [
        (place / (len(starts) - 1), rank / (len(starts) - 1))
        for starts in by_video.values()
        if len(starts) > 2
        for place, rank in enumerate(np.argsort(np.argsort(starts)))
    ]
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.2


def test_candidates_of_a_video_hold_what_is_asked() -> None:
    rows, worlds = asked()
    for video, episode in worlds.items():
        offers = {one["text"] for one in candidates(episode)}
        assert {row["text"] for row in rows if row["video"] == video} <= offers
