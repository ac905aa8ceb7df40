"""Truths in words against the videos and boxes that are used: what is clipped, dropped, and counted; worked out by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from lib import tables
from lib.data.language import language_tables
from lib.data.sources import Source, boxes_table, frames_table, language_table

IDS = {"a.mp4": "a", "b.mp4": "b"}
DURATIONS = {"a.mp4": 4.0, "b.mp4": 2.0}


def checked(
    boxes: list[tuple[str, int, int]] | None = None, **rows: list[dict[str, Any]]
) -> tuple[dict[str, pd.DataFrame], Counter[tuple[str, str]]]:
    """Tables and counts of (original, note) for rows keyed by kind; boxes: (video, frame, track)."""
    language = {kind: language_table(kind, stated) for kind, stated in rows.items()}
    source = Source(items=[], classes=[], frames=frames_table([]), boxes=boxes_table([]), **language)
    held = tables.empty(tables.BOXES)
    if boxes:
        held = pd.DataFrame(boxes, columns=["video", "frame", "track"])
    found, notes = language_tables(source, IDS, DURATIONS, held)
    return found, Counter((note["original"], f"{note['what']}: {note['cause']}") for note in notes)


def query(name: str, start: float, end: float, text: str = "When?", original: str = "a.mp4") -> dict[str, Any]:
    return {"original": original, "query": name, "text": text, "start_s": start, "end_s": end}


def test_windows_are_clipped_to_the_video() -> None:
    found, notes = checked(
        queries=[
            query("inside", 1.0, 2.0),
            query("past", 3.0, 4.5),
            query("rounding", 3.0, 4.005),
            query("before", -0.5, 1.0),
            query("outside", 4.0, 5.0),
            query("reversed", 2.0, 1.0),
            query("empty", 1.0, 2.0, " "),
            query("elsewhere", 1.0, 2.0, original="unused.mp4"),
            query("other", 0.0, 3.0, original="b.mp4"),
        ]
    )
    rows = found[tables.QUERIES]
    assert rows[["video", "query", "start_s", "end_s"]].to_numpy().tolist() == [
        ["a", "inside", 1.0, 2.0],
        ["a", "past", 3.0, 4.0],
        ["a", "rounding", 3.0, 4.0],
        ["a", "before", 0.0, 1.0],
        ["b", "other", 0.0, 2.0],
    ]
    assert list(rows.columns) == list(tables.COLUMNS[tables.QUERIES])
    assert notes == {
        ("a.mp4", "query: window beyond the video, clipped"): 2,
        ("b.mp4", "query: window beyond the video, clipped"): 1,
        ("a.mp4", "query: outside the video, dropped"): 1,
        ("a.mp4", "query: ends before it starts, dropped"): 1,
        ("a.mp4", "query: empty text, dropped"): 1,
    }


def test_windows_of_one_query_that_become_one_are_a_single_row() -> None:
    found, notes = checked(
        queries=[
            query("q", 3.0, 4.5),
            query("q", 3.0, 5.0),
            query("q", 1.0, 2.0),
            query("q", 1.0, 2.0),
            query("r", 1.0, 2.0),
        ]
    )
    assert found[tables.QUERIES][["query", "start_s", "end_s"]].to_numpy().tolist() == [
        ["q", 3.0, 4.0],
        ["q", 1.0, 2.0],
        ["r", 1.0, 2.0],
    ]
    assert notes["a.mp4", "query: the same window twice, dropped"] == 2


def test_a_query_that_is_not_annotated_keeps_no_window_and_half_a_window_is_none() -> None:
    nan = float("nan")
    found, notes = checked(queries=[query("asked", nan, nan), query("half", 1.0, nan), query("still", 2.0, 2.0)])
    rows = found[tables.QUERIES]
    assert rows["query"].tolist() == ["asked"] and rows[["start_s", "end_s"]].isna().all(axis=None)
    assert notes == {
        ("a.mp4", "query: half a window, dropped"): 1,
        ("a.mp4", "query: a window without length, dropped"): 1,
    }


def relation(frame: int, subject: int, thing: int, predicate: str = "behind", original: str = "a.mp4") -> dict[str, Any]:
    return {"original": original, "frame": frame, "subject": subject, "predicate": predicate, "object": thing}


def test_relations_need_boxes_at_both_ends_in_their_frame() -> None:
    boxes = [("a", 0, 1), ("a", 0, 2), ("a", 1, 1), ("b", 0, 1), ("b", 0, 2), ("a", 0, -1)]
    found, notes = checked(
        boxes,
        relations=[
            relation(0, 1, 2, original="b.mp4"),
            relation(0, 1, 2),
            relation(0, 1, 2),
            relation(0, 1, 2, "in_front_of"),
            relation(1, 1, 2),
            relation(1, 2, 1),
            relation(0, 1, 1),
            relation(0, 1, 2, " "),
            relation(0, -1, 2),
        ],
    )
    rows = found[tables.RELATIONS]
    assert rows[["video", "frame", "subject", "predicate", "object"]].to_numpy().tolist() == [
        ["a", 0, 1, "behind", 2],
        ["a", 0, 1, "in_front_of", 2],
        ["b", 0, 1, "behind", 2],
    ]
    assert notes == {
        ("a.mp4", "relation: stated twice, dropped"): 1,
        ("a.mp4", "relation: object without a box in its frame, dropped"): 1,
        ("a.mp4", "relation: subject without a box in its frame, dropped"): 2,
        ("a.mp4", "relation: of a track to itself, dropped"): 1,
        ("a.mp4", "relation: no predicate, dropped"): 1,
    }


def test_empty_captions_questions_and_answers_are_dropped() -> None:
    found, notes = checked(
        captions=[{"original": "a.mp4", "caption": name, "text": text} for name, text in (("c", "Yes."), ("d", ""))],
        answers=[
            {"original": "a.mp4", "question": "q", "text": "How many?", "answer": "two"},
            {"original": "a.mp4", "question": "r", "text": "", "answer": "two"},
            {"original": "a.mp4", "question": "s", "text": "How many?", "answer": "  "},
        ],
    )
    assert found[tables.CAPTIONS]["caption"].tolist() == ["c"]
    assert found[tables.ANSWERS]["question"].tolist() == ["q"]
    assert notes == {
        ("a.mp4", "caption: empty text, dropped"): 1,
        ("a.mp4", "question: empty text, dropped"): 1,
        ("a.mp4", "question: empty answer, dropped"): 1,
    }


def test_nothing_stated_gives_empty_tables() -> None:
    found, notes = checked()
    assert set(found) == set(tables.LANGUAGE) and not notes
    for kind, table in found.items():
        assert table.empty and list(table.columns) == list(tables.COLUMNS[kind])
