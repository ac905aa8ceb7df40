"""Captions of synthetic videos: what is to be seen in a video and in each of its stretches, in varied words. Not here:
events, questions.

Everything that moves has a sentence: who it is, with colours, and what it does one after the other. Sentences come in the
order in which things appear, and words of time (“meanwhile”, “then”) say how one lies to the one before. Only what can be
seen is said. The wording is drawn from each video's own seed; `facts_of` says the same without words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.data.world.events import HOOK, LOAD, PERSON, VEHICLE, Episode, Event, Thing
from lib.data.world.names import PLURALS

Fact = tuple[str, ...]
"""(kind of event, who, to or from where, with what); "" where there is nothing to say."""

_LEAST_S = 0.3  # of an event within a stretch, to be told
_SHORT_S = 1.0  # a stretch shorter than this has no caption of its own
_MOVED = 0.04  # of W; less is no direction

_PHRASES: dict[tuple[str, str], tuple[str, ...]] = {
    ("enters", PERSON): ("walks in from the {0}", "comes in from the {0}", "enters on the {0}"),
    ("leaves", PERSON): ("walks out on the {0}", "leaves on the {0}", "goes out of the picture on the {0}"),
    ("walks", PERSON): ("walks to the {0}", "goes to the {0}", "crosses the site to the {0}"),
    ("turns", PERSON): ("walks there and back",),
    ("stands", PERSON): ("stands about", "stands idle", "waits"),
    ("works", PERSON): ("works with both hands", "is busy working", "works on the spot"),
    ("looks", PERSON): ("looks out with a hand at the helmet", "keeps a lookout", "peers ahead"),
    ("signals", PERSON): ("signals to the crane", "waves to the crane driver", "gives hand signals"),
    ("holds", PERSON): ("carries {1}", "has {1} in hand"),
    ("picks up", PERSON): ("picks up {1}", "lifts {1} off the ground"),
    ("puts down", PERSON): ("puts {1} down", "sets {1} on the ground"),
    ("enters", VEHICLE): ("drives in from the {0}", "rolls in from the {0}", "arrives from the {0}"),
    ("leaves", VEHICLE): ("drives off on the {0}", "rolls out on the {0}", "leaves on the {0}"),
    ("drives", VEHICLE): ("drives to the {0}", "rolls to the {0}", "moves to the {0}"),
    ("turns", VEHICLE): ("drives there and back",),
    ("parks", VEHICLE): ("stands still", "is parked"),
    ("digs", VEHICLE): ("digs", "swings its shovel"),
    ("enters", HOOK): ("comes down into the picture", "appears from above"),
    ("descends", HOOK): ("comes down empty", "sinks without a load"),
    ("lifts", HOOK): ("lifts {1}", "hoists {1}", "pulls {1} up"),
    ("lowers", HOOK): ("lowers {1}", "lets {1} down"),
    ("carries", HOOK): ("holds {1}", "has {1} hanging below it"),
    ("rises", HOOK): ("goes up empty", "rises without a load"),
    ("leaves", HOOK): ("goes up out of the picture", "disappears upwards"),
}
"""(kind of event, class of its first actor) -> wordings; {0}: the side, {1}: the second actor. Kinds that are not listed
are not told."""

_COVERED = {
    "walks": ("enters", "leaves"),
    "drives": ("enters", "leaves"),
    "descends": ("enters",),
    "carries": ("lifts", "lowers"),
    "holds": ("picks up", "puts down"),
}
"""Kind -> kinds of the same actor that make it needless to tell where they overlap."""

_LATER, _TOGETHER = ("Then", "After that", "Later"), ("Meanwhile", "At the same time", "In the meantime")
_EMPTY = ("Nothing moves on the building site.", "The building site lies still.", "No one is at work on the site.")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Told:
    """One deed that a caption tells: the event, the side ("left", "right" or "") and its wording's key."""

    event: Event
    kind: str
    side: str


