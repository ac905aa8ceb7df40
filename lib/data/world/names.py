"""Words for the things of the synthetic world, just precise enough to single one out. Not here: sentences (queries.py, …).

A thing can be named at three levels: by its class ("the vehicle"), by its noun or main colour ("the truck", "the worker in
the orange vest"), and by all that is to be seen of it ("the truck with the blue cab", "… and the white helmet"). A lorry is
of two colours; its cab is named, because that is the part that every vehicle has.
"""

from __future__ import annotations

from itertools import product

from lib.data.world.events import HOOK, LOAD, PERSON, VEHICLE, Event, Thing

LEVELS = (0, 1, 2)
_CLASS_WORDS = {PERSON: "worker", HOOK: "hook", VEHICLE: "vehicle", LOAD: "load"}
PLURALS = frozenset({"beams", "pipes"})
"""Nouns that take the plural of a verb."""


def name(thing: Thing, level: int) -> str:
    """ "the worker", "the worker in the red vest", "the worker in the red vest and the blue helmet"; "the vehicle", "the
    truck", "the truck with the white cab"; "the load", "the crate", "the grey crate"."""
    if thing.kind == HOOK or level == 0:
        return f"the {_CLASS_WORDS[thing.kind]}"
    if thing.kind == PERSON:
        helmet = f" and the {thing.second} helmet" if level == 2 else ""
        return f"the worker in the {thing.colour} vest{helmet}"
    if thing.kind == VEHICLE:
        return f"the {thing.noun} with the {thing.colour} cab" if level == 2 else f"the {thing.noun}"
    return f"the {thing.colour} {thing.noun}" if level == 2 else f"the {thing.noun}"


def levels_that_single_out(event: Event, events: list[Event], things: dict[int, Thing]) -> tuple[int, ...] | None:
    """The least precise level per actor at which no other event of this kind fits the names; None where even the most
    precise names leave two."""
    rivals = [other for other in events if other.kind == event.kind and len(other.actors) == len(event.actors)]
    for levels in _ladder(len(event.actors)):
        if _names(event, levels, things) not in [_names(other, levels, things) for other in rivals if other is not event]:
            return levels
    return None


def _ladder(actors: int) -> list[tuple[int, ...]]:
    """Levels per actor from vague to precise; of equally precise ones, that which says more about the later actor first."""
    return sorted(product(LEVELS, repeat=actors), key=lambda levels: (sum(levels), levels))


def _names(event: Event, levels: tuple[int, ...], things: dict[int, Thing]) -> tuple[str, ...]:
    return tuple(name(things[track], level) for track, level in zip(event.actors, levels, strict=True))
