"""Charades-STA's and TACoS' annotations and ranked windows for their sentences, read and checked. Not here: either as a
dataset (lib/data/sources), scores.

Truth of Charades-STA: lines `VIDEO START END##sentence`, in s. Truth of TACoS (as 2D-TAN ships it): JSON
{video: {timestamps: [[first frame, last frame], …], sentences, fps, num_frames}}. Neither has an official form of
predictions; ours is JSON {video: [windows of its first sentence, of its second, …]}, sentences in the order of the truth,
windows [start, end] or [start, end, score] in s, best first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from lib.scoring.checks import is_real, read_json, read_text, refuse
from lib.scoring.grounding_files import Answers, Key, Query, Truth, window_list

_LINE = re.compile(r"(?P<video>\S+)\s+(?P<start>\S+)\s+(?P<end>\S+?)\s*##(?P<text>.*)")


def read_charades(path: Path) -> Truth:
    """(video, number of the sentence in its video) → query. Raises DataError with the line."""
    truth: dict[Key, Query] = {}
    counts: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        times = [_number(found[key]) for key in ("start", "end")] if found else []
        if found is None or None in times:
            refuse(path, f"line {number}", line.strip(), "VIDEO START END##sentence", "is it charades_sta_test.txt?")
        video = found["video"]
        counts[video] = counts.get(video, 0) + 1
        truth[video, str(counts[video] - 1)] = Query(f"line {number}", found["text"], np.array([times], np.float64), None)
    if not truth:
        refuse(path, "", "no line", "one line per sentence", "is the file cut?")
    return truth


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if is_real(value) and "_" not in word else None


def read_tacos(path: Path) -> Truth:
    """(video, number of the sentence in its video) → query, frames as s. Raises DataError."""
    raw = read_json(path, distinct=True)
    if not isinstance(raw, dict) or not raw:
        refuse(path, "", type(raw).__name__, "{video: {timestamps, sentences, fps, num_frames}}", "is it another format?")
    truth: dict[Key, Query] = {}
    for video, row in raw.items():
        spans, texts, fps, frames = _video(path, str(video), row)
        for number, (span, text) in enumerate(zip(spans, texts, strict=True)):
            place = f"{video}: timestamps[{number}]"
            if not isinstance(span, list) or len(span) != 2 or not all(map(is_real, span)):
                refuse(path, place, span, "[first frame, last frame]", "TACoS counts frames, not seconds")
            truth[video, str(number)] = Query(place, str(text), np.array([span], np.float64) / fps, frames / fps)
    return truth


def _video(path: Path, video: str, row: Any) -> tuple[list[Any], list[Any], float, float]:
    """Its timestamps, sentences, fps and number of frames."""
    values = row if isinstance(row, dict) else {}
    spans, texts = values.get("timestamps"), values.get("sentences")
    if not isinstance(spans, list) or not isinstance(texts, list) or len(spans) != len(texts):
        what = "timestamps and sentences of different number" if spans and texts else "no timestamps or no sentences"
        refuse(path, video, what, "two lists of one length", "is it a predictions file?")
    for key in ("fps", "num_frames"):
        if not is_real(values.get(key)) or values[key] <= 0:
            refuse(path, video, f"{key} {values.get(key, 'absent')!r}", "a number above 0", "frames become seconds by it")
    return spans, texts, float(values["fps"]), float(values["num_frames"])


def read_predictions(path: Path, truth: Truth) -> Answers:
    """Ranked windows by (video, number of the sentence). Raises DataError for what is unknown or malformed."""
    raw = read_json(path, distinct=True)
    if not isinstance(raw, dict):
        refuse(path, "", type(raw).__name__, "{video: [[[start, end], …] per sentence]}", "is it another format?")
    counts: dict[str, int] = {}
    for video, _ in truth:
        counts[video] = counts.get(video, 0) + 1
    answers: dict[Key, np.ndarray] = {}
    for video, sentences in raw.items():
        if video not in counts:
            refuse(path, str(video), "not a video of the truth", f"one of its {len(counts)} videos", "is it another split?")
        if not isinstance(sentences, list) or len(sentences) != counts[video]:
            what = f"{len(sentences)} lists of windows" if isinstance(sentences, list) else type(sentences).__name__
            refuse(path, str(video), what, f"{counts[video]}, one per sentence", "sentences are in the order of the truth")
        for number, windows in enumerate(sentences):
            answers[video, str(number)] = window_list(path, f"{video}, sentence {number}", windows)
    return answers
