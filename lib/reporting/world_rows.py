"""What the contact sheet of the synthetic world says of a video, gathered from the settings alone. Not here: the drawing
(world_sheet.py), the world itself.

Nothing is read from results/: the first videos of each split are drawn again in memory, which gives the same pictures,
tracks and words as the files have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lib.config.world import WorldSource
from lib.data.world.draw import Painter, Seen
from lib.data.world.events import PERSON, VEHICLE, Episode, Event, Thing, episode_of
from lib.data.world.motion import simulate
from lib.data.world.plan import Plan, plan_videos
from lib.data.world.sounds import RATE, waveform
from lib.data.world.truths import MAKERS
from lib.reporting.world_sheet import Bar, Box, Row, draw

_SHOWN = 6  # pictures per video
_QUERIES, _QUESTIONS, _CAPTIONS = 4, 7, 2  # at most, per video
_NOTE = (
    "Boxes and bars of one colour belong to one class: persons blue, crane hook orange, vehicles green, loads purple. "
    "Pale bars: to be seen. Dashed lines: the pictures above."
)


def write_sheets(options: WorldSource, dataset: str, splits: list[str], videos: int, folder: Path) -> Iterator[Path]:
    """Write {folder}/{dataset}-{split}.png with the first `videos` videos of each split, and yield the paths.

    options: the world's settings; splits: names among those of `options.videos`.
    """
    for split in splits:
        count = min(videos, options.videos[split])
        few = options.model_copy(update={"videos": {split: count}})
        told = [_told(plan, few) for plan in plan_videos(few)]
        episodes = [episode for episode, _, _ in told]
        words = {key: maker(episodes) for key, maker in MAKERS.items()}
        rows = [
            _row(episode, pictures, boxes, {key: _of(episode, found) for key, found in words.items()})
            for episode, pictures, boxes in told
        ]
        path = folder / f"{dataset}-{split}.png"
        draw(path, f"{dataset}: {split}", f"{count} of {options.videos[split]} videos. {_NOTE}", rows)
        yield path


def _told(plan: Plan, options: WorldSource) -> tuple[Episode, dict[int, np.ndarray], dict[int, list[Seen]]]:
    """The story of a video, its shown pictures and what is seen in them, by frame."""
    painter, states = Painter(plan, options), simulate(plan, options)
    shown = np.unique(np.round((np.arange(_SHOWN) + 0.5) / _SHOWN * plan.frames - 0.5).astype(int)).tolist()
    seen, pictures, boxes = [], {}, {}
    for index, present in enumerate(states):
        picture, found = painter.frame(index, present)
        seen.append([one.state.track for one in found])
        if index in shown:
            pictures[index], boxes[index] = picture, found
    return episode_of(plan, options, states, seen), pictures, boxes


def _of(episode: Episode, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["video"] == episode.plan.name]


def _row(
    episode: Episode,
    pictures: dict[int, np.ndarray],
    boxes: dict[int, list[Seen]],
    words: dict[str, list[dict[str, Any]]],
) -> Row:
    fps, queries = episode.options.fps, _spread(words.get("queries", []), _QUERIES)
    bars = [bar for thing in episode.things.values() for bar in _doings(thing, episode)]
    bars += [
        Bar("heard only", event.kind, "sound", event.start_s, event.end_s) for event in episode.events if not event.seen
    ]
    bars += [Bar(f"Q{n}", row["text"], "query", row["start_s"], row["end_s"]) for n, row in enumerate(queries, 1)]
    return Row(
        title=f"{episode.plan.name}: {episode.duration_s:.1f} s, {episode.plan.frames} frames",
        pictures=list(pictures.values()),
        times_s=[index / fps for index in pictures],
        boxes=[[_box(one, episode.things[one.state.track]) for one in found] for found in boxes.values()],
        duration_s=episode.duration_s,
        bars=bars,
        texts=[(heading, lines) for heading, lines in _texts(words) if lines],
        sound=waveform(episode),
        rate=RATE,
    )


def _texts(words: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, list[str]]]:
    yield "captions", [_caption(row) for row in words.get("captions", [])[:_CAPTIONS]]
    answers = _spread(words.get("answers", []), _QUESTIONS)
    shown = [f"{row['text']} \N{RIGHTWARDS ARROW} {row['answer']} ({row['evidence']})" for row in answers]
    yield "questions (in brackets what carries the evidence)", shown


def _caption(row: dict[str, Any]) -> str:
    """With its times where it is one of a stretch."""
    return f"{row['start_s']:.1f} to {row['end_s']:.1f} s: {row['text']}" if "start_s" in row else row["text"]


def _spread(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most `most` rows, evenly over the list, so that every kind has its turn."""
    return [rows[index] for index in np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]


def _called(thing: Thing) -> str:
    """Noun and track as in the pictures, and the part of the thing that has its colour."""
    part = {PERSON: "vest", VEHICLE: "cab"}.get(thing.kind, "")
    return f"{thing.noun} {thing.track}" + (f" ({thing.colour} {part})".replace(" )", ")") if thing.colour else "")


def _doings(thing: Thing, episode: Episode) -> Iterator[Bar]:
    """The lane of one thing: what it does; things that only lie there have a lane without doings."""
    for event in episode.events:
        if event.actors[:1] == (thing.track,):
            label = "" if event.kind == "seen" else _doing(event, episode)
            yield Bar(_called(thing), label, thing.kind, event.start_s, event.end_s)


def _doing(event: Event, episode: Episode) -> str:
    others = [episode.things[track] for track in event.actors[1:]]
    return " ".join([event.kind, *(f"{other.noun} {other.track}" for other in others)])


def _box(one: Seen, thing: Thing) -> Box:
    x, y, width, height = one.box
    return Box(thing.kind, f"{thing.noun} {thing.track}", x, y, x + width, y + height)
