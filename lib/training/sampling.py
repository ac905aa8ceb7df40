"""Which images a training sees, in which order. Not here: reading or changing them (ultralytics).

The order is a stream: one seeded permutation of the images after another, cut into batches of constant size. Where a round
begins follows from its number alone, so a resumed training sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Sampler


class StreamSampler(Sampler[int]):
    """Image indices of one round (what ultralytics calls an epoch) of `per_round` images; set `round` before iterating."""

    def __init__(self, images: int, *, per_round: int, seed: int) -> None:
        self.images = images
        self.per_round = per_round
        self.seed = seed
        self.round = 0

    def __len__(self) -> int:
        return self.per_round

    def __iter__(self) -> Iterator[int]:
        start = self.round * self.per_round
        for number in range(start // self.images, (start + self.per_round - 1) // self.images + 1):
            first = number * self.images
            order = self.permutation(number)
            yield from order[max(start - first, 0) : start + self.per_round - first]

    def permutation(self, number: int) -> list[int]:
        """The order of the stream's pass `number` over the images; weighted sampling would replace this."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return torch.randperm(self.images, generator=generator).tolist()


class RoundLoader(DataLoader):
    """A DataLoader whose workers live for one round, so that they never read ahead into the next one."""

    def __iter__(self) -> Iterator[dict]:
        yield from super().__iter__()  # lazily: ultralytics asks for two iterators a round and uses the second

    def reset(self) -> None:
        """Ultralytics calls this when it closes mosaic, to restart workers; here each round starts its own."""
