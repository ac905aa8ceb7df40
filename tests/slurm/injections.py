"""Failures done on purpose to trainings on the throw-away Slurm, each to a run of its own, and what became of each.

A case is one study with one training of the recipe's task, its driver (Snakemake) and one failure. It ends right when the
weights are those of a training that nothing interrupted, bit for bit, and no two attempts overlapped. Not here: the cluster
(cluster.py); the study and its driver (cases.py); which cases run and what is demanded (test_failures.py,
tests/benchmarks/failures.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
from safetensors.torch import load_file

from lib.files import read_json
from lib.runs import slurm
from lib.runs.attempts import records
from tests.lib.training.toy import equal
from tests.slurm import cluster
from tests.slurm.cases import POLL_S, Case, node_of, on_slurm, wait_until, written
from tests.workflow.test_own_task import CELL, Copy, untrained


@dataclass(frozen=True)
class Kind:
    """A failure. do: brings it about in a case whose driver runs. causes: what `status --failed` may call it.

    heals: a retry by itself brings the training to its end; otherwise the same command has to be typed again.
    waits: the plugin never sees the end of the job, and its driver has to be interrupted.
    """

    name: str
    partition: str
    do: Callable[[Case], None]
    causes: tuple[str, ...]
    profile: str = "slurm"
    size: str = "small"
    pause_s: float = 0.03
    heals: bool = True
    waits: bool = False


def _time_limit(case: Case) -> None:
    """Nothing is done: its steps take longer than its job may."""


def _memory(case: Case) -> None:
    """Nothing is done: its job gets too little."""


def _cancel(case: Case) -> None:
    job = case.step()
    subprocess.run(["scancel", job], check=True)


def _node(case: Case) -> None:
    lost = node_of(case.step())
    cluster.kill_node(lost)
    case.dead_nodes.append(lost)


def _ghost(case: Case) -> None:
    """The network loses a node: its daemon is gone, the training on it lives on unseen."""
    job = case.step()
    lost, ghost = node_of(job), case.trainer()
    cluster.kill(f"slurmd.{lost}")
    case.dead_nodes.append(lost)
    wait_until(lambda: (told := slurm.jobs([job])) and not told[job].active, "Slurm to give the node up")
    assert ghost.is_running(), "the training that Slurm has given up lives on"


def _preempt(case: Case) -> None:
    job = case.step()
    over = "urgent" if case.kind.partition == "gpu" else "gpu"
    words = ["sbatch", f"--partition={over}", f"--nodelist={node_of(job)}", "--exclusive", "--time=1", "--output=/dev/null"]
    subprocess.run([*words, "--wrap=sleep 3"], check=True, capture_output=True)
    leaving = ("RUNNING", "COMPLETING")
    wait_until(lambda: (told := slurm.jobs([job])) and told[job].state not in leaving, f"the end of job {job}")
    case.notes.append(f"Slurm: {slurm.jobs([job])[job].state}")


def _preempt_deaf(case: Case) -> None:
    """The training hangs, so that Slurm has to kill it when its grace is over: only then does a job end as PREEMPTED."""
    case.step()
    case.trainer().suspend()
    _preempt(case)


def _controller(case: Case) -> None:
    case.step()
    cluster.kill("slurmctld")
    time.sleep(3)
    cluster.start_controller()


def _driver(case: Case) -> None:
    """kill -9 of Snakemake alone: its jobs run on. `resume` ends them and goes on."""
    case.step()
    case.driver.kill()
    case.driver.wait()
    drivers = " ".join(case.status()["drivers"])
    assert "kill" in drivers, drivers
    done = case.program("workflow_scripts.resume")
    assert done.returncode == 0, done.stderr[-3000:]


def _refused(case: Case) -> None:
    """The partition takes no job; later it does again."""
    case.wait()
    assert "sbatch: error" in case.log.read_text()
    _partition("closing", "UP")


def _partition(name: str, state: str) -> None:
    subprocess.run(["scontrol", "update", f"PartitionName={name}", f"State={state}"], check=True)


def _history(case: Case) -> None:
    """The training dies by kill -9, and the last line of its history is half-written."""
    case.step()
    killed = case.trainer()
    killed.kill()
    wait_until(lambda: not killed.is_running() or killed.status() == psutil.STATUS_ZOMBIE, "the death", 30)
    path = case.folder / "state/history.csv"
    os.truncate(path, path.stat().st_size - 5)
    case.status()


def _gone(case: Case) -> None:
    """The controller forgets a job that has died: squeue knows it no more, and nobody sees its end."""
    (case.tree.folder / "forgotten").write_text(case.step())
    case.trainer().kill()
    time.sleep(3 * POLL_S)
    assert case.driver.poll() is None, "a job that is not listed has not ended for Snakemake"


KINDS = (
    Kind("time limit", "cpu", _time_limit, ("time limit",), size="tiny", pause_s=0.12),
    Kind("out of memory", "cpu", _memory, ("host memory",), size="nano"),
    Kind("scancel", "cpu", _cancel, ("cancelled",), heals=False),
    Kind("sbatch refused", "closing", _refused, ("sbatch refused",), heals=False),
    Kind("driver kill -9", "cpu", _driver, ()),
    Kind("half-written history", "cpu", _history, ("killed", "host memory")),
    Kind("job gone from squeue", "cpu", _gone, ("killed", "host memory"), waits=True),
    Kind("node dies", "fragile", _node, ("node",)),
    Kind("node lost, training lives", "fragile", _ghost, ("node", "none"), pause_s=0.1),
    Kind("preempted, requeued", "gpu", _preempt, ("preempted",), profile="slurm-requeue"),
    Kind("preempted, cancelled", "spare", _preempt, ("preempted",)),
    Kind("controller restarts", "cpu", _controller, ()),
)
LONGER = (Kind("preempted, cancelled, hanging", "spare", _preempt_deaf, ("preempted",)),)
"""Only in make bench-long: Snakemake waits long for an end that it does not see."""
_BESIDE = 3
"""So many cases that disturb no others run side by side, beside one that kills nodes and one that preempts."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case. right: trained to the same weights; lost: no model, or work that a saved state held;
    said: the cause that `status --failed` named, "" where it was not asked; why: what was wrong."""

    kind: str
    right: bool
    said: str
    as_it_was: bool
    lost: bool
    twice: bool
    attempts: int
    seconds: float
    notes: str
    why: str = ""


class Bench:
    """Where cases run: the cluster, profiles for each partition, and as the reference a training on this machine alone.

    local: the copy of the project where that one ran, with all that comes before it.
    """

    def __init__(self, base: Path, local: Path) -> None:
        self.base, self.local = base, local
        self.reference = load_file(local / "results" / CELL / "model.weights")
        kinds = {kind.partition: kind.profile for kind in (*KINDS, *LONGER)}
        self.homes = {name: written(base / f"home-{name}", name, [profile]) for name, profile in kinds.items()}

    def round(self, kinds: Sequence[Kind], number: int, *, retries: int) -> list[Outcome]:
        """One case of each kind, those of different lanes side by side; the controller's restart after all others."""
        calm = [kind for kind in kinds if kind.do is not _controller]
        disturb_nobody = [kind for kind in calm if kind.partition in ("cpu", "closing")]
        lanes = [[kind for kind in calm if kind.partition in lane] for lane in (("fragile",), ("gpu", "spare"))]
        lanes += [disturb_nobody[start::_BESIDE] for start in range(_BESIDE)]
        last = [kind for kind in kinds if kind.do is _controller]
        found: list[Outcome] = []
        with ThreadPoolExecutor(len(lanes)) as pool:
            for outcomes in pool.map(lambda lane: [self.case(kind, number, retries=retries) for kind in lane], lanes):
                found += outcomes
        return found + [self.case(kind, number, retries=retries) for kind in last]

    def case(self, kind: Kind, number: int, *, retries: int) -> Outcome:
        """Run one case to its end; a demand that is not met is told, not raised."""
        begun = time.monotonic()
        tree = self._tree(kind, self.base / f"{kind.name.replace(' ', '_').replace(',', '')}-{number}")
        case = Case(kind, tree, retries if kind.heals else min(retries, 1))  # each vain try costs a poll of Snakemake's
        why = ""
        try:
            self._play(case)
        except (AssertionError, OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
        finally:
            self._tidy(case)
        return self._outcome(case, why, time.monotonic() - begun)

    def _tree(self, kind: Kind, folder: Path) -> Copy:
        tree = on_slurm(folder, self.homes[kind.partition], {"shows": kind.size}, kind.pause_s)
        tree.how = ["--profile", kind.profile]
        if kind.partition in ("cpu", "closing"):
            tree.study["running"]["device"] = "cpu"  # their nodes have no GPU to ask for
        untrained(tree, self.local)
        shims = tree.folder / "shims"
        shims.mkdir()
        real = shutil.which("squeue")
        (shims / "squeue").write_text(
            f'#!/bin/sh\n# squeue of a controller that forgets the jobs named in `forgotten`\n{real} "$@" |'
            f" awk -v file={tree.folder}/forgotten 'BEGIN {{ getline job < file }} !job || index($0, job) != 1'\n"
        )
        (shims / "squeue").chmod(0o755)
        tree.more["PATH"] = f"{shims}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return tree

    def _play(self, case: Case) -> None:
        kind = case.kind
        if kind.do is _refused:
            _partition("closing", "INACTIVE")
        case.type()
        kind.do(case)
        if kind.do is _driver:
            return
        if kind.waits or (kind.partition == "spare" and self._waits_in_vain(case)):
            case.classified()
            case.interrupt()
            (case.tree.folder / "forgotten").unlink(missing_ok=True)
            case.type("--rerun-incomplete")
        code = case.wait()
        if code and (case.retries == 0 or not kind.heals):
            case.classified()
            case.retries = max(case.retries, 1)
            case.type("--rerun-incomplete")
            code = case.wait()
        assert code == 0, f"exit code {code}: {case.log.read_text()[-3000:]}"

    @staticmethod
    def _waits_in_vain(case: Case) -> bool:
        """Whether the driver waits for a job that Slurm ended as PREEMPTED, a state that the plugin does not know."""
        (job,) = (one["job"] for one in records(case.folder)[:1])
        told = slurm.jobs([job])
        if not told or told[job].state != "PREEMPTED":
            return False
        time.sleep(4 * POLL_S)
        return case.driver.poll() is None and len(records(case.folder)) == 1

    def _tidy(self, case: Case) -> None:
        if case.driver is not None and case.driver.poll() is None:
            case.driver.kill()
        left = [job.id for job in slurm.submitted_in(str(case.tree.folder)) or () if job.active]
        slurm.cancel(left)
        for node in case.dead_nodes:
            cluster.start_node(node)
        if case.kind.do is _refused:
            _partition("closing", "UP")

    def _outcome(self, case: Case, why: str, seconds: float) -> Outcome:
        path, tries = case.folder / "model.weights", records(case.folder)
        finished = path.exists() and (case.folder / "model.json").exists()
        same = finished and equal(load_file(path), self.reference)
        resumed = read_json(case.folder / "model.json").get("resumed_from_step", 0) if finished else 0
        struck = case.kind.do not in (_time_limit, _memory, _refused, _controller)
        twice = any(before["end"] > after["start"] for before, after in pairwise(tries))
        anew = struck and len(tries) > 1 and not resumed
        return Outcome(
            kind=case.kind.name,
            right=bool(same and not twice and not why),
            said=case.said,
            as_it_was=not case.said or case.said in case.kind.causes,
            lost=bool(not finished or anew),
            twice=twice,
            attempts=len(tries),
            seconds=round(seconds),
            notes="; ".join(case.notes),
            why=why,
        )
