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
    free = {name: limit for name, limit in limits.items() if limit is not None}
    takes = [{name: min(need.get(name, 0), free[name]) for name in free if need.get(name, 0)} for need in needs]
    priority = priorities or [0] * len(seconds)
    open_ones = [len(waits) for waits in after]
    behind: list[list[int]] = [[] for _ in seconds]
    for job, waits in enumerate(after):
        for one in waits:
            behind[one].append(job)
    # jobs that need the same stand in one queue: when its first does not fit, none of it does
    kinds: dict[tuple[tuple[str, int], ...], list[tuple[int, int]]] = {}
    keys = [tuple(sorted(take.items())) for take in takes]

    def offer(job: int) -> None:
        heapq.heappush(kinds.setdefault(keys[job], []), (-priority[job], job))

    for job, number in enumerate(open_ones):
        if not number:
            offer(job)
    running: list[tuple[float, int]] = []
    now = 0.0
    while True:
        while fitting := [
            (queue[0], key) for key, queue in kinds.items() if queue and all(free[name] >= need for name, need in key)
        ]:
            (_, job), key = min(fitting)
            heapq.heappop(kinds[key])
            for name, need in key:
                free[name] -= need
            heapq.heappush(running, (now + float(seconds[job]), job))
        if not running:
            return now
        now, job = heapq.heappop(running)
        done = [job]
        while running and running[0][0] == now:
            done.append(heapq.heappop(running)[1])
        for job in done:
            for name, need in keys[job]:
                free[name] += need
            for one in behind[job]:
                open_ones[one] -= 1
                if not open_ones[one]:
                    offer(one)
