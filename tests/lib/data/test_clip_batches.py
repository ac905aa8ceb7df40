"""Batches of queries, compared with the samples that they are made of, item by item; and the real loader going on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.config.base import ConfigError
from lib.data.clip_batches import Item, collate, items
from lib.data.clip_samples import ClipReader, ClipSample
from lib.data.loader import ShardLoader
from lib.data.time_grid import TimeGrid
from lib.files import DataError
from tests.lib.data.clips import Clips

GRID = TimeGrid(2.0, 4.0, 8.0, 60.0)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return Clips(tmp_path_factory.mktemp("clips")).write()


def sample(steps: int, tokens: list[int], windows: list[list[tuple[float, float]]], objects: bool = True) -> ClipSample:
    rng = np.random.default_rng([steps, *tokens])
    queries = [
        {"query": f"q{n}", "text": "t", "template": "", "evidence": "", "windows": one} for n, one in enumerate(windows)
    ]
    return ClipSample(
        *(f"v{steps}", f"v{steps}", "train", GRID, queries),
        features=rng.normal(size=(steps, 5)).astype(np.float32),
        texts=[rng.normal(size=(length, 3)).astype(np.float32) for length in tokens],
        objects=rng.normal(size=(steps, 2, 4)).astype(np.float32) if objects else None,
        objects_mask=rng.random((steps, 2)) < 0.5 if objects else None,
    )


clip = st.tuples(st.integers(1, 9), st.lists(st.integers(1, 4), min_size=1, max_size=3))


@settings(max_examples=60)
@given(clips=st.lists(clip, min_size=1, max_size=4), multiple=st.integers(1, 8), objects=st.booleans())
def test_every_item_stands_in_its_row_and_padding_is_0(clips: Any, multiple: int, objects: bool) -> None:
    samples = [sample(steps, tokens, [[(1.0, 2.0)]] * len(tokens), objects) for steps, tokens in clips]
    batch = collate([items(one) for one in samples], multiple=multiple)
    pairs = [(one, text) for one in samples for text in one.texts]
    longest = max(len(one.features) for one in samples)
    assert batch["video"].shape[:2] == (len(pairs), -(-longest // multiple) * multiple)
    assert batch["text"].shape[1] == max(len(text) for _, text in pairs)
    assert ("objects" in batch) == objects == ("objects_mask" in batch)
    for row, (one, text) in enumerate(pairs):
        steps = len(one.features)
        assert int(batch["steps"][row]) == steps == int(batch["video_mask"][row].sum())
        assert np.array_equal(batch["video"][row, :steps], one.features) and not batch["video"][row, steps:].any()
        assert batch["video_mask"][row, :steps].all() and batch["text_mask"][row, : len(text)].all()
        assert np.array_equal(batch["text"][row, : len(text)], text) and not batch["text"][row, len(text) :].any()
        assert int(batch["text_mask"][row].sum()) == len(text) and batch["videos"][row] == one.video
        if objects:
            assert np.array_equal(batch["objects"][row, :steps], one.objects) and not batch["objects"][row, steps:].any()
            assert np.array_equal(batch["objects_mask"][row, :steps], one.objects_mask)
            assert not batch["objects_mask"][row, steps:].any()
    assert {batch[name].dtype for name in batch if name.endswith("mask")} == {torch.bool}
    assert batch["video"].dtype == batch["segments"].dtype == torch.float32 and batch["steps"].dtype == torch.int64


def test_segments_are_steps_of_the_grid_and_one_of_several_is_drawn() -> None:
    """Reference: (4 frames / 2) / 8 = 0.25 s is step 0, a step is 0.25 s."""
    one = sample(9, [1, 2, 1], [[(0.25, 1.25)], [], [(0.5, 1.0), (2.0, 3.0)]])
    batch = collate([items(one)])
    assert batch["segments"][0].tolist() == [0.0, 4.0] and batch["segments"][2].tolist() == [1.0, 3.0]
    assert batch["annotated"].tolist() == [True, False, True] and bool(batch["segments"][1].isnan().all())
    assert batch["grids"] == [GRID] * 3 and batch["queries"] == ["q0", "q1", "q2"]
    drawn = {tuple(items(one, np.random.default_rng(seed))[2].segment.tolist()) for seed in range(20)}
    assert drawn == {(1.0, 3.0), (7.0, 11.0)}


def test_some_queries_of_a_clip_are_drawn_in_their_order() -> None:
    one = sample(4, [1] * 5, [[(1.0, 2.0)]] * 5)
    found = {
        tuple(item.query for item in items(one, np.random.default_rng(seed), queries_per_clip=2)) for seed in range(80)
    }
    assert len(found) == 10 and all(first < second for first, second in found)
    assert len(items(one, np.random.default_rng(0), queries_per_clip=9)) == 5
    with pytest.raises(ConfigError, match="queries_per_clip"):
        items(one, np.random.default_rng(0), queries_per_clip=0)


def test_what_cannot_be_a_batch_is_refused() -> None:
    with pytest.raises(DataError, match="without a query"):
        collate([[]])
    with pytest.raises(DataError, match="has no objects, others"):
        collate([items(sample(3, [1], [[]])), items(sample(4, [1], [[]], objects=False))])


def of_train(reader: ClipReader) -> list[str]:
    return reader.index.loc[reader.index["split"] == "train", "key"].tolist()


def drawn(one: ClipSample, random: np.random.Generator) -> list[Item]:
    return items(one, random, queries_per_clip=2)


def loader(packed, workers: int) -> ShardLoader:
    reader = ClipReader(packed)
    return ShardLoader(reader, of_train(reader), seed=3, batch=2, transform=drawn, collate=collate, workers=workers)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    plain = one["queries"] == other["queries"] and one["grids"] == other["grids"]
    tensors = [name for name, value in one.items() if isinstance(value, torch.Tensor)]
    return plain and all(torch.equal(one[name].nan_to_num(-9), other[name].nan_to_num(-9)) for name in tensors)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_real_loader_goes_on_at_any_step(packed, workers: int) -> None:
    """Reference: the batches of two epochs that nothing interrupted, read without workers."""
    whole = loader(packed, 0)
    batches = [batch for _ in range(2) for batch in whole]
    assert len(batches) == 6 and {tuple(batch["queries"]) for batch in batches[:3]} != {
        tuple(b["queries"]) for b in batches[3:]
    }
    for stop in range(1, len(batches)) if workers == 0 else (2, 3):
        first = loader(packed, workers)
        taken: list[dict[str, Any]] = []
        while len(taken) < stop:
            for batch in first:
                taken.append(batch)
                if len(taken) == stop:
                    break
        state, after = first.state_dict(), loader(packed, workers)
        after.load_state_dict(state)
        while len(taken) < len(batches):
            taken += list(after)
        assert all(same(one, other) for one, other in zip(taken, batches, strict=True)), stop
