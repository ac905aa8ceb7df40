"""Looking for other words: a paraphrase in the same words changes no bit, the order of views does not matter, and other
words are really looked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.config.base import ConfigError
from lib.tasks import Trained, grounding
from tests.lib.tasks.test_grounding_task import Bench, clips

SAME, NOISY, SWAPPED = 1, 2, 3


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Clips with three paraphrases: the same words, more words (noise beside them), and the words of another query."""
    random, made = np.random.default_rng(0), []
    for sample in clips():
        noise = random.normal(0, 0.1, (3, sample.texts[0].shape[1])).astype(np.float32)
        same, noisy = [text.copy() for text in sample.texts], [np.concatenate([text, noise]) for text in sample.texts]
        made.append(replace(sample, paraphrases=[same, noisy, sample.texts[1:] + sample.texts[:1]]))
    return Bench(tmp_path, monkeypatch, made)


@pytest.fixture
def trained(bench: Bench) -> Trained:
    return grounding.train(bench.job(budget={"steps": 60, "evaluate_every_steps": 60}))


def test_a_paraphrase_in_the_same_words_is_the_plain_view(bench: Bench, trained: Trained) -> None:
    plain = bench.predict(trained)
    pd.testing.assert_frame_equal(plain, bench.predict(trained, views=[{"paraphrase": SAME}]), check_exact=True)
    twice = bench.predict(trained, views=[{}, {"paraphrase": SAME}])
    pd.testing.assert_frame_equal(plain, twice)  # two that agree are one
    piece = [{"every": 2, "phase": 1, "slide": 8}, {"every": 2, "phase": 1, "slide": 8, "paraphrase": SAME}]
    one, other = (bench.predict(trained, views=[view]) for view in piece)
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_the_order_of_views_does_not_matter(bench: Bench, trained: Trained) -> None:
    views = [{}, {"paraphrase": NOISY}, {"paraphrase": SWAPPED, "every": 2}]
    found = [bench.predict(trained, views=[views[place] for place in order]) for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0))]
    pd.testing.assert_frame_equal(found[0], found[1])
    pd.testing.assert_frame_equal(found[0], found[2])
    assert not found[0].equals(bench.predict(trained))


def test_other_words_are_looked_for(bench: Bench, trained: Trained) -> None:
    """Reference: clips whose queries have the other words themselves."""
    swapped = bench.predict(trained, views=[{"paraphrase": SWAPPED}])
    assert not swapped.equals(bench.predict(trained))
    bench.take([sample.worded(SWAPPED) for sample in bench.samples])
    pd.testing.assert_frame_equal(swapped, bench.predict(trained), check_exact=True)
    with pytest.raises(ConfigError, match="paraphrase 4 of clip 'clip-0038': its shardset has 3"):
        bench.predict(trained, views=[{"paraphrase": 4}])


def test_a_training_may_draw_among_wordings(bench: Bench) -> None:
    short = {"budget": {"steps": 8, "evaluate_every_steps": 8}}
    plain, drawn = (grounding.train(bench.job(name, paraphrases=name == "drawn", **short)) for name in ("plain", "drawn"))
    assert drawn.history["train/loss"].tolist() != plain.history["train/loss"].tolist()
    again = grounding.train(bench.job("again", paraphrases=True, **short))
    assert again.history["train/loss"].tolist() == drawn.history["train/loss"].tolist()
