"""Batches of queries over clips: samples become one item per query, items become padded tensors with masks.

B queries of a batch, T video steps and L text tokens of the longest, Dv and Dt widths, K objects of a step, F width of one.
Masks are bool, True = not padding. Not here: reading (clip_samples.py), the order of samples and workers (loader.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from lib.config.base import ConfigError
from lib.data.clip_samples import ClipSample
from lib.data.time_grid import TimeGrid
from lib.files import DataError


@dataclass(frozen=True)
class Item:
    """One query on its clip. segment: float32 [2], start and end in steps of the grid, NaN where it is not annotated."""

    video: str
    query: str
    grid: TimeGrid
    features: np.ndarray
    text: np.ndarray
    objects: np.ndarray | None
    objects_mask: np.ndarray | None
    segment: np.ndarray


def items(
    sample: ClipSample,
    random: np.random.Generator | None = None,
    *,
    queries_per_clip: int | None = None,
    paraphrases: bool = False,
) -> list[Item]:
    """One item per query of a clip, in their order. queries_per_clip: so many of them, drawn anew each time; None = all.

    Of a query with several windows one is drawn; without `random` it is the first. paraphrases: its words are drawn too,
    among those that were asked and the clip's paraphrases. ConfigError: queries_per_clip is below 1, or something is to be
    drawn without `random`.
    """
    if paraphrases and random is None:
        raise ConfigError("paraphrases: true needs something to draw by. Hint: false takes the words that were asked.")
    wordings = [sample.texts, *sample.paraphrases] if paraphrases else [sample.texts]
    chosen = range(len(sample.queries))
    if queries_per_clip is not None:
        if queries_per_clip < 1 or random is None:
            raise ConfigError(f"queries_per_clip: {queries_per_clip} must be at least 1, and drawn. Hint: null takes all.")
        if queries_per_clip < len(chosen):
            chosen = np.sort(random.choice(len(chosen), queries_per_clip, replace=False)).tolist()
    found = []
    for number in chosen:
        query = sample.queries[number]
        found.append(
            Item(
                video=sample.video,
                query=query["query"],
                grid=sample.grid,
                features=sample.features,
                text=_drawn(wordings, random)[number],
                objects=sample.objects,
                objects_mask=sample.objects_mask,
                segment=segment_of(query["windows"], sample.grid, random),
            )
        )
    return found


def _drawn(wordings: Sequence[list[np.ndarray]], random: np.random.Generator | None) -> list[np.ndarray]:
    """One of several; nothing is drawn where there is one, so that other draws stay what they were."""
    return wordings[0] if random is None or len(wordings) == 1 else wordings[int(random.integers(len(wordings)))]


def segment_of(
    windows: Sequence[tuple[float, float]], grid: TimeGrid, random: np.random.Generator | None = None
) -> np.ndarray:
    """float32 [2]: one of a query's windows in steps of the grid; NaN where there is none."""
    if not windows:
        return np.full(2, np.nan, np.float32)
    number = 0 if random is None or len(windows) == 1 else int(random.integers(len(windows)))
    return grid.steps(windows[number]).astype(np.float32)


def collate(lists: Iterable[Sequence[Item]], *, multiple: int = 1) -> dict[str, Any]:
    """A batch of the items of some clips.

    Tensors: video [B, T, Dv], video_mask [B, T], text [B, L, Dt], text_mask [B, L], segments float32 [B, 2] in steps (NaN
    where not annotated), annotated bool [B], steps int64 [B]; where clips have objects, objects [B, T, K, F] and
    objects_mask [B, T, K]. Lists: videos, queries (ids), grids. multiple: T is rounded up to a multiple of it, for a
    pyramid. DataError: no query, or clips of different widths.
    """
    found = list(chain.from_iterable(lists))
    if not found:
        raise DataError("a batch without a query. Hint: clips without queries are not packed.")
    steps = np.array([len(one.features) for one in found])
    longest = -(-int(steps.max()) // multiple) * multiple
    batch: dict[str, Any] = {}
    batch["video"], batch["video_mask"] = _padded([one.features for one in found], longest)
    texts = [one.text for one in found]
    batch["text"], batch["text_mask"] = _padded(texts, max(len(text) for text in texts))
    if found[0].objects is not None:
        batch["objects"], _ = _padded([_there(one.objects, one) for one in found], longest)
        batch["objects_mask"], _ = _padded([_there(one.objects_mask, one) for one in found], longest)
    segments = torch.from_numpy(np.stack([one.segment for one in found]))
    batch |= {
        "segments": segments,
        "annotated": ~segments.isnan().any(1),
        "steps": torch.from_numpy(steps.astype(np.int64)),
    }
    return batch | {
        "videos": [one.video for one in found],
        "queries": [one.query for one in found],
        "grids": [one.grid for one in found],
    }


def _there(values: np.ndarray | None, item: Item) -> np.ndarray:
    if values is None:
        raise DataError(f"clip {item.video!r} has no objects, others of its batch have. Hint: batches are of one shardset.")
    return values


def _padded(parts: Sequence[np.ndarray], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Arrays of different lengths as one tensor [B, length, …], 0 behind their ends, and which places are theirs."""
    shape = parts[0].shape[1:]
    whole = np.zeros((len(parts), length, *shape), parts[0].dtype)
    mask = np.zeros((len(parts), length), bool)
    for number, one in enumerate(parts):
        if one.shape[1:] != shape:
            raise DataError(f"shapes {one.shape[1:]} and {shape} in one batch. Hint: batches are of one shardset.")
        whole[number, : len(one)] = one
        mask[number, : len(one)] = True
    return torch.from_numpy(whole), torch.from_numpy(mask)
