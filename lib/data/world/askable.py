"""What can be asked about a synthetic video that one picture shows, or that only the sound tells. Not here: what takes
several pictures (askable_over_time.py), which of it is asked (questions.py).

A question's evidence is one channel. `frame`: one picture shows it. `motion`: no single picture tells, several in order
do. `objects`: one must follow who is who. `audio`: only the sound tells. Where the sound would tell too, because a tone
tells of the deed or of the one who does it, the question is not offered.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from lib.data.world.askable_over_time import counts, identities, movements, orders
from lib.data.world.asking import (
    APART_S,
    BODY_COLOURS,
    HELMET_COLOURS,
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
from lib.data.world.events import AUDIO, FRAME, HOOK, LOAD, PERSON, VEHICLE, Episode, Thing
from lib.data.world.looks import LOADS
from lib.data.world.motion import LOADS_M, VEHICLES_M
from lib.data.world.names import PLURALS, name
from lib.data.world.tones import UNSEEN

_THIRDS = ("left", "middle", "right")
_DOINGS = {"stands": "stands about", "works": "works", "looks": "looks out", "signals": "signals"}
_MARGIN = 0.03  # of W: a clear third


def askable(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    """Every question with a certain answer. rng: draws the wording, never depending on the answer."""
    for ask in (_exists, _colour, _which, _doing, _place, movements, orders, counts, identities, _sound):
        yield from ask(episode, rng)


def _described(thing: Thing) -> Iterator[str]:
    if thing.kind == PERSON:
        yield f"a worker in {_article(thing.colour)} vest"
    elif thing.kind == VEHICLE:
        yield from (_article(thing.noun), f"a vehicle with {_article(thing.colour)} cab")
    elif thing.kind == LOAD:
        yield thing.noun if thing.noun in PLURALS else _article(thing.noun)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _everything() -> Iterator[str]:
    """All that may be asked for: what any thing of the world could be described by."""
    things = [Thing(0, PERSON, "worker", colour, "", 0, 0) for colour in VEST_COLOURS]
    things += [Thing(0, VEHICLE, model, colour, "", 0, 0) for model in VEHICLES_M for colour in BODY_COLOURS]
    things += [Thing(0, LOAD, load, "", "", 0, 0) for load in LOADS]
    yield from dict.fromkeys(text for thing in things for text in _described(thing))


def _exists(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    there = {text: thing for thing in episode.things.values() for text in _described(thing)}
    hidden = {state.track for present in episode.states for state in present} - set(episode.things)
    for text in _everything():
        # a thing that is there but never seen could be looked for in vain; one that sounds could be heard
        sure = silent(episode, there[text].track) if text in there else not hidden
        if sure and (text not in there or clearly(episode, there[text])):
            be = "Are" if text in PLURALS else "Is"
            words = f"{be} there {text} in the video?" if rng.random() < 0.5 else f"Does the video show {text}?"
            yield plain("exists", FRAME, words, "yes" if text in there else "no", YES_NO, text)


def _colour(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    for kind, parts in {PERSON: ("vest", "helmet"), VEHICLE: ("",)}.items():
        things = all_of(episode, kind)
        if len(things) != 1 or not silent(episode, things[0].track) or not clearly(episode, things[0]):
            continue
        for part in parts:
            if part:
                answer, choices = (things[0].colour, VEST_COLOURS) if part == "vest" else (things[0].second, HELMET_COLOURS)
                text = f"What colour is the worker's {part}?"
            else:
                answer, choices, text = things[0].colour, BODY_COLOURS, "What colour is the vehicle's cab?"
            yield plain("colour", FRAME, text, answer, choices)


def _which(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    vehicles = all_of(episode, VEHICLE)
    if len(vehicles) == 1 and silent(episode, vehicles[0].track) and clearly(episode, vehicles[0]):
        yield plain("which", FRAME, "What kind of vehicle is it?", vehicles[0].noun, tuple(VEHICLES_M))
    for actor, kind, text, nouns in (
        (HOOK, "carries", "What hangs from the hook?", tuple(LOADS_M)),
        (PERSON, "holds", "What does the worker hold?", ("plank", "box")),
    ):
        held = {
            track
            for thing in all_of(episode, actor)
            for event in deeds_of(episode, thing.track, kind)
            for track in event.actors[1:]
        }
        if len(held) == 1 and silent(episode, *held):
            yield plain("which", FRAME, text, episode.things[held.pop()].noun, nouns)


def _doing(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    persons = all_of(episode, PERSON)
    if len(persons) == 1:
        events = deeds_of(episode, persons[0].track, *_DOINGS)
        if len({event.kind for event in events}) == 1 and events[0].length_s >= RESTS_S and not events[0].heard:
            text = "What does the worker do while not walking?"
            yield plain("doing", FRAME, text, _DOINGS[events[0].kind], tuple(_DOINGS.values()))


def _place(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    for load in all_of(episode, LOAD):
        if sum(other.noun == load.noun for other in all_of(episode, LOAD)) > 1:
            continue
        lies = [
            state.x / episode.options.size[0]
            for present, seen in zip(episode.states, episode.seen, strict=True)
            for state in present
            if state.track == load.track and load.track in seen and state.attributes["held_by"] == 0
        ]
        third = _third(lies[0]) if len(lies) >= RESTS_S * episode.options.fps else ""
        if third and np.ptp(lies) < _MARGIN:
            verb, rests = ("do", "lie") if load.noun in PLURALS else ("does", "lie")
            text = f"In which third of the picture {verb} {name(load, 1)} {rests} on the ground?"
            yield plain("place", FRAME, text, third, _THIRDS)


def _third(x: float) -> str:
    """The third of the picture's width, "" near the border of two. x: share of W."""
    near = min(abs(x - 1 / 3), abs(x - 2 / 3)) < _MARGIN
    return "" if near or not 0 <= x <= 1 else _THIRDS[min(2, int(x * 3))]


def _sound(episode: Episode, rng: np.random.Generator) -> Iterator[Question]:
    heard = [event for event in episode.events if not event.seen]
    kinds = {event.kind for event in heard}
    if not heard or episode.options.sound.amplitude == 0:
        return
    if len(kinds) == 1:
        yield plain("sound", AUDIO, "Which signal is heard?", heard[0].kind, UNSEEN)
    for kind in UNSEEN:
        yield plain("sound", AUDIO, f"Is a {kind} heard?", "yes" if kind in kinds else "no", YES_NO)
    for first, second in permutations(heard, 2):
        if first.kind != second.kind and abs(first.start_s - second.start_s) >= APART_S:
            pair = (first.kind, second.kind)
            earlier = min(first, second, key=lambda event: event.start_s).kind
            text = f"Which sounds first, the {first.kind} or the {second.kind}?"
            balances = (
                Balance(("sound", "mentioned"), "first" if earlier == first.kind else "second", ("first", "second")),
                Balance(("sound", *sorted(pair)), earlier, tuple(sorted(pair))),
                Balance(("sound", "first"), earlier, UNSEEN),
            )
            yield Question("sound", AUDIO, text, earlier, balances)
