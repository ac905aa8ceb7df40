"""All that could be asked about a synthetic video, each question with its answer and what it must be balanced against. Not
here: which of it is asked (questions.py).

A question's evidence is one channel. `frame`: one picture shows it. `motion`: one picture cannot tell, several in order do.
`objects`: one must follow who is who. `audio`: only the sound tells. Where the sound would tell too, because a tone tells of
the deed or of the one who does it, the question is not offered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from lib.data.world.captions import indefinite, positions
from lib.data.world.events import AUDIO, FRAME, HOOK, LOAD, MOTION, OBJECTS, PERSON, VEHICLE, Episode, Event, Thing
from lib.data.world.looks import BODIES, HELMETS, LOADS, VESTS
from lib.data.world.motion import LOADS_M, VEHICLES_M
from lib.data.world.names import PLURALS, levels_that_single_out, name
from lib.data.world.tones import UNSEEN

KINDS = ("exists", "colour", "which", "doing", "place", "movement", "order", "count", "identity", "sound")

YES_NO = ("yes", "no")
_VESTS = tuple(dict.fromkeys(word for word, _ in VESTS))
_HELMETS = tuple(dict.fromkeys(word for word, _ in HELMETS))
_BODIES = tuple(dict.fromkeys(word for word, _ in BODIES))
_SIDES, _THIRDS = ("left", "right"), ("left", "middle", "right")
_DOINGS = {"stands": "stands about", "works": "works", "looks": "looks out", "signals": "signals"}
_COUNTED = {PERSON: ("workers", 3), VEHICLE: ("vehicles", 2), LOAD: ("loads", 3)}  # plural, most that is asked about
_TRAVEL, _MARGIN = 0.1, 0.03  # of W: a clear way, a clear third
_APART_S = 0.4
_RESTS_S = 0.5

_DEEDS: dict[tuple[str, str], tuple[str, str]] = {
    ("enters", PERSON): ("come into the picture", "comes into the picture"),
    ("enters", VEHICLE): ("come into the picture", "comes into the picture"),
    ("enters", HOOK): ("come into the picture", "comes into the picture"),
    ("leaves", PERSON): ("leave the picture", "leaves the picture"),
    ("leaves", VEHICLE): ("leave the picture", "leaves the picture"),
    ("leaves", HOOK): ("leave the picture", "leaves the picture"),
    ("lifts", HOOK): ("lift {0}", "lifts {0}"),
    ("lowers", HOOK): ("lower {0}", "lowers {0}"),
    ("picks up", PERSON): ("pick up {0}", "picks up {0}"),
    ("puts down", PERSON): ("put down {0}", "puts down {0}"),
    ("works", PERSON): ("work with the hands", "works with the hands"),
    ("looks", PERSON): ("look out", "looks out"),
    ("signals", PERSON): ("signal to the crane", "signals to the crane"),
    ("digs", VEHICLE): ("dig", "digs"),
}
"""(kind of event, class of its actor) -> the deed after "does …", and after "the … that"."""


@dataclass(frozen=True)
class Balance:
    """Among questions that share `key`, `value` must be no commoner than the other `choices`."""

    key: tuple[str, ...]
    value: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """One question. kind: of KINDS; evidence: of events.CHANNELS; balances: what keeps its words from telling the answer."""

    kind: str
    evidence: str
    text: str
    answer: str
    balances: tuple[Balance, ...]


def askable(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    """Every question with a certain answer. rng: draws the wording, never depending on the answer."""
    for ask in (_exists, _colour, _which, _doing, _place, _movement, _vehicle_pace, _order, _count, _identity, _sound):
        yield from ask(episode, rng)


def _plain(kind: str, evidence: str, text: str, answer: str, choices: tuple[str, ...], *about: str) -> Question:
    """A question balanced over its kind and over all that are asked in the same words or about the same thing."""
    keys = [(kind, *choices), *((kind, *choices, one) for one in (*about, text))]
    balances = tuple(Balance(key, answer, choices) for key in dict.fromkeys(keys))
    return Question(kind, evidence, text, answer, balances)


def _of(episode: Episode, kind: str) -> list[Thing]:
    return [thing for thing in episode.things.values() if thing.kind == kind]


def _silent(episode: Episode, *tracks: int) -> bool:
    """Does no tone tell of any of these things?"""
    return not any(event.heard and set(tracks) & set(event.actors) for event in episode.events)


def _deeds(episode: Episode, track: int, *kinds: str) -> list[Event]:
    return [event for event in episode.events if event.actors[:1] == (track,) and event.kind in kinds]


def _described(thing: Thing) -> Iterator[str]:
    if thing.kind == PERSON:
        yield f"a worker in {_article(thing.colour)} vest"
    elif thing.kind == VEHICLE:
        yield from (_article(thing.noun), f"{_article(thing.colour)} vehicle")
    elif thing.kind == LOAD:
        yield thing.noun if thing.noun in PLURALS else _article(thing.noun)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _everything() -> Iterator[str]:
    """All that may be asked for: what any thing of the world could be described by."""
    things = [Thing(0, PERSON, "worker", colour, "", 0, 0) for colour in _VESTS]
    things += [Thing(0, VEHICLE, model, colour, "", 0, 0) for model in VEHICLES_M for colour in _BODIES]
    things += [Thing(0, LOAD, load, "", "", 0, 0) for load in LOADS]
    yield from dict.fromkeys(text for thing in things for text in _described(thing))


def _exists(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    there = {text: thing for thing in episode.things.values() for text in _described(thing)}
    hidden = {state.track for present in episode.states for state in present} - set(episode.things)
    for text in _everything():
        # a thing that is there but never seen could be looked for in vain; one that sounds could be heard
        sure = _silent(episode, there[text].track) if text in there else not hidden
        if sure and (text not in there or _clearly(episode, there[text])):
            be = "Are" if text in PLURALS else "Is"
            words = f"{be} there {text} in the video?" if rng.random() < 0.5 else f"Does the video show {text}?"
            yield _plain("exists", FRAME, words, "yes" if text in there else "no", YES_NO, text)


def _clearly(episode: Episode, thing: Thing) -> bool:
    return sum(thing.track in seen for seen in episode.seen) / episode.options.fps >= _RESTS_S


def _colour(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    for kind, parts in {PERSON: ("vest", "helmet"), VEHICLE: ("",)}.items():
        things = _of(episode, kind)
        if len(things) != 1 or not _silent(episode, things[0].track) or not _clearly(episode, things[0]):
            continue
        for part in parts:
            if part:
                answer, choices = (things[0].colour, _VESTS) if part == "vest" else (things[0].second, _HELMETS)
                text = f"What colour is the worker's {part}?"
            else:
                answer, choices, text = things[0].colour, _BODIES, "What colour is the vehicle?"
            yield _plain("colour", FRAME, text, answer, choices)


def _which(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    vehicles = _of(episode, VEHICLE)
    if len(vehicles) == 1 and _silent(episode, vehicles[0].track) and _clearly(episode, vehicles[0]):
        yield _plain("which", FRAME, "What kind of vehicle is it?", vehicles[0].noun, tuple(VEHICLES_M))
    for actor, kind, text, nouns in (
        (HOOK, "carries", "What hangs from the hook?", tuple(LOADS_M)),
        (PERSON, "holds", "What does the worker hold?", ("plank", "box")),
    ):
        held = {track for thing in _of(episode, actor) for event in _deeds(episode, thing.track, kind) for track in event.actors[1:]}
        if len(held) == 1 and _silent(episode, *held):
            yield _plain("which", FRAME, text, episode.things[held.pop()].noun, nouns)


def _doing(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    persons = _of(episode, PERSON)
    if len(persons) == 1:
        events = _deeds(episode, persons[0].track, *_DOINGS)
        if len({event.kind for event in events}) == 1 and events[0].length_s >= _RESTS_S and not events[0].heard:
            text = "What does the worker do while not walking?"
            yield _plain("doing", FRAME, text, _DOINGS[events[0].kind], tuple(_DOINGS.values()))


def _place(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    for load in _of(episode, LOAD):
        if sum(other.noun == load.noun for other in _of(episode, LOAD)) > 1:
            continue
        lies = [
            state.x / episode.options.size[0]
            for present, seen in zip(episode.states, episode.seen, strict=True)
            for state in present
            if state.track == load.track and load.track in seen and state.attributes["held_by"] == 0
        ]
        third = _third(lies[0]) if len(lies) >= _RESTS_S * episode.options.fps else ""
        if third and np.ptp(lies) < _MARGIN:
            verb, rests = ("do", "lie") if load.noun in PLURALS else ("does", "lie")
            text = f"In which third of the picture {verb} {name(load, 1)} {rests} on the ground?"
            yield _plain("place", FRAME, text, third, _THIRDS)


def _third(x: float) -> str:
    """The third of the picture's width, "" near the border of two. x: share of W."""
    near = min(abs(x - 1 / 3), abs(x - 2 / 3)) < _MARGIN
    return "" if near or not 0 <= x <= 1 else _THIRDS[min(2, int(x * 3))]


