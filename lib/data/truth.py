"""The truth tables of a dataset: what a Source states, in the form that later stages read. Not here: media, splits, ids.

Boxes are clipped to the picture; a box of which nothing remains is dropped and counted. Rows are sorted by video and frame,
rows of one frame keep the source's order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import tables
from lib.data.probing import Media
from lib.data.sources import Item
from lib.files import DataError

_EDGES = ["x1", "y1", "x2", "y2"]
_CLIP_SLACK = 0.01  # px; less is rounding in the source, clipped but not worth counting


@dataclass(frozen=True)
class Video:
    """One item that is used: its id, split and media."""

    item: Item
    video: str
    split: str
    media: Media
    frames: int
    fps: float
    width: int
    height: int
    times: np.ndarray

    @property
    def duration_s(self) -> float:
        """As its frames tell, or its file."""
        if self.item.kind == "none" and self.item.duration_s is not None:
            return self.item.duration_s
        if self.item.kind in ("frames", "none"):
            return self.frames / self.fps
        return self.media.probe.duration_s if self.media.probe is not None else 0.0


def frames_table(listed: pd.DataFrame, videos: list[Video], *, everything: bool) -> pd.DataFrame:
    """The FRAMES table: listed frames of used videos; with `everything`, all frames of videos that have any."""
    by_name = {video.item.original: video for video in videos}
    rows = listed[listed["original"].isin(by_name)]
    if everything:
        names = rows["original"].unique()
        rows = pd.DataFrame(
            {
                "original": np.repeat(names, [by_name[name].frames for name in names]),
                "frame": np.concatenate(
                    [np.zeros(0, dtype=np.int64), *(np.arange(by_name[name].frames) for name in names)]
                ),
            }
        )
    return _placed(rows, by_name)[["video", "frame", "time_s"]]


def _placed(rows: pd.DataFrame, by_name: dict[str, Video]) -> pd.DataFrame:
    """Rows with video and time_s added, sorted by video and frame; rows of the same frame keep the source's order."""
    times = [by_name[name].times[frame] for name, frame in zip(rows["original"], rows["frame"], strict=True)]
    ids = [by_name[name].video for name in rows["original"]]
    placed = rows.assign(video=pd.Series(ids, index=rows.index, dtype=object), time_s=np.asarray(times, dtype=np.float64))
    return placed.sort_values(["video", "frame"], kind="stable", ignore_index=True)


def boxes_table(
    stated: pd.DataFrame, videos: list[Video], names: dict[str, str], *, clip: bool = True
) -> tuple[pd.DataFrame, dict[str, Counter[str]]]:
    """The BOXES table of used videos and chosen classes, and clipped / dropped by original name.

    clip: boxes are cut at the picture's edges, where its size is known.
    """
    by_name = {video.item.original: video for video in videos}
    rows = stated[stated["original"].isin(by_name) & stated["class"].isin(names)]
    rows = rows.assign(**{"class": rows["class"].map(names)})
    sizes = np.array([[by_name[name].width, by_name[name].height] for name in rows["original"]], dtype=np.float64)
    sizes = np.tile(sizes.reshape(-1, 2), 2) * clip
    lowest, highest = np.where(sizes > 0, 0.0, -np.inf), np.where(sizes > 0, sizes, np.inf)  # no size: no clipping
    before = rows[_EDGES].to_numpy(dtype=np.float64)
    after = before.clip(lowest, highest)
    gone = (after[:, 2] - after[:, 0] <= 0) | (after[:, 3] - after[:, 1] <= 0)
    moved = (np.abs(after - before) > _CLIP_SLACK).any(axis=1) & ~gone
    changes = {"clipped": Counter(rows["original"][moved]), "dropped": Counter(rows["original"][gone])}
    rows = rows.assign(**dict(zip(_EDGES, after.T, strict=True)))[~gone]
    return _placed(rows, by_name)[list(tables.COLUMNS[tables.BOXES])], changes


def detections_table(stated: pd.DataFrame, videos: list[Video], names: dict[str, str]) -> pd.DataFrame:
    """The DETECTIONS table of given detections, of used videos and chosen classes; not clipped."""
    by_name = {video.item.original: video for video in videos}
    rows = stated[stated["original"].isin(by_name) & stated["class"].isin(names)]
    rows = rows.assign(**{"class": rows["class"].map(names)})
    return _placed(rows, by_name)[list(tables.COLUMNS[tables.DETECTIONS])]


def write_truth(
    folder: Path,
    frames: pd.DataFrame,
    boxes: pd.DataFrame,
    detections: pd.DataFrame | None,
    language: dict[str, pd.DataFrame],
) -> None:
    """All truth tables, empty where the source has none; tracks hold the boxes with a track that are not ignored.

    language: kind of tables.LANGUAGE -> its table.
    """
    tracks = boxes[(boxes["track"] >= 0) & ~boxes["ignore"]].assign(score=1.0)[list(tables.COLUMNS[tables.TRACKS])]
    twice = tracks.duplicated(["video", "frame", "track"])
    if twice.any():
        row = tracks[twice].iloc[0]
        raise DataError(
            f"video {row['video']!r}, frame {row['frame']}: track {row['track']} has two boxes. Hint: one id, one box."
        )
    filled = {tables.FRAMES: frames, tables.BOXES: boxes, tables.TRACKS: tracks.reset_index(drop=True)}
    filled[tables.DETECTIONS] = tables.empty(tables.DETECTIONS) if detections is None else detections
    for kind, table in (filled | language).items():
        tables.write_table(folder / f"{kind}.parquet", table, kind)


def class_counts(boxes: pd.DataFrame, videos: list[Video], order: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Split -> class -> frames that hold it and instances; ignored boxes are not counted."""
    split_of = {video.video: video.split for video in videos}
    real = boxes[~boxes["ignore"]]
    real = real.assign(split=real["video"].map(split_of))
    instances = real.groupby(["split", "class"]).size().to_dict()
    held = real.drop_duplicates(["video", "frame", "class"]).groupby(["split", "class"]).size().to_dict()
    return {
        split: {
            name: {"frames": int(held.get((split, name), 0)), "instances": int(instances.get((split, name), 0))}
            for name in order
        }
        for split in sorted(set(split_of.values()))
    }
