"""The synthetic world's tone code: which frequency says what. Not here: when it sounds (events.py), waves (sounds.py).

While an event sounds, a low tone says what happens (kind and class of the actor), and a high tone says which one acts (the
place of its colour, or of the load's noun, in its palette). Sounds that nothing in the picture goes with have no high tone.
"""

from __future__ import annotations

from lib.config.world import CLASSES, Sound

_PERSON, _HOOK, _VEHICLE, _ = CLASSES

UNSEEN = ("horn", "siren", "whistle", "bell")
"""Sounds of things outside the picture."""

_ACTIONS = (
    ("lifts", _HOOK),
    ("lowers", _HOOK),
    ("waits", _HOOK),
    ("rises", _HOOK),
    ("descends", _HOOK),
    ("enters", _PERSON),
    ("enters", _VEHICLE),
    ("leaves", _PERSON),
    ("leaves", _VEHICLE),
    ("works", _PERSON),
    ("signals", _PERSON),
    ("picks up", _PERSON),
    ("puts down", _PERSON),
    ("drives", _VEHICLE),
    ("digs", _VEHICLE),
)
TONES: dict[tuple[str, str], int] = {
    action: number for number, action in enumerate([*_ACTIONS, *((kind, "") for kind in UNSEEN)])
}
"""(kind of event, class of its first actor) -> number of its low tone; the class is "" for unseen sounds."""

_HIGH_HZ, _HIGH_STEP_HZ = 4000.0, 400.0


def low_hz(sound: Sound, kind: str, actor: str) -> float:
    """Frequency in Hz of the tone that says what happens."""
    return sound.lowest_hz + sound.step_hz * TONES[kind, actor]


def high_hz(place: int) -> float:
    """Frequency in Hz of the tone that says which one acts; place: 0 to 7."""
    return _HIGH_HZ + _HIGH_STEP_HZ * (place % 8)
