"""Questions of the synthetic world: kinds, balance and shares of evidence as set; answers against a reader of the words."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from lib.data.world.askable import askable
from lib.data.world.asking import KINDS, YES_NO
from lib.data.world.events import AUDIO, CHANNELS, FRAME, MOTION, OBJECTS, PERSON, VEHICLE
from lib.data.world.questions import answers_of
from tests.lib.data.world.figures import balance_of, by_name, worlds
from tests.lib.data.world.made import episodes
from tests.lib.data.world.solver import solve

EVIDENCE = {
    "exists": FRAME,
    "colour": FRAME,
    "which": FRAME,
    "doing": FRAME,
    "place": FRAME,
    "movement": MOTION,
    "order": MOTION,
    "count": OBJECTS,
    "identity": OBJECTS,
    "sound": AUDIO,
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return answers_of(worlds()["test"])


def test_kinds_and_what_carries_them(rows: list[dict[str, Any]]) -> None:
    kinds = Counter(row["kind"] for row in rows)
    assert set(kinds) == set(KINDS) == set(EVIDENCE) and len(rows) > 150
    assert sum(count >= 10 for count in kinds.values()) >= 8
    assert all(row["evidence"] == EVIDENCE[row["kind"]] for row in rows)


def test_a_reader_of_the_words_finds_every_answer(rows: list[dict[str, Any]]) -> None:
    """Oracle for all that could be asked, not only for what is: from states, tracks, events and the drawn wave."""
    checked = Counter()
    for split in worlds().values():
        for episode in split[:24]:
            for one in askable(episode, np.random.default_rng(0)):
                assert solve(episode, one.text) == one.answer, (episode.plan.name, one.text)
                checked[one.kind] += 1
    assert min(checked[kind] for kind in KINDS) >= 5


def test_no_answer_outnumbers_the_others(rows: list[dict[str, Any]]) -> None:
    """Of two answers neither has more than three in five; of more, none has half as much again as its fair share."""
    by_choices: dict[tuple[str, tuple[str, ...]], Counter[str]] = defaultdict(Counter)
    names = by_name(worlds()["test"])
    for row in rows:
        balance = balance_of(row, names)
        by_choices[row["kind"], balance.choices][balance.value] += 1
    for (kind, choices), counts in by_choices.items():
        total = sum(counts.values())
        if total >= 8:
            limit = 0.6 if len(choices) == 2 else 1.5 / len(choices)
            assert max(counts.values()) / total <= limit + 1 / total, (kind, counts)
    yes_no = sum((counts for (_, choices), counts in by_choices.items() if choices == YES_NO), Counter())
    assert abs(yes_no["yes"] - yes_no["no"]) <= 4 and yes_no.total() > 40


def test_one_of_a_kind_per_video_and_as_many_as_set(rows: list[dict[str, Any]]) -> None:
    assert max(Counter((row["video"], row["kind"]) for row in rows).values()) == 1
    assert len({row["question"] for row in rows}) == len(rows)
    for most in (0, 1, 3):
        few = Counter(row["video"] for row in answers_of(episodes(videos={"test": 12}, questions=most)))
        assert max(few.values(), default=0) == most


@pytest.mark.parametrize(
    "evidence",
    [
        {"frame": 1, "motion": 0, "objects": 0, "audio": 0},
        {"frame": 0, "motion": 1, "objects": 0, "audio": 0},
        {"frame": 0, "motion": 0, "objects": 1, "audio": 0},
        {"frame": 0, "motion": 0, "objects": 0, "audio": 1},
    ],
)
def test_one_channel_alone(evidence: dict[str, float]) -> None:
    rows = answers_of(episodes(evidence=evidence))
    assert len(rows) >= 20
    assert {row["evidence"] for row in rows} == {channel for channel, weight in evidence.items() if weight}


def test_shares_of_evidence_come_close(rows: list[dict[str, Any]]) -> None:
    """Motion, which the fewest videos offer, may fall short; no other channel makes up for it by much."""
    shares = worlds()["test"][0].options.evidence.shares()
    counts = Counter(row["evidence"] for row in rows)
    for channel in CHANNELS:
        assert shares[channel] / 2 <= counts[channel] / len(rows) <= shares[channel] + 0.07


def test_a_world_without_sound_asks_nothing_about_it() -> None:
    rows = answers_of(episodes(videos={"test": 12}, sound={"amplitude": 0.0}))
    assert rows and not [row for row in rows if row["evidence"] == AUDIO]


def test_no_tone_gives_an_answer_away(rows: list[dict[str, Any]]) -> None:
    """Whatever a question is about makes no tone, so that sound cannot stand in for its channel."""
    names = by_name(worlds()["test"])
    for row in rows:
        heard = [event for event in names[row["video"]].events if event.heard and event.seen]
        things = names[row["video"]].things
        if row["kind"] == "count":
            plurals = {"workers": PERSON, "vehicles": VEHICLE, "loads": "load"}
            asked = plurals[row["text"].split()[3]]
            assert not any(things[track].kind == asked for event in heard for track in event.actors)
        if row["kind"] == "colour":
            asked = PERSON if "worker" in row["text"] else VEHICLE
            assert not any(things[track].kind == asked for event in heard for track in event.actors)


def test_the_first_videos_do_not_depend_on_the_others(rows: list[dict[str, Any]]) -> None:
    test = worlds()["test"]
    few = {one.plan.name for one in test[:6]}
    assert answers_of(test[:6]) == [row for row in rows if row["video"] in few]
    assert answers_of(test) == rows
