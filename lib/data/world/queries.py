"""Temporal queries about a synthetic video: "when does the hook lift the load?" and its one window. Not here: events.

A query is asked only when its words fit one event of the video, and its evidence is one channel (config: evidence):
`frame` and `motion` queries name classes where one thing does it; `objects` queries need to tell alike things apart;
`audio` queries ask for sounds that nothing in the picture goes with. Events that are both seen and heard are not asked
about. Queries of a video are in random order, so that their order says nothing about time; and most events that the
video's first or last frame cuts are left out, so that windows lie anywhere and rarely say how long the video is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from lib.data.world.events import AUDIO, FRAME, HOOK, KINDS, LOAD, MOTION, OBJECTS, PERSON, VEHICLE, Episode, Event
from lib.data.world.names import levels_that_single_out, name

_SHORTEST_S = 0.2
_LONGEST = 0.9  # of the video
_CUT_SHARE = 0.12  # of the events that go on beyond the video's first or last frame are asked about
_FEWEST = 2  # queries of a video, whatever the shares, where it offers them
_SLACK = 1.0  # queries by which a channel may exceed its share

TEMPLATES: dict[tuple[str, str], tuple[str, str]] = {
    ("lifts", HOOK): ("hook-lifts", "When does {0} lift {1}?"),
    ("lowers", HOOK): ("hook-lowers", "When does {0} lower {1}?"),
    ("carries", HOOK): ("hook-carries", "When does {0} carry {1}?"),
    ("waits", HOOK): ("hook-waits", "When does {0} stay still at {1}?"),
    ("rises", HOOK): ("hook-rises", "When does {0} go up empty?"),
    ("descends", HOOK): ("hook-descends", "When does {0} come down empty?"),
    ("seen", HOOK): ("hook-seen", "When is {0} in the picture?"),
    ("enters", HOOK): ("hook-enters", "When does {0} come into the picture?"),
    ("leaves", HOOK): ("hook-leaves", "When does {0} go out of the picture?"),
    ("seen", PERSON): ("worker-seen", "When is {0} in the picture?"),
    ("enters", PERSON): ("worker-enters", "When does {0} walk into the picture?"),
    ("leaves", PERSON): ("worker-leaves", "When does {0} walk out of the picture?"),
    ("walks", PERSON): ("worker-walks", "When does {0} walk?"),
    ("stands", PERSON): ("worker-stands", "When does {0} stand about?"),
    ("works", PERSON): ("worker-works", "When does {0} work with the hands?"),
    ("looks", PERSON): ("worker-looks", "When does {0} look out with a hand at the helmet?"),
    ("signals", PERSON): ("worker-signals", "When does {0} signal to the crane?"),
    ("holds", PERSON): ("worker-holds", "When does {0} hold {1}?"),
    ("picks up", PERSON): ("worker-picks-up", "When does {0} pick up {1}?"),
    ("puts down", PERSON): ("worker-puts-down", "When does {0} put down {1}?"),
    ("passes", PERSON): ("worker-passes", "When is {0} in front of {1}?"),
    ("walks under", PERSON): ("worker-under-load", "When is {0} beneath {1}?"),
    ("seen", VEHICLE): ("vehicle-seen", "When is {0} in the picture?"),
    ("enters", VEHICLE): ("vehicle-enters", "When does {0} drive into the picture?"),
    ("leaves", VEHICLE): ("vehicle-leaves", "When does {0} drive out of the picture?"),
    ("drives", VEHICLE): ("vehicle-drives", "When does {0} drive?"),
    ("parks", VEHICLE): ("vehicle-parks", "When does {0} stand still?"),
    ("digs", VEHICLE): ("vehicle-digs", "When does {0} dig?"),
    ("seen", LOAD): ("load-seen", "When can {0} be seen?"),
    ("horn", ""): ("sound-horn", "When does the horn sound?"),
    ("siren", ""): ("sound-siren", "When does the siren sound?"),
    ("whistle", ""): ("sound-whistle", "When does the whistle sound?"),
    ("bell", ""): ("sound-bell", "When does the bell sound?"),
}
"""(kind of event, class of its first actor) -> (template, text with the actors' names). Loads may be plural ("the pipes"):
they are no subject of "does" or "is"."""


def queries_of(episodes: list[Episode]) -> list[dict[str, Any]]:
    """Rows video, query, text, template, evidence, start_s, end_s, at most `queries` per video.

    Channels are chosen so that their shares follow the evidence setting from the first video on (a query that would exceed
    its channel's share is not asked), and within a channel the template that was asked least.
    """
    asked: Counter[str] = Counter()
    rows = []
    for episode in episodes:
        rng = np.random.default_rng([episode.plan.seed, 6])
        offers = list(candidates(episode))
        chances = rng.random(len(offers))
        offers = [one for one, chance in zip(offers, chances, strict=True) if chance < _CUT_SHARE or _whole(one, episode)]
        offers = [offers[int(place)] for place in rng.permutation(len(offers))]
        chosen = []
        while offers and len(chosen) < episode.options.queries:
            slack = _SLACK if len(chosen) >= _FEWEST else np.inf
            one = _next(offers, asked, episode.options.evidence.shares(), slack)
            if one is None:
                break
            offers.remove(one)
            chosen.append(one)
            asked.update((one["evidence"], one["template"]))
        for number, place in enumerate(rng.permutation(len(chosen))):
            rows.append({"video": episode.plan.name, "query": f"{episode.plan.name}-q{number}", **chosen[int(place)]})
    return rows


def candidates(episode: Episode) -> Iterator[dict[str, Any]]:
    """All that could be asked about a video: text, template, evidence, start_s, end_s."""
    for event in episode.events:
        if not _SHORTEST_S - 1e-9 <= event.length_s <= _LONGEST * episode.duration_s:
            continue
        if event.seen and event.heard:
            continue
        actor = episode.things[event.actors[0]].kind if event.actors else ""
        levels = levels_that_single_out(event, episode.events, episode.things)
        if levels is None or (event.kind, actor) not in TEMPLATES:
            continue
        template, text = TEMPLATES[event.kind, actor]
        names = [name(episode.things[track], level) for track, level in zip(event.actors, levels, strict=True)]
        yield {
            "text": text.format(*names),
            "template": template,
            "evidence": _evidence(event, levels),
            "start_s": round(event.start_s, 3),
            "end_s": round(event.end_s, 3),
        }


def _whole(offer: dict[str, Any], episode: Episode) -> bool:
    """Does it begin after the video's first frame and end before its last?"""
    frame = 1.0 / episode.options.fps
    return offer["start_s"] >= frame / 2 and offer["end_s"] <= episode.duration_s - frame / 2


def _evidence(event: Event, levels: tuple[int, ...]) -> str:
    if not event.seen:
        return AUDIO
    if any(levels):
        return OBJECTS
    return MOTION if KINDS[event.kind] == MOTION else FRAME


def _next(
    offers: list[dict[str, Any]], asked: Counter[str], shares: dict[str, float], slack: float
) -> dict[str, Any] | None:
    """Of the channel that lacks most, the first offer whose template was asked least; None where all channels on offer
    exceed their shares by `slack` queries."""
    total = sum(asked[channel] for channel in shares) + 1
    lack = {channel: shares[channel] * total - asked[channel] for channel in {one["evidence"] for one in offers}}
    open_channels = [channel for channel in sorted(lack) if shares[channel] > 0 and lack[channel] > -slack]
    if not open_channels:
        return None
    channel = max(open_channels, key=lambda key: lack[key])
    return min((one for one in offers if one["evidence"] == channel), key=lambda one: asked[one["template"]])
