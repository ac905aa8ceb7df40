"""Gaps of tracks filled by straight lines between the boxes on both sides. Not here: trackers.

What is filled in has score 0: no detector saw it. So it is told from every seen box (whose score exceeds 0), exports leave
it out below their threshold, and it comes last where boxes are chosen by score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

_EDGES = ["x1", "y1", "x2", "y2"]


def filled(tracks: pd.DataFrame, frames: Sequence[int], times: np.ndarray, most: int) -> pd.DataFrame:
    """TRACKS rows of one video, with a row for each looked-at frame in gaps of at most `most` such frames.

    frames: all frame indices that were looked at, in order; times: theirs, s. Boxes and class: on the line between the
    sides, of the side before. Rows are sorted by frame, then track; without gaps the table comes back as it is.
    """
    place = {int(frame): number for number, frame in enumerate(frames)}
    numbers = np.asarray(frames)
    found = []
    for _, track in tracks.groupby("track", sort=True):
        track = track.sort_values("frame", kind="stable")
        at = track["frame"].map(place).to_numpy()
        for number in np.flatnonzero((np.diff(at) > 1) & (np.diff(at) <= most + 1)):
            inside = np.arange(at[number] + 1, at[number + 1])
            found.append(_between(track.iloc[number], track.iloc[number + 1], numbers[inside], times[inside]))
    if not found:
        return tracks
    whole = pd.concat([tracks, *found], ignore_index=True)
    return whole.sort_values(["frame", "track"], kind="stable", ignore_index=True)


def _between(before: pd.Series, after: pd.Series, frames: np.ndarray, times: np.ndarray) -> pd.DataFrame:
    """TRACKS rows on the line from one box of a track to its next."""
    share = ((frames - before["frame"]) / (after["frame"] - before["frame"]))[:, None]
    first, last = (side[_EDGES].to_numpy(np.float64) for side in (before, after))
    rows = pd.DataFrame(first + share * (last - first), columns=_EDGES)
    more = {"video": before["video"], "frame": frames, "time_s": times, "class": before["class"], "score": 0.0}
    return rows.assign(**more, track=before["track"])[list(before.index)]
