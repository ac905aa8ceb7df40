"""Planted features: noise, and where a query is answered a known projection of its words. An experiment, never a default;
settings and their sense are in lib/config/feature_planted.py.

    x[t] = noise · ε[t] + strength · √width · Σ_q share_q[t] · (w_q W)

w_q: direction of length 1 of the words of query q, hashed as kind light_text hashes them; with `weights: rare` a word
counts ln(1 + N / n), of N queries n holding it (inverse document frequency). W: a fixed projection that keeps lengths, so
that one query's signal has a root mean square of `strength` in every number. share_q[t]: how much of the window of step t
lies inside an answer of q, 0 … 1; an answer shorter than a window is not lost.

T steps, D width, K objects of a step. The same settings, manifest and queries give the same numbers, in whatever chunks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lib.config.feature_planted import PlantedFeatures
from lib.data.features import Features
from lib.data.hashing import hashes
from lib.data.time_grid import TimeGrid
from lib.files import DataError
from lib.perception.hashed import direction, projection, unit_rows
from lib.perception.text_light import words_of

_THERE = 0.75
"""Share of objects that are there."""
Windows = Mapping[str, list[tuple[str, float, float]]]
"""Video -> (text, start, end) of every answer that is planted in it, in shares of the clip's duration."""


def plant(manifest: pd.DataFrame, queries: pd.DataFrame, videos: pd.DataFrame, settings: PlantedFeatures) -> Features:
    """Features of `videos` (MANIFEST rows of a chunk). manifest, queries: of the whole dataset, for what is shuffled.

    DataError names a clip without duration or rate, or with more steps than settings allow.
    """
    answers = planted_windows(manifest, queries, settings)
    features, signals = Features(), Signals(queries["text"], settings)
    for video in videos.itertuples(index=False):
        grid = _grid(video, settings)
        signal = _signal(answers.get(video.video, []), grid, signals)
        random = np.random.default_rng(hashes([video.video], settings.seed, f"planted {settings.where}"))
        place = {"stride": grid.stride, "window": grid.window, "fps": grid.fps}
        if settings.where == "video":
            noise = random.standard_normal(signal.shape, dtype=np.float32)
            features.add(video.video, video.video, settings.noise * noise + signal, **place)
        else:
            tokens, mask = _objects(signal, settings, random)
            features.add(video.video, video.video, tokens, mask=mask, **place)
    features.notes = {"width": settings.width, "experiment": "planted: made from the true windows"}
    return features


def planted_windows(manifest: pd.DataFrame, queries: pd.DataFrame, settings: PlantedFeatures) -> Windows:
    """Where every query's signal lies; with `shuffle` where the next of its split, in an order by hash, is answered."""
    known = manifest.set_index("video")[["split", "duration_s"]]
    rows = queries[queries["start_s"].notna() & queries["video"].isin(known.index)].join(known, on="video")
    start, end = rows["start_s"] / rows["duration_s"], rows["end_s"] / rows["duration_s"]
    rows = rows.assign(start=start, end=end).reset_index(drop=True)
    if settings.shuffle:
        order = rows.assign(u=hashes(rows["query"] + "\0" + rows["video"], settings.seed, "shuffled")).sort_values("u")
        for _, one in order.groupby("split"):
            rows.loc[one.index, ["start", "end"]] = np.roll(one[["start", "end"]].to_numpy(), -1, axis=0)
    found: dict[str, list[tuple[str, float, float]]] = {}
    for video, text, start, end in rows[["video", "text", "start", "end"]].itertuples(index=False):
        found.setdefault(video, []).append((text, float(start), float(end)))
    return found


def _grid(video: Any, settings: PlantedFeatures) -> TimeGrid:
    grid = TimeGrid(settings.stride, settings.window, settings.fps or float(video.fps), float(video.duration_s))
    if grid.count > settings.max_steps:
        raise DataError(
            f"video {video.original!r}: {grid.count} steps are more than max_steps = {settings.max_steps}. "
            "Hint: raise stride, or max_steps."
        )
    return grid


class Signals:
    """What each query adds inside its answer. texts: of all queries of the dataset, for how rare a word is."""

    def __init__(self, texts: Iterable[str], settings: PlantedFeatures) -> None:
        self.settings = settings
        distinct = set(texts)
        held = Counter(word for text in distinct for word in set(words_of(text)))
        plain = settings.weights == "plain"
        self._weights = {word: 1.0 if plain else math.log1p(len(distinct) / count) for word, count in held.items()}
        self._known: dict[str, np.ndarray] = {}

    def of(self, text: str) -> np.ndarray:
        """(D,) float32; its root mean square is the strength, but for what the projection changes."""
        if text not in self._known:
            self._known[text] = self._made(text)
        return self._known[text]

    def _made(self, text: str) -> np.ndarray:
        settings, found = self.settings, words_of(text)
        bag = np.zeros((1, settings.words), np.float32)
        for word in found:
            bag[0] += np.float32(self._weights[word]) * direction(word, settings.words)
        fixed = projection(f"planted {settings.seed}", settings.words, settings.width)
        return np.float32(settings.strength * np.sqrt(settings.width)) * (unit_rows(bag)[0] @ fixed)


def shares(grid: TimeGrid, start_s: float, end_s: float) -> np.ndarray:
    """(T,) float32, 0 … 1: how much of each step's window lies between start_s and end_s."""
    middle, half = grid.seconds(np.arange(grid.count)), grid.window / grid.fps / 2
    inside = np.minimum(middle + half, end_s) - np.maximum(middle - half, start_s)
    return (np.clip(inside, 0.0, None) / (2 * half)).astype(np.float32)


def _signal(answers: list[tuple[str, float, float]], grid: TimeGrid, signals: Signals) -> np.ndarray:
    """(T, D) float32 of all answers in a clip."""
    signal = np.zeros((grid.count, signals.settings.width), np.float32)
    for text, start, end in answers if signals.settings.strength else ():
        share = shares(grid, start * grid.duration, end * grid.duration)
        touched = np.flatnonzero(share)
        signal[touched] += share[touched, None] * signals.of(text)
    return signal


def _objects(signal: np.ndarray, settings: PlantedFeatures, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (T, K, D) and mask (T, K): noise in every object that is there, and the signal in one of them, drawn by step.

    Which objects are there does not depend on the answers; the first one always is.
    """
    shape = (len(signal), settings.top)
    mask = random.random(shape) < _THERE
    mask[:, 0] = True
    tokens = settings.noise * random.standard_normal((*shape, settings.width), dtype=np.float32)
    bearer = np.argmax(np.where(mask, random.random(shape), -1.0), axis=1)
    tokens[np.arange(len(signal)), bearer] += signal
    return np.where(mask[..., None], tokens, np.float32(0)).astype(np.float32), mask
