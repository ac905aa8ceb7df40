"""Batches of samples for a training: worker processes, ranks, and going on at the exact sample (PyTorch).

Not here: the order (epochs.py), reading and its checks (reader.py), what a model wants of a sample (its task).

The state counts samples that the trainer was given, not those that workers have read ahead. Randomness of a transform comes
from a generator made of (seed, epoch, key), so that a batch does not depend on the worker that makes it, nor on a restart.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lib.config.base import ConfigError, VipersightError
from lib.data.epochs import EpochOrder, Progress, Tail, consumed_after, rank_steps
from lib.data.reader import TarReader
from lib.data.samples import Sample
from lib.data.shared_memory import HINT, LoaderMemoryError, check_shared_memory, needed_bytes
from lib.files import DataError

Transform = Callable[[Any, np.random.Generator], Any]
"""(sample of the reader's kind, its own generator) -> an item."""
Place = tuple[int, int]
"""(epoch, place in the keys): what the sampler asks the data set for."""


def decoded(sample: Sample) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a sample; DataError names one that is no picture."""
    picture = cv2.imdecode(np.frombuffer(sample.jpg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"sample {sample.key!r} holds no picture that can be decoded. Hint: pack the shards again.")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


class ShardDataset(Dataset):
    """Map-style data set over the samples of an arm.

    keys: samples of the arm (repeated ones are repeated). transform(sample, random): makes an item of a sample, in the
    worker; random: its own generator. collate: makes a batch of the list of items, in the worker.
    """

    def __init__(
        self,
        reader: TarReader,
        keys: Sequence[str],
        *,
        order: EpochOrder,
        transform: Transform,
        collate: Callable[[list[Any]], Any],
    ) -> None:
        self.reader, self.order, self.transform, self.collate = reader, order, transform, collate
        self.rows = reader.rows(keys)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Place) -> Any:
        epoch, number = place
        entropy = [self.order.seed, epoch, int(self.order.draws[number])]
        sample = self.reader.read_row(int(self.rows[number]))
        return self.transform(sample, np.random.default_rng(entropy))

    def __getitems__(self, places: list[Place]) -> Any:
        """A whole batch. A refusal is handed over as a value: PyTorch would wrap its text in the worker's traceback."""
        try:
            return self.collate([self[place] for place in places])
        except VipersightError as refusal:
            return refusal


class _Steps(Sampler[list[Place]]):
    """What one rank takes of the rest of the epoch, one list of places a step.

    It knows the progress but not the loader: in a circle of references PyTorch's workers take five seconds each to end.
    """

    def __init__(self, progress: Progress, *, ranks: int, rank: int, batch: int, tail: Tail) -> None:
        self.progress, self.rank = progress, rank
        self.split: dict[str, Any] = {"ranks": ranks, "batch": batch, "tail": tail}

    def __iter__(self) -> Iterator[list[Place]]:
        epoch = self.progress.epoch
        order = self.progress.order.order(epoch)
        for positions in self.ahead():
            yield [(epoch, place) for place in order[positions].tolist()]

    def __len__(self) -> int:
        return sum(1 for _ in self.ahead())

    def ahead(self, start: int | None = None) -> Iterator[np.ndarray]:
        """Positions in the epoch's order that this rank takes, from where the trainer stands or from `start` on."""
        start = self.progress.consumed if start is None else start
        return rank_steps(start, len(self.progress.order), rank=self.rank, **self.split)

    def ends(self) -> list[int]:
        """How far all ranks together have come after each step from here on."""
        return consumed_after(self.progress.consumed, len(self.progress.order), **self.split)


class ShardLoader:
    """Iterating gives the batches of the rest of the epoch for one rank; iterating again, those of the next epoch.

    batch: samples per batch and rank. workers: processes that read ahead, 0 = none; prefetch: batches that each holds.
    tail: what happens to samples that fill no whole step (lib/data/epochs.py). After a `break` the next iteration goes on
    with the batch that would have come. One iteration at a time.

    state_dict() after a batch leads to the batch after it; load_state_dict() takes the state of any number of ranks,
    workers and any batch size. Batches are the same whatever the number of workers, and PyTorch's own random state is not
    touched.

    ConfigError: numbers that cannot be; fewer samples than one step with tail drop. LoaderMemoryError: /dev/shm is too
    small, seen before any worker starts. DataError: a damaged sample, by name.
    """

    def __init__(
        self,
        reader: TarReader,
        keys: Sequence[str],
        *,
        seed: int,
        batch: int,
        transform: Transform,
        collate: Callable[[list[Any]], Any] = list,
        shuffle: bool = True,
        block: int = 1,
        tail: Tail = "keep",
        ranks: int = 1,
        rank: int = 0,
        workers: int = 0,
        prefetch: int = 2,
    ) -> None:
        if min(batch, ranks, prefetch, workers + 1) < 1 or not 0 <= rank < ranks:
            given = f"batch {batch}, ranks {ranks}, rank {rank}, prefetch {prefetch}, workers {workers}"
            raise ConfigError(f"{given}: each must be at least 1 (rank and workers: 0), and rank below ranks.")
        if not len(keys) or (tail == "drop" and len(keys) < batch * ranks):
            raise ConfigError(
                f"{len(keys)} samples do not fill one step of {ranks} ranks x {batch}. "
                "Hint: smaller batches, or tail keep or pad."
            )
        self.order = EpochOrder(keys, seed=seed, shuffle=shuffle, block=block)
        self.progress = Progress(self.order)
        self.ranks, self.workers, self.prefetch = ranks, workers, prefetch
        self._steps = _Steps(self.progress, ranks=ranks, rank=rank, batch=batch, tail=tail)
        self.data = ShardDataset(reader, keys, order=self.order, transform=transform, collate=collate)
        self._batches: DataLoader | None = None

    @property
    def epoch(self) -> int:
        """The epoch (from 0 on) of the batch that came last."""
        return self.progress.epoch

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        return sum(1 for _ in self._steps.ahead(0))

    def __iter__(self) -> Iterator[Any]:
        if not self._steps.ends():
            self.progress.epoch, self.progress.consumed = self.progress.epoch + 1, 0
        batches = iter(self._loader())
        _ended_by_kill(batches)
        for end in self._steps.ends()[: len(self._steps)]:
            batch = _next(batches)
            self.progress.consumed = end
            yield batch
        self.progress.consumed = len(self.order)  # with tail keep another rank may have had one batch more

    def state_dict(self) -> dict[str, Any]:
        """Where the trainer stands: epoch and consumed samples; the same on every rank."""
        return self.progress.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the batch after the one at which `state` was taken. DataError: the state of another training."""
        self.progress.load_state_dict(state)

    def _loader(self) -> DataLoader:
        if self._batches is None:
            if self.workers:
                self._check_memory()
            self._batches = DataLoader(
                self.data,
                batch_sampler=self._steps,
                num_workers=self.workers,
                prefetch_factor=self.prefetch if self.workers else None,
                persistent_workers=self.workers > 0,
                worker_init_fn=_outlive_one_signal,
                collate_fn=_as_it_is,
                pin_memory=torch.cuda.is_initialized(),  # where the process uses a GPU: else its copies wait for each other
                generator=torch.Generator().manual_seed(0),  # draws seeds of workers that nothing uses
            )
        return self._batches

    def _check_memory(self) -> None:
        """Make the first batch here and see whether /dev/shm holds all that workers keep there."""
        first = next(iter(self._steps), None)
        if first is None:
            return
        batch = self.data.__getitems__(first)
        processes = min(self.ranks, int(os.environ.get("LOCAL_WORLD_SIZE", self.ranks)))
        need = needed_bytes(batch, workers=self.workers, prefetch=self.prefetch, processes=processes)
        check_shared_memory(need, workers=self.workers * processes)


def _outlive_one_signal(worker: int) -> None:
    """A scheduler that wants a training to leave tells all its processes: workers must still feed the step in hand.

    They die of a second SIGTERM; the trainer ends them by SIGKILL (_ended_by_kill).
    """
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _ended_by_kill(batches: Any) -> None:
    """PyTorch and multiprocessing end workers by one SIGTERM and wait: for ever, for those that outlive it."""
    for worker in getattr(batches, "_workers", ()):
        worker.terminate = worker.kill
        worker._popen.terminate = worker._popen.kill


def _as_it_is(batch: Any) -> Any:
    return batch


def _next(batches: Iterator[Any]) -> Any:
    """The next batch; what a worker refused or died of becomes an error that says so."""
    try:
        batch = next(batches)
    except RuntimeError as error:
        text = str(error)
        # PyTorch tells the signal or only that a worker is gone, whichever it notices first
        signals = {-(worker.exitcode or 0) for worker in getattr(batches, "_workers", ())}
        if "Bus error" in text or "shared memory" in text or signal.SIGBUS in signals:
            raise LoaderMemoryError(f"/dev/shm: a worker died for want of shared memory ({text}). {HINT}") from error
        if "signal: Killed" in text or signal.SIGKILL in signals:
            hint = "Hint: ask for more memory (mem_mb), or fewer workers."
            raise LoaderMemoryError(f"a worker was killed, mostly for want of memory ({text}). {hint}") from error
        raise
    if isinstance(batch, VipersightError):
        raise batch
    return batch
