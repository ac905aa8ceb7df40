"""Recall of triplets against frames worked out by hand and a slow reading of the formula."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from lib.metrics.scene_graph import FRAME, TRIPLET, recall


def table(*rows: tuple[int, str, int]) -> pd.DataFrame:
    """(frame, predicate, object) of person 1, with scores that fall from row to row."""
    frame = pd.DataFrame(rows, columns=["frame", "predicate", "object"])
    return frame.assign(video="a", subject=1, group="spatial", score=np.linspace(1, 0.1, len(frame)))


def test_by_hand() -> None:
    truth = table((0, "above", 2), (0, "behind", 3), (1, "above", 2))
    found = table((0, "behind", 2), (0, "above", 2), (0, "behind", 3), (1, "above", 2))
    assert recall(truth, found, k=1) == {"recall": 0.5, "mean_recall": pytest.approx((0.5 + 0) / 2), "frames": 2}
    assert recall(truth, found, k=2) == {"recall": 0.75, "mean_recall": pytest.approx((1 + 0) / 2), "frames": 2}
    assert recall(truth, found, k=3) == {"recall": 1.0, "mean_recall": 1.0, "frames": 2}
    assert recall(truth, found.iloc[:0], k=3) == {"recall": 0.0, "mean_recall": 0.0, "frames": 2}


def test_against_the_formula_read_slowly() -> None:
    rng = np.random.default_rng(0)

    def drawn(rows: int) -> pd.DataFrame:
        keys = ["video", "frame", "subject", "object"]
        values = {key: rng.integers(0, 4, rows) for key in keys} | {"predicate": rng.choice(list("abc"), rows)}
        frame = pd.DataFrame(values).astype({"video": str}).assign(group="g", score=rng.permutation(rows) / rows)
        return frame.drop_duplicates(FRAME + TRIPLET)

    truth, found = drawn(150), drawn(400)
    for k in (1, 5, 20):
        per_frame, per_predicate = [], defaultdict(list)
        for (video, frame), true in truth.groupby(FRAME):
            mine = found[(found["video"] == video) & (found["frame"] == frame)].nlargest(k, "score")
            best = set(mine[TRIPLET].itertuples(index=False, name=None))
            hits = [row in best for row in true[TRIPLET].itertuples(index=False, name=None)]
            per_frame.append(np.mean(hits))
            for predicate, hit in zip(true["predicate"], hits, strict=True):
                per_predicate[predicate].append(hit)
        got = recall(truth, found, k=k)
        assert got["recall"] == pytest.approx(np.mean(per_frame))
        assert got["mean_recall"] == pytest.approx(np.mean([np.mean(hits) for hits in per_predicate.values()]))


def test_what_cannot_be_scored_is_refused() -> None:
    truth = table((0, "above", 2))
    with pytest.raises(ValueError, match="at least 1"):
        recall(truth, truth, k=0)
    with pytest.raises(ValueError, match="true triplet"):
        recall(truth.iloc[:0], truth, k=5)
    with pytest.raises(ValueError, match="predictions: a triplet is stated twice"):
        recall(truth, pd.concat([truth, truth]), k=5)
