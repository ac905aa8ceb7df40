"""What a question about a synthetic video is made of, and what every asker needs. Not here: what is asked (askable.py,
askable_over_time.py), which of it (questions.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from lib.data.world.events import Episode, Event, Thing
from lib.data.world.looks import BODIES, HELMETS, VESTS

KINDS = ("exists", "colour", "which", "doing", "place", "movement", "order", "count", "identity", "sound")

YES_NO = ("yes", "no")
VEST_COLOURS = tuple(dict.fromkeys(word for word, _ in VESTS))
HELMET_COLOURS = tuple(dict.fromkeys(word for word, _ in HELMETS))
BODY_COLOURS = tuple(dict.fromkeys(word for word, _ in BODIES))
RESTS_S = 0.5
"""Seen or done for less than this, it is not asked about."""
APART_S = 0.4
"""Starts closer than this have no order."""


@dataclass(frozen=True)
class Balance:
    """Among questions that share `key`, `value` must be no commoner than the other `choices`."""

    key: tuple[str, ...]
    value: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """kind: of KINDS; evidence: of events.CHANNELS; balances: what keeps the words of the question from telling its answer,
    over the whole kind first."""

    kind: str
    evidence: str
    text: str
    answer: str
    balances: tuple[Balance, ...]


def plain(kind: str, evidence: str, text: str, answer: str, choices: tuple[str, ...], *about: str) -> Question:
    """A question balanced over its kind and over all that are asked in the same words or about the same thing."""
    keys = [(kind, *choices), *((kind, *choices, one) for one in (*about, text))]
    balances = tuple(Balance(key, answer, choices) for key in dict.fromkeys(keys))
    return Question(kind, evidence, text, answer, balances)


def all_of(episode: Episode, kind: str) -> list[Thing]:
    """All things of a class."""
    return [thing for thing in episode.things.values() if thing.kind == kind]


def silent(episode: Episode, *tracks: int) -> bool:
    """Does no tone tell of any of these things?"""
    return not any(event.heard and set(tracks) & set(event.actors) for event in episode.events)


def deeds_of(episode: Episode, track: int, *kinds: str) -> list[Event]:
    """What one thing does of these kinds, in order."""
    return [event for event in episode.events if event.actors[:1] == (track,) and event.kind in kinds]


def clearly(episode: Episode, thing: Thing) -> bool:
    """Is it to be seen for long enough to be asked about?"""
    return sum(thing.track in seen for seen in episode.seen) / episode.options.fps >= RESTS_S