def captions_of(episodes: list[Episode]) -> list[dict[str, Any]]:
    """Rows video, caption, text: one for the whole video, then with start_s, end_s one per stretch that shows something."""
    rows = []
    for episode in episodes:
        rng = np.random.default_rng([episode.plan.seed, 7])
        for number, (start_s, end_s) in enumerate(_stretches(episode)):
            text = _caption(rng, episode, start_s, end_s)
            span = {"start_s": round(start_s, 3), "end_s": round(end_s, 3)} if number else {}
            rows.append({"video": episode.plan.name, "caption": f"{episode.plan.name}-c{number}", "text": text, **span})
    return rows


def facts_of(episode: Episode, start_s: float, end_s: float) -> Counter[Fact]:
    """What a caption of this stretch of time tells, without its words: facts, and how often each."""
    found: Counter[Fact] = Counter()
    for thing in _moving(episode, start_s, end_s):
        for told in _told(episode, thing, start_s, end_s):
            other = _plain(episode.things[told.event.actors[1]]) if len(told.event.actors) > 1 else ""
            found[told.kind, _plain(thing), told.side, other] += 1
    for thing in _lying(episode, start_s, end_s):
        found["lies", _plain(thing), "", ""] += 1
    return found


def _stretches(episode: Episode) -> Iterator[tuple[float, float]]:
    """(start, end) in s: the whole video, then its phases that are long enough and show something that moves."""
    yield 0.0, episode.duration_s
    fps = episode.options.fps
    spans = [(first / fps, end / fps) for first, end, _ in episode.plan.phases]
    if len(spans) > 1:
        yield from (span for span in spans if span[1] - span[0] >= _SHORT_S and list(_moving(episode, *span)))


def _shown_s(thing: Thing, episode: Episode, start_s: float, end_s: float) -> float:
    fps = episode.options.fps
    frames = range(round(start_s * fps), min(round(end_s * fps), len(episode.seen)))
    return sum(thing.track in episode.seen[frame] for frame in frames) / fps


def _moving(episode: Episode, start_s: float, end_s: float) -> Iterator[Thing]:
    """Persons, hooks and vehicles that are seen long enough, in the order in which they appear."""
    for thing in sorted(episode.things.values(), key=lambda thing: (thing.start_s, thing.track)):
        if thing.kind != LOAD and _shown_s(thing, episode, start_s, end_s) >= _LEAST_S - 1e-9:
            yield thing


def _lying(episode: Episode, start_s: float, end_s: float) -> Iterator[Thing]:
    """Loads that are seen and that no sentence about who moves them names."""
    named = {
        track
        for thing in _moving(episode, start_s, end_s)
        for told in _told(episode, thing, start_s, end_s)
        for track in told.event.actors[1:]
    }
    for thing in episode.things.values():
        if thing.kind == LOAD and thing.track not in named and _shown_s(thing, episode, start_s, end_s) >= 0.5:
            yield thing


def _told(episode: Episode, thing: Thing, start_s: float, end_s: float) -> list[Told]:
    """The deeds of one thing in order, without those that another one covers."""
    mine = [
        event
        for event in episode.events
        if event.actors[:1] == (thing.track,)
        and (event.kind, thing.kind) in _PHRASES
        and _overlap(event.start_s, event.end_s, start_s, end_s) >= min(_LEAST_S, 0.9 * event.length_s) - 1e-9
    ]
    told = []
    for event in mine:
        if any(
            other.kind in _COVERED.get(event.kind, ())
            and _overlap(event.start_s - 0.15, event.end_s + 0.15, other.start_s, other.end_s) > 0
            for other in mine
        ):
            continue
        kind, side = _direction(episode, thing, event, start_s, end_s)
        if kind and not (told and told[-1].kind == kind == "turns"):
            told.append(Told(event, kind, side))
    return told


def _direction(episode: Episode, thing: Thing, event: Event, start_s: float, end_s: float) -> tuple[str, str]:
    """(kind, side): a walk or drive becomes a turn where it has no direction, and nothing where it is too short for one."""
    if event.kind not in ("enters", "leaves", "walks", "drives") or thing.kind == HOOK:
        return event.kind, ""
    wide = episode.options.size[0]
    x = positions(episode, thing.track, max(event.start_s, start_s), min(event.end_s, end_s)) / wide
    if event.kind in ("enters", "leaves"):
        return event.kind, "left" if x[0 if event.kind == "enters" else -1] < 0.5 else "right"
    if abs(x[-1] - x[0]) >= 0.7 * (x.max() - x.min()) and abs(x[-1] - x[0]) >= _MOVED:
        return event.kind, "right" if x[-1] > x[0] else "left"
    return ("turns", "") if x.max() - x.min() >= 2 * _MOVED else ("", "")


