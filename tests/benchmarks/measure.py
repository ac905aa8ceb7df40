"""What all benchmark programs share: running the sides in turns, CPU seconds and memory, tables, records. Not here: any
question.

A side is measured in a process of its own (CPU seconds with all of its children, peak memory of the whole family) or in
this one. Sides take turns, so that what else the machine does falls on all of them, and medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.files import write_json, write_text
from lib.provenance import PROJECT, commit, packages

RECORDS = PROJECT / "tests" / "benchmarks" / "records"
SIZES = ("tiny", "small", "full")
"""tiny: seconds, for the test that checks what is computed; small: `make bench`; full: `make bench-long`."""
Run = Callable[[], "Spent"]


@dataclass(frozen=True)
class Spent:
    """What one run took: wall clock and CPU in s, peak memory in MiB, and further figures that the side reports itself."""

    wall: float
    cpu: float
    memory: float = 0.0
    more: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Spent) -> Spent:
        """One after the other."""
        more = {key: self.more.get(key, 0.0) + other.more.get(key, 0.0) for key in {*self.more, *other.more}}
        return Spent(self.wall + other.wall, self.cpu + other.cpu, max(self.memory, other.memory), more)

    def get(self, figure: str) -> float:
        """`wall`, `cpu`, `memory`, or one of `more`."""
        return float(getattr(self, figure)) if hasattr(self, figure) else self.more[figure]


@dataclass(frozen=True)
class Row:
    """One line of the table: ours, the peer's or floor's, their ratio and what it should be.

    target: (`<=` or `>=`, number) for the ratio ours / peer, or for our own figure where there is no peer.
    """

    what: str
    ours: float
    peer: float | None = None
    unit: str = "s"
    target: tuple[str, float] | None = None
    spread: str = ""
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        if self.peer is None:
            return None
        if not self.peer:
            return float("inf") if self.ours else 1.0  # nothing on both sides is the same
        return self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        value = self.ours if self.ratio is None else self.ratio
        return value <= self.target[1] if self.target[0] == "<=" else value >= self.target[1]


@dataclass
class Result:
    """What one program found: its table, facts that must hold on any machine, and sentences that explain."""

    title: str
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def in_process(work: Callable[[], Any]) -> Spent:
    """Measure a call in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def child(
    words: Sequence[str | Path],
    *,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    reads: Path | None = None,
) -> Spent:
    """Run a command to its end and measure it with all its children. reads: a JSON file of further figures it writes.

    RuntimeError with the command's last words when it fails.
    """
    command = [str(word) for word in words]
    places = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": places, **(env or {})}
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder or PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        family = _Family(process.pid)
        output = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    peak = family.stop()
    if process.returncode:
        raise RuntimeError(f"{shlex.join(command)} ended with {process.returncode}:\n{output[-3000:]}")
    more = json.loads(reads.read_text()) if reads else {}
    return Spent(wall, used.ru_utime + used.ru_stime, max(peak, used.ru_maxrss / 1024), more)


def python(module: str, *words: str | Path, **options: Any) -> Spent:
    """`python -m module words…` as `child`."""
    return child([sys.executable, "-m", module, *words], **options)


class _Family(threading.Thread):
    """Watches the memory (PSS: pages that several processes share count once) of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._peak, self._over = pid, 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.1):
            self._peak = max(self._peak, sum(_pss(pid) for pid in _descendants(self._pid)))

    def stop(self) -> float:
        """End watching; MiB."""
        self._over.set()
        self.join()
        return self._peak / 1024


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(number) for number in _read(tasks).split()]
    return found


def _pss(pid: int) -> int:
    """KiB; 0 when the process is gone."""
    lines = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended meanwhile
        return ""


def interleaved(sides: Mapping[str, Run], repeats: int) -> dict[str, list[Spent]]:
    """Run the sides in turns `repeats` times; every other turn backwards, so that none always follows another."""
    found: dict[str, list[Spent]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            found[name].append(sides[name]())
            print(f"  {name} {turn + 1}/{repeats}: {found[name][-1].wall:.2f} s", file=sys.stderr, flush=True)
    return found


def compared(
    what: str,
    runs: Mapping[str, Sequence[Spent]],
    figure: str,
    *,
    ours: str,
    peer: str | None = None,
    unit: str = "s",
    rate: float | None = None,
    target: tuple[str, float] | None = None,
    reason: str = "",
) -> Row:
    """A row of medians. rate: so many items were worked on; the row then shows items per second."""
    values = {
        name: [rate / one.get(figure) if rate else one.get(figure) for one in runs[name]] for name in (ours, peer) if name
    }
    spread = " / ".join(f"{min(some):.3g}–{max(some):.3g}" for some in values.values())
    middle = {name: statistics.median(some) for name, some in values.items()}
    return Row(what, middle[ours], middle[peer] if peer else None, unit, target, spread, reason)


def table(result: Result) -> str:
    """The result as a Markdown table with its notes."""
    lines = [f"## {result.title}", "", "| what | ours | peer | unit | ratio | target | met | spread (ours / peer) |"]
    lines.append("|:--|--:|--:|:--|--:|:--|:--|:--|")
    for row in result.rows:
        target = "" if row.target is None else f"{'≤' if row.target[0] == '<=' else '≥'} {row.target[1]:g}"
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        cells = [row.what, _number(row.ours), _number(row.peer), row.unit, _number(row.ratio), target, met, row.spread]
        lines.append(f"| {' | '.join(cells)} |")
    unmet = [f"- Not met: {row.what}. {row.reason or 'No reason is known.'}" for row in result.rows if row.met is False]
    facts = [f"- {name}: {value}" for name, value in result.facts.items()]
    return "\n".join([*lines, "", *facts, *(f"- {note}" for note in result.notes), *unmet, ""])


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def context(command: str) -> str:
    """The first line of a record: commit, day, machine and command."""
    code = commit()
    version = f"{(code['commit'] or 'unknown')[:7]}{' and uncommitted changes' if code['dirty'] else ''}"
    day = datetime.now(UTC).date().isoformat()
    load = os.getloadavg()[0]
    return f"<!-- commit {version}, {day}, {os.cpu_count()} cores, load {load:.1f} at the end, `{command}` -->"


def record(name: str, text: str, command: str) -> Path:
    """Keep a result in records/ with the versions that it was measured with."""
    versions = ", ".join(f"{package} {version}" for package, version in packages().items())
    path = RECORDS / f"{name}.md"
    write_text(path, f"{context(command)}\n{text}\n- Python {platform.python_version()}, {versions}.\n")
    return path


def main(measure: Callable[[str], Result], module: str, *, record_as: str = "") -> None:
    """Run one benchmark program: `python -m tests.benchmarks.NAME [--size small] [--record]`. record_as: another name."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="small", help="small = make bench, full = make bench-long")
    parser.add_argument("--record", action="store_true", help="keep the table in tests/benchmarks/records/")
    parser.add_argument("--json", type=Path, help="write the facts and rows there too")
    given = parser.parse_args()
    result = measure(given.size)
    print(table(result))
    if given.json:
        rows = [{"what": row.what, "ours": row.ours, "peer": row.peer, "met": row.met} for row in result.rows]
        write_json(given.json, {"title": result.title, "facts": result.facts, "rows": rows})
    if given.record:
        name = record_as or module
        print(record(name, table(result), f"python -m tests.benchmarks.{module} --size {given.size}"), file=sys.stderr)
