"""Features of texts: the queries of a dataset, one tensor each. Not here: the encoders (text_light.py, text_model.py).

L tokens, Dt width: [L, Dt], or [1, Dt] where a text is pooled.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np
import pandas as pd

from lib.config.embed_wording import WordingSection
from lib.data.features import Features
from lib.files import DataError
from lib.perception.wording import reworded


class TextEncoder(Protocol):
    """What turns texts into rows. facts: what meta.json shall tell of it."""

    width: int
    facts: dict[str, Any]

    def encode(self, texts: list[str]) -> tuple[list[np.ndarray], list[bool]]:
        """Per text [L, width] or [1, width] float32, and whether it was longer than allowed and cut."""
        ...


def encode_texts(
    queries: pd.DataFrame,
    videos: pd.DataFrame,
    encoder: TextEncoder,
    place: str,
    wording: WordingSection | None = None,
) -> Features:
    """Features of all queries (QUERIES table) of a chunk's videos. place: the featureset, for messages.

    A query with several windows is one text. wording: other words for them. DataError: a query without words, an id that
    two videos or two texts share.
    """
    texts = _distinct(queries, place)
    texts, notes = (texts, {}) if wording is None else reworded(texts, wording, place)
    mine = texts[texts["video"].isin(videos["video"])]
    values, cut = encoder.encode(mine["text"].tolist())
    features = Features()
    for query, video, text, rows in zip(mine["query"], mine["video"], mine["text"], values, strict=True):
        if not len(rows):
            raise DataError(
                f"query {query!r} of video {video!r}: {text!r} holds no word that {place} could encode. "
                "Hint: a query of signs alone? Take it out of the annotations, or encode words by kind model_text."
            )
        features.add(query, video, rows)
    features.notes = {"width": encoder.width, "cut_texts": int(sum(cut)), **encoder.facts, **notes}
    if any(cut):
        print(f"warning: {sum(cut)} of {len(cut)} texts are longer than {place}.max_tokens and were cut", file=sys.stderr)
    return features


def _distinct(queries: pd.DataFrame, place: str) -> pd.DataFrame:
    """Each query once. An id names one text of one video, in the whole dataset: features are found by it."""
    texts = queries.drop_duplicates(["query", "video", "text"])
    twice = texts[texts.duplicated("query", keep=False)]
    if len(twice):
        name = twice["query"].iloc[0]
        whose = ", ".join(sorted(set(twice.loc[twice["query"] == name, "video"])))
        raise DataError(
            f"query {name!r} names several texts (videos {whose}), and {place} finds features by its name. "
            "Hint: ids of queries are unique in a dataset."
        )
    blank = texts[texts["text"].str.strip() == ""]
    if len(blank):
        raise DataError(f"query {blank['query'].iloc[0]!r} of video {blank['video'].iloc[0]!r} has no text.")
    return texts
