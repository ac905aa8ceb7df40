"""Features that are made up from the answers, for controls: noise, and in an answer's steps the direction of its words. Not
here: features of anything that was seen.

Letters: T steps, K objects, D width. A step is in an answer when its centre is (lib/data/time_grid.py).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.config.embed import Planted
from lib.data.features import Features
from lib.perception.clips import grid_of
from lib.perception.text_light import name_direction


def plant(videos: pd.DataFrame, queries: pd.DataFrame, settings: Planted, place: str) -> Features:
    """Features of every video of a chunk (MANIFEST rows) from its queries (QUERIES table). place: for messages.

    Noise is Gaussian, a step's (or an object's) of length 1 on average; of several answers in one step the directions add
    up. The same settings and videos give the same numbers, whatever else is in the chunk.
    """
    features = Features()
    answers = dict(list(queries[queries["start_s"].notna()].groupby("video")))
    planted = 0
    for video in videos.itertuples(index=False):
        grid = grid_of(video, settings, place)
        mine = answers.get(video.video, queries.iloc[:0])
        values = _of_video(video.video, grid.count, grid.seconds(np.arange(grid.count)), mine, settings)
        mask = np.ones(values.shape[:2], bool) if settings.objects else None
        told = {"stride": grid.stride, "window": grid.window, "fps": grid.fps}
        features.add(video.video, video.video, values, mask=mask, **told)
        planted += len(mine)
    features.notes = {"width": settings.width, "planted": planted, "strength": settings.strength}
    return features


def _of_video(name: str, count: int, centres: np.ndarray, answers: pd.DataFrame, settings: Planted) -> np.ndarray:
    """[T, D], or [T, K, D] with objects, float32."""
    random = np.random.default_rng([settings.seed, *name.encode()])
    shape = (count, settings.objects or 1, settings.width)
    values = random.normal(0.0, 1.0 / np.sqrt(settings.width), shape).astype(np.float32)
    for answer in answers.itertuples(index=False):
        inside = np.flatnonzero((centres >= answer.start_s) & (centres <= answer.end_s))
        slot = random.integers(shape[1])  # one object carries the answer
        values[inside, slot] += np.float32(settings.strength) * name_direction(answer.text, settings.width)
    if settings.shuffled:
        values = values[random.permutation(count)]
    return values if settings.objects else values[:, 0]
