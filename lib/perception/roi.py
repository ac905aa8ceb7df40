"""Looks of boxes: crops of a picture become vectors of length 1; and tracked objects become tokens per step. Not here: the
encoders (roi_light.py, roi_model.py), trackers.

T steps, K objects of a step, F = 128 looks + 4 place + 1 score + class name. Steps and boxes without an object are 0 and
masked: nothing is ever made up.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd

from lib.config.appearance import APPEARANCE_WIDTH, Appearance
from lib.config.embed import Objects
from lib.data.features import Features
from lib.data.video import read_frames
from lib.perception.clips import Windows, grid_of, refuse_blind, windows_of
from lib.perception.streaming import progress_bar, rate
from lib.perception.text_light import name_direction

_EDGES = ["x1", "y1", "x2", "y2"]


class AppearanceEncoder(Protocol):
    """What turns crops into looks. facts: what meta.json shall tell of it."""

    facts: dict[str, Any]

    def encode(self, crops: list[np.ndarray]) -> np.ndarray:
        """N crops (h, w, 3) uint8 RGB of any size → (N, 128) float32, rows of length 1."""
        ...


def build_appearance(settings: Appearance) -> AppearanceEncoder:
    """The encoder that settings name; a network is loaded here, once."""
    if settings.kind == "light":
        from lib.perception.roi_light import LightLooks

        return LightLooks()
    from lib.perception.roi_model import NetworkLooks

    return NetworkLooks(settings)


def crops_of(picture: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """What boxes (N, 4) x1, y1, x2, y2 px cut out of a picture (H, W, 3): every pixel that a box touches, at least one."""
    height, width = picture.shape[:2]
    left, top = (np.clip(np.floor(boxes[:, place]), 0, side - 1).astype(int) for place, side in ((0, width), (1, height)))
    right = np.clip(np.ceil(boxes[:, 2]), left + 1, width).astype(int)
    bottom = np.clip(np.ceil(boxes[:, 3]), top + 1, height).astype(int)
    return [picture[y1:y2, x1:x2] for x1, y1, x2, y2 in zip(left, top, right, bottom, strict=True)]


def encode_objects(
    videos: pd.DataFrame,
    tracks: pd.DataFrame,
    settings: Objects,
    encoder: AppearanceEncoder,
    place: str,
    *,
    progress: bool = True,
) -> Features:
    """Object tokens of every video of a chunk (MANIFEST rows) from its TRACKS rows. place: the featureset, for messages.

    Of a video without tracks the mask is 0 throughout, and the notes name it.
    """
    features, bare = Features(), []
    by_video = dict(tuple(tracks.groupby("video")))
    with progress_bar("embed", int(videos["frames"].sum()), shown=progress) as advance:
        for video in videos.itertuples(index=False):
            grid = grid_of(video, settings, place)
            rows = by_video.get(video.video, tracks.iloc[:0])
            tokens, mask = _tokens(video, rows, windows_of(grid, int(video.frames)), settings, encoder, place)
            features.add(video.video, video.video, tokens, mask=mask, stride=grid.stride, window=grid.window, fps=grid.fps)
            bare += [] if mask.any() else [str(video.video)]
            advance(int(video.frames))
    features.notes = {"width": settings.width, "without_objects": bare, **encoder.facts}
    return features


def _tokens(
    video: Any, rows: pd.DataFrame, windows: Windows, settings: Objects, encoder: AppearanceEncoder, place: str
) -> tuple[np.ndarray, np.ndarray]:
    """(T, K, F) float32 and its mask (T, K) bool of one video (MANIFEST row) with its TRACKS rows."""
    tokens = np.zeros((len(windows), settings.top, settings.width), np.float32)
    mask = np.zeros(tokens.shape[:2], bool)
    chosen = chosen_boxes(rows, windows, settings.top)
    if chosen.empty:
        return tokens, mask
    refuse_blind(video, place)
    needed = chosen.drop_duplicates("row")
    looks = _looks(video, needed, encoder)
    by_row = {row: look for row, look in zip(needed["row"], looks, strict=True)}
    size = np.array([video.width, video.height] * 2, np.float64)
    corners = chosen[_EDGES].to_numpy(np.float64) / size
    where = np.column_stack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
    names = {name: name_direction(name, settings.class_width) for name in chosen["class"].unique()}
    for number, (step, slot, row, score, name) in enumerate(
        chosen[["step", "slot", "row", "score", "class"]].itertuples(index=False)
    ):
        parts = [by_row[row], where[number], [score]]
        parts += [names[name]] if settings.class_names == "hashed" else []
        tokens[step, slot], mask[step, slot] = np.concatenate(parts), True
    return tokens, mask


def chosen_boxes(rows: pd.DataFrame, windows: Windows, top: int) -> pd.DataFrame:
    """Which box stands for which object in which step: TRACKS rows with `row`, `step` and `slot` (0 … top - 1).

    Of each track in a window the box nearest to its middle (of two the earlier), of these the `top` best by score (of equal
    ones the lower track first).
    """
    found = []
    rows = rows.reset_index(drop=True).sort_values("frame", kind="stable")
    frames = rows["frame"].to_numpy()
    for step, (start, end) in enumerate(windows):
        inside = rows.iloc[np.searchsorted(frames, start) : np.searchsorted(frames, end)]
        if inside.empty:
            continue
        distance = (inside["frame"] - (start + end - 1) / 2).abs()
        nearest = (
            inside.assign(distance=distance).sort_values(["distance", "frame"], kind="stable").drop_duplicates("track")
        )
        best = nearest.sort_values(["score", "track"], ascending=[False, True], kind="stable").iloc[:top]
        found.append(best.assign(row=best.index, step=step, slot=np.arange(len(best))))
    columns = [*rows.columns, "row", "step", "slot"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _looks(video: Any, boxes: pd.DataFrame, encoder: AppearanceEncoder) -> np.ndarray:
    """(N, 128) of boxes of one video, in their order; each frame is decoded once."""
    looks = np.zeros((len(boxes), APPEARANCE_WIDTH), np.float32)
    places: dict[int, np.ndarray] = boxes.reset_index(drop=True).groupby("frame").indices
    corners = boxes[_EDGES].to_numpy(np.float64)
    stream = int(video.stream) if video.kind == "video" else None
    wanted = {"indices": sorted(places), "stream": stream, "fps": rate(video.fps)}
    for frame, _, picture in read_frames(video.path, kind=video.kind, **wanted):
        mine = places[int(frame)]
        looks[mine] = encoder.encode(crops_of(picture, corners[mine]))
    return looks
