"""Retrieval scores against rankings worked out by hand; ties against the mean over random orders."""

from __future__ import annotations

import numpy as np
import pytest

from lib.metrics.retrieval import recall


def test_by_hand() -> None:
    similarity = np.array([[0.9, 0.1, 0.0], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    assert recall(similarity, np.arange(3), k=1) == pytest.approx(1 / 3)
    assert recall(similarity, np.arange(3), k=2) == pytest.approx(2 / 3)
    assert recall(similarity, np.arange(3), k=3) == 1.0


def test_a_model_that_tells_nothing_apart_scores_chance() -> None:
    assert recall(np.zeros((5, 20)), np.arange(5), k=1) == pytest.approx(1 / 20)
    assert recall(np.zeros((5, 20)), np.arange(5), k=5) == pytest.approx(5 / 20)


def test_ties_are_the_mean_over_random_orders() -> None:
    rng = np.random.default_rng(0)
    similarity, own = rng.integers(0, 4, (30, 12)).astype(float), rng.integers(0, 12, 30)
    for k in (1, 3):
        scores = []
        for _ in range(3000):
            order = np.argsort(-similarity - 1e-6 * rng.random(similarity.shape), axis=1)[:, :k]
            scores.append(np.mean([mine in best for mine, best in zip(own, order, strict=True)]))
        assert recall(similarity, own, k=k) == pytest.approx(np.mean(scores), abs=0.005)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        recall(np.zeros((1, 2)), np.array([0]), k=0)
    with pytest.raises(ValueError, match="a query"):
        recall(np.zeros((0, 2)), np.zeros(0), k=1)
    with pytest.raises(ValueError, match="NaN"):
        recall(np.array([[np.nan, 1.0]]), np.array([0]), k=1)
