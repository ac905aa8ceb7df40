"""In which order a training sees its samples, and which of them fall to each rank: pure functions of seed, epoch and keys.

Not here: reading (reader.py), workers and batches of tensors (loader.py).

Every sample has a place in the order of an epoch; the order knows nothing of ranks, workers, batches or files. All ranks
walk along it together: one step takes the next ranks x batch samples, and of these rank r takes every ranks-th from the
r-th on. What was consumed is therefore always a beginning of the order, one number, and a training may go on from it with
other ranks, workers or batches: nothing is lost or repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from lib.config.base import ConfigError
from lib.data.hashing import hashes, mixed
from lib.files import DataError, sha256_text

VERSION = 1
BLOCKS_MIXED = 8
_GOLDEN = 0x9E3779B97F4A7C15
_64_BITS = 2**64 - 1

Tail = Literal["keep", "drop", "pad"]
"""What the last, incomplete step of an epoch does. keep: every sample once; the last batches are smaller, and with several
ranks some may have one batch less (only for code that does not wait for the other ranks). drop: leave out what fills no
whole step, other samples in every epoch. pad: as many samples on every rank, by repeating up to ranks - 1 of the epoch's
first ones."""


class EpochOrder:
    """The order of N samples in every epoch.

    keys: the samples; one that is stated k times is seen k times per epoch. Where two samples stand to each other depends
    on seed, epoch and their keys alone, not on the other samples nor on the order of `keys`.
    block: 1 = all samples are shuffled. More = runs of this many neighbours in `keys` stay near each other (the runs are
    shuffled, then the samples of every BLOCKS_MIXED runs), so that reading jumps less; then the order of `keys` counts.
    shuffle: False = the order of `keys`, in every epoch.
    """

    def __init__(self, keys: Sequence[str], *, seed: int, shuffle: bool = True, block: int = 1) -> None:
        if block < 1:
            raise ConfigError(f"block must be at least 1, got {block}. Hint: 1 shuffles all samples.")
        self.seed, self.shuffle, self.block = seed, shuffle, block
        names = pd.Series(list(keys), dtype=object)
        again = names.groupby(names).cumcount().to_numpy()
        names = [f"{name}\0{number}" if number else name for name, number in zip(names, again.tolist(), strict=True)]
        self.draws = hashes(names, seed, "epochs")
        # shuffled whole, the same samples stated in another order are the same training
        ordered = names if block > 1 or not shuffle else sorted(names)
        self.digest = sha256_text("\n".join(ordered))

    def __len__(self) -> int:
        return len(self.draws)

    def order(self, epoch: int) -> np.ndarray:
        """(N,) int64: places in `keys` in the order of this epoch (from 0 on)."""
        if not self.shuffle:
            return np.arange(len(self))
        draws = mixed(self.draws ^ np.uint64(_GOLDEN * (epoch + 1) & _64_BITS))
        if self.block == 1:
            return np.argsort(draws, kind="stable")
        blocks = np.arange(len(self)) // self.block
        place_of_block = np.empty(int(blocks[-1]) + 1, dtype=np.int64)
        place_of_block[np.argsort(draws[:: self.block], kind="stable")] = np.arange(len(place_of_block))
        # a block's place is drawn by its first sample: mixed again, so that this sample is not always its window's first
        return np.lexsort((mixed(draws), place_of_block[blocks] // BLOCKS_MIXED))


def rank_steps(start: int, count: int, *, ranks: int, rank: int, batch: int, tail: Tail) -> Iterator[np.ndarray]:
    """Positions in an epoch's order that one rank takes, step by step: (batch,) int64 each, the last ones maybe fewer.

    start: how many of the epoch's `count` samples were consumed before, by all ranks together.
    """
    step = ranks * batch
    whole = (count - start) // step
    for number in range(whole):
        yield start + number * step + rank + ranks * np.arange(batch)
    rest = start + whole * step
    if tail == "drop" or rest == count:
        return
    if tail == "pad":
        yield (rest + rank + ranks * np.arange(-(-(count - rest) // ranks))) % count
    elif rest + rank < count:
        yield np.arange(rest + rank, count, ranks)


def consumed_after(start: int, count: int, *, ranks: int, batch: int, tail: Tail) -> list[int]:
    """Samples of the epoch that all ranks together have consumed after each step; after the last one all of them."""
    ends = list(range(start + ranks * batch, count + 1, ranks * batch))
    rest = ends[-1] if ends else start
    if rest < count and tail != "drop":
        ends.append(count)
    return [*ends[:-1], count] if ends else []


class Progress:
    """How far a training has come: epoch, and samples of it that all ranks together have consumed."""

    def __init__(self, order: EpochOrder) -> None:
        self.order, self.epoch, self.consumed = order, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, the same on every rank."""
        return {"version": VERSION, "epoch": self.epoch, "consumed": self.consumed} | self._identity()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. DataError: the state of other samples, another seed or another order."""
        wanted = {"version": VERSION} | self._identity()
        for name, value in wanted.items():
            if state.get(name) != value:
                raise DataError(
                    f"the state of the data belongs to another training: {name} is {state.get(name)!r}, here {value!r}. "
                    "Hint: start anew, or ask for the settings that it was written with."
                )
        epoch, consumed = state.get("epoch"), state.get("consumed")
        whole = isinstance(epoch, int) and isinstance(consumed, int)
        if not whole or epoch < 0 or not 0 <= consumed <= len(self.order):
            raise DataError(
                f"the state of the data is damaged: epoch {epoch!r}, {consumed!r} of {len(self.order)} samples consumed. "
                "Hint: go on from an older state, or start anew."
            )
        self.epoch, self.consumed = epoch, consumed

    def _identity(self) -> dict[str, Any]:
        order = self.order
        facts = {"seed": order.seed, "shuffle": order.shuffle, "block": order.block}
        return facts | {"samples": len(order), "keys": order.digest}
