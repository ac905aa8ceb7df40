"""Batches of temporal grounding, for training and prediction: clips of the shards, in pieces, and where those lie.

Not here: samples and batches themselves (lib/data/clip_samples.py, clip_batches.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lib.config.base import ConfigError
from lib.config.predict import View
from lib.data.clip_batches import collate, items
from lib.data.clip_samples import ClipReader, ClipSample
from lib.files import DataError
from lib.inference.clip_pieces import Place, looks, place_of
from lib.tables import COLUMNS, QUERIES


class Looking:
    """What is made of a clip: in each view its pieces of at most `longest` steps, and an item of each for each query.

    queries_per_clip, paraphrases: as lib/data/clip_batches.items takes them. answered: only of queries that have a window.
    """

    def __init__(
        self,
        views: Sequence[View],
        longest: int,
        queries_per_clip: int | None = None,
        *,
        paraphrases: bool = False,
        answered: bool = False,
    ) -> None:
        self.views, self.longest, self.queries_per_clip = views, longest, queries_per_clip
        self.paraphrases, self.answered = paraphrases, answered

    def __call__(self, sample: ClipSample, random: np.random.Generator) -> list[tuple[list[Any], Place]]:
        sample = _answered(sample) if self.answered else sample
        return [
            (self._items(piece.cut(sample.worded(self.views[view].paraphrase)), random), place_of(view, piece, sample.grid))
            for view, piece in looks(len(sample.features), self.views, self.longest)
        ]

    def _items(self, sample: ClipSample, random: np.random.Generator) -> list[Any]:
        return items(sample, random, queries_per_clip=self.queries_per_clip, paraphrases=self.paraphrases)


def _answered(sample: ClipSample) -> ClipSample:
    kept = [number for number, query in enumerate(sample.queries) if query["windows"]]
    if len(kept) == len(sample.queries):
        return sample

    def rows(values: Sequence[Any]) -> list[Any]:
        return [values[number] for number in kept]

    said = {"texts": rows(sample.texts), "paraphrases": [rows(words) for words in sample.paraphrases]}
    return replace(sample, queries=rows(sample.queries), **said)


def collated(clips: Sequence[list[tuple[list[Any], Place]]]) -> dict[str, Any]:
    """The batch of several clips, with `places`: where each query's steps lie in its clip."""
    parts = [part for clip in clips for part in clip]
    batch = collate([made for made, _ in parts])
    batch.pop("grids", None)  # `places` has their numbers; frozen as they are, nothing moves them to a device
    batch["keys"] = [f"{video}/{query}" for video, query in zip(batch["videos"], batch["queries"], strict=True)]
    return batch | {"places": [place for made, place in parts for _ in made]}


def split_queries(batch: Mapping[str, Any], most: int) -> Iterable[dict[str, Any]]:
    """The batch in parts of at most `most` queries."""
    size = len(batch["queries"])
    for start in range(0, size, most):
        yield {key: value[start : start + most] for key, value in batch.items()}


def queries_table(samples: Iterable[ClipSample]) -> pd.DataFrame:
    """The truth of clips as a QUERIES table; a query without windows has NaN."""
    rows = [
        (sample.video, *(query[key] for key in ("query", "text", "template", "evidence")), start, end)
        for sample in samples
        for query in sample.queries
        for start, end in query["windows"] or [(np.nan, np.nan)]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS[QUERIES])).astype({"start_s": "float64", "end_s": "float64"})


def with_answers(reader: ClipReader, keys: Sequence[str]) -> list[str]:
    """The clips that hold an annotated query, in their order; of others, which teach nothing, the number is told.

    DataError where that leaves none.
    """
    rows = reader.index[reader.index["key"].isin(set(keys))]
    answered = set(rows.loc[rows["annotated"] > 0, "key"])
    if not answered:
        raise DataError(
            f"none of the {int(rows['queries'].sum())} queries of the arm's {len(rows)} clips has a window to learn. "
            "Hint: is the annotation file of its split the unannotated one?"
        )
    if len(answered) < len(rows):
        print(f"note: {len(rows) - len(answered)} of {len(rows)} clips have no annotated query: left out", file=sys.stderr)
    return [key for key in keys if key in answered]


def refuse_long(reader: ClipReader, keys: Sequence[str], most: int, place: str) -> None:
    """DataError for clips of more than `most` steps: what a training sees at once is bounded by its memory."""
    rows = reader.index[reader.index["key"].isin(set(keys))]
    long = rows[rows["steps"] > most].sort_values("steps", ascending=False)
    if len(long):
        worst = long.iloc[0]
        raise DataError(
            f"{place}: {len(long)} of {len(rows)} clips have more than training.max_steps = {most} steps, most of all "
            f"{worst['video']!r} with {worst['steps']}. Hint: max_steps: {worst['steps']}, or a featureset of a larger "
            "`stride`; predictions see long clips in pieces."
        )


def widths(reader: ClipReader) -> dict[str, int]:
    """Widths of the features as a network's settings take them."""
    objects = reader.widths.get("objects")
    told = {"video_dim": int(reader.widths["video"]), "text_dim": int(reader.widths["text"])}
    return told | {"object_dim": int(objects[1]) if objects else 0}


def refuse_other_widths(reader: ClipReader, trained: Mapping[str, int], place: str) -> None:
    """ConfigError for features of another width than a model was trained on. Objects may be missing altogether."""
    for name, width in widths(reader).items():
        known = trained.get(name, width)
        if known and width != known and not (name == "object_dim" and width == 0):
            raise ConfigError(
                f"{place}: {name.removesuffix('_dim')} features are {width} wide, the model was trained on {known}. "
                "Hint: test on a shardset of the same featuresets."
            )
