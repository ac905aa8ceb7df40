"""Which images a training sees, in which order. Not here: reading or changing them (ultralytics, rfdetr), how often one is
repeated (repeat_factor.py).

The order is a stream: one seeded pass over the images after another, cut into batches of constant size. Where a round
begins follows from its number alone, so a resumed training sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from lib.files import DataError


class StreamSampler(Sampler[int]):
    """Image indices of one round (what ultralytics calls an epoch) of `per_round` images; set `round` before iterating.

    factors: how often each image is seen in a pass on average (1 or more); None = once.
    """

    def __init__(self, images: int, *, per_round: int, seed: int, factors: Sequence[float] | None = None) -> None:
        self.images = images
        self.per_round = per_round
        self.seed = seed
        self.factors = None if factors is None else torch.tensor(list(factors), dtype=torch.float64)
        self.round = 0
        self._ends: list[int] = []  # of passes with repeats, whose lengths differ

    def __len__(self) -> int:
        return self.per_round

    def __iter__(self) -> Iterator[int]:
        start, end = self.round * self.per_round, (self.round + 1) * self.per_round
        number, first = self._pass_at(start)
        while first < end:
            order = self.permutation(number)
            yield from order[max(start - first, 0) : end - first]
            number, first = number + 1, first + len(order)

    def _pass_at(self, place: int) -> tuple[int, int]:
        """The pass that holds this place of the stream, and where it begins."""
        if self.factors is None:
            number = place // self.images
            return number, number * self.images
        while not self._ends or self._ends[-1] <= place:
            length = int(self.repeats(self._generator(len(self._ends))).sum())
            self._ends.append(length + (self._ends[-1] if self._ends else 0))
        number = next(number for number, end in enumerate(self._ends) if end > place)
        return number, self._ends[number - 1] if number else 0

    def permutation(self, number: int) -> list[int]:
        """The order of the stream's pass `number` over the images."""
        generator = self._generator(number)
        if self.factors is None:
            return torch.randperm(self.images, generator=generator).tolist()
        seen = torch.repeat_interleave(torch.arange(self.images), self.repeats(generator))
        return seen[torch.randperm(len(seen), generator=generator)].tolist()

    def repeats(self, generator: torch.Generator) -> Tensor:
        """How often each image is seen in a pass, (images,) int64: its factor, rounded up as often as its fraction says."""
        whole = self.factors.floor()
        drawn = torch.rand(self.images, generator=generator, dtype=torch.float64)
        return (whole + (drawn < self.factors - whole)).long()

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + number)


def in_order(factors: Mapping[str, float] | None, files: Sequence[str | Path]) -> list[float] | None:
    """Factors by key, in the order of the image files that are named after the keys. DataError: a file without one."""
    if factors is None:
        return None
    keys = [Path(file).stem for file in files]
    missing = next((key for key in keys if key not in factors), None)
    if missing is not None:
        raise DataError(f"sampling: image {missing!r} has no repeat factor. Hint: do images and arm belong together?")
    return [factors[key] for key in keys]


class RoundLoader(DataLoader):
    """A DataLoader whose workers live for one round, so that they never read ahead into the next one."""

    def __iter__(self) -> Iterator[dict]:
        yield from super().__iter__()  # lazily: ultralytics asks for two iterators a round and uses the second

    def reset(self) -> None:
        """Ultralytics calls this when it closes mosaic, to restart workers; here each round starts its own."""
