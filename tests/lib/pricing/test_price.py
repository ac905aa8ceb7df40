"""A priced plan. Reference: sums worked out by hand from records that are written here."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lib.pricing.dag import Job, Rule
from lib.pricing.price import HOUR, Price, price
from lib.pricing.show import as_json, notes, table, totals
from tests.lib.pricing.test_records import HEADER, LINE, benchmark, result
from tests.lib.pricing.test_sizes import plan_of

RULES = tuple(
    Rule(name, re.compile(rf"results/benchmarks/{name}/(?P<board>[a-z0-9]+)\.tsv$"), (f"results/{name}/{{board}}/x.csv",))
    for name in ("board", "other")
)


def job(rule: str, *after: int, gpus: int = 2, **more: object) -> Job:
    made = Job(rule, {"board": "b"}, 4, gpus, True, 0, after, ("x",), {}, "why", False, False, "", {"mem_mb": 1000})
    return replace(made, **more)


def priced(folder: Path, asked: tuple[Job, ...], seconds: tuple[float, ...], **limits: int | None) -> Price:
    """The price of jobs whose rule `board` took these seconds before, and left 1,000 bytes each time."""
    for number, took in enumerate(seconds):
        benchmark(folder, f"board/b{number}.tsv", f"{HEADER}\n{LINE.replace('12.50', f'{took:.2f}')}\n")
        result(folder, f"board/b{number}/x.csv", "x" * 1000)
    plan = replace(plan_of(folder), jobs=asked, rules=RULES, limits={"gpu": None, "cores": None, "jobs": None} | limits)
    return price(plan, [folder])


def shown(found: Price) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(table(found))
    return out.getvalue()


def test_sums_of_a_chain(tmp_path: Path) -> None:
    """Three jobs of ten seconds with two GPUs and four threads, one after the other; then a target that does nothing."""
    end = job("all", 2, nothing=True, gpus=0)
    found = priced(tmp_path, (job("board"), job("board", 0), job("board", 1), end), (10.0, 10.1, 9.9, 10.0))
    assert found.unknown() == []
    assert found.gpu_hours().median == pytest.approx(60 / HOUR, rel=0.08)
    assert found.cpu_hours().median == pytest.approx(120 / HOUR, rel=0.08)
    assert found.critical_path.median == pytest.approx(30, rel=0.08)
    assert found.makespan.median == pytest.approx(30, rel=0.08)
    assert found.disk().median == pytest.approx(3000, rel=0.05)
    assert [one.rule for one in found.chain] == ["board"] * 3
    assert found.gpu_hours().low < found.gpu_hours().median < found.gpu_hours().high


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [({"gpu": 2}, 40.0), ({"gpu": 4}, 20.0), ({"cores": 12}, 20.0), ({"cores": 16}, 10.0), ({}, 10.0)],
)
def test_the_makespan_knows_the_machines(tmp_path: Path, limits: dict[str, int], seconds: float) -> None:
    """Four jobs that wait for nothing, each with two GPUs and four threads."""
    found = priced(tmp_path, (job("board"),) * 4, (10.0, 10.1, 9.9, 10.0), **limits)
    assert found.makespan.median == pytest.approx(seconds, rel=0.12)
    assert found.critical_path.median == pytest.approx(10, rel=0.12)


def test_a_clusters_jobs_take_its_places_and_not_our_cores(tmp_path: Path) -> None:
    jobs = (job("board", local=False),) * 4
    found = priced(tmp_path, jobs, (10.0, 10.1, 9.9, 10.0), cores=1, jobs=2)
    assert replace(found, plan=replace(found.plan, cluster=True)).makespan.median == pytest.approx(20, rel=0.12)


def test_what_is_unknown_is_told_and_never_nothing(tmp_path: Path) -> None:
    found = priced(tmp_path, (job("board"), job("other", 0), job("other", 0)), (10.0, 11.0, 12.0))
    assert len(found.unknown()) == len(found.unknown(gpu=True)) == 2 and found.known.tolist() == [True, False, False]
    lines = {line.split("  ")[0]: line for line in totals(found)}
    assert all("at least" in lines[name] for name in ("GPU-hours", "CPU-hours", "critical path", "makespan", "disk"))
    told = "\n".join(notes(found))
    assert "2 jobs are unknown: 3 past jobs that compare are needed, but there are: other 0." in told
    report = as_json(found)
    assert [one["seconds"] is None for one in report["plan"]] == [False, True, True]
    assert report["rules"]["other"]["gpu_hours"] is None and report["rules"]["board"]["gpu_hours"]["median"] > 0
    row = next(line for line in shown(found).splitlines() if line.startswith("other"))
    assert row.split() == ["other", "2", "unknown", "unknown", "unknown", "unknown", "–"]
    nothing = priced(tmp_path, (job("other"),), ())
    assert all(line.split()[-1] == "unknown" or " unknown " in line for line in totals(nothing)[1:])


def test_memory_that_a_cluster_would_not_give_is_told(tmp_path: Path) -> None:
    """The records used 1091.22 MB."""
    found = priced(tmp_path, (job("board"),), (10.0, 11.0, 12.0))
    assert "memory: board asks for 1,000 MB and has used 1,091 MB: a cluster would end it." in notes(found)
    enough = priced(tmp_path, (job("board", resources={"mem_mb": 1100}),), ())
    assert not [line for line in notes(enough) if line.startswith("memory")]


def test_the_same_records_say_the_same(tmp_path: Path) -> None:
    jobs = (job("board"), job("board", 0))
    first, second = (as_json(priced(tmp_path, jobs, (10.0, 13.0, 12.0))) for _ in range(2))
    assert first == second
