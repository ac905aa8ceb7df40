"""Small clips with planted answers for tests of the task grounding, and a reader of them in memory.

Letters: T steps, L words, K objects, D widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lib.data.clip_samples import ClipSample
from lib.data.time_grid import TimeGrid

WORDS, WIDTH, OBJECT_WIDTH = 6, 12, 7


def clip(
    number: int, split: str, *, steps: int = 24, queries: int = 3, objects: bool = False, annotated: bool = True,
    signal: str = "video",
) -> ClipSample:  # fmt: skip
    """A clip of noise in which step t of an answer shows the direction of its query's word.

    signal: where: in the video's features, or in an object's (then the video shows nothing).
    """
    random = np.random.default_rng([number, steps])
    directions = np.random.default_rng(0).normal(size=(WORDS, WIDTH)).astype(np.float32)
    grid = TimeGrid(stride=4.0, window=8.0, fps=10.0, duration=(4.0 * (steps - 1) + 8.0) / 10.0)
    features = random.normal(0, 0.3, (steps, WIDTH)).astype(np.float32)
    tokens = random.normal(0, 0.3, (steps, 2, OBJECT_WIDTH)).astype(np.float32)
    asked, texts = [], []
    chosen = random.permutation(WORDS)[:queries]
    for place, word in enumerate(chosen):
        length = int(random.integers(3, 9))
        start = int(random.integers(0, steps - length))
        if signal == "video":
            features[start : start + length] += directions[word]
        else:
            tokens[start : start + length, 0] += directions[word, :OBJECT_WIDTH]
        window = tuple(grid.seconds([start, start + length - 1]).tolist())
        asked.append({
            "query": f"c{number}_{place}", "text": f"word {word}", "template": f"t{word % 2}", "evidence": signal,
            "windows": [window] if annotated else [],
        })  # fmt: skip
        texts.append(np.stack([directions[word], 0.1 * directions[word]]))
    return ClipSample(
        key=f"clip-{number:04d}", video=f"clip-{number:04d}", split=split, grid=grid, queries=asked, features=features,
        texts=texts, objects=tokens if objects else None,
        objects_mask=np.ones((steps, 2), bool) if objects else None,
    )  # fmt: skip


class Reader:
    """Clips in memory, with the interface of lib/data/clip_samples.ClipReader."""

    without_queries: ClassVar[list[str]] = []

    def __init__(self, samples: Sequence[ClipSample]) -> None:
        self.samples = list(samples)
        columns: dict[str, list[Any]] = {name: [] for name in ("key", "video", "split", "steps", "queries", "annotated")}
        for sample in self.samples:
            row = (sample.key, sample.video, sample.split, len(sample.features), len(sample.queries))
            row += (sum(bool(query["windows"]) for query in sample.queries),)
            for values, value in zip(columns.values(), row, strict=True):
                values.append(value)
        self.index = pd.DataFrame(columns)
        first = self.samples[0]
        tokens = None if first.objects is None else first.objects.shape[1:]
        self.widths = {"video": first.features.shape[1], "text": first.texts[0].shape[1], "objects": tokens}

    def rows(self, keys: Iterable[str]) -> np.ndarray:
        place = {sample.key: number for number, sample in enumerate(self.samples)}
        return np.array([place[key] for key in keys], dtype=np.int64)

    def read_row(self, row: int) -> ClipSample:
        return self.samples[row]

    def iterate(self, keys: Iterable[str]) -> Iterator[ClipSample]:
        return (self.samples[row] for row in self.rows(keys))
