"""Saving the state of a training: how long the training stands still, and what a kill leaves. Peers: torch.save with fsync;
Lightning's Trainer.save_checkpoint.

Stall: until `save` returns to the training, write behind, against torch.save to a file, flush and fsync. On disk: until the
state is committed. Steps: a small network's, on the CPU, after one save, less the same steps without; the thread that
writes takes CPU time from them where no core is to spare. Kills: savers that save without pause get kill -9 at random
moments (tests/faults/killed_saves.py); TMPDIR lies on the state's file system or in memory (/dev/shm), since Lightning's
temporary files are made in TMPDIR.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lib.training.checkpoint import CheckpointStore
from tests.benchmarks.measure import Result, Row, Spent, child, compared, interleaved, main

MEGABYTES = {"tiny": 2, "small": 100, "full": 500}
REPEATS = {"tiny": 1, "small": 5, "full": 9}
STEPS = {"tiny": 5, "small": 150, "full": 400}
KILLS = {"tiny": 3, "small": 30, "full": 200}
KILLED_MEGABYTES = {"tiny": 1, "small": 24, "full": 24}
LAYER_MB = 8
MEMORY = Path("/dev/shm")
TARGET = ("<=", 0.5)


def state_of(megabytes: int) -> dict[str, Any]:
    """Layers as a transformer has them, with Adam's two moments: three tensors of a name."""
    layers = max(1, megabytes // (3 * LAYER_MB))
    rows = megabytes * 1_000_000 // (3 * layers * 4 * 1024)
    model = {f"layers.{number}.weight": torch.randn(rows, 1024) for number in range(layers)}
    moments = {name: {"exp_avg": torch.randn_like(one), "exp_avg_sq": torch.rand_like(one)} for name, one in model.items()}
    return {"model": model, "optimizer": {"state": moments, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999)}]}}


class Sides:
    """The ways to save one state, each returning (stall, time until it is on disk) in s."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self.state = folder, state_of(megabytes)
        self.steps = 0
        self.store = self._new("ours")
        self.ours()  # takes the memory of the copies

    def _new(self, name: str) -> CheckpointStore:
        return CheckpointStore(self.folder / name, fingerprint="bench", keep_last=2)

    def _saved(self, store: CheckpointStore, between: Callable[[], None]) -> tuple[float, float]:
        self.steps += 1
        began = time.perf_counter()
        store.save(self.state, step=self.steps)
        stall = time.perf_counter() - began
        between()
        store.wait()
        return stall, time.perf_counter() - began

    def ours(self, between: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """Write behind, into memory that was used before."""
        return self._saved(self.store, between)

    def first(self) -> tuple[float, float]:
        """The first save of a store, which takes the memory of the copies."""
        with self._new("first") as store:
            return self._saved(store, lambda: None)

    def torch_save(self, between: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """As a plain loop does it: torch.save, then fsync."""
        began = time.perf_counter()
        with open(self.folder / "peer.pt", "wb") as file:
            torch.save(self.state, file)
            file.flush()
            os.fsync(file.fileno())
        stall = time.perf_counter() - began
        between()
        return stall, stall


def timed(save: Callable[[], tuple[float, float]]) -> Spent:
    """One save on a disk that has nothing else to write."""
    os.sync()
    cpu = time.process_time()
    stall, disk = save()
    return Spent(stall, time.process_time() - cpu, more={"disk": disk})


def training(steps: int) -> Callable[[], None]:
    """Steps of a small network on the CPU."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(512, 512), torch.nn.GELU(), torch.nn.Linear(512, 512))
    optimizer, batch = torch.optim.AdamW(model.parameters()), torch.randn(64, 512)

    def run() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()

    return run