def positions(episode: Episode, track: int, start_s: float, end_s: float) -> np.ndarray:
    """Where a thing's anchor is, px from the left, in the frames of a stretch in which it is there; (N,) float, N ≥ 1."""
    fps = episode.options.fps
    first, last = round(start_s * fps), max(round(start_s * fps) + 1, round(end_s * fps))
    found = [state.x for present in episode.states[first:last] for state in present if state.track == track]
    return np.asarray(found, float)


def _overlap(start: float, end: float, first: float, last: float) -> float:
    return min(end, last) - max(start, first)


def _plain(thing: Thing) -> str:
    return " ".join(word for word in (thing.colour, thing.second, thing.noun) if word)


def indefinite(thing: Thing) -> str:
    """ "a worker in a red vest and a blue helmet", "a truck with a blue cab", "the crane hook", "grey beams"."""
    if thing.kind == HOOK:
        return "the crane hook"
    if thing.kind == PERSON:
        return f"a worker in {_article(thing.colour)} vest and {_article(thing.second)} helmet"
    noun = {"mixer": "concrete mixer", "bucket": "concrete bucket"}.get(thing.noun, thing.noun)
    if thing.kind == VEHICLE:
        return f"{_article(noun)} with {_article(thing.colour)} cab"
    named = f"{thing.colour} {noun}"
    return named if thing.noun in PLURALS else _article(named)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _caption(rng: np.random.Generator, episode: Episode, start_s: float, end_s: float) -> str:
    sentences, until, joined = [_head(rng, episode, start_s, end_s)], None, ""
    for thing in _moving(episode, start_s, end_s):
        deeds = [_phrase(rng, episode, thing, told) for told in _told(episode, thing, start_s, end_s)]
        deeds = list(dict.fromkeys(deeds)) or ["is to be seen"]
        who = indefinite(thing)
        text = f"{who} {_list(deeds)}"
        if until is not None:
            words = _LATER if thing.start_s >= until - 1e-9 else _TOGETHER
            joined = str(rng.choice([word for word in words if word != joined]))
            text = f"{joined}, {text}"
        sentences.append(f"{text[0].upper()}{text[1:]}.")
        until = thing.end_s
    lying = [indefinite(thing) for thing in _lying(episode, start_s, end_s)]
    if lying:
        verb = "lie" if len(lying) > 1 or lying[0].split()[-1] in PLURALS else "lies"
        text = f"{_list(lying)} {verb} on the site."
        sentences.append(f"{text[0].upper()}{text[1:]}")
    told = [sentence for sentence in sentences if sentence]
    return " ".join(told) if told else str(rng.choice(_EMPTY))


def _head(rng: np.random.Generator, episode: Episode, start_s: float, end_s: float) -> str:
    """Now and then a sentence of counts comes first."""
    kinds = {PERSON: ("worker", "workers"), VEHICLE: ("vehicle", "vehicles")}
    counts = Counter(thing.kind for thing in _moving(episode, start_s, end_s))
    parts = [f"{_NUMBERS[counts[kind]]} {words[counts[kind] > 1]}" for kind, words in kinds.items() if 0 < counts[kind] < 7]
    parts += ["a crane at work"] if counts[HOOK] else []
    if len(parts) < 2 or rng.random() < 0.4:
        return ""
    return f"{rng.choice(('A building site with', 'The scene shows', 'We see'))} {_list(parts)}."


def _phrase(rng: np.random.Generator, episode: Episode, thing: Thing, told: Told) -> str:
    others = [indefinite(episode.things[track]) for track in told.event.actors[1:]]
    return str(rng.choice(_PHRASES[told.kind, thing.kind])).format(told.side, *others)


def _list(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
