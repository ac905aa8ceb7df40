"""What can be asked about a synthetic video that takes several pictures: movement, order, counting, who is who. Not here:
what one picture or the sound tells (askable.py), which of it is asked (questions.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from lib.data.world.asking import (
    APART_S,
    BODY_COLOURS,
    RESTS_S,
    VEST_COLOURS,
    YES_NO,
    Balance,
    Question,
    all_of,
    clearly,
    deeds_of,
    plain,
    silent,
)
from lib.data.world.captions import indefinite, positions
from lib.data.world.events import HOOK, LOAD, MOTION, OBJECTS, PERSON, VEHICLE, Episode, Event, Thing
from lib.data.world.names import levels_that_single_out, name

_SIDES = ("left", "right")
_COUNTED = {PERSON: ("workers", 3), VEHICLE: ("vehicles", 2), LOAD: ("loads", 3)}  # plural, most that is asked about
_PACES = {  # class: slower than, faster than (m/s), the question, its answers
    PERSON: (1.5, 1.75, "Does the worker walk slowly or briskly?", ("slowly", "briskly")),
    VEHICLE: (3.2, 3.8, "Does the vehicle drive slowly or fast?", ("slowly", "fast")),
}
_TRAVEL = 0.1  # of W: a clear way

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


def movements(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    """Where to and how fast, of the only one of its class: no single picture tells, whichever it is."""
    hooks = all_of(episode, HOOK)
    if len(hooks) == 1:
        x = positions(episode, hooks[0].track, hooks[0].start_s, hooks[0].end_s) / episode.options.size[0]
        if abs(x[-1] - x[0]) >= _TRAVEL:
            text = "Does the hook travel to the left or to the right?"
            yield plain("movement", MOTION, text, _SIDES[int(x[-1] > x[0])], _SIDES)
    for kind, (slow, fast, text, answers) in _PACES.items():
        things = all_of(episode, kind)
        if len(things) != 1 or any(event.heard for event in deeds_of(episode, things[0].track, "enters", "leaves")):
            continue
        pace = _pace(episode, things[0])
        if pace < slow or pace > fast:
            yield plain("movement", MOTION, text, answers[int(pace > fast)], answers)


def _pace(episode: Episode, thing: Thing) -> float:
    """Its usual speed while it walks or drives, m/s; NaN where it hardly does."""
    at = {
        frame: state
        for frame, present in enumerate(episode.states)
        for state in present
        if state.track == thing.track and thing.track in episode.seen[frame]
    }
    steps = [
        abs(at[frame + 1].x - state.x) / state.unit * episode.options.fps
        for frame, state in at.items()
        if frame + 1 in at and all(one.attributes["activity"] in ("walking", "driving") for one in (state, at[frame + 1]))
    ]
    return float(np.median(steps)) if len(steps) >= RESTS_S * episode.options.fps else float("nan")


def orders(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    """Which of two happenings comes first."""
    events = [
        event
        for event in episode.events
        if event.actors and not event.heard and (event.kind, episode.things[event.actors[0]].kind) in _DEEDS
    ]
    for first, second in permutations(events, 2):
        sides = [_deed(episode, event) for event in (first, second)]
        kinds = {first.kind, second.kind}
        apart = abs(first.start_s - second.start_s) >= APART_S if len(kinds) == 1 else _disjoint(first, second)
        if None in sides or set(first.actors) & set(second.actors) or not apart or kinds == {"enters", "leaves"}:
            continue  # unclear in words or in time, of one thing, or clear without looking
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


def counts(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    for kind, (plural, most) in _COUNTED.items():
        things = all_of(episode, kind)
        clear = all(clearly(episode, thing) for thing in things)
        if clear and len(things) <= most and silent(episode, *(thing.track for thing in things)):
            choices = tuple(str(number) for number in range(most + 1))
            text = f"How many different {plural} does the video show in all?"
            yield plain("count", OBJECTS, text, str(len(things)), choices)


def identities(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    """Who among alike things does something, told by a colour."""
    persons, vehicles = all_of(episode, PERSON), all_of(episode, VEHICLE)
    yield from _who_does(episode, persons, "What colour is the vest of the worker who {0}?", VEST_COLOURS)
    yield from _who_does(episode, vehicles, "What colour is the cab of the vehicle that {0}?", BODY_COLOURS)
    yield from _who_holds(episode, persons)
    for things, level in ((persons, 1), (vehicles, 2)):
        names = [name(thing, level) for thing in things]
        for kind, text in (("enters", "come into the picture"), ("leaves", "leave the picture")):
            deeds = {thing.track: deeds_of(episode, thing.track, kind) for thing in things}
            if len({bool(events) for events in deeds.values()}) < 2 or any(
                event.heard for events in deeds.values() for event in events
            ):
                continue
            for thing, called in zip(things, names, strict=True):
                if names.count(called) == 1:
                    answer = YES_NO[int(not deeds[thing.track])]
                    yield plain("identity", OBJECTS, f"Does {called} {text}?", answer, YES_NO, kind, thing.kind)


def _who_does(episode: Episode, things: list[Thing], text: str, colours: tuple[str, ...]) -> Iterator[Question]:
    """What one alone does among several that look different, asked for by the deed and answered by the colour."""
    if len({thing.colour for thing in things}) < 2:
        return
    deeds = {kind: third for (kind, actor), (_, third) in _DEEDS.items() if actor == things[0].kind}
    for kind, deed in {**deeds, "holds": "holds something", "walks": "walks", "parks": "stands still"}.items():
        doers = [thing for thing in things if deeds_of(episode, thing.track, kind)]
        events = [event for thing in doers for event in deeds_of(episode, thing.track, kind)]
        if len(doers) == 1 and not any(event.heard for event in events):
            other = episode.things[events[0].actors[-1]]
            yield plain("identity", OBJECTS, text.format(deed.format(indefinite(other))), doers[0].colour, colours, kind)


def _who_holds(episode: Episode, persons: list[Thing]) -> Iterator[Question]:
    held = {
        thing.track: {
            episode.things[track].noun for event in deeds_of(episode, thing.track, "holds") for track in event.actors[1:]
        }
        for thing in persons
    }
    for thing in persons:
        single = sum(other.colour == thing.colour for other in persons) == 1
        if single and len(held[thing.track]) == 1 and set().union(*held.values()) == {"plank", "box"}:
            answer = next(iter(held[thing.track]))
            yield plain("identity", OBJECTS, f"What does {name(thing, 1)} hold?", answer, ("plank", "box"), thing.colour)
