"""Counts, lengths and speeds of tracks, which need no truth. Not here: HOTA, MOTA, IDF1 (tracking.py).

Letters: none; all functions take and give tables. Times in s, lengths in frames that were looked at and in s.
"""

from __future__ import annotations

from typing import Any

import pandas as pd


def lengths(tracks: pd.DataFrame) -> pd.DataFrame:
    """One row per track: video, class (its most frequent one), boxes (frames with a box), seconds (last − first)."""
    if tracks.empty:
        return pd.DataFrame({"video": [], "class": [], "boxes": [], "seconds": []}).astype(
            {"boxes": "int64", "seconds": "float64"}
        )
    grouped = tracks.groupby(["video", "track"], sort=True)
    rows = grouped.agg(boxes=("frame", "size"), first=("time_s", "min"), last=("time_s", "max"))
    rows["seconds"] = rows["last"] - rows["first"]
    counted = tracks.groupby(["video", "track", "class"]).size().reset_index(name="n")
    best = counted.sort_values(["n", "class"], ascending=[False, True]).drop_duplicates(["video", "track"])
    rows["class"] = best.set_index(["video", "track"])["class"]
    return rows.reset_index()[["video", "class", "boxes", "seconds"]]


def summary(tracks: pd.DataFrame, detecting: pd.DataFrame, manifest: pd.DataFrame) -> dict[str, Any]:
    """Videos, frames looked at, detections, tracks, mean track length; the last three also per class."""
    per_track = lengths(tracks)
    boxes = tracks.groupby("class").size()
    return {
        "videos": len(detecting),
        "seconds_of_video": round(float(manifest[manifest["video"].isin(detecting["video"])]["duration_s"].sum()), 3),
        "frames": int(detecting["frames"].sum()),
        "detections": int(detecting["detections"].sum()),
        "tracked_boxes": len(tracks),
        **_mean_lengths(per_track),
        "per_class": {
            str(name): {"tracked_boxes": int(boxes[name]), **_mean_lengths(rows)}
            for name, rows in per_track.groupby("class")
        },
    }


def _mean_lengths(per_track: pd.DataFrame) -> dict[str, Any]:
    some = len(per_track) > 0
    return {
        "tracks": len(per_track),
        "mean_track_length_frames": round(float(per_track["boxes"].mean()), 3) if some else None,
        "mean_track_length_s": round(float(per_track["seconds"].mean()), 3) if some else None,
    }


def speeds(detecting: pd.DataFrame, following: pd.DataFrame) -> dict[str, float | None]:
    """Frames/s: of the model alone, of decoding alone, of the tracker alone; None where nothing was timed."""
    frames, tracked = float(detecting["frames"].sum()), float(following["frames"].sum())

    def rate(count: float, seconds: float) -> float | None:
        return round(count / seconds, 2) if seconds > 0 else None

    return {
        "decode": rate(frames, float(detecting["seconds_decode"].sum())),
        "detect": rate(frames, float(detecting["seconds_model"].sum())),
        "track": rate(tracked, float(following["seconds"].sum())),
    }


def per_video(tracks: pd.DataFrame, detecting: pd.DataFrame) -> pd.DataFrame:
    """One row per video: frames, detections, tracks, mean track length, whether the detector was trained on it."""
    per_track = lengths(tracks).groupby("video").agg(tracks=("boxes", "size"), mean_track_length_s=("seconds", "mean"))
    units = detecting[["video", "frames", "detections", "seen_in_training"]].merge(per_track, on="video", how="left")
    return units.assign(tracks=units["tracks"].fillna(0).astype("int64"))