def measure_saves(result: Result, folder: Path, size: str) -> None:
    """Rows of stall, time to disk, and what a save costs a training that goes on."""
    sides = Sides(folder, MEGABYTES[size])
    runs = interleaved(
        {
            "ours": lambda: timed(sides.ours),
            "torch.save": lambda: timed(sides.torch_save),
            "ours, first": lambda: timed(sides.first),
        },
        REPEATS[size],
    )
    pair = {"ours": "ours", "peer": "torch.save"}
    what = f"one save of {MEGABYTES[size]} MB"
    result.rows.append(compared(f"{what}: the training stands still", runs, "wall", target=TARGET, **pair))
    first = compared(
        f"{what}, the store's first: the training stands still", runs, "wall", ours="ours, first", peer="torch.save"
    )
    result.rows += [first, compared(f"{what}: until it is on disk", runs, "disk", **pair)]
    result.rows.append(compared(f"{what}: CPU", runs, "cpu", **pair))
    run = training(STEPS[size])

    def lasting(save: Callable[[Callable[[], None]], Any]) -> Spent:
        """Until save and steps are done; what is still being written then does not count."""
        os.sync()
        began = time.perf_counter()
        ended: list[float] = []

        def steps() -> None:
            run()
            ended.append(time.perf_counter() - began)

        save(steps)
        return Spent(ended[0], 0.0)

    beside = interleaved(
        {
            "none": lambda: lasting(lambda between: between()),
            "ours": lambda: lasting(sides.ours),
            "torch.save": lambda: lasting(sides.torch_save),
        },
        REPEATS[size],
    )
    middle = {name: statistics.median(one.wall for one in some) for name, some in beside.items()}
    ours, peer = middle["ours"] - middle["none"], middle["torch.save"] - middle["none"]
    result.rows.append(
        Row(f"{STEPS[size]} steps after a save, less those without one ({middle['none']:.1f} s)", ours, peer)
    )
    loaded = sides.store.load() or {}
    sides.store.close()
    names = sides.state["model"]
    result.facts["what is loaded is what was saved, bit for bit"] = all(
        torch.equal(loaded["model"][name], names[name]) for name in names
    )


@contextmanager
def scratch(folder: Path) -> Iterator[dict[str, Path]]:
    """Folders for temporary files: on the file system of the states, and on another one where there is one."""
    (folder / "tmp").mkdir()
    found = {"one file system": folder / "tmp"}
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and MEMORY.stat().st_dev != folder.stat().st_dev:
        with tempfile.TemporaryDirectory(dir=MEMORY, prefix="vipersight-bench-") as name:
            yield found | {"two file systems": Path(name)}
    else:
        yield found


def measure_kills(result: Result, folder: Path, size: str) -> None:
    """Rows of what kills left, ours beside Lightning's."""
    bad, kills = 0, KILLS[size]
    with scratch(folder) as places:
        for where, place in places.items():
            counts = {}
            for side in ("ours", "lightning"):
                report = folder / "counts.json"
                words = ["-m", "tests.faults.killed_saves", side, folder / f"{side}, {where}", "--kills", str(kills)]
                words += ["--megabytes", str(KILLED_MEGABYTES[size]), "--json", report]
                child([sys.executable, *words], env={"TMPDIR": str(place)})
                counts[side] = json.loads(report.read_text())
            ours, peer = counts["ours"], counts["lightning"]
            for what in ("unreadable", "lost", "strays"):
                told = {"unreadable": "last state unreadable", "lost": "a finished save lost", "strays": "stray files left"}
                unit = "files" if what == "strays" else "kills"
                result.rows.append(Row(f"{kills} kills, {where}: {told[what]}", ours[what], peer[what], unit))
            bad += ours["unreadable"] + ours["lost"] + ours["strays"]
            result.facts[f"{where}: kills that left a save half-done"] = {s: one["half-done"] for s, one in counts.items()}
    if len(places) < 2:
        result.notes.append("No second file system (/dev/shm) is at hand: kills across two were not tried.")
    result.rows.append(Row("all kills, ours: unreadable, lost or stray", bad, unit="", target=("<=", 0)))


def measure(size: str) -> Result:
    result = Result(f"States of a training of {MEGABYTES[size]} MB, and kills while saving {KILLED_MEGABYTES[size]} MB")
    with tempfile.TemporaryDirectory(prefix="vipersight-bench-") as name:
        measure_saves(result, Path(name), size)
        measure_kills(result, Path(name), size)
    result.notes.append(
        f"{torch.get_num_threads()} thread(s) of torch. On disk, ours has summed every byte and written data and record, "
        "each with fsync; the peer has overwritten its only file, which a kill meanwhile loses."
    )
    result.notes.append("A killed state counts as lost when an older one is found than one whose save had ended.")
    return result


if __name__ == "__main__":
    main(measure, "checkpoint")
