"""quality.csv: every file of a source with what was lost, changed or noted of it, used or not. Not here: deciding that
(ingest.py), looking at the files (probing.py)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from lib import tables
from lib.data.probing import Media
from lib.data.sources import Source
from lib.data.truth import Video

_TEXTS = ("query", "relation", "caption", "question")


def quality_table(
    source: Source,
    videos: list[Video],
    ids: dict[str, str],
    splits: dict[str, str | None],
    causes: dict[str, str],
    tables_held: dict[str, pd.DataFrame],
    changes: dict[str, Any],
) -> pd.DataFrame:
    """quality.csv: one row per file of the source, used or not."""
    used = {video.item.original: video for video in videos}
    held = {kind: table["video"].value_counts().to_dict() for kind, table in tables_held.items()}
    rows = []
    for item in source.items:
        name = item.original
        row: dict[str, Any] = {"video": ids[name], "original": name, "split": splits[name] or "", "status": "skipped"}
        row |= {"cause": causes[name]}
        if name in used:
            row |= _looks(used[name], changes["notes"].get(name, ""))
        row |= {kind: counts.get(ids[name], 0) for kind, counts in held.items()}
        row |= {"boxes_clipped": changes["clipped"][name], "boxes_dropped": changes["dropped"][name]}
        rows.append(row)
    order = ["video", "original", "split", "status", "cause", "frames", "fps", "width", "height", "duration_s"]
    order += [
        "frames_lost",
        "rotated",
        "variable_rate",
        "audio",
        "boxes",
        "boxes_clipped",
        "boxes_dropped",
        *tables.LANGUAGE,
    ]
    whole = dict.fromkeys(("frames", "frames_lost", "width", "height"), "Int64")  # empty for skipped files, never 480.0
    return pd.DataFrame(rows, columns=order).astype(whole).sort_values("video", ignore_index=True)


def _looks(video: Video, notes: str) -> dict[str, Any]:
    seen = video.media.probe
    cut = how_cut(video.media)
    return {
        "status": "ok",
        "cause": "; ".join(part for part in (cut, notes) if part),
        "frames": video.frames,
        "fps": round(video.fps, 6),
        "width": video.width,
        "height": video.height,
        "duration_s": round(video.duration_s, 6),
        "frames_lost": max(0, seen.stated - seen.frames) if seen is not None and seen.cut else 0,
        "rotated": seen is not None and seen.rotated,
        "variable_rate": seen is not None and seen.variable_rate,
        "audio": seen is not None and seen.has_audio,
    }


def how_cut(media: Media) -> str:
    """In words, what is lost of a video ("" = nothing that is known)."""
    seen = media.probe
    if seen is None or not seen.cut:
        return ""
    why = seen.damage or "fewer frames than its header states"
    lost = f"{seen.stated - seen.frames} of {seen.stated} frames are lost" if seen.stated > seen.frames else "it ends early"
    return f"cut: {lost} ({why})"


def with_notes(changes: dict[str, Counter[str]], noted: list[dict[str, Any]]) -> dict[str, Any]:
    """Adds the boxes that the reader dropped, and what else was noted per original name."""
    notes: dict[str, Counter[str]] = {}
    for entry in noted:
        if entry["what"] == "box":
            changes["dropped"][entry["original"]] += 1
        amount = entry["value"] if isinstance(entry["value"], int) else 1
        notes.setdefault(entry["original"], Counter())[f"{entry['what']}: {entry['cause']}"] += amount
    texts = {name: "; ".join(f"{count} x {note}" for note, count in found.items()) for name, found in notes.items()}
    return {**changes, "notes": texts}


def told_of_texts(noted: list[dict[str, Any]]) -> list[str]:
    """What became of queries, captions and other texts that could not be taken as they are, a line per cause."""
    names: dict[str, list[str]] = {}
    for entry in noted:
        if entry["what"] in _TEXTS:
            names.setdefault(f"{entry['what']}: {entry['cause']}", []).append(entry["original"])
    return [f"{len(found)} x {note} (first in {found[0]!r}; quality.csv counts them)" for note, found in names.items()]
