"""Ego4D NLQ's annotations (also unannotated ones) and challenge submissions, read and checked. Not here: Ego4D as a dataset
(lib/data/sources), scores.

A query's id is its annotation's uid, `_`, and its place in the annotation's list as it stands in the file: queries without
a text are not asked but keep their place. A clip lasts from video_start_sec to video_end_sec; times are s of the clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lib.config.base import nearest
from lib.scoring.checks import is_real, is_whole, read_json, refuse
from lib.scoring.grounding_files import Answers, Key, Query, Truth, window_list

VERSION, CHALLENGE = "1.0", "ego4d_nlq_challenge"


def query_id(annotation: str, index: int) -> str:
    """Id of the query at a place of an annotation's list."""
    return f"{annotation}_{index}"


def read_truth(path: Path) -> Truth:
    """(clip_uid, query id) → query, in the file's order; windows None where the file states none. Raises DataError."""
    raw = read_json(path)
    truth: dict[Key, Query] = {}
    for video, place in _items(path, "", raw, "videos"):
        for clip, clip_place in _items(path, place, video, "clips"):
            name, duration = _text(path, clip_place, clip, "clip_uid"), _duration(path, clip_place, clip)
            for annotation, inner in _items(path, clip_place, clip, "annotations"):
                uid = _text(path, inner, annotation, "annotation_uid")
                for index, (query, query_place) in enumerate(_items(path, inner, annotation, "language_queries")):
                    key = (name, query_id(uid, index))
                    if key in truth:
                        refuse(
                            path, query_place, f"query {key[1]} of clip {name}", "each query once", "is a clip repeated?"
                        )
                    truth[key] = _query(path, query_place, query, duration)
    if not any(query.needed for query in truth.values()):
        refuse(path, "", "no query with a text", "at least one", "is it Ego4D's nlq_*.json?")
    return truth


def _items(path: Path, place: str, holder: Any, key: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a list inside an object, with their places."""
    inner = f"{place}.{key}" if place else key
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(found, list):
        hint = nearest(key, holder) if isinstance(holder, dict) else "is it Ego4D's nlq_*.json?"
        refuse(path, inner, "absent" if found is None else type(found).__name__, "a list", hint)
    for number, one in enumerate(found):
        if not isinstance(one, dict):
            refuse(path, f"{inner}[{number}]", one, "an object", "is it Ego4D's nlq_*.json?")
        yield one, f"{inner}[{number}]"


def _text(path: Path, place: str, holder: dict[str, Any], key: str) -> str:
    value = holder.get(key, "absent")
    if key not in holder or not isinstance(value, str) or not value:
        refuse(path, place, f"{key} {value!r}", "a text", "is it another version of the format?")
    return value


def _duration(path: Path, place: str, clip: dict[str, Any]) -> float:
    """Length of a clip, s. Never from its answers: at test there are none."""
    start, end = clip.get("video_start_sec", "absent"), clip.get("video_end_sec", "absent")
    if not is_real(start) or not is_real(end) or end <= start:
        what = f"video_start_sec {start!r}, video_end_sec {end!r}"
        refuse(path, place, what, "two numbers (s), the second larger", "a clip's length is their difference")
    return float(end - start)


def _query(path: Path, place: str, query: dict[str, Any], duration: float) -> Query:
    text, template = query.get("query"), query.get("template")
    needed = isinstance(text, str) and bool(text.strip())
    times = [query.get(key) for key in ("clip_start_sec", "clip_end_sec")]
    windows = None
    if all(map(is_real, times)):
        windows = np.array([times], np.float64)
    elif needed and any(time is not None for time in times):
        refuse(
            path, place, f"clip_start_sec, clip_end_sec {times}", "two finite numbers, or neither", "is the file edited?"
        )
    return Query(place, text if needed else "", windows, duration, template or "", needed)


def read_submission(path: Path, truth: Truth) -> Answers:
    """Answers of a challenge submission by query. Raises DataError for an entry that is unknown, repeated or malformed."""
    raw = read_json(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("results"), list):
        refuse(path, "results", type(raw).__name__, "{version, challenge, results: […]}", "is it a challenge submission?")
    for key, wanted in (("version", VERSION), ("challenge", CHALLENGE)):
        if raw.get(key) != wanted:
            refuse(path, key, repr(raw.get(key, "absent")), repr(wanted), "the official evaluator asserts it")
    answers: dict[Key, np.ndarray] = {}
    for number, entry in enumerate(raw["results"]):
        place = f"results[{number}]"
        key = _key(path, place, entry, truth)
        if key in answers:
            refuse(
                path, place, f"query {key[1]} of clip {key[0]}", "one entry per query", "is the file joined from two runs?"
            )
        answers[key] = window_list(path, f"{place} (query {key[1]})", entry.get("predicted_times", "absent"))
    return answers


def _key(path: Path, place: str, entry: Any, truth: Truth) -> Key:
    if not isinstance(entry, dict):
        refuse(path, place, entry, "an object", "entries are {clip_uid, annotation_uid, query_idx, predicted_times}")
    clip, annotation = (_text(path, place, entry, key) for key in ("clip_uid", "annotation_uid"))
    index = entry.get("query_idx", "absent")
    if not is_whole(index):
        refuse(path, place, f"query_idx {index!r}", "a whole number from 0", "it is the place in the annotation's list")
    key = (clip, query_id(annotation, index))
    if key not in truth:
        hint = "query_idx counts from 0 in the original list, queries without a text included; is it another split?"
        refuse(path, place, f"query {key[1]} of clip {clip}", f"one of the {len(truth)} queries of the truth", hint)
    return key
