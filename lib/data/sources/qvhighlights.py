"""QVHighlights (one JSON object per line) as a Source. Not here: its saliency scores, which are about highlights.

{"qid": 2579, "query": "…", "duration": 150, "vid": "NUsG9BgSes0_210.0_360.0", "relevant_windows": [[82, 150]]}

A query may have several windows, each a row of its own; a file without `relevant_windows` is unannotated. Windows are s
from the clip's start (Lei et al. 2021, "QVHighlights").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.config.download_queries import QvhighlightsSource
from lib.data.sources import Source
from lib.data.sources.grounding import Gathered, Window, listed, name_of, number, read_lines, window
from lib.files import DataError


def read(root: Path, options: QvhighlightsSource) -> Source:
    """Read every split's file. DataError names file and line of what is malformed or stated twice."""
    found = Gathered(root, options)
    for split, name in options.annotations.items():
        for where, entry in read_lines(root / name):
            clip = name_of(entry, "vid", where)
            found.clip(clip, split, number(entry.get("duration"), "duration", where), where, fps=options.fps, repeats=True)
            found.query(clip, _qid(entry, where), entry.get("query"), _windows(entry, where), where)
    return found.source()


def _qid(entry: dict[str, Any], where: str) -> str:
    qid = entry.get("qid")
    if isinstance(qid, bool) or not isinstance(qid, int | str) or qid == "":
        raise DataError(f"{where}: 'qid' must be a whole number or a text, got {qid!r}.")
    return str(qid)


def _windows(entry: dict[str, Any], where: str) -> list[Window]:
    if entry.get("relevant_windows") is None:
        return []
    return [window(one, where) for one in listed(entry, "relevant_windows", where)]
