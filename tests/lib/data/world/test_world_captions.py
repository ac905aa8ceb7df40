"""Captions of the synthetic world: their words read again and compared with what the truth shows, and told apart."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from lib.data.world.captions import captions_of
from lib.data.world.events import LOAD, Episode
from tests.lib.data.world.figures import by_name, worlds

WORKER = re.compile(r"a worker in an? (\w+) vest and an? (\w+) helmet")
VEHICLE = re.compile(r"an? (truck|excavator|concrete mixer) with an? (\w+) cab")
LOADS = re.compile(r"(?:an? )?(\w+) (crate|beams|pipes|concrete bucket|plank|box)\b")
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


@pytest.fixture(scope="module")
def told() -> list[tuple[dict[str, Any], Episode, set[int]]]:
    """Each caption with its video and the tracks that are seen in its span."""
    found = []
    for split in worlds().values():
        names = by_name(split)
        for row in captions_of(split):
            episode = names[row["video"]]
            fps = episode.options.fps
            start, end = row.get("start_s", 0.0), row.get("end_s", episode.duration_s)
            seen = set().union(*episode.seen[round(start * fps) : round(end * fps)])
            found.append((row, episode, seen))
    return found


def test_one_of_the_whole_and_some_of_stretches(told: list[Any]) -> None:
    whole = Counter(row["video"] for row, _, _ in told if "start_s" not in row)
    assert set(whole.values()) == {1} and len(whole) == sum(len(split) for split in worlds().values())
    parts = [(row, episode) for row, episode, _ in told if "start_s" in row]
    assert len(parts) > len(whole)
    for row, episode in parts:
        assert 0 <= row["start_s"] < row["end_s"] <= episode.duration_s + 1e-6 and row["end_s"] - row["start_s"] >= 1.0
    assert len({row["caption"] for row, _, _ in told}) == len(told)


def test_every_thing_that_is_named_is_seen(told: list[Any]) -> None:
    """Colours and nouns of the text, against the truth of its frames."""
    named = Counter()
    for row, episode, seen in told:
        things = [episode.things[track] for track in seen]
        text = row["text"].lower()
        for vest, helmet in WORKER.findall(text):
            assert any((one.noun, one.colour, one.second) == ("worker", vest, helmet) for one in things), row
            named["worker"] += 1
        vehicles = [(colour, noun) for noun, colour in VEHICLE.findall(text)]
        for colour, noun in (*vehicles, *LOADS.findall(text)):
            assert any((one.noun, one.colour) == (noun.removeprefix("concrete "), colour) for one in things), row
            named[noun] += 1
        assert "hook" not in text or any(one.noun == "hook" for one in things)
    assert len(named) >= 8 and min(named.values()) >= 3


def test_what_is_seen_for_long_is_named_as_often_as_it_is_there(told: list[Any]) -> None:
    for row, episode, seen in told:
        if "start_s" in row:
            continue
        for noun, pattern in (("worker", WORKER), ("truck", re.compile(r"\btruck\b"))):
            long = [
                track
                for track in seen
                if episode.things[track].noun == noun
                and sum(track in frame for frame in episode.seen) / episode.options.fps >= 0.3
            ]
            assert len(pattern.findall(row["text"].lower())) == len(long), row


def test_counts_are_right(told: list[Any]) -> None:
    checked = 0
    for row, _, _ in told:
        text = row["text"].lower()
        for number, noun in re.findall(r"(one|two|three|four|five|six) (worker|vehicle)", text.split(".")[0]):
            pattern = WORKER if noun == "worker" else VEHICLE
            assert len(pattern.findall(text)) == NUMBERS[number], row
            checked += 1
    assert checked > 20


def test_sides_are_right(told: list[Any]) -> None:
    """Of things that the words single out: where they come from, go to and leave, against where they are."""
    checked = Counter()
    for row, episode, _ in told:
        wide = episode.options.size[0]
        start = round(row.get("start_s", 0.0) * episode.options.fps)
        end = round(row.get("end_s", episode.duration_s) * episode.options.fps)
        for sentence in re.split(r"(?<=\.) ", row["text"].lower()):
            who = WORKER.search(sentence) or VEHICLE.search(sentence)
            fits = [one for one in episode.things.values() if who and _fits(one, who)]
            if len(fits) != 1:
                continue
            x = [
                state.x / wide
                for frame in range(start, end)
                for state in episode.states[frame]
                if state.track == fits[0].track and fits[0].track in episode.seen[frame]
            ]
            for side in re.findall(
                r"(?:comes in|walks in|enters|drives in|rolls in|arrives) (?:from|on) the (\w+)", sentence
            ):
                assert (x[0] < 0.5) == (side == "left"), row
                checked["in"] += 1
            for side in re.findall(r"(?:out|leaves|picture|off) on the (\w+)", sentence):
                assert (x[-1] < 0.5) == (side == "left"), row
                checked["out"] += 1
            ways = re.findall(r"to the (left|right)", sentence)
            if len(ways) == 1 and not re.search(r"(?:from|on) the (left|right)", sentence):
                assert (x[-1] > x[0]) == (ways[0] == "right"), row
                checked["to"] += 1
    assert min(checked[key] for key in ("in", "out", "to")) >= 10


def _fits(thing: Any, words: re.Match[str]) -> bool:
    if words.re is WORKER:
        return (thing.colour, thing.second) == words.groups() and thing.kind != LOAD
    return (thing.noun, thing.colour) == (words[1].removeprefix("concrete "), words[2])


def test_no_two_say_the_same_and_wording_varies(told: list[Any]) -> None:
    whole = [row["text"] for row, _, _ in told if "start_s" not in row]
    assert len(set(whole)) >= len(whole) - 1  # of two videos in which nothing moves
    verbs = Counter(
        phrase for text in whole for phrase in re.findall(r"lifts|hoists|pulls|lowers|lets|walks in|comes in", text)
    )
    assert len(verbs) >= 5
    for text in whole:
        assert text[0].isupper() and text.endswith(".") and "  " not in text and "{" not in text


def test_the_first_videos_do_not_depend_on_the_others() -> None:
    test = worlds()["test"]
    rows = captions_of(test)
    few = {one.plan.name for one in test[:5]}
    assert captions_of(test[:5]) == [row for row in rows if row["video"] in few]