def _movement(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    hooks, persons = _of(episode, HOOK), _of(episode, PERSON)
    for hook in hooks:
        yield from _up_or_down(episode, hook)
    if len(hooks) == 1:
        x = positions(episode, hooks[0].track, hooks[0].start_s, hooks[0].end_s) / episode.options.size[0]
        if abs(x[-1] - x[0]) >= _TRAVEL:
            text = "Does the hook travel to the left or to the right?"
            yield _plain("movement", MOTION, text, _SIDES[int(x[-1] > x[0])], _SIDES)
    for person in persons:
        for event in _deeds(episode, person.track, "picks up", "puts down"):
            load = episode.things[event.actors[1]]
            if not event.heard and sum(other.noun == load.noun for other in _of(episode, LOAD)) == 1:
                answer = "picked up" if event.kind == "picks up" else "put down"
                text = f"Is {name(load, 1)} picked up or put down?"
                yield _plain("movement", MOTION, text, answer, ("picked up", "put down"))
    if len(persons) == 1 and _deeds(episode, persons[0].track, "walks"):
        facing = {
            state.facing
            for present, seen in zip(episode.states, episode.seen, strict=True)
            for state in present
            if state.track == persons[0].track and state.track in seen
        }
        text = "Does the worker turn round in the picture?"
        yield _plain("movement", MOTION, text, "yes" if len(facing) == 2 else "no", YES_NO)


def _up_or_down(episode: Episode, hook: Thing) -> Iterator[Question]:
    """Of one visit of the hook that only lifts or only lowers, without a tone that tells which."""
    events = _deeds(episode, hook.track, "lifts", "lowers")
    empty = _deeds(episode, hook.track, "rises", "descends")
    if len({event.kind for event in events}) != 1 or any(event.heard for event in (*events, *empty)):
        return
    load = episode.things[events[0].actors[1]]
    if sum(other.noun == load.noun for other in _of(episode, LOAD)) == 1:
        answer, verb = "up" if events[0].kind == "lifts" else "down", "do" if load.noun in PLURALS else "does"
        text = f"Which way {verb} {name(load, 1)} move on the hook, up or down?"
        yield _plain("movement", MOTION, text, answer, ("up", "down"))


def _vehicle_pace(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    vehicles = _of(episode, VEHICLE)
    if len(vehicles) != 1:
        return
    events = _deeds(episode, vehicles[0].track, "drives", "parks", "digs")
    if any(event.heard for event in events):
        return
    drives = [event.kind == "drives" for event in events]
    if drives in ([True, False], [False, True]):
        text = f"Does {name(vehicles[0], 1)} come to a stop or set off?"
        answers = ("come to a stop", "set off")
        yield _plain("movement", MOTION, text, answers[int(drives[1])], answers)


def _order(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    events = [
        event
        for event in episode.events
        if event.actors and not event.heard and (event.kind, episode.things[event.actors[0]].kind) in _DEEDS
    ]
    for first, second in permutations(events, 2):
        sides = [_deed(episode, event) for event in (first, second)]
        coming = {first.kind, second.kind} & {"enters", "leaves"}  # of one thing the order is clear
        apart = abs(first.start_s - second.start_s) >= _APART_S if coming else _disjoint(first, second)
        if None in sides or set(first.actors) & set(second.actors) or not apart or (coming and first.kind != second.kind):
            continue
        (who, deed, _, told), (other, _, deeds, also) = sides
        answer = "before" if first.start_s < second.start_s else "after"
        earlier, later = (told, also) if answer == "before" else (also, told)
        pair = tuple(sorted((earlier, later)))
        text = f"Does {who} {deed} before or after {other} {deeds}?"
        balances = [Balance(("order", *about), answer, ("before", "after")) for about in ((), (told,), ("-", also))]
        if earlier != later:  # else which of the two comes first says nothing in words
            balances.append(Balance(("first", *pair), earlier, pair))
        yield Question("order", MOTION, text, answer, tuple(balances))


def _disjoint(first: Event, second: Event) -> bool:
    return min(first.end_s, second.end_s) + 0.1 <= max(first.start_s, second.start_s)


def _deed(episode: Episode, event: Event) -> tuple[str, str, str, str] | None:
    """(who, deed after "does", deed after who, class and kind), or None where words cannot single it out."""
    levels = levels_that_single_out(event, episode.events, episode.things)
    if levels is None:
        return None
    who, *others = (name(episode.things[track], level) for track, level in zip(event.actors, levels, strict=True))
    kind = episode.things[event.actors[0]].kind
    base, third = _DEEDS[event.kind, kind]
    return who, base.format(*others), third.format(*others), f"{kind} {event.kind}"


def _count(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    for kind, (plural, most) in _COUNTED.items():
        things = _of(episode, kind)
        clear = all(_clearly(episode, thing) for thing in things)
        if clear and len(things) <= most and _silent(episode, *(thing.track for thing in things)):
            choices = tuple(str(number) for number in range(most + 1))
            text = f"How many different {plural} does the video show in all?"
            yield _plain("count", OBJECTS, text, str(len(things)), choices)


def _identity(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    persons, vehicles = _of(episode, PERSON), _of(episode, VEHICLE)
    yield from _who_does(episode, persons, "What colour is the vest of the worker who {0}?", _VESTS)
    yield from _who_does(episode, vehicles, "What colour is the vehicle that {0}?", _BODIES)
    yield from _who_holds(episode, persons)
    for things, level in ((persons, 1), (vehicles, 2)):
        names = [name(thing, level) for thing in things]
        for kind, text in (("enters", "come into the picture"), ("leaves", "leave the picture")):
            deeds = {thing.track: _deeds(episode, thing.track, kind) for thing in things}
            if len({bool(events) for events in deeds.values()}) < 2 or any(
                event.heard for events in deeds.values() for event in events
            ):
                continue
            for thing, called in zip(things, names, strict=True):
                if names.count(called) == 1:
                    answer = YES_NO[int(not deeds[thing.track])]
                    yield _plain("identity", OBJECTS, f"Does {called} {text}?", answer, YES_NO, kind, thing.kind)


def _who_does(episode: Episode, things: list[Thing], text: str, colours: tuple[str, ...]) -> Iterator[Question]:
    """What one alone does among several that look different, asked for by the deed and answered by the colour."""
    if len({thing.colour for thing in things}) < 2:
        return
    deeds = {kind: third for (kind, actor), (_, third) in _DEEDS.items() if actor == things[0].kind}
    for kind, deed in {**deeds, "holds": "holds something", "walks": "walks", "parks": "stands still"}.items():
        doers = [thing for thing in things if _deeds(episode, thing.track, kind)]
        events = [event for thing in doers for event in _deeds(episode, thing.track, kind)]
        if len(doers) == 1 and not any(event.heard for event in events):
            other = episode.things[events[0].actors[-1]]
            yield _plain("identity", OBJECTS, text.format(deed.format(indefinite(other))), doers[0].colour, colours, kind)


def _who_holds(episode: Episode, persons: list[Thing]) -> Iterator[Question]:
    held = {
        thing.track: {
            episode.things[track].noun for event in _deeds(episode, thing.track, "holds") for track in event.actors[1:]
        }
        for thing in persons
    }
    for thing in persons:
        single = sum(other.colour == thing.colour for other in persons) == 1
        if single and len(held[thing.track]) == 1 and set().union(*held.values()) == {"plank", "box"}:
            answer = next(iter(held[thing.track]))
            yield _plain("identity", OBJECTS, f"What does {name(thing, 1)} hold?", answer, ("plank", "box"), thing.colour)


def _sound(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    heard = [event for event in episode.events if not event.seen]
    kinds = {event.kind for event in heard}
    if not heard or episode.options.sound.amplitude == 0:
        return
    if len(kinds) == 1:
        yield _plain("sound", AUDIO, "Which signal is heard?", heard[0].kind, UNSEEN)
    for kind in UNSEEN:
        yield _plain("sound", AUDIO, f"Is a {kind} heard?", "yes" if kind in kinds else "no", YES_NO)
    for first, second in permutations(heard, 2):
        if first.kind != second.kind and abs(first.start_s - second.start_s) >= _APART_S:
            pair = (first.kind, second.kind)
            earlier = min(first, second, key=lambda event: event.start_s).kind
            text = f"Which sounds first, the {first.kind} or the {second.kind}?"
            balances = (
                Balance(("sound", "mentioned"), "first" if earlier == first.kind else "second", ("first", "second")),
                Balance(("sound", *sorted(pair)), earlier, tuple(sorted(pair))),
                Balance(("sound", "first"), earlier, UNSEEN),
            )
            yield Question("sound", AUDIO, text, earlier, balances)
