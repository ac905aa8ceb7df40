"""How long jobs take together: the longest chain, and one run after the other on machines that are given.

Seconds come as (draws, jobs): each row is one possible world (estimate.py). Not here: what a single job takes.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import numpy as np


def critical_path(seconds: np.ndarray, after: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Length (draws,) of the longest chain of jobs that wait for each other, and when each ends (draws, jobs).

    seconds: (draws, jobs). after: for each job the places of those that it waits for, all before its own. It is what a run
    takes on any number of machines.
    """
    ends = np.zeros_like(seconds)
    for job, waits in enumerate(after):
        begin = ends[:, list(waits)].max(axis=1) if len(waits) else 0.0
        ends[:, job] = begin + seconds[:, job]
    return (ends.max(axis=1) if seconds.shape[1] else np.zeros(len(seconds))), ends


def chain(seconds: np.ndarray, after: Sequence[Sequence[int]]) -> list[int]:
    """The jobs of the longest chain, in their order. seconds: (jobs,), those of one world."""
    _, ends = critical_path(seconds[None, :], after)
    if not len(seconds):
        return []
    found = [int(ends[0].argmax())]
    while len(after[found[0]]):
        found.insert(0, max(after[found[0]], key=lambda job: ends[0, job]))
    return found


def makespan(
    seconds: Sequence[float],
    after: Sequence[Sequence[int]],
    needs: Sequence[Mapping[str, int]],
    limits: Mapping[str, int | None],
    priorities: Sequence[int] | None = None,
) -> float:
    """What a run takes when every job starts as soon as what it needs is free (list scheduling), in one world.

    needs: of each job, by resource; more than there is counts as all there is, as Snakemake scales threads down.
    limits: of each resource, None = as many as are wanted. Among those that could start, the higher priority goes first,
    then the lower place. It is at least the critical path and at least work / limit.
    """
    run = _Run(after, needs, limits, priorities or [0] * len(seconds))
    running: list[tuple[float, int]] = []
    now = 0.0
    while True:
        while (job := run.start()) is not None:
            heapq.heappush(running, (now + float(seconds[job]), job))
        if not running:
            return now
        now = running[0][0]
        while running and running[0][0] == now:
            run.finish(heapq.heappop(running)[1])


class _Run:
    """Which jobs may start, and what is free.

    Jobs that need the same stand in one queue: when its first does not fit, none of it does.
    """

    def __init__(
        self,
        after: Sequence[Sequence[int]],
        needs: Sequence[Mapping[str, int]],
        limits: Mapping[str, int | None],
        priorities: Sequence[int],
    ) -> None:
        self._free = free = {name: limit for name, limit in limits.items() if limit is not None}
        self._takes = [
            tuple(sorted((name, min(number, free[name])) for name, number in need.items() if name in free and number))
            for need in needs
        ]
        self._priorities = priorities
        self._waits = [len(waits) for waits in after]
        self._behind: list[list[int]] = [[] for _ in after]
        for job, waits in enumerate(after):
            for one in waits:
                self._behind[one].append(job)
        self._queues: dict[tuple[tuple[str, int], ...], list[tuple[int, int]]] = {}
        for job, number in enumerate(self._waits):
            if not number:
                self._offer(job)

    def _offer(self, job: int) -> None:
        heapq.heappush(self._queues.setdefault(self._takes[job], []), (-self._priorities[job], job))

    def start(self) -> int | None:
        """Take the first job that fits; None when none does."""
        fitting = [
            (queue[0], takes)
            for takes, queue in self._queues.items()
            if queue and all(self._free[name] >= number for name, number in takes)
        ]
        if not fitting:
            return None
        (_, job), takes = min(fitting)
        heapq.heappop(self._queues[takes])
        for name, number in takes:
            self._free[name] -= number
        return job

    def finish(self, job: int) -> None:
        """Give back what it took, and offer what waited for it alone."""
        for name, number in self._takes[job]:
            self._free[name] += number
        for one in self._behind[job]:
            self._waits[one] -= 1
            if not self._waits[one]:
                self._offer(one)
