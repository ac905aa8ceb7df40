"""What a plan costs: records, sizes and estimates put together. Not here: how it is shown (show.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from lib.pricing.dag import Job, Plan
from lib.pricing.estimate import FEWEST, REACH, Fit, Interval, Moods, fit, interval, moods, pooled
from lib.pricing.records import LeftOut, Record, past
from lib.pricing.schedule import chain, critical_path, makespan
from lib.pricing.sizes import Size, Sizes

DRAWS = 1000
RUNS = 100
"""Worlds of which the makespan is simulated job by job."""
SEED = 0
HOUR = 3600.0
TOO_EARLY = "its size is not known before its data stands; make its manifest.parquet first"


@dataclass(frozen=True)
class Basis:
    """What a job's estimate stands on: a fitted group of records, or why there is none."""

    fit: Fit | None
    group: str
    why: str = ""
    few: int | None = None  # records of its group, where these are too few

    @property
    def number(self) -> int:
        return self.fit.number if self.fit else 0


@dataclass(frozen=True)
class Price:
    """Draws of what each job takes (NaN = unknown) and all that is summed from them. Seconds, bytes."""

    plan: Plan
    sizes: Sequence[Size]
    bases: Sequence[Basis]
    seconds: np.ndarray  # (draws, jobs)
    bytes: np.ndarray  # (draws, jobs)
    records: Sequence[Record]
    left_out: Sequence[LeftOut]
    sizeless: Mapping[str, int] = field(default_factory=dict)  # rule → records whose size cannot be known

    @cached_property
    def known(self) -> np.ndarray:
        """Which jobs' seconds are known (jobs,)."""
        return ~np.isnan(self.seconds[0])

    def places(self, rule: str) -> list[int]:
        """The jobs of a rule."""
        return [place for place, job in enumerate(self.plan.jobs) if job.rule == rule]

    def summed(self, weights: Iterable[float], places: Sequence[int] | None = None) -> Interval:
        """Seconds of known jobs times a weight of each, summed."""
        factors = np.fromiter(weights, float, len(self.plan.jobs))
        return interval((self._some(self.seconds, places) * factors).sum(axis=1))

    def time(self, places: Sequence[int] | None = None) -> Interval:
        """Job seconds in all, one after the other."""
        return self.summed((1.0 for _ in self.plan.jobs), places)

    def gpu_hours(self, places: Sequence[int] | None = None) -> Interval:
        """GPUs that the rules ask for × time."""
        return self.summed((job.gpus / HOUR for job in self.plan.jobs), places)

    def cpu_hours(self, places: Sequence[int] | None = None) -> Interval:
        """Threads × time: what is reserved, not what is used."""
        return self.summed((job.threads / HOUR for job in self.plan.jobs), places)

    def disk(self, places: Sequence[int] | None = None) -> Interval:
        """Bytes of all outputs; files that are made again count like new ones."""
        return interval(self._some(self.bytes, places).sum(axis=1))

    def unknown(self, places: Sequence[int] | None = None, *, gpu: bool = False, disk: bool = False) -> list[Job]:
        """The jobs whose seconds (or bytes) are unknown, or those with GPUs among them."""
        missing = np.isnan(self.bytes[0]) if disk else ~self.known
        chosen = range(len(self.plan.jobs)) if places is None else places
        return [self.plan.jobs[place] for place in chosen if missing[place] and (self.plan.jobs[place].gpus or not gpu)]

    def _some(self, values: np.ndarray, places: Sequence[int] | None) -> np.ndarray:
        """Values with 0 for what is unknown and for jobs that were not asked for."""
        found = np.nan_to_num(values)
        if places is None:
            return found
        mask = np.zeros(len(self.plan.jobs))
        mask[list(places)] = 1.0
        return found * mask

    def memory(self, rule: str) -> tuple[float | None, float | None]:
        """MB that past jobs of a rule used at most, and the least that a planned one asks for; None = not known."""
        seen = [one.memory_mb for one in self.records if one.rule == rule and one.memory_mb is not None]
        asked = [self.plan.jobs[place].resources.get("mem_mb") for place in self.places(rule)]
        given = [float(one) for one in asked if isinstance(one, int | float)]
        return max(seen, default=None), min(given, default=None)

    @cached_property
    def job_intervals(self) -> list[Interval | None]:
        """What each job takes, s; None = unknown."""
        return [interval(self.seconds[:, place]) if known else None for place, known in enumerate(self.known)]

    @cached_property
    def critical_path(self) -> Interval:
        """Seconds with machines without end."""
        return interval(critical_path(np.nan_to_num(self.seconds), self._after)[0])

    @cached_property
    def chain(self) -> list[Job]:
        """The jobs of the longest chain, by medians."""
        return [self.plan.jobs[place] for place in chain(np.nan_to_num(np.median(self.seconds, axis=0)), self._after)]

    @cached_property
    def makespan(self) -> Interval:
        """Seconds with the machines that the plan is given."""
        lengths, _ = critical_path(np.nan_to_num(self.seconds), self._after)
        # evenly over the lengths of the longest chain, so that few worlds stand for all
        step = max(1, len(lengths) // RUNS)
        chosen = np.argsort(lengths)[step // 2 :: step]
        needs = [_needs(job, self.plan.cluster) for job in self.plan.jobs]
        priorities = [job.priority for job in self.plan.jobs]
        worlds = np.nan_to_num(self.seconds[chosen])
        spans = [makespan(row, self._after, needs, self.plan.limits, priorities) for row in worlds]
        return interval(np.array(spans))

    @cached_property
    def _after(self) -> list[tuple[int, ...]]:
        return [job.after for job in self.plan.jobs]


def _needs(job: Job, cluster: bool) -> dict[str, int]:
    """What a job occupies while it runs: cores of this machine, or a place among the cluster's jobs; and GPUs."""
    if job.nothing:
        return {}
    here = not cluster or job.local
    return {"gpu": job.gpus} | ({"cores": job.threads} if here else {"jobs": 1})


def price(plan: Plan, folders: Sequence[Path], draws: int = DRAWS) -> Price:
    """Estimate all jobs of a plan from the records below some working directories."""
    records, left = past(plan.rules, folders)
    sizer = Sizes(plan)
    measured = [(record, sizer.of_record(record)) for record in records]
    sizes = [sizer.of_job(job) for job in plan.jobs]
    rng = np.random.default_rng(SEED)
    found = {}
    for quantity in ("seconds", "bytes"):
        groups = _Groups(measured, quantity, moody=quantity == "seconds")  # a busy machine writes as much as an idle one
        bases = [groups.basis(job, size) for job, size in zip(plan.jobs, sizes, strict=True)]
        found[quantity] = bases, _drawn(plan.jobs, sizes, bases, groups.moods, draws, rng)
    sizeless = Counter(record.rule for record, size in measured if size.amount is None)
    (bases, seconds), (_, disk) = found["seconds"], found["bytes"]
    return Price(plan, sizes, bases, seconds, disk, records, left, sizeless)


class _Groups:
    """Records of one quantity by rule and group, fitted where there are enough."""

    def __init__(self, measured: Sequence[tuple[Record, Size]], quantity: str, *, moody: bool) -> None:
        rows: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
        for record, size in measured:
            value = getattr(record, quantity)
            for group in dict.fromkeys(size.groups if value is not None and size.amount else ()):
                rows.setdefault((record.rule, group), []).append((float(value), float(size.amount or 0.0), record.run))
        self.numbers = {key: len(some) for key, some in rows.items()}
        groups = {key: _columns(some) for key, some in rows.items()}
        names = sorted({(record.rule, size.groups[0]) for record, size in measured})
        closest = [key for key in names if key in groups]
        self.moods = moods([groups[key] for key in closest]) if moody else None
        by_run = self.moods.by_run if self.moods else {}
        calm = {
            key: (values * np.exp([-by_run.get(run, 0.0) for run in runs]), amounts)
            for key, (values, amounts, runs) in groups.items()
        }
        prior = pooled([calm[key] for key in closest])
        self._fits = {key: fit(values, amounts, prior) for key, (values, amounts) in calm.items()}

    def basis(self, job: Job, size: Size) -> Basis:
        """The closest group with enough records for a job, or why there is none."""
        if job.nothing:
            return Basis(None, "", "")
        if size.amount is None:
            return Basis(None, size.groups[0], TOO_EARLY)
        why, few = "", None
        for group in size.groups:
            number = self.numbers.get((job.rule, group), 0)
            found = self._fits.get((job.rule, group))
            if found is None:
                why, few = f"{number or 'no'} record{'' if number == 1 else 's'} of {group}, {FEWEST} are needed", number
            elif not found.reaches(size.amount):
                why = f"{size.amount / found.largest:,.0f} times the largest recorded ({REACH:g} at most)"
                few = None
            else:
                return Basis(found, group)
        return Basis(None, size.groups[-1], why, few)


def _columns(rows: Sequence[tuple[float, float, str]]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    values, amounts, runs = zip(*rows, strict=True)
    return np.array(values), np.array(amounts), list(runs)


def _drawn(
    jobs: Sequence[Job],
    sizes: Sequence[Size],
    bases: Sequence[Basis],
    known: Moods | None,
    draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws for all jobs, those on one basis together; NaN where there is none, 0 for what does nothing."""
    mood = np.exp(known.draw(draws, rng))[:, None] if known else 1.0
    found = np.full((draws, len(jobs)), np.nan)
    found[:, [job.nothing for job in jobs]] = 0.0
    together: dict[int, list[int]] = {}
    for place, basis in enumerate(bases):
        if basis.fit is not None:
            together.setdefault(id(basis.fit), []).append(place)
    for places in together.values():
        amounts = np.array([sizes[place].amount for place in places], dtype=float)
        learnt = bases[places[0]].fit
        assert learnt is not None
        found[:, places] = learnt.draw(amounts, draws, rng) * mood
    return found
