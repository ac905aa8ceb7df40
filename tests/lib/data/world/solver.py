"""Answers questions about the synthetic world from its truth and its sound: reads the words, not the code that chose them.

Not here: what a model could see; this is the oracle that perfect perception would reach.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import product

import numpy as np

from lib.data.world.askable_over_time import _DEEDS as DEEDS
from lib.data.world.events import HOOK, LOAD, PERSON, VEHICLE, Episode, Event, Thing
from lib.data.world.names import LEVELS, name
from lib.data.world.plan import State
from lib.data.world.sounds import RATE, waveform
from lib.data.world.tones import UNSEEN, low_hz

CLASSES = {"workers": PERSON, "vehicles": VEHICLE, "loads": LOAD}
DOINGS = {"standing": "stands about", "working": "works", "looking": "looks out", "signalling": "signals"}


def solve(episode: Episode, text: str) -> str:
    """The answer to one question; AssertionError where its words fit nothing, or more than one thing."""
    for pattern, answer in _READERS.items():
        found = re.fullmatch(pattern, text)
        if found:
            return answer(episode, *found.groups())
    raise AssertionError(f"nobody reads {text!r}")


def of_class(episode: Episode, kind: str) -> list[Thing]:
    return [thing for thing in episode.things.values() if thing.kind == kind]


def shown(episode: Episode, track: int) -> list[State]:
    """States of a thing in the frames whose truth holds it."""
    return [
        state
        for present, seen in zip(episode.states, episode.seen, strict=True)
        for state in present
        if state.track == track and track in seen
    ]


def _only(found: list) -> object:
    assert len(found) == 1, found
    return found[0]


def _exists(episode: Episode, what: str) -> str:
    words = set(what.split()) - {"a", "an", "in", "vest", "with", "cab"}
    told = [
        {"worker", thing.colour} if thing.kind == PERSON else {thing.colour, thing.noun, thing.kind}
        for thing in episode.things.values()
    ]
    return "yes" if any(words <= thing for thing in told) else "no"


def _colour(episode: Episode, part: str) -> str:
    if part == "vehicle's cab":
        return _only(of_class(episode, VEHICLE)).colour
    worker = _only(of_class(episode, PERSON))
    return worker.colour if part == "worker's vest" else worker.second


def _held(episode: Episode, kind: str) -> str:
    bearers = {thing.track for thing in of_class(episode, kind)}
    nouns = {
        str(state.attributes["load"])
        for load in of_class(episode, LOAD)
        for state in shown(episode, load.track)
        if state.attributes["held_by"] in bearers
    }
    return _only(sorted(nouns))


def _doing(episode: Episode) -> str:
    states = shown(episode, _only(of_class(episode, PERSON)).track)
    return DOINGS[Counter(state.attributes["activity"] for state in states if state.pose["walk"] == 0).most_common(1)[0][0]]


def _place(episode: Episode, noun: str) -> str:
    load = _only([thing for thing in of_class(episode, LOAD) if thing.noun == noun])
    x = [state.x for state in shown(episode, load.track) if not state.attributes["held_by"]]
    return ("left", "middle", "right")[int(3 * np.mean(x) / episode.options.size[0])]


def _travel(episode: Episode) -> str:
    states = shown(episode, _only(of_class(episode, HOOK)).track)
    return "right" if states[-1].x > states[0].x else "left"


def _pace(episode: Episode, who: str) -> str:
    kind, limit, fast = (PERSON, 1.625, "briskly") if who == "worker" else (VEHICLE, 3.5, "fast")
    states = shown(episode, _only(of_class(episode, kind)).track)
    going = [state.attributes["activity"] in ("walking", "driving") for state in states]
    speed = np.abs(np.diff([state.x for state in states])) / states[0].unit * episode.options.fps
    return fast if np.median(speed[np.array(going[1:]) & np.array(going[:-1])]) > limit else "slowly"


def called(episode: Episode, event: Event, form: int) -> set[str]:
    """Every way in which words name who does this event and what: "the hook" + "lift the crate" (form 0) or "lifts …"."""
    things = [episode.things[track] for track in event.actors]
    if not things or (event.kind, things[0].kind) not in DEEDS:
        return set()
    deed = DEEDS[event.kind, things[0].kind][form]
    names = product(*({name(thing, level) for level in LEVELS} for thing in things))
    return {f"{who} {deed.format(*others)}" for who, *others in names}


def _order(episode: Episode, first: str, second: str) -> str:
    one = _only([event for event in episode.events if first in called(episode, event, 0)])
    two = _only([event for event in episode.events if second in called(episode, event, 1)])
    return "before" if one.start_s < two.start_s else "after"


def _count(episode: Episode, plural: str) -> str:
    return str(len(of_class(episode, CLASSES[plural])))


def _whose_colour(episode: Episode, who: str, deed: str) -> str:
    kinds = {"holds something": "holds", "walks": "walks", "stands still": "parks"}
    kinds |= {third.partition(" {0}")[0]: kind for (kind, _), (_, third) in DEEDS.items()}
    kind = kinds.get(deed) or next(kinds[start] for start in ("picks up", "puts down") if deed.startswith(start))
    actor = PERSON if who == "vest of the worker who" else VEHICLE
    doers = {event.actors[0] for event in episode.events if event.kind == kind and event.actors}
    return _only([thing for thing in of_class(episode, actor) if thing.track in doers]).colour


def _thing(episode: Episode, words: str) -> Thing:
    return _only([thing for thing in episode.things.values() if words in {name(thing, 1), name(thing, 2)}])


def _what_held(episode: Episode, who: str) -> str:
    track = _thing(episode, who).track
    loads = of_class(episode, LOAD)
    return _only(
        sorted({one.noun for one in loads if any(s.attributes["held_by"] == track for s in shown(episode, one.track))})
    )


def _comes_or_leaves(episode: Episode, who: str, what: str) -> str:
    track, kind = _thing(episode, who).track, "enters" if what == "come into" else "leaves"
    return (
        "yes" if any(event.kind == kind and event.actors[0] == track for event in episode.events if event.actors) else "no"
    )


def starts_heard(episode: Episode) -> dict[str, float]:
    """Signal -> s at which its tone begins in the wave, of the signals that are heard; from 50 ms of sound at a time."""
    wave, step = waveform(episode), RATE // 20
    blocks = wave[: len(wave) // step * step].reshape(-1, step)
    seconds = np.arange(step) / RATE
    found = {}
    for kind in UNSEEN:
        wanted = np.exp(-2j * np.pi * low_hz(episode.options.sound, kind, "") * seconds)
        loud = 2 * np.abs(blocks @ wanted) / step > 0.5 * episode.options.sound.amplitude
        if loud.any():
            found[kind] = float(np.flatnonzero(loud)[0] / 20)
    return found


def _signal(episode: Episode) -> str:
    return _only(list(starts_heard(episode)))


def _is_heard(episode: Episode, kind: str) -> str:
    return "yes" if kind in starts_heard(episode) else "no"


def _first_heard(episode: Episode, one: str, other: str) -> str:
    starts = starts_heard(episode)
    return min((one, other), key=lambda kind: starts[kind])


_READERS: dict[str, Callable[..., str]] = {
    r"(?:Is|Are) there (.+) in the video\?": _exists,
    r"Does the video show (.+)\?": _exists,
    r"What colour is the (worker's vest|worker's helmet|vehicle's cab)\?": _colour,
    r"What kind of vehicle is it\?": lambda episode: _only(of_class(episode, VEHICLE)).noun,
    r"What hangs from the hook\?": lambda episode: _held(episode, HOOK),
    r"What does the worker hold\?": lambda episode: _held(episode, PERSON),
    r"What does the worker do while not walking\?": _doing,
    r"In which third of the picture (?:do|does) the (\w+) lie on the ground\?": _place,
    r"Does the hook travel to the left or to the right\?": _travel,
    r"Does the (worker|vehicle) (?:walk|drive) slowly or (?:briskly|fast)\?": _pace,
    r"Does (.+) before or after (.+)\?": _order,
    r"How many different (\w+) does the video show in all\?": _count,
    r"What colour is the (vest of the worker who|cab of the vehicle that) (.+)\?": _whose_colour,
    r"What does (the .+) hold\?": _what_held,
    r"Does (the .+) (come into|leave) the picture\?": _comes_or_leaves,
    r"Which signal is heard\?": _signal,
    r"Is a (\w+) heard\?": _is_heard,
    r"Which sounds first, the (\w+) or the (\w+)\?": _first_heard,
}
