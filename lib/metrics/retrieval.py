"""Scores of retrieval: whether what belongs to a query is among the first K that are found. Not here: embeddings.

R@K = share of queries whose own item is among the K most similar; 0–1, higher is better. Where items are equally similar,
their order is taken as random, so that a model that tells nothing apart scores K / N and not by luck of the sorting.

Letters: Q queries, N items.
"""

from __future__ import annotations

import numpy as np


def recall(similarity: np.ndarray, own: np.ndarray, *, k: int) -> float:
    """R@k. similarity: (Q, N) float; own: (Q,) int, the item of each query. ValueError for k < 1, NaN, or no query."""
    similarity, own = np.asarray(similarity, np.float64), np.asarray(own, np.int64)
    if k < 1 or not len(own):
        raise ValueError(f"k must be at least 1 (got {k}) and there must be a query (got {len(own)})")
    if np.isnan(similarity).any():
        raise ValueError("a similarity is NaN")
    mine = similarity[np.arange(len(own)), own][:, None]
    better, tied = (similarity > mine).sum(1), (similarity == mine).sum(1)
    return float(np.clip((k - better) / tied, 0.0, 1.0).mean())
