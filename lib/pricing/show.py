"""A priced plan for people (a table of 100 columns) and for programs (JSON). Not here: any estimate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lib.files import sized
from lib.pricing.dag import Job
from lib.pricing.estimate import FEWEST, LEVEL, Interval
from lib.pricing.price import HOUR, Basis, Price

WIDTH = 100
_STEPS = ((48 * HOUR, 24 * HOUR, "d"), (2 * HOUR, HOUR, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From so many seconds on: the unit's seconds, and its name."""


def duration(given: Interval) -> str:
    """Seconds as `3.8 min (3.0–5.7)`: median, and the interval in the same unit."""
    _, unit, name = next(step for step in _STEPS if given.median >= step[0])
    return f"{_digits(given.median / unit)} {name} ({_digits(given.low / unit)}–{_digits(given.high / unit)})"


def amount(given: Interval) -> str:
    """A number as `0.088 (0.063–0.13)`."""
    return f"{_digits(given.median)} ({_digits(given.low)}–{_digits(given.high)})"


def _digits(value: float) -> str:
    """Two digits that count, three from 100 on; never a power of ten."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}" if value >= 0.001 or not value else "<0.001"


def rules_of(price: Price) -> list[str]:
    """The rules of the plan, those first that take longest, unknown ones last; targets left out."""
    rules = dict.fromkeys(job.rule for job in price.plan.jobs if not job.nothing)
    return sorted(rules, key=lambda rule: (-price.time(price.places(rule)).median, rule))


def show(price: Price, console: Console) -> None:
    """Print the table, the totals and the notes; lines with paths are not wrapped, so that these can be copied."""
    console.print(table(price))
    for line in ["", *totals(price), *notes(price)]:
        console.print(Text(line), soft_wrap=line.startswith("left out"))


def table(price: Price) -> Table:
    """One line per rule."""
    found = Table(box=None, pad_edge=False, width=WIDTH, header_style="bold")
    for name in ("rule", "jobs", "again", "time, summed", "GPU-h", "CPU-h", "disk", "of"):
        found.add_column(name, justify="left" if name == "rule" else "right", no_wrap=True)
    for rule in rules_of(price):
        found.add_row(*_row(price, rule))
    return found


def _row(price: Price, rule: str) -> list[str]:
    places = price.places(rule)
    jobs = [price.plan.jobs[place] for place in places]
    unknown, no_disk = len(price.unknown(places)), len(price.unknown(places, disk=True))
    again = sum(job.again for job in jobs)
    gpus = any(job.gpus for job in jobs)
    cells = [
        _cell(duration(price.time(places)), unknown, len(jobs)),
        _cell(amount(price.gpu_hours(places)), unknown, len(jobs)) if gpus else "",
        _cell(_digits(price.cpu_hours(places).median), unknown, len(jobs)),
        _cell(sized(price.disk(places).median), no_disk, len(jobs)),
    ]
    numbers = [price.bases[place].number for place in places if price.bases[place].fit]
    return [rule, str(len(jobs)), str(again or ""), *cells, _span(numbers)]


def _cell(text: str, unknown: int, jobs: int) -> str:
    """A figure; `unknown` where no job of the rule is known, `≥` before it where some are not."""
    return "unknown" if unknown == jobs else f"≥ {text}" if unknown else text


def _span(numbers: Sequence[int]) -> str:
    if not numbers:
        return "–"
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)}–{max(numbers)}"


def totals(price: Price) -> list[str]:
    """GPU-hours, CPU-hours, wall time and disk, each a line."""
    jobs = [job for job in price.plan.jobs if not job.nothing]
    if not jobs:
        return ["Nothing to be done: all that was asked for stands."]
    given = ", ".join(f"{limit} {word}" for word, limit in _limits(price) if limit is not None) or "machines without end"
    times, gpus, disk = price.unknown(), price.unknown(gpu=True), price.unknown(disk=True)
    with_gpus = [job for job in jobs if job.gpus]
    return [
        f"jobs           {len(price.plan.jobs)} as snakemake counts them, {sum(job.again for job in jobs)} of them again",
        f"GPU-hours      {_total(amount(price.gpu_hours()), gpus, with_gpus) if with_gpus else 0}",
        f"CPU-hours      {_total(amount(price.cpu_hours()), times, jobs)}   threads × time: what is reserved",
        f"critical path  {_total(duration(price.critical_path), times, jobs)}   with machines without end",
        f"makespan       {_total(duration(price.makespan), times, jobs)}   with {given}",
        f"disk           {_total(_size(price.disk()), disk, jobs)}",
    ]


def _total(text: str, unknown: Sequence[Job], jobs: Sequence[Job]) -> str:
    """A figure; `unknown` where no job is known, `at least` before it where some are not."""
    return "unknown" if len(unknown) == len(jobs) else f"at least {text}" if unknown else text


def _limits(price: Price) -> list[tuple[str, int | None]]:
    limits, where = price.plan.limits, " here" if price.plan.cluster else ""
    jobs = [("jobs at a time", limits["jobs"])] if price.plan.cluster else []
    return [(f"cores{where}", limits["cores"]), *jobs, ("GPUs", limits["gpu"])]


def _size(given: Interval) -> str:
    return f"{sized(given.median)} ({sized(given.low)}–{sized(given.high)})"


def notes(price: Price) -> list[str]:
    """What the figures are, and what is unknown or left out, by name."""
    if not any(not job.nothing for job in price.plan.jobs):
        return []
    lines = [
        "",
        f"In brackets: {LEVEL:.0%} intervals. `of`: past jobs that it is learnt from. No queues are counted.",
    ]
    few = {basis.group: basis.few for basis in price.bases if basis.few is not None}
    if few:
        jobs = sum(basis.few is not None for basis in price.bases)
        told = ", ".join(f"{group} {number}" for group, number in sorted(few.items()))
        lines.append(f"{_many(jobs)} unknown: {FEWEST} past jobs that compare are needed, but there are: {told}.")
    others: dict[str, Counter[str]] = {}
    for job, basis in zip(price.plan.jobs, price.bases, strict=True):
        if basis.why and basis.few is None:
            others.setdefault(basis.why, Counter())[job.rule] += 1
    for why, rules in others.items():
        told = ", ".join(f"{rule} {number}" for rule, number in rules.items())
        lines.append(f"{_many(rules.total())} unknown: {why}: {told}.")
    for rule in rules_of(price):
        used, asked = price.memory(rule)
        if used is not None and asked is not None and used > asked:
            lines.append(f"memory: {rule} asks for {asked:,.0f} MB and has used {used:,.0f} MB: a cluster would end it.")
    for one in price.left_out:
        lines.append(f"left out: {one.path}: {one.why}")
    for rule, number in sorted(price.sizeless.items()):
        lines.append(f"left out: {number} record{'s' if number > 1 else ''} of {rule} whose size is not known any more")
    return lines


def _many(jobs: int) -> str:
    return "1 job is" if jobs == 1 else f"{jobs} jobs are"


def as_json(price: Price) -> dict[str, Any]:
    """All figures: seconds, hours and bytes as {low, median, high}, null where unknown; each job with its reason."""
    plan, levels = price.plan, price.job_intervals
    limits = {"gpus": plan.limits["gpu"], "cores": plan.limits["cores"], "jobs": plan.limits["jobs"]}
    rules = {
        rule: _rule(price, price.places(rule))
        | dict(zip(("memory_mb_used", "memory_mb_asked"), price.memory(rule), strict=True))
        for rule in rules_of(price)
    }
    jobs = [
        {
            "rule": job.rule,
            "wildcards": dict(job.wildcards),
            "threads": job.threads,
            "gpus": job.gpus,
            "again": job.again,
            "reason": job.reason,
            "benchmark": job.benchmark,
            "seconds": vars(levels[place]) if levels[place] else None,
            "amount": price.sizes[place].amount,
            "unit": price.sizes[place].unit,
            **_based(price.bases[place]),
        }
        for place, job in enumerate(plan.jobs)
    ]
    return {
        "study": plan.study.study,
        "level": LEVEL,
        "limits": limits,
        "jobs": len(plan.jobs),
        "records": len(price.records),
        "left_out": [{"path": str(one.path), "why": one.why} for one in price.left_out],
        "total": _rule(price, None)
        | {"critical_path_s": vars(price.critical_path), "makespan_s": vars(price.makespan)}
        | {"chain": [job.name for job in price.chain]},
        "rules": rules,
        "plan": jobs,
    }


def _rule(price: Price, places: Sequence[int] | None) -> dict[str, Any]:
    jobs = [price.plan.jobs[place] for place in (range(len(price.plan.jobs)) if places is None else places)]
    unknown = price.unknown(places)
    nothing_known = len(unknown) == sum(not job.nothing for job in jobs) and bool(unknown)
    return {
        "jobs": len(jobs),
        "again": sum(job.again for job in jobs),
        "unknown": len(unknown),
        "unknown_disk": len(price.unknown(places, disk=True)),
        "seconds": None if nothing_known else vars(price.time(places)),
        "gpu_hours": None if nothing_known else vars(price.gpu_hours(places)),
        "cpu_hours": None if nothing_known else vars(price.cpu_hours(places)),
        "bytes": vars(price.disk(places)),
    }


def _based(basis: Basis) -> dict[str, Any]:
    return {"records": basis.number, "group": basis.group, "unknown": basis.why}
