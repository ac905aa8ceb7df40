"""Relations of persons to the things in each frame of a synthetic video, as in Action Genome. Not here: graphs, models.

The subject is a person, the object any other thing that the frame's truth holds. Each pair has one attention predicate, and
at least one spatial and one contacting predicate. Spatial predicates say where the object is, seen from the person ("the
load is in front of the worker"). `approaching` and `receding` cannot be told from the frame alone: they compare with the
frames before. Lengths in m, measured in the picture and divided by px per metre.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lib.data.world.burdens import BURDENS_M, HELD_M
from lib.data.world.events import HOOK, PERSON, VEHICLE, Episode
from lib.data.world.motion import HOOK_M, LOADS_M, VEHICLES_M
from lib.data.world.plan import State

ATTENTION, SPATIAL, CONTACTING = "attention", "spatial", "contacting"
PREDICATES: dict[str, tuple[str, ...]] = {
    ATTENTION: ("looking_at", "not_looking_at", "unsure"),
    SPATIAL: ("above", "beneath", "in_front_of", "behind", "on_the_side_of", "approaching", "receding"),
    CONTACTING: (
        "not_contacting",
        "carrying",
        "have_it_on_the_back",
        "holding",
        "signalling_to",
        "touching",
        "leaning_on",
        "working_on",
        "lifting",
        "putting_down",
    ),
}

_HALF_M = {"crate": 0.65, "beams": 1.5, "pipes": 1.25, "bucket": 0.6, "plank": 1.25, "box": 0.23}  # half the width
_HEAD_M, _KNEE_M = 1.75, 0.75
_BESIDE_M = 0.6  # centres closer than this are neither ahead nor behind
_TOUCH_M, _LEVEL = 0.35, 0.45  # between the sides; between the ground rows, in m of the picture
_PACE_M_S = 0.4  # slower is neither approaching nor receding
_BACK_S = 0.3  # how far back the frame lies that distances are compared with

Row = tuple[str, str]
"""(group, predicate)."""


def relations_of(episodes: list[Episode]) -> list[dict[str, Any]]:
    """Rows video, frame, subject, group, predicate, object."""
    return [
        {
            "video": episode.plan.name,
            "frame": frame,
            "subject": subject,
            "group": group,
            "predicate": predicate,
            "object": thing,
        }
        for episode in episodes
        for frame, subject, thing, group, predicate in _of_video(episode)
    ]


def _of_video(episode: Episode) -> Iterator[tuple[int, int, int, str, str]]:
    back = max(1, round(_BACK_S * episode.options.fps))
    by_track = [{state.track: state for state in present} for present in episode.states]
    for frame, seen in enumerate(episode.seen):
        present = {track: by_track[frame][track] for track in sorted(seen)}
        before = by_track[frame - back] if frame >= back else {}
        persons = [state for state in present.values() if state.kind == PERSON]
        for person in persons:
            others = [state for state in present.values() if state.kind != PERSON]
            target = _target(person, others)
            for other in others:
                pace = _pace(person, other, before) / (back / episode.options.fps)
                rows = [_attention(person, other, target), *_spatial(person, other, pace), *_contacting(person, other)]
                for group, predicate in rows:
                    yield frame, person.track, other.track, group, predicate


def _ahead(person: State, other: State) -> float:
    """How far the other's middle is ahead of the person (m; negative: behind)."""
    return (other.x - person.x) * person.facing / person.unit


def _gap(person: State, other: State) -> float:
    """Between the sides of the two, m; 0 where they overlap."""
    return max(0.0, abs(other.x - person.x) - 0.25 * person.unit - _half(other) * other.unit) / person.unit


def _half(other: State) -> float:
    if other.kind == VEHICLE:
        return VEHICLES_M[str(other.attributes["model"])] / 2
    return 0.45 if other.kind == HOOK else _HALF_M[str(other.attributes["load"])]


def _heights(other: State) -> tuple[float, float]:
    """(underside, top) above the ground, m."""
    low = (other.depth - other.y) / other.unit
    if other.kind == VEHICLE:
        return low, low + 2.6
    if other.kind == HOOK:
        return low, low + HOOK_M
    return low, low + (BURDENS_M | LOADS_M)[str(other.attributes["load"])]


def _target(person: State, others: list[State]) -> int:
    """The track that a person looks at: what it signals to or handles, else the nearest thing ahead; 0 for none."""
    activity = person.attributes["activity"]
    ahead = [state for state in others if _ahead(person, state) > _BESIDE_M and not _held(person, state)]
    if activity in ("signalling", "looking"):
        ahead = [state for state in others if state.kind == HOOK] or ahead
    elif activity != "walking":
        ahead = [state for state in others if _held(person, state)] or ahead
    return min(ahead, key=lambda state: (abs(_ahead(person, state)), state.track)).track if ahead else 0


def _held(person: State, other: State) -> bool:
    return other.attributes.get("held_by") == person.track


def _attention(person: State, other: State, target: int) -> Row:
    if other.track == target:
        return ATTENTION, "looking_at"
    return ATTENTION, "unsure" if _ahead(person, other) > _BESIDE_M else "not_looking_at"


def _spatial(person: State, other: State, pace: float) -> Iterator[Row]:
    ahead, (low, high) = _ahead(person, other), _heights(other)
    beside = "in_front_of" if ahead > _BESIDE_M else "behind" if ahead < -_BESIDE_M else "on_the_side_of"
    yield SPATIAL, beside
    if low > _HEAD_M:
        yield SPATIAL, "above"
    if high < _KNEE_M:
        yield SPATIAL, "beneath"
    if pace < -_PACE_M_S:
        yield SPATIAL, "approaching"
    if pace > _PACE_M_S:
        yield SPATIAL, "receding"


def _pace(person: State, other: State, before: dict[int, State]) -> float:
    """By how much the two have moved apart since the frame before (m; negative: closer); 0 where one was not there."""
    if person.track not in before or other.track not in before or _held(person, other):
        return 0.0
    was = abs(before[other.track].x - before[person.track].x) / before[person.track].unit
    return abs(other.x - person.x) / person.unit - was


def _contacting(person: State, other: State) -> Iterator[Row]:
    activity = str(person.attributes["activity"])
    if _held(person, other):
        yield from _handling(person, other, activity)
    elif activity == "signalling" and other.kind == HOOK:
        yield CONTACTING, "signalling_to"
    elif other.kind != HOOK and _level(person, other) and _gap(person, other) < _TOUCH_M:
        yield CONTACTING, {"working": "working_on", "standing": "leaning_on"}.get(activity, "touching")
    else:
        yield CONTACTING, "not_contacting"


def _level(person: State, other: State) -> bool:
    """Do both stand on about the same ground row?"""
    return other.y == other.depth and abs(other.depth - person.depth) < _LEVEL * person.unit


def _handling(person: State, other: State, activity: str) -> Iterator[Row]:
    full = HELD_M[str(other.attributes["load"])][1]
    if (person.y - other.y) / person.unit < full - 0.01:  # on its way up or down
        yield CONTACTING, "lifting" if other.pose["lifted"] > 0 else "putting_down"
        return
    yield CONTACTING, "carrying" if activity == "walking" else "holding"
    if other.attributes["load"] == "plank":
        yield CONTACTING, "have_it_on_the_back"
