"""QVHighlights' annotations and predictions as JSON lines, read and checked. Not here: QVHighlights as a dataset
(lib/data/sources), scores (lib/metrics/qvhighlights.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lib.scoring.checks import is_real, is_whole, read_json_lines, refuse
from lib.scoring.grounding_files import Answers, Key, Query, Truth, window_list


def read_truth(path: Path) -> Truth:
    """(vid, qid) → query; windows None where the file states none. Raises DataError."""
    truth: dict[Key, Query] = {}
    by_qid: set[str] = set()
    for place, row in read_json_lines(path):
        key = _key(path, place, row)
        if key[1] in by_qid:
            refuse(path, place, f"qid {key[1]}", "each qid once", "is the file joined from two splits?")
        by_qid.add(key[1])
        duration = row.get("duration")
        if not is_real(duration) or duration <= 0:
            refuse(path, place, f"duration {duration!r}", "a number above 0 (s)", "is it a predictions file?")
        windows = None
        if row.get("relevant_windows") is not None:
            windows = window_list(path, f"{place} (qid {key[1]})", row["relevant_windows"])[:, :2]
        truth[key] = Query(place, str(row.get("query", "")), windows, float(duration))
    if not truth:
        refuse(path, "", "no line", "one JSON object per query", "is the file cut?")
    return truth


def _key(path: Path, place: str, row: dict[str, Any]) -> Key:
    qid, video = row.get("qid", "absent"), row.get("vid", "absent")
    if not is_whole(qid):
        refuse(path, place, f"qid {qid!r}", "a whole number", "QVHighlights numbers its queries")
    if not isinstance(video, str) or "vid" not in row:
        refuse(path, place, f"vid {video!r}", "a text", "each line names its video")
    return video, str(qid)


def read_predictions(path: Path, truth: Truth) -> Answers:
    """Windows (start, end, score) by query. Raises DataError for an entry that is unknown, repeated or malformed."""
    videos = {qid: video for video, qid in truth}
    answers: dict[Key, np.ndarray] = {}
    for place, row in read_json_lines(path):
        key = _key(path, place, row)
        if key not in truth:
            known = f"; the truth has it in {videos[key[1]]}" if key[1] in videos else ""
            refuse(path, place, f"qid {key[1]} of {key[0]}{known}", "a query of the truth", "are both of the same split?")
        if key in answers:
            refuse(path, place, f"qid {key[1]}", "one line per query", "is the file joined from two runs?")
        found = row.get("pred_relevant_windows", "absent")
        answers[key] = window_list(path, f"{place} (qid {key[1]})", found, scored=True)
    return answers
